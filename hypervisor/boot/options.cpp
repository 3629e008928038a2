// SPDX-License-Identifier: Apache-2.0
#include "boot/options.hpp"

#include "boot/text.hpp"

namespace vmsrs::boot {
namespace {

constexpr std::uint64_t kAligned = std::uint64_t{2} << 20;

bool ends_word(char c) { return c == '\0' || c == ' '; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A size, or a share of memory: 1 to 90 %.
bool parse_hidden(const char* text, Options& options) {
  std::uint64_t number = 0;
  if (ends_word(*text)) return false;
  for (; *text >= '0' && *text <= '9'; ++text) {
    if (number > kMostHidden) return false;
    number = number * 10 + static_cast<std::uint64_t>(*text - '0');
  }
  if (*text == '%' && ends_word(text[1])) {
    options.hidden_percent = static_cast<std::uint32_t>(number);
    return number >= 1 && number <= 90;
  }
  unsigned shift = 0;
  if (*text == 'K' || *text == 'k') shift = 10;
  if (*text == 'M' || *text == 'm') shift = 20;
  if (*text == 'G' || *text == 'g') shift = 30;
  if (shift != 0) ++text;
  if (!ends_word(*text) || number > (kMostHidden >> shift)) return false;
  options.hidden_percent = 0;
  options.hidden_bytes = number << shift;
  return options.hidden_bytes >= kLeastHidden;
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

// `0x` and hexadecimal digits, at most `most`.
bool parse_address(const char* text, std::uint64_t most, std::uint64_t& number) {
  const char* digits = after_prefix(text, "0x");
  if (digits == nullptr || ends_word(*digits)) return false;
  number = 0;
  for (; !ends_word(*digits); ++digits) {
    const int digit = hex_digit(*digits);
    if (digit < 0 || number > (most >> 4)) return false;
    number = number << 4 | static_cast<unsigned>(digit);
  }
  return number != 0;
}

bool parse_seconds(const char* text, std::uint32_t& seconds) {
  constexpr std::uint32_t kLeast = 6, kMost = 3600;
  if (ends_word(*text)) return false;
  std::uint32_t number = 0;
  for (; *text >= '0' && *text <= '9' && number <= kMost; ++text)
    number = number * 10 + static_cast<std::uint32_t>(*text - '0');
  seconds = number;
  return ends_word(*text) && (number == 0 || (number >= kLeast && number <= kMost));
}

const char* parse_word(const char* word, Options& options) {
  constexpr std::uint64_t kLastAddress = (std::uint64_t{1} << 52) - 1;
  if (const char* v = after_prefix(word, "hidden=")) {
    return parse_hidden(v, options)
               ? nullptr
               : "expected hidden=SIZE, 4M to 448G, such as 64M, or hidden=N%, 1% to 90%";
  }
  if (const char* v = after_prefix(word, "hidden_at=")) {
    return parse_address(v, kLastAddress, options.hidden_place) &&
                   options.hidden_place % kAligned == 0
               ? nullptr
               : "expected hidden_at=0xADDRESS, a multiple of 2 MiB";
  }
  if (const char* v = after_prefix(word, "secret_sha256=")) {
    options.has_secret = true;
    return parse_hash(v, options.secret_hash) ? nullptr
                                              : "expected secret_sha256= and 64 hexadecimal digits";
  }
  if (const char* v = after_prefix(word, "fallback=")) {
    const char* const rest = after_prefix(v, "native");
    options.native_fallback = rest != nullptr && ends_word(*rest);
    return options.native_fallback ? nullptr : "expected fallback=native";
  }
  if (const char* v = after_prefix(word, "kdump=")) {
    const char* const skipped = after_prefix(v, "skipped");
    const char* const first = after_prefix(v, "first");
    options.skips_crash_kernel = skipped != nullptr;
    const char* const rest = skipped != nullptr ? skipped : first;
    return rest != nullptr && ends_word(*rest) ? nullptr : "expected kdump=first or kdump=skipped";
  }
  if (const char* v = after_prefix(word, "hang_seconds=")) {
    return parse_seconds(v, options.hang_seconds)
               ? nullptr
               : "expected hang_seconds=N, 6 to 3600, or 0: hangs are not watched for";
  }
  if (const char* v = after_prefix(word, "restart=")) {
    const char* const rest = after_prefix(v, "off");
    options.restart = rest == nullptr || !ends_word(*rest);
    return options.restart ? "expected restart=off" : nullptr;
  }
  if (const char* v = after_prefix(word, "give_up=")) {
    const char* const reset = after_prefix(v, "reset");
    options.resets_when_given_up = reset != nullptr && ends_word(*reset);
    const char* const rest = reset != nullptr ? reset : after_prefix(v, "halt");
    return rest != nullptr && ends_word(*rest) ? nullptr : "expected give_up=halt or give_up=reset";
  }
  if (const char* v = after_prefix(word, "contradiction=")) {
    const char* const goes_on = after_prefix(v, "go_on");
    options.goes_on = goes_on != nullptr && ends_word(*goes_on);
    const char* const rest = goes_on != nullptr ? goes_on : after_prefix(v, "park");
    return rest != nullptr && ends_word(*rest)
               ? nullptr
               : "expected contradiction=park or contradiction=go_on";
  }
  if (const char* v = after_prefix(word, "debug_exit=")) {
    std::uint64_t port = 0;
    if (!parse_address(v, 0xffff, port)) return "expected debug_exit=0xPORT";
    options.debug_exit_port = static_cast<std::uint16_t>(port);
    return nullptr;
  }
  return "unknown option; there are hidden=, hidden_at=, secret_sha256=, fallback=, kdump=, "
         "hang_seconds=, restart=, give_up=, contradiction=, debug_exit=";
}

}  // namespace

OptionError parse_options(const char* text, Options& options) {
  OptionError error;
  while (*text != '\0') {
    while (*text == ' ') ++text;
    if (*text == '\0') break;
    const char* const what = parse_word(text, options);
    const bool is_first = what != nullptr && error.what == nullptr;
    if (is_first) error.what = what;
    std::uint64_t length = 0;
    for (; !ends_word(*text); ++text) {
      if (is_first && length + 1 < sizeof(error.word)) error.word[length++] = *text;
    }
  }
  return error;
}

}  // namespace vmsrs::boot
