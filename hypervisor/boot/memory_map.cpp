// SPDX-License-Identifier: Apache-2.0
#include "boot/memory_map.hpp"

namespace vmsrs::boot {

bool MemoryMap::add(MemoryRange range) {
  if (range.begin >= range.end) return true;
  std::size_t at = count_;
  while (at > 0 && ranges_[at - 1].begin > range.begin) --at;
  const auto joins = [&](const MemoryRange& left, const MemoryRange& right) {
    return left.end == right.begin && left.type == right.type;
  };
  if (at > 0 && joins(ranges_[at - 1], range)) {
    range.begin = ranges_[--at].begin;
    remove(at);
  }
  if (at < count_ && joins(range, ranges_[at])) {
    range.end = ranges_[at].end;
    remove(at);
  }
  if (count_ == kCapacity) return false;
  for (std::size_t i = count_++; i > at; --i) ranges_[i] = ranges_[i - 1];
  ranges_[at] = range;
  return true;
}

void MemoryMap::remove(std::size_t at) {
  --count_;
  for (; at < count_; ++at) ranges_[at] = ranges_[at + 1];
}

bool MemoryMap::set(std::uint64_t begin, std::uint64_t end, std::uint32_t type) {
  const MemoryMap before = *this;
  count_ = 0;
  for (const MemoryRange& old : before) {
    const std::uint64_t left_end = old.end < begin ? old.end : begin;
    const std::uint64_t right_begin = old.begin > end ? old.begin : end;
    if (!add({old.begin, left_end, old.type}) || !add({right_begin, old.end, old.type})) {
      return false;
    }
  }
  return add({begin, end, type});
}

bool MemoryMap::is_usable(std::uint64_t begin, std::uint64_t end) const {
  for (const MemoryRange& range : *this) {
    if (range.type == kUsable && begin >= range.begin && end <= range.end) return true;
  }
  return false;
}

std::uint64_t MemoryMap::find_top(std::uint64_t bytes, std::uint64_t alignment,
                                  std::uint64_t limit) const {
  for (std::size_t i = count_; i > 0; --i) {
    const MemoryRange& range = ranges_[i - 1];
    if (range.type != kUsable) continue;
    const std::uint64_t end = range.end < limit ? range.end : limit;
    if (end < bytes) continue;
    const std::uint64_t place = (end - bytes) & ~(alignment - 1);
    if (place >= range.begin && place != 0) return place;
  }
  return 0;
}

std::uint64_t MemoryMap::usable_bytes() const {
  std::uint64_t bytes = 0;
  for (const MemoryRange& range : *this) {
    if (range.type == kUsable) bytes += range.end - range.begin;
  }
  return bytes;
}

std::uint64_t MemoryMap::top() const {
  std::uint64_t top = 0;
  for (const MemoryRange& range : *this) {
    if (range.type == kUsable && range.end > top) top = range.end;
  }
  return top;
}

}  // namespace vmsrs::boot
