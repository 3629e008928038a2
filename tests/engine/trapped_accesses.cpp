// SPDX-License-Identifier: Apache-2.0
#include "trapped_accesses.hpp"

#include <cstring>

namespace vmsrs::test {
namespace {

bool word_size(std::uint32_t bytes) { return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8; }

}  // namespace

// Threads of different processes have the same FS base.
TrappedAccesses::TrappedAccesses(std::uint32_t server, std::uint32_t users,
                                 std::uint32_t processes) {
  const auto space = [=](std::uint32_t process) {
    return 0x100000ull * (server + 1) + 0x10000000ull * process;
  };
  for (std::uint32_t process = 0; process < processes; ++process)
    services_.emplace_back(space(process), 0x7e0000000000);
  for (std::uint32_t user = 0; user < users; ++user)
    clients_.emplace_back(space(user % processes), 0x7f0000000000 + user / processes * 0x1000);
}

Result TrappedAccesses::attach(const std::string& name, const Secret& secret, std::uint32_t process,
                               std::uint32_t process_id) {
  Client& thread = services_[process];
  Result result = thread.attach(name, secret, process_id);
  while (result.status == VMSRS_TOUCH) result = thread.attach(name, secret, process_id);
  for (const Range& region : regions_)
    if (result.status == VMSRS_OK)
      result = retry(thread, Refusal::kChangesNothing, VMSRS_CALL_PROFILE_JOIN,
                     address_of(region.memory->data(process)), region.bytes, region.granule,
                     address_of(region.name));
  return result;
}

Result TrappedAccesses::profile(const Pages& memory, std::size_t bytes, unsigned granule,
                                bool eager) {
  const auto forbid = [&](Client& client, std::uint32_t process) {
    for (std::uint32_t other = 0; other < services_.size(); ++other)
      if (other != process) client.memory.forbid_range(memory.data(other), memory.bytes());
  };
  for (std::uint32_t process = 0; process < services_.size(); ++process)
    forbid(services_[process], process);
  for (std::uint32_t user = 0; user < clients_.size(); ++user)
    forbid(clients_[user], user % static_cast<std::uint32_t>(services_.size()));
  regions_.push_back({&memory, bytes, granule, {'r', static_cast<char>('0' + regions_.size())}});
  return services_[0].profile_named(memory.data(), bytes, granule, regions_.back().name, eager);
}

std::uint64_t TrappedAccesses::place(User user, const std::uint8_t* pointer) const {
  for (const Range& region : regions_)
    if (const std::uint64_t offset = address_of(pointer) - address_of(region.memory->data());
        offset < region.bytes)
      return address_of(region.memory->data(user % static_cast<unsigned>(services_.size()))) +
             offset;
  return address_of(pointer);
}

Result TrappedAccesses::begin(User user, std::uint64_t label) {
  return clients_[user].call(VMSRS_CALL_USER_BEGIN, label);
}

Result TrappedAccesses::crash(User user) {
  for (;;) {
    const Result result = clients_[user].crash();
    if (result.status != VMSRS_TOUCH) return result;
    ++touch_count_;
    clients_[user].memory.touch(result.rdx);
  }
}

Result TrappedAccesses::collect(User user) {
  return retry(clients_[user], Refusal::kKeepsWhatIsDone, VMSRS_CALL_USER_COLLECT);
}

Result TrappedAccesses::change_thread(User user, std::uint64_t slot, std::uint64_t generation) {
  Client& client = clients_[user];
  const Result suspended = client.call(VMSRS_CALL_USER_SUSPEND, user);
  if (suspended.status != VMSRS_OK) return suspended;
  if (client.call(VMSRS_CALL_USER_END).status != VMSRS_NO_USER)
    complaint_ = "a suspended user is a thread's";
  client.change_thread(client.thread() ^ 0x800);
  return client.call(VMSRS_CALL_USER_RESUME, slot, generation);
}

Result TrappedAccesses::service(std::uint32_t process) {
  return retry(services_[process], Refusal::kKeepsWhatIsDone, VMSRS_CALL_SERVICE);
}

Result TrappedAccesses::store(User user, std::uint8_t* to, const std::uint8_t* from,
                              std::uint32_t bytes) {
  if (!word_size(bytes)) return store_range(user, to, from, bytes);
  std::uint64_t value = 0;
  std::memcpy(&value, from, bytes);
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_STORE, place(user, to), value,
               bytes);
}

Result TrappedAccesses::load(User user, const std::uint8_t* from, std::uint8_t* to,
                             std::uint32_t bytes, bool sampled) {
  const bool word = word_size(bytes);
  const std::uint64_t call = !word     ? VMSRS_CALL_LOAD_RANGE
                             : sampled ? VMSRS_CALL_LOAD_SAMPLED
                                       : VMSRS_CALL_LOAD;
  const Result result =
      retry(clients_[user], Refusal::kChangesNothing, call, place(user, from), bytes);
  if (word)
    std::memcpy(to, &result.rdx, bytes);
  else
    std::memcpy(to, from, bytes);
  return result;
}

Result TrappedAccesses::exposed(User user) { return clients_[user].call(VMSRS_CALL_USER_EXPOSED); }

Result TrappedAccesses::store_range(User user, std::uint8_t* to, const std::uint8_t* from,
                                    std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_STORE_RANGE, place(user, to),
               address_of(from), bytes);
}

Result TrappedAccesses::fill(User user, std::uint8_t* to, std::uint8_t value, std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_FILL_RANGE, place(user, to),
               value, bytes);
}

Result TrappedAccesses::load_range(User user, const std::uint8_t* from, std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_LOAD_RANGE, place(user, from),
               bytes);
}

Result TrappedAccesses::load_committed(User user, const std::uint8_t* from, std::uint8_t* to,
                                       std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_LOAD_COMMITTED,
               place(user, from), bytes, address_of(to));
}

void TrappedAccesses::fail_at(std::uint32_t n) {
  for (Client& client : clients_) client.memory.fail_at(n);
  for (Client& client : services_) client.memory.fail_at(n);
}

Result TrappedAccesses::retry(Client& client, Refusal refusal, std::uint64_t number,
                              std::uint64_t rdi, std::uint64_t rsi, std::uint64_t rdx,
                              std::uint64_t r10) {
  for (;;) {
    snapshot();
    const Result result = client.call(number, rdi, rsi, rdx, r10);
    const bool touch = result.status == VMSRS_TOUCH;
    const bool refused = touch || result.status == VMSRS_NO_STORAGE;
    if (refused && refusal == Refusal::kChangesNothing && !unchanged())
      complaint_ = "a refused call changed memory";
    if (!touch) return result;
    ++touch_count_;
    client.memory.touch(result.rdx);
  }
}

void TrappedAccesses::snapshot() {
  before_.clear();
  for (const Range& region : regions_)
    before_.insert(before_.end(), region.memory->data(), region.memory->data() + region.bytes);
}

bool TrappedAccesses::unchanged() const {
  const std::uint8_t* before = before_.data();
  for (const Range& region : regions_) {
    if (std::memcmp(before, region.memory->data(), region.bytes) != 0) return false;
    before += region.bytes;
  }
  return true;
}

}  // namespace vmsrs::test
