// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace vmsrs::guest {

// A line for people, put together without the C library's printf: for signal handlers.
class Line {
 public:
  Line& text(const char* text) {
    while (*text != '\0' && length_ < sizeof text_) text_[length_++] = *text++;
    return *this;
  }
  Line& number(std::uint64_t value, unsigned base = 10) {
    char digits[20];
    std::size_t count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    while (count > 0 && length_ < sizeof text_) text_[length_++] = digits[--count];
    return *this;
  }
  Line& hex(std::uint64_t value) { return text("0x").number(value, 16); }
  void write_to(int descriptor) const {
    [[maybe_unused]] const ssize_t written = ::write(descriptor, text_, length_);
  }

  const char* data() const { return text_; }
  std::size_t size() const { return length_; }

 private:
  char text_[256];
  std::size_t length_ = 0;
};

}  // namespace vmsrs::guest
