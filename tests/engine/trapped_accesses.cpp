// SPDX-License-Identifier: Apache-2.0
#include "trapped_accesses.hpp"

#include <cstring>

namespace vmsrs::test {
namespace {

bool word_size(std::uint32_t bytes) { return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8; }

}  // namespace

TrappedAccesses::TrappedAccesses(std::uint32_t server, std::uint32_t users) {
  for (std::uint32_t user = 0; user <= users; ++user)
    clients_.emplace_back(0x100000 * (server + 1), 0x7f0000000000 + user * 0x1000);
}

Result TrappedAccesses::attach(const std::string& name, const Secret& secret,
                               std::uint32_t process) {
  return clients_[0].attach(name, secret, process);
}

Result TrappedAccesses::profile(std::uint8_t* memory, std::size_t bytes, unsigned granule,
                                bool eager) {
  regions_.push_back({memory, bytes});
  return clients_[0].profile(memory, bytes, granule, eager);
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

Result TrappedAccesses::service() {
  return retry(clients_.back(), Refusal::kKeepsWhatIsDone, VMSRS_CALL_SERVICE);
}

Result TrappedAccesses::store(User user, std::uint8_t* to, const std::uint8_t* from,
                              std::uint32_t bytes) {
  if (!word_size(bytes)) return store_range(user, to, from, bytes);
  std::uint64_t value = 0;
  std::memcpy(&value, from, bytes);
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_STORE, address_of(to), value,
               bytes);
}

Result TrappedAccesses::load(User user, const std::uint8_t* from, std::uint8_t* to,
                             std::uint32_t bytes, bool sampled) {
  const bool word = word_size(bytes);
  const std::uint64_t call = !word     ? VMSRS_CALL_LOAD_RANGE
                             : sampled ? VMSRS_CALL_LOAD_SAMPLED
                                       : VMSRS_CALL_LOAD;
  const Result result =
      retry(clients_[user], Refusal::kChangesNothing, call, address_of(from), bytes);
  if (word)
    std::memcpy(to, &result.rdx, bytes);
  else
    std::memcpy(to, from, bytes);
  return result;
}

Result TrappedAccesses::exposed(User user) { return clients_[user].call(VMSRS_CALL_USER_EXPOSED); }

Result TrappedAccesses::store_range(User user, std::uint8_t* to, const std::uint8_t* from,
                                    std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_STORE_RANGE, address_of(to),
               address_of(from), bytes);
}

Result TrappedAccesses::fill(User user, std::uint8_t* to, std::uint8_t value, std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_FILL_RANGE, address_of(to),
               value, bytes);
}

Result TrappedAccesses::load_range(User user, const std::uint8_t* from, std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_LOAD_RANGE, address_of(from),
               bytes);
}

Result TrappedAccesses::load_committed(User user, const std::uint8_t* from, std::uint8_t* to,
                                       std::uint32_t bytes) {
  return retry(clients_[user], Refusal::kChangesNothing, VMSRS_CALL_LOAD_COMMITTED,
               address_of(from), bytes, address_of(to));
}

void TrappedAccesses::fail_at(std::uint32_t n) {
  for (Client& client : clients_) client.memory.fail_at(n);
}

Result TrappedAccesses::retry(Client& client, Refusal refusal, std::uint64_t number,
                              std::uint64_t rdi, std::uint64_t rsi, std::uint64_t rdx) {
  for (;;) {
    snapshot();
    const Result result = client.call(number, rdi, rsi, rdx);
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
    before_.insert(before_.end(), region.memory, region.memory + region.bytes);
}

bool TrappedAccesses::unchanged() const {
  const std::uint8_t* before = before_.data();
  for (const Range& region : regions_) {
    if (std::memcmp(before, region.memory, region.bytes) != 0) return false;
    before += region.bytes;
  }
  return true;
}

}  // namespace vmsrs::test
