// SPDX-License-Identifier: Apache-2.0
#include "monitor/decode.hpp"

#include <vmsrs/claims.h>

#include "recovery/bytes.hpp"

namespace vmsrs::monitor {
namespace {

constexpr std::uint64_t kUserEnd = 1ull << 47;  // of Linux's user half with four-level paging
constexpr std::uint64_t kRegionAlignment = 64;

bool word_size(std::uint64_t bytes) { return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8; }

vmsrs_status check_limited(std::uint64_t address, std::uint64_t bytes) {
  return bytes > VMSRS_MAX_RANGE_BYTES ? VMSRS_BAD_LENGTH : check_range(address, bytes);
}

// NUL-terminated, not empty; what follows the NUL is cleared, so that names compare as bytes.
bool canonical_name(char (&name)[VMSRS_NAME_BYTES]) {
  std::size_t length = 0;
  while (length < VMSRS_NAME_BYTES && name[length] != 0) ++length;
  if (length == 0 || length == VMSRS_NAME_BYTES) return false;
  for (std::size_t i = 0; i < length; ++i)
    if (name[i] <= ' ' || name[i] > '~') return false;
  recovery::clear_bytes(name + length, VMSRS_NAME_BYTES - length);
  return true;
}

}  // namespace

vmsrs_status check_range(std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0 || address + bytes < address) return VMSRS_BAD_LENGTH;
  return address >= kUserEnd || address + bytes > kUserEnd ? VMSRS_BAD_ADDRESS : VMSRS_OK;
}

vmsrs_status decode(const CallRegisters& registers, ProfileCall& call) {
  const std::uint64_t granule = registers.rdx;
  if (granule != 8 && granule != 16 && granule != 32 && granule != 64) return VMSRS_BAD_ARGUMENT;
  if ((registers.r9 & ~std::uint64_t{VMSRS_PROFILE_EAGER}) != 0) return VMSRS_BAD_ARGUMENT;
  call = {registers.rdi, registers.rsi, static_cast<std::uint32_t>(granule), registers.r8,
          registers.r9 != 0};
  if (const vmsrs_status status = check_range(call.address, call.bytes); status != VMSRS_OK)
    return status;
  if (call.claims != 0)
    if (const vmsrs_status status =
            check_range(call.claims, call.bytes / granule * sizeof(vmsrs_claim));
        status != VMSRS_OK)
      return status;
  return (call.address | call.bytes) % kRegionAlignment != 0 ? VMSRS_UNALIGNED : VMSRS_OK;
}

vmsrs_status decode(const CallRegisters& registers, UserAreasCall& call) {
  call = {registers.rdi, registers.rsi};
  if (call.bytes < VMSRS_MIN_USER_AREA_BYTES || call.bytes > VMSRS_MAX_USER_AREA_BYTES)
    return VMSRS_BAD_LENGTH;
  if (const vmsrs_status status = check_range(call.address, VMSRS_MAX_USERS * call.bytes);
      status != VMSRS_OK)
    return status;
  return (call.address | call.bytes) % sizeof(vmsrs_user_area) != 0 ? VMSRS_UNALIGNED : VMSRS_OK;
}

vmsrs_status decode(const CallRegisters& registers, StoreCall& call) {
  if (!word_size(registers.rdx)) return VMSRS_BAD_LENGTH;
  call = {registers.rdi, registers.rsi, static_cast<std::uint32_t>(registers.rdx)};
  return check_range(call.address, call.bytes);
}

vmsrs_status decode(const CallRegisters& registers, StoreRangeCall& call) {
  const vmsrs_status status = check_limited(registers.rdi, registers.rdx);
  if (status != VMSRS_OK) return status;
  call = {registers.rdi, registers.rsi, static_cast<std::uint32_t>(registers.rdx)};
  return check_range(call.from, call.bytes);
}

vmsrs_status decode(const CallRegisters& registers, FillRangeCall& call) {
  if (registers.rsi > 0xff) return VMSRS_BAD_ARGUMENT;
  call = {registers.rdi, static_cast<std::uint8_t>(registers.rsi),
          static_cast<std::uint32_t>(registers.rdx)};
  return check_limited(registers.rdi, registers.rdx);
}

vmsrs_status decode(const CallRegisters& registers, LoadCall& call) {
  if (!word_size(registers.rsi)) return VMSRS_BAD_LENGTH;
  call = {registers.rdi, static_cast<std::uint32_t>(registers.rsi)};
  return check_range(call.address, call.bytes);
}

vmsrs_status decode(const CallRegisters& registers, LoadRangeCall& call) {
  call = {registers.rdi, static_cast<std::uint32_t>(registers.rsi)};
  return check_limited(registers.rdi, registers.rsi);
}

vmsrs_status decode(const CallRegisters& registers, LoadCommittedCall& call) {
  const vmsrs_status status = check_limited(registers.rdi, registers.rsi);
  if (status != VMSRS_OK) return status;
  call = {registers.rdi, registers.rdx, static_cast<std::uint32_t>(registers.rsi)};
  return check_range(call.to, call.bytes);
}

vmsrs_status check(vmsrs_attach_request& request) {
  const std::uint32_t version = request.abi_version;
  if (version >> 16 != VMSRS_ABI_MAJOR || (version & 0xffff) > VMSRS_ABI_MINOR)
    return VMSRS_BAD_VERSION;
  return canonical_name(request.name) ? VMSRS_OK : VMSRS_BAD_ARGUMENT;
}

vmsrs_status check(RegionNameBuffer& name) {
  return canonical_name(name.text) ? VMSRS_OK : VMSRS_BAD_ARGUMENT;
}

vmsrs_status check(const vmsrs_crash& crash) {
  const bool sound = crash.fault.kind < VMSRS_FAULT_KIND_COUNT &&
                     crash.trace_count <= VMSRS_TRACE_FRAMES &&
                     crash.label_bytes <= VMSRS_LABEL_BYTES;
  return sound ? VMSRS_OK : VMSRS_BAD_ARGUMENT;
}

vmsrs_status check(vmsrs_server_definition& definition) {
  if (definition.storage_policy > VMSRS_STORAGE_UNPROTECTED ||
      definition.user_quota > VMSRS_MAX_USERS)
    return VMSRS_BAD_ARGUMENT;
  return canonical_name(definition.name) ? VMSRS_OK : VMSRS_BAD_ARGUMENT;
}

recovery::Reply OutBuffer::prepare(recovery::GuestMemory& memory, std::uint64_t bytes) const {
  if (const vmsrs_status status = check_range(address, length); status != VMSRS_OK) return status;
  const std::uint64_t count = length < bytes ? length : bytes;
  return recovery::reply_for(
      memory.prepare(recovery::GuestVirtual{address}, count, recovery::Access::kWrite));
}

recovery::Reply OutBuffer::write(recovery::GuestMemory& memory, const void* from,
                                 std::uint64_t bytes) const {
  const std::uint64_t count = length < bytes ? length : bytes;
  const auto outcome = memory.write(recovery::GuestVirtual{address}, from, count);
  return outcome ? recovery::Reply{VMSRS_OK, count} : recovery::reply_for(outcome);
}

}  // namespace vmsrs::monitor
