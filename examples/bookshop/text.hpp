// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

namespace bookshop {

// A decimal number, nothing before or after it, within [low, high].
inline bool parse_number(std::string_view text, std::uint64_t low, std::uint64_t high,
                         std::uint64_t& number) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return false;
  if (value < low || value > high) return false;
  number = value;
  return true;
}

// Takes the first word off `text`; words are separated by single spaces. Empty: none was left.
inline std::string_view next_word(std::string_view& text) {
  const std::size_t space = text.find(' ');
  const std::string_view word = text.substr(0, space);
  text = space == std::string_view::npos ? std::string_view{} : text.substr(space + 1);
  return word;
}

}  // namespace bookshop
