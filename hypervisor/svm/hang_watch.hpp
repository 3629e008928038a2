// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/processor.hpp"

// Looks again and again whether the guest's CPUs take interrupts: by an NMI that the machine's
// HPET, which the guest has not, sends to the boot CPU. While that one takes interrupts the others
// are left alone.
namespace vmsrs::svm {

// At boot, before the tables are built. False: this HPET (0: none) sends no messages.
[[nodiscard]] bool find_hang_timer(std::uint64_t hpet);
// On the boot CPU, before each start of the guest: one that takes no interrupts for so long hangs.
// The timer was found.
void start_hang_watch(std::uint32_t seconds);

// At every NMI that ended the guest's turn on this CPU. True: it was the HPET's. May find that the
// guest hangs.
bool watch_for_hang(Processor& processor);

// NMIs of this CPU were forgotten, perhaps the HPET's.
void resume_hang_watch(const Processor& processor);

}  // namespace vmsrs::svm
