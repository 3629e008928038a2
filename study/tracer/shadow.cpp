// SPDX-License-Identifier: Apache-2.0
#include "shadow.hpp"

#include <algorithm>
#include <bit>
#include <vector>

namespace vmsrs::study {

Shadow::Page* Shadow::page(std::uint64_t number) const {
  if (number != cached_number_) {
    const auto found = pages_.find(number);
    cached_number_ = number;
    cached_ = found == pages_.end() ? nullptr : found->second.get();
  }
  return cached_;
}

void Shadow::change(Page& page, std::uint64_t offset, Labels labels) {
  const Labels old = page.labels[offset];
  for (Labels rest = old & ~labels; rest != 0; rest &= rest - 1)
    --counts_[static_cast<unsigned>(std::countr_zero(rest))];
  for (Labels rest = labels & ~old; rest != 0; rest &= rest - 1) {
    const auto label = static_cast<unsigned>(std::countr_zero(rest));
    peaks_[label] = std::max(peaks_[label], ++counts_[label]);
  }
  if (old == 0 && labels != 0) ++page.labelled;
  if (old != 0 && labels == 0) --page.labelled;
  page.labels[offset] = labels;
}

Labels Shadow::at(std::uint64_t address) const {
  const Page* const found = page(address / kPageBytes);
  return found == nullptr ? 0 : found->labels[address % kPageBytes];
}

void Shadow::set(std::uint64_t address, Labels labels) {
  const std::uint64_t number = address / kPageBytes;
  Page* found = page(number);
  if (found == nullptr) {
    if (labels == 0) return;
    found = (pages_[number] = std::make_unique<Page>()).get();
    cached_ = found;
  }
  if (found->labels[address % kPageBytes] != labels) change(*found, address % kPageBytes, labels);
}

void Shadow::clear(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t end = address + bytes;
  // Whichever are fewer: the pages of the range, or the pages that there are.
  if (bytes / kPageBytes < pages_.size()) {
    while (address < end) {
      const std::uint64_t next = std::min(end, (address / kPageBytes + 1) * kPageBytes);
      Page* const found = page(address / kPageBytes);
      if (found != nullptr && found->labelled != 0)
        for (std::uint64_t at = address; at < next; ++at)
          if (found->labels[at % kPageBytes] != 0) change(*found, at % kPageBytes, 0);
      address = next;
    }
    return;
  }
  for (auto& [number, found] : pages_) {
    if (found->labelled == 0 || (number + 1) * kPageBytes <= address || number * kPageBytes >= end)
      continue;
    for (std::uint64_t offset = 0; offset < kPageBytes; ++offset) {
      const std::uint64_t at = number * kPageBytes + offset;
      if (at >= address && at < end && found->labels[offset] != 0) change(*found, offset, 0);
    }
  }
}

void Shadow::move(std::uint64_t from, std::uint64_t to, std::uint64_t bytes) {
  std::vector<std::pair<std::uint64_t, Labels>> kept;
  for (auto& [number, found] : pages_)
    for (std::uint64_t offset = 0; found->labelled != 0 && offset < kPageBytes; ++offset) {
      const std::uint64_t at = number * kPageBytes + offset;
      if (at >= from && at - from < bytes && found->labels[offset] != 0)
        kept.emplace_back(at - from, found->labels[offset]);
    }
  clear(from, bytes);
  for (const auto& [offset, labels] : kept) set(to + offset, labels);
}

void Shadow::forget(Labels labels) {
  for (auto& [number, found] : pages_)
    for (std::uint64_t offset = 0; found->labelled != 0 && offset < kPageBytes; ++offset)
      if ((found->labels[offset] & labels) != 0)
        change(*found, offset, found->labels[offset] & ~labels);
  for (Labels rest = labels; rest != 0; rest &= rest - 1)
    peaks_[static_cast<unsigned>(std::countr_zero(rest))] = 0;
}

}  // namespace vmsrs::study
