// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <vmsrs/protect.h>

#include <algorithm>
#include <cstddef>

#include "next.hpp"

// What programs that were built with _FORTIFY_SOURCE call. Into a view (views.hpp): the look at the
// object's size, then the like in memory_functions.cpp. Anywhere else: the C library's own.
using std::size_t;

extern "C" {

[[noreturn]] void __chk_fail();
bool vmsrs_view_is_in_region(const void*, size_t);

void* __wrap_memcpy(void*, const void*, size_t);
void* __wrap_memmove(void*, const void*, size_t);
void* __wrap_mempcpy(void*, const void*, size_t);
void* __wrap_memset(void*, int, size_t);
char* __wrap_strcpy(char*, const char*);
char* __wrap_stpcpy(char*, const char*);
char* __wrap_strncpy(char*, const char*, size_t);
char* __wrap_strcat(char*, const char*);
char* __wrap_strncat(char*, const char*, size_t);
int __wrap_vsnprintf(char*, size_t, const char*, va_list);
ssize_t __wrap_pread(int, void*, size_t, off_t);
size_t __wrap_fread(void*, size_t, size_t, FILE*);
char* __wrap_fgets(char*, int, FILE*);

}  // extern "C"

namespace {

template <typename To, typename Next, typename Ours>
auto into_view_or(To* to, size_t bytes, size_t size, Next next, Ours ours) {
  if (!vmsrs_view_is_in_region(to, bytes)) return next();
  if (bytes > size) __chk_fail();
  return ours();
}

}  // namespace

#define VMSRS_CHECKED(result, name, parameters, to, bytes, size, next_arguments, arguments) \
  result __##name##_chk parameters {                                                        \
    return into_view_or(                                                                    \
        to, bytes, size, [&] { return VMSRS_NEXT(__##name##_chk) next_arguments; },         \
        [&] { return __wrap_##name arguments; });                                           \
  }

extern "C" {

VMSRS_CHECKED(void*, memcpy, (void* to, const void* from, size_t bytes, size_t size), to, bytes,
              size, (to, from, bytes, size), (to, from, bytes))
VMSRS_CHECKED(void*, memmove, (void* to, const void* from, size_t bytes, size_t size), to, bytes,
              size, (to, from, bytes, size), (to, from, bytes))
VMSRS_CHECKED(void*, mempcpy, (void* to, const void* from, size_t bytes, size_t size), to, bytes,
              size, (to, from, bytes, size), (to, from, bytes))
VMSRS_CHECKED(void*, memset, (void* to, int byte, size_t bytes, size_t size), to, bytes, size,
              (to, byte, bytes, size), (to, byte, bytes))
VMSRS_CHECKED(char*, strcpy, (char* to, const char* from, size_t size), to, strlen(from) + 1, size,
              (to, from, size), (to, from))
VMSRS_CHECKED(char*, stpcpy, (char* to, const char* from, size_t size), to, strlen(from) + 1, size,
              (to, from, size), (to, from))
VMSRS_CHECKED(char*, strncpy, (char* to, const char* from, size_t bytes, size_t size), to, bytes,
              size, (to, from, bytes, size), (to, from, bytes))
VMSRS_CHECKED(char*, strcat, (char* to, const char* from, size_t size), to,
              strlen(to) + strlen(from) + 1, size, (to, from, size), (to, from))
VMSRS_CHECKED(char*, strncat, (char* to, const char* from, size_t most, size_t size), to,
              strlen(to) + strnlen(from, most) + 1, size, (to, from, most, size), (to, from, most))
VMSRS_CHECKED(ssize_t, pread, (int file, void* to, size_t bytes, off_t at, size_t size), to, bytes,
              size, (file, to, bytes, at, size), (file, to, bytes, at))
VMSRS_CHECKED(size_t, fread, (void* to, size_t size, size_t one, size_t count, FILE* file), to,
              one* count, size, (to, size, one, count, file), (to, one, count, file))
VMSRS_CHECKED(char*, fgets, (char* to, size_t size, int bytes, FILE* file), to,
              static_cast<size_t>(bytes), size, (to, size, bytes, file), (to, bytes, file))
VMSRS_CHECKED(int, vsnprintf,
              (char* to, size_t bytes, int flag, size_t size, const char* format, va_list list), to,
              bytes, size, (to, bytes, flag, size, format, list), (to, bytes, format, list))

int __vsprintf_chk(char* to, int flag, size_t size, const char* format, va_list list) {
  if (!vmsrs_view_is_in_region(to, 1))
    return VMSRS_NEXT(__vsprintf_chk)(to, flag, size, format, list);
  constexpr size_t kUnbounded = 1u << 20;  // as in memory_functions.cpp
  const int length = __wrap_vsnprintf(to, std::min(size, kUnbounded), format, list);
  if (length >= 0 && static_cast<size_t>(length) >= size) __chk_fail();
  return length;
}
int __snprintf_chk(char* to, size_t bytes, int flag, size_t size, const char* format, ...) {
  va_list list;
  va_start(list, format);
  const int length = __vsnprintf_chk(to, bytes, flag, size, format, list);
  va_end(list);
  return length;
}
int __sprintf_chk(char* to, int flag, size_t size, const char* format, ...) {
  va_list list;
  va_start(list, format);
  const int length = __vsprintf_chk(to, flag, size, format, list);
  va_end(list);
  return length;
}

ssize_t pread64(int file, void* to, size_t bytes, off_t at) {
  return __wrap_pread(file, to, bytes, at);
}

}  // extern "C"
