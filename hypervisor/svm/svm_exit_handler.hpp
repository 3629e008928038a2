// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/processor.hpp"

namespace vmsrs::svm {

// Runs the guest of this CPU for ever: VMRUN, svm_exit_handler, again.
[[noreturn]] void run_guest(Processor& processor);

// One exit (the paper, 4.2): decides by the reason, changes the guest's state, and says what the
// exit is counted as.
vmsrs_exit_reason svm_exit_handler(Processor& processor);

// The same, and counts it.
void handle_exit(Processor& processor);

}  // namespace vmsrs::svm
