// SPDX-License-Identifier: Apache-2.0
#include "trace.hpp"

#include <dlfcn.h>
#include <link.h>

#include "guest_call.hpp"
#include "rescue.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kSearchedBytes = 2048;
constexpr std::uint64_t kLargestFrame = 1 << 20;
constexpr std::uint64_t kUserEnd = 1ull << 47;

// Reads words of memory that may not be there.
class Reader {
 public:
  bool read(std::uint64_t address, std::uint64_t& word) {
    if (address % kWord != 0 || !is_there(address)) return false;
    word = *reinterpret_cast<const volatile std::uint64_t*>(address);
    return true;
  }
  // Asks the kernel, once for each page in a row.
  bool is_there(std::uint64_t address) {
    if (address >= kUserEnd) return false;
    const std::uint64_t page = address / VMSRS_PAGE_BYTES;
    if (page != page_) there_ = can_be_read(address);
    page_ = page;
    return there_;
  }

 private:
  std::uint64_t page_ = ~0ull;
  bool there_ = false;
};

class Tracer {
 public:
  explicit Tracer(std::uint64_t (&addresses)[VMSRS_TRACE_FRAMES]) : addresses_(addresses) {}
  std::uint32_t count() const { return count_; }

  // What a function that has no frame yet, or never has one, was called from.
  void look_at_top(const Frame& from) {
    std::uint64_t word = 0;
    if (stack_.read(from.stack, word) && follows_call(word)) add(word);
  }

  // False: there are no frame pointers.
  bool follow_frames(const Frame& from) {
    std::uint64_t base = from.base, lowest = from.stack;
    bool any = false;
    while (!is_full() && base >= lowest && base - lowest < kLargestFrame) {
      std::uint64_t outer = 0, address = 0;
      if (!stack_.read(base, outer) || !stack_.read(base + kWord, address) ||
          !follows_call(address))
        break;
      if (count_ == 0 || addresses_[count_ - 1] != address) add(address);
      any = true;
      lowest = base + 2 * kWord;
      base = outer;
    }
    return any;
  }

  void search(const Frame& from) {
    std::uint64_t word = 0;
    for (std::uint64_t at = from.stack; at < from.stack + kSearchedBytes && !is_full();
         at += kWord) {
      if (!stack_.read(at, word)) return;
      if (follows_call(word) && !is_in_libc(word)) add(word);
    }
  }

 private:
  bool is_full() const { return count_ == VMSRS_TRACE_FRAMES; }
  void add(std::uint64_t address) { addresses_[count_++] = address; }

  // Is the address in a module's code, and what is in front of it a CALL? E8 and a displacement, or
  // FF /2 in one of its forms.
  bool follows_call(std::uint64_t address) {
    constexpr std::uint64_t kLongestCall = 7;
    dl_find_object module;
    if (address < VMSRS_PAGE_BYTES || address >= kUserEnd ||
        _dl_find_object(reinterpret_cast<void*>(address - 1), &module) != 0 ||
        !code_.is_there(address - kLongestCall) || !code_.is_there(address - 1))
      return false;
    const auto* const end = reinterpret_cast<const std::uint8_t*>(address);
    if (end[-5] == 0xe8) return true;
    for (int length = 2; length <= static_cast<int>(kLongestCall); ++length)
      if (end[-length] == 0xff && (end[1 - length] >> 3 & 7) == 2) return true;
    return false;
  }

  std::uint64_t (&addresses_)[VMSRS_TRACE_FRAMES];
  std::uint32_t count_ = 0;
  Reader stack_, code_;
};

}  // namespace

std::uint32_t trace(const Frame& from, std::uint64_t (&addresses)[VMSRS_TRACE_FRAMES]) {
  Tracer all(addresses);
  all.look_at_top(from);
  if (all.follow_frames(from)) return all.count();
  Tracer searched(addresses);
  searched.search(from);
  return searched.count();
}

}  // namespace vmsrs::guest
