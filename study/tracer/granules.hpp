// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

// Which memory was touched by which users, at three sizes of granule. Memory that is allocated anew
// counts as new memory: what a user left in a block that it freed is shared with nobody. Not
// thread-safe.
namespace vmsrs::study {

using UserNumber = std::uint32_t;
inline constexpr UserNumber kNobody = 0;  // the server itself, outside of all requests

inline constexpr std::array<std::uint64_t, 3> kGranuleBytes{8, 64, 4096};

// Of one granule, and their sums.
struct Sharing {
  std::uint64_t touched = 0;             // by any user
  std::uint64_t shared = 0;              // touched by several
  std::uint64_t shared_and_written = 0;  // and written by at least one of them
  std::uint64_t written_by_several = 0;
  std::uint64_t passed =
      0;  // a user loaded from it after another one had stored to it, the last of all
};

// What users did to a range.
struct Use {
  std::uint64_t loads = 0, stores = 0;
  Sharing sharing;  // in granules of 8 bytes
};

class Granules {
 public:
  void touch(std::uint64_t address, std::uint64_t bytes, UserNumber user, bool store);
  // Sums up the range; what is wholly in it is new memory from now on.
  Use take(std::uint64_t address, std::uint64_t bytes);
  // The same without an end of that memory, for each granule of 8 bytes that a user touched.
  void for_each(const std::function<void(std::uint64_t address, const Use&)>& visit) const;

  [[nodiscard]] const std::array<Sharing, 3>& totals() const { return totals_; }

 private:
  struct Granule {
    UserNumber first = kNobody, writer = kNobody, last_writer = kNobody;
    bool shared = false, written_by_several = false, passed = false;
    void touch(UserNumber user, bool store, Sharing& total);
    [[nodiscard]] Sharing sharing() const;
  };
  struct Counted {
    Granule granule;
    std::uint32_t loads = 0, stores = 0;
  };
  struct Page {
    std::array<Counted, 512> words;
    std::array<Granule, 64> lines;
    Granule whole;
  };

  Page* find(std::uint64_t number) const;

  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
  std::array<Sharing, 3> totals_{};
  mutable std::uint64_t cached_number_ = ~0ull;
  mutable Page* cached_ = nullptr;
};

}  // namespace vmsrs::study
