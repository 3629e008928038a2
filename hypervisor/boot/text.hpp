// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmsrs::boot {

// A string with room for `Size` characters and its NUL.
template <std::size_t Size>
class Text {
 public:
  static constexpr std::size_t kSize = Size;
  // False if it does not fit; then it is cut.
  [[nodiscard]] bool assign(const char* from) {
    length_ = 0;
    text_[0] = '\0';
    return add(from);
  }
  [[nodiscard]] bool add(const char* from) {
    for (; *from != '\0'; ++from) {
      if (length_ == Size) return false;
      text_[length_++] = *from;
      text_[length_] = '\0';
    }
    return true;
  }
  const char* c_str() const { return text_; }
  std::size_t length() const { return length_; }

 private:
  char text_[Size + 1] = {};
  std::size_t length_ = 0;
};

// If `text` begins with `prefix`, what follows it; else nullptr.
inline const char* after_prefix(const char* text, const char* prefix) {
  for (; *prefix != '\0'; ++prefix, ++text) {
    if (*text != *prefix) return nullptr;
  }
  return text;
}

}  // namespace vmsrs::boot
