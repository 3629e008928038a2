// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

#include "svm/power_ports.hpp"
#include "svm/processor.hpp"

// A guest's operating system that comes to its end without having said so before: how that is
// recognised, and the record of it, which the next start of the guest can read.
namespace vmsrs::svm {

enum class GuestEnd : std::uint32_t {
  kShutdown = VMSRS_GUEST_SHUTDOWN,  // triple fault
  kPanic = VMSRS_GUEST_PANIC,        // its kernel says that it panics
  kReset = VMSRS_GUEST_RESET,        // it resets the machine
  kHang = VMSRS_GUEST_HANG,          // no CPU takes interrupts any more
};

// Holds the other CPUs, records the end, and starts the guest anew (restart.hpp) or ends the
// machine. From any CPU's exit handler, without locks; where several CPUs find an end, the first
// one's counts. `detail`: vmsrs_guest_end's.
[[noreturn]] void end_guest(Processor& processor, GuestEnd end, std::uint64_t detail = 0);

// At boot: a guest with a crash kernel loaded ends at its panic, and not when the crash kernel is
// done.
void end_before_crash_kernel();
// Before each start of the guest.
void count_guest_start();
// 1: the first.
std::uint32_t guest_start();

// What the panic device tells of itself, and a write to it. Returns if the guest goes on.
std::uint8_t panic_events();
void see_panic(Processor& processor, std::uint8_t event);

// The next reset is wanted, or not after all. Any CPU.
void announce_reset(bool wanted);
// Before a write that resets the machine. Returns if that was announced, and is to be done.
void see_reset(Processor& processor, const PortAccess& write);
// Before the machine is reset or switched off at the guest's wish: the other CPUs stop, and
// recovery storage is wiped. There is no way back.
void leave_machine(const char* why);

// Records from number `cursor` on, or the oldest that there are: how many were written to `out`;
// `cursor` becomes the number of the next one. Any CPU.
std::uint32_t guest_ends(std::uint64_t& cursor, vmsrs_guest_end* out, std::uint32_t room);
// A CPU of a record; false: there is no such record any more, or it has no such CPU.
bool guest_end_cpu(std::uint64_t sequence, std::uint32_t cpu, vmsrs_guest_cpu& out);

}  // namespace vmsrs::svm
