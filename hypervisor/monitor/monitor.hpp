// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "recovery/guest_memory.hpp"
#include "recovery/platform.hpp"

// The SVM monitor's upper half (the paper, 4.2): a broker that decodes hypercalls, checks every
// argument and hands the operation to the recovery engine. Portable; linked with hypervisor/svm on
// the machine, with test platforms on the host.
namespace vmsrs::monitor {

// Who made a call; filled by the platform from processor state, never from arguments.
struct Caller {
  std::uint64_t address_space;   // CR3's page frame address, PCID and flags masked away
  std::uint64_t thread;          // FS base
  std::uint8_t privilege_level;  // 0 or 3
  recovery::GuestMemory* memory;
};

// Arguments in, status and results out: RAX, RDI, RSI, RDX, R10, R8, R9 of the ABI.
struct CallRegisters {
  std::uint64_t rax, rdi, rsi, rdx, r10, r8, r9;

  bool operator==(const CallRegisters&) const = default;
};

struct MonitorConfig {
  std::uint8_t secret_hash[32];  // SHA-256 of the management secret
  bool has_secret;               // false: management is closed, every MGMT_OPEN is denied
};

// Once, on one CPU, before the first dispatch. `storage` is page-aligned hidden memory that becomes
// the recovery storage; it need not be cleared. Returns false if it is too small to be of use.
[[nodiscard]] bool initialise(recovery::Platform& platform, void* storage,
                              std::size_t storage_bytes, const MonitorConfig& config);

// One hypercall. Any CPU, any number at a time. Never fails: the status is in registers.rax.
void dispatch(const Caller& caller, CallRegisters& registers);

// The same after the engine has been abandoned. Nothing is locked and the engine is not entered:
// VERSION, what management can observe of the platform alone, and ANNOUNCE_RESET are answered;
// everything else is VMSRS_NO_ENGINE.
void dispatch_without_engine(const Caller& caller, CallRegisters& registers);

// For platforms that see a thread's fault before its kernel does (#DE, #UD, #GP): the thread's user
// has crashed, if its process wants it so. `fault` names no thread.
void see_fault(const Caller& caller, const vmsrs_fault& fault);

// For platforms that see an address space end: the server that was bound to it is reaped, its
// management tokens are void. No call of it may be under way. Was a server bound to it?
bool end_address_space(std::uint64_t address_space);
// For platforms whose kernel has ended, and with it all processes: every server that was attached
// is reaped, all management tokens are void. No call may be under way.
void end_all_address_spaces();
// Has anybody opened management since initialise? No call may be under way.
bool has_been_managed();
// For platforms that see a thread end: a user of its that has stored nothing is gone with it. True:
// the thread has no user any more; false: it has one, which must crash.
bool end_thread(const Caller& caller);

}  // namespace vmsrs::monitor
