// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

// What makes the tests' image of the hypervisor contradict itself (contradictions.cpp).
constexpr const char* kFault = "contradiction";
constexpr const char* kFaultWhileOthersAreHeld = "contradiction, others held";
constexpr uint32_t kFaultingLeaf = 0x4fff0bad;
