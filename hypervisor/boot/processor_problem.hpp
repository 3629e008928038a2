// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/features.hpp"

namespace vmsrs::boot {

// nullptr, or why the hypervisor cannot run on this processor. apic_base: the MSR.
const char* processor_problem(const svm::Features& features, std::uint64_t apic_base);

}  // namespace vmsrs::boot
