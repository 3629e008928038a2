// SPDX-License-Identifier: Apache-2.0
#include "granules.hpp"

#include <algorithm>

namespace vmsrs::study {
namespace {

constexpr std::uint64_t kPageBytes = 4096, kWordBytes = 8, kLineBytes = 64;

void add(Sharing& sum, const Sharing& more) {
  sum.touched += more.touched;
  sum.shared += more.shared;
  sum.shared_and_written += more.shared_and_written;
  sum.written_by_several += more.written_by_several;
  sum.passed += more.passed;
}

}  // namespace

void Granules::Granule::touch(UserNumber user, bool store, Sharing& total) {
  const Sharing before = sharing();
  if (first == kNobody) first = user;
  if (first != user) shared = true;
  if (store) {
    if (writer == kNobody) writer = user;
    if (writer != user) written_by_several = true;
    last_writer = user;
  } else if (last_writer != kNobody && last_writer != user) {
    passed = true;
  }
  const Sharing after = sharing();
  total.touched += after.touched - before.touched;
  total.shared += after.shared - before.shared;
  total.shared_and_written += after.shared_and_written - before.shared_and_written;
  total.written_by_several += after.written_by_several - before.written_by_several;
  total.passed += after.passed - before.passed;
}

Sharing Granules::Granule::sharing() const {
  return {.touched = first != kNobody,
          .shared = shared,
          .shared_and_written = shared && writer != kNobody,
          .written_by_several = written_by_several,
          .passed = passed};
}

Granules::Page* Granules::find(std::uint64_t number) const {
  if (number != cached_number_) {
    const auto found = pages_.find(number);
    cached_number_ = number;
    cached_ = found == pages_.end() ? nullptr : found->second.get();
  }
  return cached_;
}

void Granules::touch(std::uint64_t address, std::uint64_t bytes, UserNumber user, bool store) {
  if (user == kNobody || bytes == 0) return;
  const std::uint64_t end = address + bytes;
  for (std::uint64_t word = address / kWordBytes; word * kWordBytes < end; ++word) {
    const std::uint64_t number = word * kWordBytes / kPageBytes;
    Page* page = find(number);
    if (page == nullptr) cached_ = page = (pages_[number] = std::make_unique<Page>()).get();
    Counted& counted = page->words[word % (kPageBytes / kWordBytes)];
    ++(store ? counted.stores : counted.loads);
    counted.granule.touch(user, store, totals_[0]);
    page->lines[word * kWordBytes % kPageBytes / kLineBytes].touch(user, store, totals_[1]);
    page->whole.touch(user, store, totals_[2]);
  }
}

Use Granules::take(std::uint64_t address, std::uint64_t bytes) {
  Use use;
  const std::uint64_t end = address + bytes;
  for (std::uint64_t number = address / kPageBytes; number * kPageBytes < end; ++number) {
    Page* const page = find(number);
    if (page == nullptr) continue;
    const std::uint64_t start = number * kPageBytes;
    for (std::uint64_t i = 0; i < page->words.size(); ++i) {
      const std::uint64_t at = start + i * kWordBytes;
      if (at + kWordBytes <= address || at >= end) continue;
      use.loads += page->words[i].loads;
      use.stores += page->words[i].stores;
      add(use.sharing, page->words[i].granule.sharing());
      page->words[i] = {};
    }
    for (std::uint64_t i = 0; i < page->lines.size(); ++i) {
      const std::uint64_t at = start + i * kLineBytes;
      if (at >= address && at + kLineBytes <= end) page->lines[i] = {};
    }
    if (start >= address && start + kPageBytes <= end) page->whole = {};
  }
  return use;
}

void Granules::for_each(const std::function<void(std::uint64_t, const Use&)>& visit) const {
  for (const auto& [number, page] : pages_)
    for (std::uint64_t i = 0; i < page->words.size(); ++i) {
      const Counted& counted = page->words[i];
      if (counted.granule.first == kNobody) continue;
      visit(number * kPageBytes + i * kWordBytes,
            Use{counted.loads, counted.stores, counted.granule.sharing()});
    }
}

}  // namespace vmsrs::study
