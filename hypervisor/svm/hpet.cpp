// SPDX-License-Identifier: Apache-2.0
#include "svm/hpet.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint64_t kCapabilities = 0x00, kConfiguration = 0x10, kCounter = 0xf0,
                        kComparators = 0x100, kComparatorBytes = 0x20;
constexpr std::uint64_t kEnable = 1, kLegacyRoute = 2;
// Of a comparator: configuration, value, message.
constexpr std::uint64_t kValue = 0x08, kMessage = 0x10;
constexpr std::uint64_t kInterrupts = 1u << 2, kNarrow = 1u << 8, kSendsMessage = 1u << 14,
                        kCanSendMessage = 1u << 15;
constexpr std::uint64_t kFemtosecondsPerMicrosecond = 1000000000;
constexpr std::uint64_t kLongestPeriod = 100000000;  // in femtoseconds; a longer one is none

}  // namespace

std::uint32_t Hpet::now() const { return static_cast<std::uint32_t>(at(kCounter)); }

bool Hpet::find(std::uint64_t registers) {
  registers_ = registers;
  const std::uint64_t capabilities = at(kCapabilities);
  const std::uint64_t period = capabilities >> 32;
  if (period == 0 || period > kLongestPeriod) return false;
  const std::uint64_t count = (capabilities >> 8 & 0x1f) + 1;
  for (std::uint64_t i = count; i-- > 0;) {
    comparator_ = kComparators + i * kComparatorBytes;
    if ((at(comparator_) & kCanSendMessage) != 0) return true;
  }
  return false;
}

void Hpet::start(std::uint64_t microseconds, std::uint32_t address, std::uint32_t data) {
  const std::uint64_t period = at(kCapabilities) >> 32;
  ticks_ = static_cast<std::uint32_t>(microseconds * kFemtosecondsPerMicrosecond / period);
  at(comparator_ + kMessage) = std::uint64_t{address} << 32 | data;
  at(kConfiguration) = (at(kConfiguration) & ~kLegacyRoute) | kEnable;
  rearm();
  at(comparator_) = kInterrupts | kNarrow | kSendsMessage;
}

bool Hpet::due() const { return static_cast<std::int32_t>(now() - due_) >= 0; }

void Hpet::rearm() {
  due_ = now() + ticks_;
  at(comparator_ + kValue) = due_;
}

}  // namespace vmsrs::svm
