// SPDX-License-Identifier: Apache-2.0
#include "profiled.hpp"

#include <vmsrs/vmsrs.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "../claims.hpp"
#include "../guest_call.hpp"

namespace vmsrs::guest {

void put_bytes(void* to, const void* from, std::size_t bytes) {
  if (touches_region(to_register(to), bytes))
    vmsrs_store_range(to, from, bytes);
  else
    std::memmove(to, from, bytes);
}

void put_filled(void* to, int byte, std::size_t bytes) {
  if (touches_region(to_register(to), bytes))
    vmsrs_fill_range(to, byte, bytes);
  else
    std::memset(to, byte, bytes);
}

void get_bytes(void* to, const void* from, std::size_t bytes) {
  if (touches_region(to_register(from), bytes))
    vmsrs_load_range(to, from, bytes);
  else
    std::memmove(to, from, bytes);
}

char StringReader::get() {
  if (at_ == end_) {
    const std::size_t within = to_register(next_) % sizeof buffer_;
    at_ = 0;
    end_ = sizeof buffer_ - within;
    get_bytes(buffer_, next_, end_);
    next_ += end_;
  }
  return buffer_[at_++];
}

PrivateString::PrivateString(const char* from, std::size_t most) {
  StringReader reader(from);
  std::size_t room = sizeof small_;
  char c = 0;
  while (length_ < most && (c = reader.get()) != 0) {
    if (length_ + 1 == room) {
      char* const larger =
          static_cast<char*>(std::realloc(text_ != small_ ? text_ : nullptr, 2 * room));
      if (larger == nullptr) {
        if (text_ != small_) std::free(text_);
        text_ = nullptr;
        return;
      }
      if (text_ == small_) std::memcpy(larger, small_, length_);
      text_ = larger;
      room *= 2;
    }
    text_[length_++] = c;
  }
  text_[length_] = 0;
}

PrivateString::~PrivateString() {
  if (text_ != small_) std::free(text_);
}

char* PrivateString::release() {
  if (text_ != small_) return std::exchange(text_, small_);
  char* const copy = static_cast<char*>(std::malloc(length_ + 1));
  if (copy != nullptr) std::memcpy(copy, small_, length_ + 1);
  return copy;
}

}  // namespace vmsrs::guest
