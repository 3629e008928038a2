// SPDX-License-Identifier: Apache-2.0
#include "boot/options.hpp"

#include "boot/text.hpp"

namespace vmsrs::boot {
namespace {

constexpr std::uint64_t kLeastHidden = std::uint64_t{4} << 20;
constexpr std::uint64_t kMostHidden = std::uint64_t{2} << 30;

bool ends_word(char c) { return c == '\0' || c == ' '; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool parse_size(const char* text, std::uint64_t& bytes) {
  bytes = 0;
  if (ends_word(*text)) return false;
  for (; *text >= '0' && *text <= '9'; ++text) {
    if (bytes > (std::uint64_t{1} << 50)) return false;
    bytes = bytes * 10 + static_cast<std::uint64_t>(*text - '0');
  }
  unsigned shift = 0;
  if (*text == 'K' || *text == 'k') shift = 10;
  if (*text == 'M' || *text == 'm') shift = 20;
  if (*text == 'G' || *text == 'g') shift = 30;
  if (shift != 0) ++text;
  if (!ends_word(*text) || bytes > (kMostHidden >> shift)) return false;
  bytes <<= shift;
  return bytes >= kLeastHidden;
}

bool parse_hash(const char* text, std::uint8_t (&hash)[32]) {
  for (std::uint8_t& byte : hash) {
    const int high = hex_digit(text[0]);
    const int low = high < 0 ? -1 : hex_digit(text[1]);
    if (low < 0) return false;
    byte = static_cast<std::uint8_t>(high << 4 | low);
    text += 2;
  }
  return ends_word(*text);
}

bool parse_port(const char* text, std::uint16_t& port) {
  const char* digits = after_prefix(text, "0x");
  if (digits == nullptr || ends_word(*digits)) return false;
  unsigned number = 0;
  for (; !ends_word(*digits); ++digits) {
    const int digit = hex_digit(*digits);
    if (digit < 0 || number > 0xfff) return false;
    number = number << 4 | static_cast<unsigned>(digit);
  }
  port = static_cast<std::uint16_t>(number);
  return port != 0;
}

const char* parse_word(const char* word, Options& options) {
  if (const char* v = after_prefix(word, "hidden=")) {
    return parse_size(v, options.hidden_bytes) ? nullptr
                                               : "expected hidden=SIZE, 4M to 2G, such as 64M";
  }
  if (const char* v = after_prefix(word, "secret_sha256=")) {
    options.has_secret = true;
    return parse_hash(v, options.secret_hash) ? nullptr
                                              : "expected secret_sha256= and 64 hexadecimal digits";
  }
  if (const char* v = after_prefix(word, "debug_exit=")) {
    return parse_port(v, options.debug_exit_port) ? nullptr : "expected debug_exit=0xPORT";
  }
  return "unknown option; there are hidden=, secret_sha256=, debug_exit=";
}

}  // namespace

OptionError parse_options(const char* text, Options& options) {
  OptionError error;
  while (*text != '\0') {
    while (*text == ' ') ++text;
    if (*text == '\0') break;
    error.what = parse_word(text, options);
    std::uint64_t length = 0;
    for (; !ends_word(*text); ++text) {
      if (error.what != nullptr && length + 1 < sizeof(error.word)) error.word[length++] = *text;
    }
    if (error.what != nullptr) return error;
  }
  return error;
}

}  // namespace vmsrs::boot
