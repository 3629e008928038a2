// SPDX-License-Identifier: Apache-2.0
#include "hosted/staging.hpp"

namespace vmsrs::hosted {
namespace {

constexpr std::uint64_t kUserEnd = 1ull << 47;

Buffer described(const Registers& r) {
  using Kind = Buffer::Kind;
  switch (r.rax) {
    case VMSRS_CALL_ATTACH:
      return {Kind::kIn, &Registers::rdi, sizeof(vmsrs_attach_request), 0};
    case VMSRS_CALL_PROFILE_NAMED:
    case VMSRS_CALL_PROFILE_JOIN:
      return {Kind::kIn, &Registers::r10, VMSRS_NAME_BYTES, 0};
    case VMSRS_CALL_UNPROFILE_NAMED:
    case VMSRS_CALL_PROFILE_FIND:
      return {Kind::kIn, &Registers::rdi, VMSRS_NAME_BYTES, 0};
    case VMSRS_CALL_USER_CRASH:
      return {Kind::kIn, &Registers::rdi,
              (r.r9 & VMSRS_CRASH_TRACED) != 0 ? sizeof(vmsrs_crash) : sizeof(vmsrs_fault), 0};
    case VMSRS_CALL_USER_LABEL:
      return {Kind::kIn, &Registers::rdi, r.rsi, 0};
    case VMSRS_CALL_STORE_RANGE:
      return {Kind::kIn, &Registers::rsi, r.rdx, 0};
    case VMSRS_CALL_MGMT_OPEN:
      return {Kind::kIn, &Registers::rdi, VMSRS_SECRET_BYTES, 0};
    case VMSRS_CALL_MGMT_SECRET:
      return {Kind::kIn, &Registers::rsi, VMSRS_HASH_BYTES, 0};
    case VMSRS_CALL_MGMT_DEFINE:
      return {Kind::kIn, &Registers::rsi, sizeof(vmsrs_server_definition), 0};
    case VMSRS_CALL_LOAD_COMMITTED:
      return {Kind::kOut, &Registers::rdx, r.rsi, 1};
    case VMSRS_CALL_MGMT_MEMORY:
      return {Kind::kOut, &Registers::rsi, r.rdx, sizeof(vmsrs_memory_range)};
    case VMSRS_CALL_MGMT_LOG:
      return {Kind::kOut, &Registers::rdx, r.r10, sizeof(vmsrs_log_line)};
    case VMSRS_CALL_MGMT_EVENTS:
      return {Kind::kOut, &Registers::rdx, r.r10, sizeof(vmsrs_event)};
    case VMSRS_CALL_MGMT_GUEST_ENDS:
      return {Kind::kOut, &Registers::rdx, r.r10, sizeof(vmsrs_guest_end)};
    case VMSRS_CALL_MGMT_GUEST_CPU:
      return {Kind::kOut, &Registers::r10, r.r8, 1};
    case VMSRS_CALL_MGMT_STATS:
      return {Kind::kOut, &Registers::rsi, r.rdx, 1};
    case VMSRS_CALL_MGMT_EXITS:
    case VMSRS_CALL_MGMT_SERVER:
    case VMSRS_CALL_MGMT_WORK:
    case VMSRS_CALL_MGMT_CHECK:
      return {Kind::kOut, &Registers::rdx, r.r10, 1};
    case VMSRS_CALL_MGMT_LABEL:
      return {Kind::kOut, &Registers::r8, r.r9, 1};
    case VMSRS_CALL_MGMT_USERS:
      return {Kind::kOut, &Registers::r10, r.r8, sizeof(vmsrs_user_info)};
    case VMSRS_CALL_MGMT_REGIONS:
      return {Kind::kOut, &Registers::r10, r.r8, sizeof(vmsrs_region_info)};
    case VMSRS_CALL_MGMT_REGION_MAP:
      return {Kind::kOut, &Registers::r10, r.r8, 1};
    case VMSRS_CALL_MGMT_RECORDS:
      return {Kind::kOut, &Registers::r8, r.r9, sizeof(vmsrs_record_info)};
    default:
      return {};
  }
}

}  // namespace

// Addresses and lengths that cannot be right go through as they are: the engine has a status for
// each.
Buffer buffer_of(const Registers& registers) {
  Buffer buffer = described(registers);
  if (buffer.kind == Buffer::Kind::kNone) return {};
  const std::uint64_t address = registers.*buffer.pointer;
  if (buffer.bytes == 0 || address >= kUserEnd || kUserEnd - address < buffer.bytes) return {};
  if (buffer.bytes <= VMSRS_LANE_PAYLOAD_BYTES) return buffer;
  if (buffer.kind == Buffer::Kind::kIn) return {};
  buffer.bytes = VMSRS_LANE_PAYLOAD_BYTES;  // no structure of the ABI is longer
  return buffer;
}

}  // namespace vmsrs::hosted
