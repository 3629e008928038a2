// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vmsrs/fast.hpp>

// What hooks look at, in a page that is read-only but for the moment of a change.
namespace vmsrs::guest {

// This process's regions are these now: hooks look between their outermost bytes only.
void note_region_bounds(const fast::Region* regions, std::uint32_t count);

// Where the hooks' own code is.
void note_hook_text(std::uint64_t begin, std::uint64_t bytes);
bool is_in_hook(std::uint64_t instruction);

}  // namespace vmsrs::guest
