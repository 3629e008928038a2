// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::recovery {

// A counter of things that have positions, which a check can count afresh in pieces while it moves:
// what lies before the check's cursor is in the recount, and changes there are made in both.
// Not thread-safe: under the lock of what is counted.
class Tally {
 public:
  operator std::uint64_t() const { return value_; }
  void add(std::uint64_t position) {
    ++value_;
    if (position < passed_) ++recount_;
  }
  void remove(std::uint64_t position) {
    --value_;
    if (position < passed_) --recount_;
  }
  // The same of so many positions, from the first one on.
  void add_run(std::uint64_t first, std::uint64_t count) {
    value_ += count;
    recount_ += passed_of(first, count);
  }
  void remove_run(std::uint64_t first, std::uint64_t count) {
    value_ -= count;
    recount_ -= passed_of(first, count);
  }
  // Nothing is there any more.
  void clear() { value_ = recount_ = 0; }

  // ---- counting afresh
  void begin_recount() { passed_ = recount_ = 0; }
  // From where the recount had come to up to `end` there are now `count`.
  void pass(std::uint64_t end, std::uint64_t count) {
    passed_ = end;
    recount_ += count;
  }
  // Once everything was passed it equals the counter, at every instant.
  std::uint64_t recount() const { return recount_; }

 private:
  friend struct EngineProbe;

  std::uint64_t passed_of(std::uint64_t first, std::uint64_t count) const {
    const std::uint64_t passed = passed_ > first ? passed_ - first : 0;
    return passed < count ? passed : count;
  }

  std::uint64_t value_ = 0;
  std::uint64_t recount_ = 0;
  std::uint64_t passed_ = 0;
};

}  // namespace vmsrs::recovery
