// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include <vmsrs/protect.h>
#include <vmsrs/text.h>
#include <vmsrs/vmsrs.h>

#include <algorithm>
#include <cstddef>

// Functions of the C library that write where a program tells them to: the linker's --wrap puts
// these in their place (vmsrs-protect.cmake), for the C library's own stores have no hooks. What
// they write outside of regions they leave to the real ones.
//
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
#define VMSRS_WRAP(result, name, ...)           \
  extern "C" result __real_##name(__VA_ARGS__); \
  extern "C" result __wrap_##name(__VA_ARGS__)

VMSRS_WRAP(void*, memcpy, void* to, const void* from, size_t bytes) {
  return vmsrs_is_in_region(to, bytes) ? vmsrs_memcpy(to, from, bytes)
                                       : __real_memcpy(to, from, bytes);
}
VMSRS_WRAP(void*, memmove, void* to, const void* from, size_t bytes) {
  return vmsrs_is_in_region(to, bytes) ? vmsrs_memmove(to, from, bytes)
                                       : __real_memmove(to, from, bytes);
}
VMSRS_WRAP(void*, memset, void* to, int byte, size_t bytes) {
  return vmsrs_is_in_region(to, bytes) ? vmsrs_memset(to, byte, bytes)
                                       : __real_memset(to, byte, bytes);
}
VMSRS_WRAP(void*, mempcpy, void* to, const void* from, size_t bytes) {
  return static_cast<char*>(__wrap_memcpy(to, from, bytes)) + bytes;
}

// Of a text only its begin is looked at: it lies in one object.
VMSRS_WRAP(char*, strcpy, char* to, const char* from) {
  return vmsrs_is_in_region(to, 1) ? vmsrs_strcpy(to, from) : __real_strcpy(to, from);
}
VMSRS_WRAP(char*, stpcpy, char* to, const char* from) {
  return vmsrs_is_in_region(to, 1) ? vmsrs_stpcpy(to, from) : __real_stpcpy(to, from);
}
VMSRS_WRAP(char*, strncpy, char* to, const char* from, size_t bytes) {
  return vmsrs_is_in_region(to, bytes) ? vmsrs_strncpy(to, from, bytes)
                                       : __real_strncpy(to, from, bytes);
}
VMSRS_WRAP(char*, strcat, char* to, const char* from) {
  return vmsrs_is_in_region(to, 1) ? vmsrs_strcat(to, from) : __real_strcat(to, from);
}
VMSRS_WRAP(char*, strncat, char* to, const char* from, size_t most) {
  return vmsrs_is_in_region(to, 1) ? vmsrs_strncat(to, from, most) : __real_strncat(to, from, most);
}

VMSRS_WRAP(int, vsnprintf, char* to, size_t bytes, const char* format, va_list arguments) {
  return vmsrs_is_in_region(to, bytes) ? vmsrs_vsnprintf(to, bytes, format, arguments)
                                       : __real_vsnprintf(to, bytes, format, arguments);
}
extern "C" int __wrap_snprintf(char* to, size_t bytes, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int length = __wrap_vsnprintf(to, bytes, format, arguments);
  va_end(arguments);
  return length;
}
VMSRS_WRAP(int, vsprintf, char* to, const char* format, va_list arguments) {
  constexpr size_t kUnbounded = 1u << 20;
  return vmsrs_is_in_region(to, 1) ? vmsrs_vsnprintf(to, kUnbounded, format, arguments)
                                   : __real_vsprintf(to, format, arguments);
}
extern "C" int __wrap_sprintf(char* to, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int length = __wrap_vsprintf(to, format, arguments);
  va_end(arguments);
  return length;
}

// What the kernel would write goes through memory of the thread's own: fewer bytes than were asked
// for are an answer that a program expects.
namespace {

constexpr size_t kPiece = 16 * 1024;
constexpr size_t kDatagram = 64 * 1024;  // of which more than was asked for is lost

template <size_t most, typename Read>
[[gnu::noinline]] ssize_t through_own_memory(void* to, size_t bytes, Read read) {
  char own[most];
  const size_t wanted = std::min(bytes, most);
  const ssize_t count = read(own, wanted);  // with MSG_TRUNC it may be more
  if (count > 0) vmsrs_store_range(to, own, std::min(wanted, static_cast<size_t>(count)));
  return count;
}

}  // namespace

VMSRS_WRAP(ssize_t, read, int file, void* to, size_t bytes) {
  if (!vmsrs_is_in_region(to, bytes)) return __real_read(file, to, bytes);
  return through_own_memory<kPiece>(
      to, bytes, [&](void* own, size_t now) { return __real_read(file, own, now); });
}
VMSRS_WRAP(ssize_t, pread, int file, void* to, size_t bytes, off_t at) {
  if (!vmsrs_is_in_region(to, bytes)) return __real_pread(file, to, bytes, at);
  return through_own_memory<kPiece>(
      to, bytes, [&](void* own, size_t now) { return __real_pread(file, own, now, at); });
}
VMSRS_WRAP(ssize_t, recv, int socket, void* to, size_t bytes, int flags) {
  if (!vmsrs_is_in_region(to, bytes)) return __real_recv(socket, to, bytes, flags);
  const auto receive = [&](void* own, size_t now) { return __real_recv(socket, own, now, flags); };
  return bytes <= kPiece ? through_own_memory<kPiece>(to, bytes, receive)
                         : through_own_memory<kDatagram>(to, bytes, receive);
}
VMSRS_WRAP(size_t, fread, void* to, size_t size, size_t count, FILE* file) {
  if (size == 0 || !vmsrs_is_in_region(to, size * count))
    return __real_fread(to, size, count, file);
  size_t done = 0;
  while (done < size * count) {
    char own[kPiece];
    const size_t wanted = std::min(size * count - done, sizeof own);
    const size_t got = __real_fread(own, 1, wanted, file);
    vmsrs_store_range(static_cast<char*>(to) + done, own, got);
    done += got;
    if (got < wanted) break;
  }
  return done / size;
}
VMSRS_WRAP(char*, fgets, char* to, int bytes, FILE* file) {
  if (bytes <= 0 || !vmsrs_is_in_region(to, static_cast<size_t>(bytes)))
    return __real_fgets(to, bytes, file);
  size_t done = 0;
  const auto most = static_cast<size_t>(bytes);
  while (done + 1 < most || done == 0) {
    char own[kPiece];
    const size_t wanted = std::min(most - done, sizeof own);
    if (__real_fgets(own, static_cast<int>(wanted), file) == nullptr)
      return done != 0 ? to : nullptr;
    const size_t length = strlen(own);
    vmsrs_store_range(to + done, own, length + 1);
    done += length;
    if (length + 1 < wanted || length == 0 || own[length - 1] == '\n') break;
  }
  return to;
}
// NOLINTEND(bugprone-reserved-identifier)
