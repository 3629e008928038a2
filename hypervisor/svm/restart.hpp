// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/processor.hpp"

// The operating system's end is not the machine's: the boot CPU loads Linux again from copies in
// hidden memory, over recovery storage as it is. Nothing of the firmware runs in between.
namespace vmsrs::svm {

// Writes the guest's memory and the processor's state as they are at the guest's first instruction.
// Set once before the first start; without it there is no restart.
using LoadGuest = void (*)(Processor&);
void set_guest_loader(LoadGuest load);

// A guest that is not restarted gives the machine back to firmware and boot loader; nor is it
// restarted before management was opened for the first time: until then there is nothing to keep,
// and nobody has seen that this guest works here. Once, before the first start.
void reset_when_given_up();

// False where there is no loader, and where one guest after another has ended soon after its start.
bool may_restart();

// In place of a restart. The other CPUs have stopped.
[[noreturn]] void give_up();

// On the boot CPU, the others on their way to wait for start-up IPIs: leaves a guest that can be
// entered.
void restart_guest(Processor& self);

}  // namespace vmsrs::svm
