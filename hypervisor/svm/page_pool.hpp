// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/address.hpp"

namespace vmsrs::svm {

// Hands out hidden pages at boot, cleared; nothing is ever given back. Boot CPU only.
class PagePool {
 public:
  PagePool() = default;
  explicit constexpr PagePool(PhysicalRange range) : next_(range.begin), end_(range.end) {}

  // nullptr when used up.
  void* take(std::uint64_t bytes) {
    const std::uint64_t size = align_up(bytes, kPage);
    if (end_ - next_ < size) return nullptr;
    void* const pages = reinterpret_cast<void*>(next_);
    next_ += size;
    __builtin_memset(pages, 0, size);
    return pages;
  }
  std::uint64_t left() const { return end_ - next_; }
  // Where the next pages begin.
  std::uint64_t next() const { return next_; }

 private:
  std::uint64_t next_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace vmsrs::svm
