// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "monitor/monitor.hpp"
#include "recovery/reply.hpp"

// What can be said of arguments by looking at them alone. A decoder fills a typed view of one
// call's registers, or gives the status for the first argument that cannot be right.
namespace vmsrs::monitor {

// A range in the lower half of the address space, [address, address + bytes), bytes > 0.
vmsrs_status check_range(std::uint64_t address, std::uint64_t bytes);

struct ProfileCall {
  std::uint64_t address, bytes;
  std::uint32_t granule;
  std::uint64_t claims;  // 0: none
  bool eager;
};
vmsrs_status decode(const CallRegisters& registers, ProfileCall& call);

struct UserAreasCall {
  std::uint64_t address, bytes;
};
vmsrs_status decode(const CallRegisters& registers, UserAreasCall& call);

struct StoreCall {
  std::uint64_t address, value;
  std::uint32_t bytes;
};
vmsrs_status decode(const CallRegisters& registers, StoreCall& call);

struct StoreRangeCall {
  std::uint64_t to, from;
  std::uint32_t bytes;
};
vmsrs_status decode(const CallRegisters& registers, StoreRangeCall& call);

struct FillRangeCall {
  std::uint64_t to;
  std::uint8_t value;
  std::uint32_t bytes;
};
vmsrs_status decode(const CallRegisters& registers, FillRangeCall& call);

struct LoadCall {
  std::uint64_t address;
  std::uint32_t bytes;
};
vmsrs_status decode(const CallRegisters& registers, LoadCall& call);

struct LoadRangeCall {
  std::uint64_t address;
  std::uint32_t bytes;
};
vmsrs_status decode(const CallRegisters& registers, LoadRangeCall& call);

struct LoadCommittedCall {
  std::uint64_t from, to;
  std::uint32_t bytes;
};
vmsrs_status decode(const CallRegisters& registers, LoadCommittedCall& call);

struct RegionNameBuffer {
  char text[VMSRS_NAME_BYTES];
};

// Structures that were copied from the guest; names are made canonical (zeroes after the NUL).
vmsrs_status check(RegionNameBuffer& name);
vmsrs_status check(vmsrs_attach_request& request);
vmsrs_status check(const vmsrs_crash& crash);
vmsrs_status check(vmsrs_server_definition& definition);

// Copies a structure once.
template <typename T>
recovery::Reply copy_in(recovery::GuestMemory& memory, std::uint64_t from, T& to) {
  if (const vmsrs_status status = check_range(from, sizeof(T)); status != VMSRS_OK) return status;
  return recovery::reply_for(memory.read(recovery::GuestVirtual{from}, &to, sizeof(T)));
}

// Where a management call's answer goes: at most `length` bytes of the structure.
struct OutBuffer {
  std::uint64_t address, length;

  // Can an answer of up to `bytes` be written? To be asked before anything is changed.
  recovery::Reply prepare(recovery::GuestMemory& memory, std::uint64_t bytes) const;
  // Answers with the count of bytes written.
  recovery::Reply write(recovery::GuestMemory& memory, const void* from, std::uint64_t bytes) const;
};

}  // namespace vmsrs::monitor
