// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::svm {

constexpr std::uint64_t kMsrPermissionBytes = 8192;  // APM vol. 2, 15.11

// Fills the MSR permission map: which MSR accesses of the guest exit.
void fill_msr_permissions(std::uint8_t* map);

// Memory type range registers, but not the page attribute table, which nested paging gives each
// guest.
bool is_memory_type_msr(std::uint32_t msr);
// MSRs that the guest may read but not change.
bool is_fixed_msr(std::uint32_t msr);

}  // namespace vmsrs::svm
