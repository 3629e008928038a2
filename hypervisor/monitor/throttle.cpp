// SPDX-License-Identifier: Apache-2.0
#include "monitor/throttle.hpp"

namespace vmsrs::monitor {
namespace {

constexpr std::uint32_t kFreeFailures = 3;
constexpr std::uint64_t kFirstDelayNs = 100'000'000;
constexpr std::uint64_t kLongestDelayNs = 10'000'000'000;

std::uint64_t delay_after(std::uint32_t failures) {
  if (failures < kFreeFailures) return 0;
  std::uint64_t delay = kFirstDelayNs;
  for (std::uint32_t i = kFreeFailures; i < failures && delay < kLongestDelayNs; ++i) delay *= 2;
  return delay < kLongestDelayNs ? delay : kLongestDelayNs;
}

}  // namespace

Throttle::Entry* Throttle::find(std::uint64_t address_space) {
  for (Entry& entry : entries_)
    if (entry.failures > 0 && entry.address_space == address_space) return &entry;
  return nullptr;
}

// A free entry, else that of the failure longest ago.
Throttle::Entry* Throttle::claim(std::uint64_t address_space) {
  Entry* best = &entries_[0];
  for (Entry& entry : entries_) {
    if (entry.failures == 0) {
      best = &entry;
      break;
    }
    if (entry.failed_ns < best->failed_ns) best = &entry;
  }
  *best = Entry{};
  best->address_space = address_space;
  return best;
}

bool Throttle::waits(std::uint64_t address_space, const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  const Entry* const entry = find(address_space);
  return entry != nullptr && platform.now_ns() < entry->until_ns;
}

void Throttle::failed(std::uint64_t address_space, const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  Entry* entry = find(address_space);
  if (entry == nullptr) entry = claim(address_space);
  if (entry->failures < 64) ++entry->failures;
  entry->failed_ns = platform.now_ns();
  entry->until_ns = entry->failed_ns + delay_after(entry->failures);
}

void Throttle::succeeded(std::uint64_t address_space, const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  if (Entry* const entry = find(address_space)) *entry = Entry{};
}

}  // namespace vmsrs::monitor
