// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <vmsrs/text.h>
#include <wchar.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "profiled.hpp"

// The scanf family with targets in profiled memory: the C library scans into private memory, from
// where what it found is stored.
namespace vmsrs::guest {
namespace {

constexpr std::size_t kMostTargets = 16;
constexpr std::size_t kMostFormat = 1024;
constexpr std::size_t kMostWord = 4095;  // of a %s or %[ that has no width

struct Target {
  void* to;
  void* found;        // private
  std::size_t bytes;  // of one value; of strings: room
  bool is_string;     // ends where its 0 is
  bool is_position;   // %n: counts as no match
  std::size_t unit;   // of a string: of its characters
};

// A format with bounded strings, and what its targets are.
class Plan {
 public:
  ~Plan() {
    for (std::size_t i = 0; i < count_; ++i) std::free(targets_[i].found);
  }
  bool make(const char* format, std::va_list& arguments);
  const char* format() const { return format_; }
  void* place(std::size_t i) const { return i < count_ ? targets_[i].found : nullptr; }
  // Stores what was found: of so many matches.
  void store(int matches) const;

 private:
  bool add(char c) {
    if (length_ + 1 >= kMostFormat) return false;
    format_[length_++] = c;
    format_[length_] = 0;
    return true;
  }
  bool add_width(std::size_t width) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%zu", width);
    for (const char* digit = digits; *digit != 0; ++digit)
      if (!add(*digit)) return false;
    return true;
  }
  bool add_conversion(const char*& at, std::va_list& arguments);
  bool add_set(const char*& at);
  bool add_target(Target target, std::va_list& arguments);

  char format_[kMostFormat] = {};
  std::size_t length_ = 0;
  Target targets_[kMostTargets];
  std::size_t count_ = 0;
};

bool Plan::add_target(Target target, std::va_list& arguments) {
  if (count_ == kMostTargets) return false;
  target.to = va_arg(arguments, void*);
  target.found = std::calloc(1, target.bytes);
  if (target.found == nullptr) return false;
  targets_[count_++] = target;
  return true;
}

// The rest of %[...], of which a ] that comes first is a member.
bool Plan::add_set(const char*& at) {
  if (*at == '^' && !add(*at++)) return false;
  if (*at == ']' && !add(*at++)) return false;
  while (*at != 0 && *at != ']')
    if (!add(*at++)) return false;
  return *at != 0 && add(*at++);
}

std::size_t integer_bytes(const char* size) {
  if (std::strcmp(size, "hh") == 0) return sizeof(char);
  if (std::strcmp(size, "h") == 0) return sizeof(short);
  return *size == 0 ? sizeof(int) : sizeof(long);  // l, ll, q, j, z, t: all of eight bytes
}

std::size_t number_bytes(const char* size) {
  if (*size == 0) return sizeof(float);
  return *size == 'L' ? sizeof(long double) : sizeof(double);
}

bool Plan::add_conversion(const char*& at, std::va_list& arguments) {
  if (!add(*at++)) return false;
  if (*at == '%') return add(*at++);
  const bool dropped = *at == '*';
  if (dropped && !add(*at++)) return false;
  std::size_t width = 0;
  while (*at >= '0' && *at <= '9') width = width * 10 + static_cast<std::size_t>(*at++ - '0');
  if (*at == '$' || *at == 'm' || width > 1'000'000) return false;
  char size[3] = {};
  for (std::size_t i = 0; *at != 0 && std::strchr("hlqjztL", *at) != nullptr; ++i) {
    if (i == 2) return false;
    size[i] = *at++;
  }
  const char letter = *at;
  if (letter == 0) return false;
  ++at;
  const bool is_word = letter == 's' || letter == '[' || letter == 'S';
  const bool is_wide = letter == 'S' || letter == 'C' || size[0] == 'l';
  const std::size_t unit = is_wide ? sizeof(wchar_t) : sizeof(char);
  if (is_word && width == 0 && !dropped) width = kMostWord;
  if (width > 0 && !add_width(width)) return false;
  for (const char* c = size; *c != 0; ++c)
    if (!add(*c)) return false;
  if (!add(letter) || (letter == '[' && !add_set(at))) return false;
  if (dropped) return true;
  Target target{};
  target.is_position = letter == 'n';
  target.is_string = is_word;
  target.unit = unit;
  if (is_word)
    target.bytes = (width + 1) * unit;
  else if (letter == 'c' || letter == 'C')
    target.bytes = (width > 0 ? width : 1) * unit;
  else if (std::strchr("diouxXn", letter) != nullptr)
    target.bytes = integer_bytes(size);
  else if (std::strchr("aAeEfFgG", letter) != nullptr)
    target.bytes = number_bytes(size);
  else if (letter == 'p')
    target.bytes = sizeof(void*);
  else
    return false;
  return add_target(target, arguments);
}

bool Plan::make(const char* format, std::va_list& arguments) {
  while (*format != 0)
    if (!(*format == '%' ? add_conversion(format, arguments) : add(*format++))) return false;
  return true;
}

void Plan::store(int matches) const {
  for (std::size_t i = 0; i < count_; ++i) {
    const Target& target = targets_[i];
    if (!target.is_position && matches-- <= 0) return;
    std::size_t bytes = target.bytes;
    if (target.is_string)
      bytes = target.unit == 1
                  ? std::strlen(static_cast<const char*>(target.found)) + 1
                  : (wcslen(static_cast<const wchar_t*>(target.found)) + 1) * sizeof(wchar_t);
    put_bytes(target.to, target.found, bytes);
  }
}

template <typename Scan>
int scan(const char* format_text, std::va_list given, Scan scan_by) {
  const PrivateString copy(format_text);
  Plan plan;
  std::va_list arguments;
  va_copy(arguments, given);
  const bool made = copy.text() != nullptr && plan.make(copy.text(), arguments);
  va_end(arguments);
  if (!made) {
    errno = EINVAL;
    return EOF;
  }
  const int matches = scan_by(plan.format(), [&](std::size_t i) { return plan.place(i); });
  plan.store(matches);
  return matches;
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
template <typename First, typename Function, typename Place>
int call_with_places(Function function, First first, const char* format, Place place) {
  static_assert(kMostTargets == 16);
  return function(first, format, place(0), place(1), place(2), place(3), place(4), place(5),
                  place(6), place(7), place(8), place(9), place(10), place(11), place(12),
                  place(13), place(14), place(15));
}

}  // namespace
}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_vsscanf(const char* text, const char* format_text, va_list arguments) {
  const PrivateString copy(text);
  if (copy.text() == nullptr) return EOF;
  return scan(format_text, arguments, [&](const char* format, auto place) {
    return call_with_places(std::sscanf, copy.text(), format, place);
  });
}

int vmsrs_vfscanf(FILE* file, const char* format_text, va_list arguments) {
  return scan(format_text, arguments, [&](const char* format, auto place) {
    return call_with_places(std::fscanf, file, format, place);
  });
}

int vmsrs_sscanf(const char* text, const char* format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  const int matches = vmsrs_vsscanf(text, format_text, arguments);
  va_end(arguments);
  return matches;
}

int vmsrs_fscanf(FILE* file, const char* format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  const int matches = vmsrs_vfscanf(file, format_text, arguments);
  va_end(arguments);
  return matches;
}

int vmsrs_scanf(const char* format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  const int matches = vmsrs_vfscanf(stdin, format_text, arguments);
  va_end(arguments);
  return matches;
}
