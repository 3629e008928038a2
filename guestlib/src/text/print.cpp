// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <unistd.h>
#include <vmsrs/text.h>
#include <wchar.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "profiled.hpp"

// The printf family for arguments in profiled memory. Each conversion is the C library's own, with
// its argument fetched: strings that it names are read through the library first.
namespace vmsrs::guest {
namespace {

// Where the text goes: counts it all, keeps what there is room for.
class Sink {
 public:
  Sink(char* to, std::size_t room) : to_(to), room_(room) {}
  explicit Sink(std::FILE* file) : file_(file) {}

  void add(const char* text, std::size_t bytes) {
    if (file_ != nullptr) {
      failed_ = failed_ || std::fwrite(text, 1, bytes, file_) != bytes;
    } else if (count_ < room_) {
      put_bytes(to_ + count_, text, std::min(bytes, room_ - count_));
    }
    count_ += bytes;
  }
  bool failed() const { return failed_ || count_ > INT32_MAX; }
  std::size_t count() const { return count_; }

 private:
  std::FILE* file_ = nullptr;
  char* to_ = nullptr;
  std::size_t room_ = 0;
  std::size_t count_ = 0;
  bool failed_ = false;
};

enum class Size { kChar, kShort, kInt, kLong, kLongLong, kMax, kSize, kDifference, kLongDouble };

// One conversion, from its % to its letter; the C library's own conversion of the argument.
struct Conversion {
  char text[48];
  std::size_t length = 0;
  int stars[2];  // arguments for * in it
  int star_count = 0;
  int precision = -1;
  Size size = Size::kInt;
  char letter = 0;

  bool add(char c) {
    if (length + 1 >= sizeof text) return false;
    text[length++] = c;
    text[length] = 0;
    return true;
  }
};

bool is_one_of(char c, const char* set) { return c != 0 && std::strchr(set, c) != nullptr; }

// A number, or a star, whose value comes from the arguments. The value; -1: there is none.
bool read_number(const char*& at, Conversion& to, std::va_list& arguments, int& value) {
  value = -1;
  if (*at == '*') {
    value = to.stars[to.star_count++] = va_arg(arguments, int);
    return to.add(*at++);
  }
  while (*at >= '0' && *at <= '9') {
    value = std::min((value < 0 ? 0 : value) * 10 + (*at - '0'), 1'000'000);
    if (!to.add(*at++)) return false;
  }
  return *at != '$';  // numbered arguments: not here
}

Size read_size(const char*& at, Conversion& to) {
  static constexpr struct {
    const char* text;
    Size size;
  } kSizes[] = {{"hh", Size::kChar}, {"h", Size::kShort},      {"ll", Size::kLongLong},
                {"l", Size::kLong},  {"q", Size::kLongLong},   {"j", Size::kMax},
                {"z", Size::kSize},  {"t", Size::kDifference}, {"L", Size::kLongDouble}};
  for (const auto& [text, size] : kSizes) {
    const std::size_t bytes = std::strlen(text);
    if (std::strncmp(at, text, bytes) != 0) continue;
    for (std::size_t i = 0; i < bytes; ++i) to.add(*at++);
    return size;
  }
  return Size::kInt;
}

bool read_conversion(const char*& at, Conversion& to, std::va_list& arguments) {
  to.add(*at++);
  while (is_one_of(*at, "-+ #0'I"))
    if (!to.add(*at++)) return false;
  int width;
  if (!read_number(at, to, arguments, width)) return false;
  if (*at == '.') {
    to.add(*at++);
    if (!read_number(at, to, arguments, to.precision)) return false;
    if (to.precision < 0 && to.text[to.length - 1] == '.') to.precision = 0;
  }
  to.size = read_size(at, to);
  to.letter = *at;
  return *at != 0 && to.add(*at++);
}

template <typename... Values>
bool print(Sink& sink, const Conversion& how, Values... values) {
  char small[256];
  char* text = small;
  const auto to = [&](char* buffer, std::size_t room) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    return std::snprintf(buffer, room, how.text, values...);
#pragma GCC diagnostic pop
  };
  const int length = to(small, sizeof small);
  if (length < 0) return false;
  const auto bytes = static_cast<std::size_t>(length);
  if (bytes >= sizeof small) {
    text = static_cast<char*>(std::malloc(bytes + 1));
    if (text == nullptr) return false;
    to(text, bytes + 1);
  }
  sink.add(text, bytes);
  if (text != small) std::free(text);
  return true;
}

template <typename Value>
bool print_with_stars(Sink& sink, const Conversion& how, Value value) {
  switch (how.star_count) {
    case 0:
      return print(sink, how, value);
    case 1:
      return print(sink, how, how.stars[0], value);
    default:
      return print(sink, how, how.stars[0], how.stars[1], value);
  }
}

bool print_integer(Sink& sink, const Conversion& how, std::va_list& arguments) {
  switch (how.size) {
    case Size::kLong:
      return print_with_stars(sink, how, va_arg(arguments, long));
    case Size::kLongLong:
    case Size::kLongDouble:
      return print_with_stars(sink, how, va_arg(arguments, long long));
    case Size::kMax:
      return print_with_stars(sink, how, va_arg(arguments, std::intmax_t));
    case Size::kSize:
      return print_with_stars(sink, how, va_arg(arguments, std::size_t));
    case Size::kDifference:
      return print_with_stars(sink, how, va_arg(arguments, std::ptrdiff_t));
    default:
      return print_with_stars(sink, how, va_arg(arguments, int));
  }
}

bool print_wide(Sink& sink, const Conversion& how, const wchar_t* from) {
  std::size_t count = 0;
  const std::size_t most = how.precision >= 0 ? static_cast<std::size_t>(how.precision) : SIZE_MAX;
  wchar_t last = 1;
  while (count < most && last != 0) get_bytes(&last, from + count++, sizeof last);
  auto* const copy = static_cast<wchar_t*>(std::calloc(count + 1, sizeof(wchar_t)));
  if (copy == nullptr) return false;
  get_bytes(copy, from, count * sizeof(wchar_t));
  const bool done = print_with_stars(sink, how, copy);
  std::free(copy);
  return done;
}

bool print_string(Sink& sink, const Conversion& how, std::va_list& arguments) {
  const void* const from = va_arg(arguments, const void*);
  if (from == nullptr) return print_with_stars(sink, how, static_cast<const char*>(nullptr));
  if (how.letter == 'S' || how.size == Size::kLong)
    return print_wide(sink, how, static_cast<const wchar_t*>(from));
  const PrivateString copy(static_cast<const char*>(from),
                           how.precision >= 0 ? static_cast<std::size_t>(how.precision) : SIZE_MAX);
  return copy.text() != nullptr && print_with_stars(sink, how, copy.text());
}

// %n
template <typename Number>
bool put_count(std::size_t count, std::va_list& arguments) {
  const auto number = static_cast<Number>(count);
  put_bytes(va_arg(arguments, void*), &number, sizeof number);
  return true;
}
bool put_count(Sink& sink, Size size, std::va_list& arguments) {
  switch (size) {
    case Size::kChar:
      return put_count<signed char>(sink.count(), arguments);
    case Size::kShort:
      return put_count<short>(sink.count(), arguments);
    case Size::kInt:
      return put_count<int>(sink.count(), arguments);
    default:
      return put_count<long>(sink.count(), arguments);
  }
}

bool convert(Sink& sink, const Conversion& how, int error, std::va_list& arguments) {
  switch (how.letter) {
    case '%':
      sink.add("%", 1);
      return true;
    case 'd':
    case 'i':
    case 'o':
    case 'u':
    case 'x':
    case 'X':
      return print_integer(sink, how, arguments);
    case 'c':
      return how.size == Size::kLong ? print_with_stars(sink, how, va_arg(arguments, wint_t))
                                     : print_with_stars(sink, how, va_arg(arguments, int));
    case 'C':
      return print_with_stars(sink, how, va_arg(arguments, wint_t));
    case 's':
    case 'S':
      return print_string(sink, how, arguments);
    case 'p':
      return print_with_stars(sink, how, va_arg(arguments, void*));
    case 'a':
    case 'A':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      return how.size == Size::kLongDouble
                 ? print_with_stars(sink, how, va_arg(arguments, long double))
                 : print_with_stars(sink, how, va_arg(arguments, double));
    case 'n':
      return put_count(sink, how.size, arguments);
    case 'm':
      errno = error;
      return print_with_stars(sink, how, 0);
    default:
      return false;
  }
}

// As printf: how many bytes, or -1.
int format(Sink& sink, const char* how, std::va_list given) {
  const int error = errno;
  const PrivateString copy(how);
  if (copy.text() == nullptr) return -1;
  std::va_list arguments;
  va_copy(arguments, given);
  bool done = true;
  for (const char* at = copy.text(); done && *at != 0;) {
    const std::size_t plain = std::strcspn(at, "%");
    if (plain > 0) sink.add(at, plain);
    at += plain;
    if (*at == 0) break;
    Conversion conversion;
    done =
        read_conversion(at, conversion, arguments) && convert(sink, conversion, error, arguments);
    if (!done) errno = EINVAL;
  }
  va_end(arguments);
  return done && !sink.failed() ? static_cast<int>(sink.count()) : -1;
}

}  // namespace
}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_vsnprintf(char* to, size_t bytes, const char* format_text, va_list arguments) {
  Sink sink(to, bytes > 0 ? bytes - 1 : 0);
  const int count = format(sink, format_text, arguments);
  if (bytes > 0) {
    const std::size_t kept = count < 0 ? 0 : std::min(static_cast<std::size_t>(count), bytes - 1);
    put_bytes(to + kept, "", 1);
  }
  return count;
}

int vmsrs_vfprintf(FILE* file, const char* format_text, va_list arguments) {
  flockfile(file);
  Sink sink(file);
  const int count = format(sink, format_text, arguments);
  funlockfile(file);
  return count;
}

int vmsrs_snprintf(char* to, size_t bytes, const char* format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  const int count = vmsrs_vsnprintf(to, bytes, format_text, arguments);
  va_end(arguments);
  return count;
}

int vmsrs_fprintf(FILE* file, const char* format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  const int count = vmsrs_vfprintf(file, format_text, arguments);
  va_end(arguments);
  return count;
}

int vmsrs_printf(const char* format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  const int count = vmsrs_vfprintf(stdout, format_text, arguments);
  va_end(arguments);
  return count;
}
