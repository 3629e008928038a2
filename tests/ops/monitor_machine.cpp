// SPDX-License-Identifier: Apache-2.0
#include "monitor_machine.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "config/secrets.hpp"
#include "support/host_memory.hpp"

namespace vmsrs::test {
namespace {

constexpr std::size_t kStorageBytes = 16 << 20;

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

}  // namespace

config::Digest MonitorMachine::management_secret() {
  config::Digest secret;
  secret.fill(0x11);
  return secret;
}

MonitorMachine::MonitorMachine() : storage_(kStorageBytes + VMSRS_PAGE_BYTES) {
  monitor::MonitorConfig configuration{};
  const config::Digest hash = config::sha256(management_secret());
  std::copy(hash.begin(), hash.end(), configuration.secret_hash);
  configuration.has_secret = true;
  std::uint8_t* storage = storage_.data();
  storage += (VMSRS_PAGE_BYTES - address_of(storage) % VMSRS_PAGE_BYTES) % VMSRS_PAGE_BYTES;
  if (!monitor::initialise(platform, storage, kStorageBytes, configuration)) {
    throw std::runtime_error("the monitor does not start");
  }
}

std::uint64_t MonitorMachine::call(std::uint64_t address_space, std::uint64_t thread,
                                   channel::Registers& registers) {
  HostMemory memory;
  if (touches_to_ask > 0) {
    --touches_to_ask;
    memory.fail_at(1);
  }
  memory.begin_call();
  monitor::CallRegisters raw{registers.rax, registers.rdi, registers.rsi, registers.rdx,
                             registers.r10, registers.r8,  registers.r9};
  monitor::dispatch({address_space, thread, 3, &memory}, raw);
  registers.rax = raw.rax;
  registers.rdx = raw.rdx;
  registers.rsi = raw.rsi;
  return raw.rax;
}

std::uint64_t MonitorServer::call(std::uint64_t number,
                                  std::initializer_list<std::uint64_t> arguments) {
  std::uint64_t values[3] = {};
  std::copy(arguments.begin(), arguments.end(), values);
  channel::Registers registers{.rax = number, .rdi = values[0], .rsi = values[1], .rdx = values[2]};
  return machine_.call(address_space_, 2, registers);
}

std::uint64_t MonitorServer::attach(const char* name, const config::Digest& secret,
                                    std::uint32_t process_id) {
  vmsrs_attach_request request{};
  std::strcpy(request.name, name);
  std::copy(secret.begin(), secret.end(), request.secret);
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = process_id;
  return call(VMSRS_CALL_ATTACH, {address_of(&request)});
}

std::uint64_t MonitorServer::profile() {
  std::uint64_t status = call(VMSRS_CALL_INIT_PROFILE);
  if (status != VMSRS_OK) return status;
  channel::Registers registers{
      .rax = VMSRS_CALL_PROFILE, .rdi = address_of(region), .rsi = sizeof(region), .rdx = 8};
  status = machine_.call(address_space_, 2, registers);
  const std::uint64_t number = registers.rdx;
  std::uint64_t offset = 0;
  while (status == VMSRS_OK || status == VMSRS_AGAIN) {
    registers = {.rax = VMSRS_CALL_PROFILE_FILL, .rdi = number, .rsi = offset};
    status = machine_.call(address_space_, 2, registers);
    if (status != VMSRS_AGAIN) break;
    offset = registers.rdx;
  }
  return status;
}

}  // namespace vmsrs::test
