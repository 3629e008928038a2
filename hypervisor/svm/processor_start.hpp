// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/processor.hpp"

// How CPUs come into and out of the guest, and what one CPU may ask of another.
namespace vmsrs::svm {

// Turns SVM on for this CPU and writes the parts of its VMCB that never change. GIF is 0 from here
// on.
void enable_svm(Processor& processor);

// The guest's memory type registers as the firmware has left this CPU's.
void read_memory_types(Processor& processor);

// Where a 32-bit kernel starts: flat segments, protection on, paging off (Linux's boot protocol,
// "32-bit boot protocol").
void enter_protected_mode(Processor& processor, std::uint32_t entry, std::uint32_t boot_params);

// State after INIT and a start-up IPI (APM vol. 2, 14.1.3 and 16.5): real mode at vector << 12.
void enter_real_mode(Processor& processor, std::uint8_t vector);

// nullptr: before there are any.
Processor* this_processor();

// From any CPU. An NMI makes a running target look at once.
void kick(Processor& target);
void request_init(Processor& target);
void request_start_up(Processor& target, std::uint8_t vector);
// Waits until they have stopped, a second at most: one that does not has lost its way.
void stop_other_processors();
// For a CPU that another one is about to stop.
[[noreturn]] void wait_to_be_stopped(Processor& processor);
// The guest starts anew, from a CPU that has stopped the others: each waits for a start-up IPI, but
// for the boot CPU, which makes the guest's state (restart.hpp).
[[noreturn]] void restart_processors(Processor& self);
// On the boot CPU: until the others wait.
void wait_until_others_wait();
// Kicks that are still on their way are not to become the next guest's NMIs.
void forget_kicks(Processor& processor);
// Until release_other_processors() no other CPU runs any of the guest's instructions. May be called
// with any lock of the engine's held. Returns when all are out of the guest, which takes an NMI and
// as long as a CPU may keep it waiting (system management mode). One holder at a time: another one
// waits here.
void hold_other_processors();
// Returns for how long they were held, by this CPU's counter, from the first kick on.
std::uint64_t release_other_processors();
// If that CPU, the calling one, keeps the others out.
void release_if_held_by(const Processor& self);
// An INIT of this CPU that came past the traps and was caught: counts it, and makes it a request.
void take_redirected_init(Processor& target);

// On the CPU itself, before every entry: does what it was asked for, waits while it is held, and
// says that it is in the guest. After an INIT it stays in here until the start-up IPI comes.
void obey_requests_and_enter(Processor& processor);
// After every exit.
void leave_guest(Processor& processor);

// With waits_for_sipi set: waits for the start-up IPI and prepares this CPU's guest state.
void wait_for_start_up(Processor& processor);

}  // namespace vmsrs::svm
