// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// THE DEMONSTRATION'S BUGS, the paper's set of errors (5.1): each makes the processor fault for
// real.
namespace roster {

enum class Fault {
  pointer,  // a store through a pointer far beyond the roster's end
  hole,     // a store to a page that munmap took away
};

// False: no such fault.
bool parse_fault(std::string_view text, Fault& fault);

// Returns if the fault was survived. `memory`: the roster's.
void commit_fault(Fault fault, void* memory);

}  // namespace roster
