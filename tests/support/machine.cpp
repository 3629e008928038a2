// SPDX-License-Identifier: Apache-2.0
#include "support/machine.hpp"

#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "monitor/sha256.hpp"

namespace vmsrs::test {

Secret secret_of(std::uint8_t byte) {
  Secret secret;
  secret.fill(byte);
  return secret;
}

Result Client::call(std::uint64_t number, std::uint64_t rdi, std::uint64_t rsi, std::uint64_t rdx,
                    std::uint64_t r10, std::uint64_t r8, std::uint64_t r9) {
  caller_.memory = &memory;
  memory.begin_call();
  monitor::CallRegisters registers{number, rdi, rsi, rdx, r10, r8, r9};
  monitor::dispatch(caller_, registers);
  return {static_cast<vmsrs_status>(registers.rax), registers.rdx, registers.rsi};
}

void Client::see_fault(vmsrs_fault_kind kind) {
  caller_.memory = &memory;
  memory.begin_call();
  monitor::see_fault(caller_, {static_cast<std::uint32_t>(kind), 0, 0, 0x400010});
}

Result Client::attach(const std::string& name, const Secret& secret, std::uint32_t process_id) {
  Result result = attach_piece(name, secret, process_id);
  while (result.status == VMSRS_AGAIN) result = attach_piece(name, secret, process_id);
  return result;
}

Result Client::reap(std::uint64_t token, std::uint64_t server, std::uint64_t process_id) {
  Result result{VMSRS_AGAIN, 0, 0};
  while (result.status == VMSRS_AGAIN)
    result = call(VMSRS_CALL_MGMT_REAP, token, server, process_id);
  return result;
}

Result Client::attach_piece(const std::string& name, const Secret& secret,
                            std::uint32_t process_id) {
  vmsrs_attach_request request{};
  name.copy(request.name, sizeof request.name);
  std::memcpy(request.secret, secret.data(), secret.size());
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = process_id;
  return call(VMSRS_CALL_ATTACH, address_of(&request));
}

Result Client::profile(void* address, std::size_t bytes, unsigned granule, bool eager) {
  return fill(call(VMSRS_CALL_PROFILE, address_of(address), bytes, granule, 0, 0, eager));
}

Result Client::profile_named(void* address, std::size_t bytes, unsigned granule,
                             const std::string& name, bool eager) {
  char text[VMSRS_NAME_BYTES] = {};
  name.copy(text, sizeof text);
  return fill(call(VMSRS_CALL_PROFILE_NAMED, address_of(address), bytes, granule, address_of(text),
                   0, eager));
}

Result Client::fill(const Result& region) {
  if (region.status != VMSRS_OK) return region;
  Result fill{VMSRS_AGAIN, 0, 0};
  while (fill.status == VMSRS_AGAIN) fill = call(VMSRS_CALL_PROFILE_FILL, region.rdx, fill.rdx);
  return {fill.status, region.rdx, region.rsi};
}

Result Client::crash(vmsrs_fault_kind kind) {
  const vmsrs_fault fault{static_cast<std::uint32_t>(kind), 1, 0xdead, 0x400000};
  Result result{VMSRS_AGAIN, 0, 0};
  while (result.status == VMSRS_AGAIN) result = call(VMSRS_CALL_USER_CRASH, address_of(&fault));
  return result;
}

vmsrs_status Client::check(std::uint64_t token, vmsrs_check_report& report,
                           const std::function<void()>& serve) {
  for (std::uint64_t anew = 1;; anew = 0) {
    const Result result =
        call(VMSRS_CALL_MGMT_CHECK, token, anew, address_of(&report), sizeof report);
    if (result.status != VMSRS_AGAIN) return result.status;
    // The engine's own pieces first: they find what is there now.
    if (report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING) serve();
  }
}

Result Client::open(std::uint64_t capabilities) {
  const Secret secret = Machine::management_secret();
  return call(VMSRS_CALL_MGMT_OPEN, address_of(secret.data()), capabilities);
}

Result Client::define(std::uint64_t token, const std::string& name, const Secret& secret,
                      std::uint64_t storage_quota, std::uint32_t user_quota,
                      vmsrs_storage_policy policy) {
  vmsrs_server_definition definition{};
  name.copy(definition.name, sizeof definition.name);
  monitor::sha256(secret.data(), secret.size(), definition.secret_hash);
  definition.storage_quota_bytes = storage_quota;
  definition.user_quota = user_quota;
  definition.storage_policy = policy;
  return call(VMSRS_CALL_MGMT_DEFINE, token, address_of(&definition));
}

void Machine::Free::operator()(void* memory) const { std::free(memory); }

Machine::Machine(std::size_t storage_bytes, bool has_secret)
    : storage_bytes_(storage_bytes),
      has_secret_(has_secret),
      storage_(std::aligned_alloc(VMSRS_PAGE_BYTES, storage_bytes)) {
  std::memset(storage_.get(), 0xee, storage_bytes);  // it need not be cleared
  restart();
}

void Machine::restart() {
  monitor::MonitorConfig config{};
  config.has_secret = has_secret_;
  const Secret secret = management_secret();
  monitor::sha256(secret.data(), secret.size(), config.secret_hash);
  if (!monitor::initialise(platform, storage_.get(), storage_bytes_, config))
    throw std::runtime_error("storage too small");
}

}  // namespace vmsrs::test
