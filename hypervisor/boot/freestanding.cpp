// SPDX-License-Identifier: Apache-2.0
// What the compiler may call although nothing is linked. String instructions move 8 bytes at a
// time: TCG executes them one element each.
#include <cstddef>
#include <cstdint>

extern "C" {

void* memcpy(void* to, const void* from, std::size_t bytes) {
  void* const result = to;
  std::size_t words = bytes / 8;
  asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory");
  std::size_t rest = bytes % 8;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(rest)::"memory");
  return result;
}

void* memmove(void* to, const void* from, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from) >= bytes) {
    return memcpy(to, from, bytes);
  }
  auto* target = static_cast<volatile unsigned char*>(to);
  const auto* source = static_cast<const volatile unsigned char*>(from);
  while (bytes-- > 0) target[bytes] = source[bytes];
  return to;
}

void* memset(void* to, int value, std::size_t bytes) {
  void* const result = to;
  const std::uint64_t pattern = 0x0101010101010101u * static_cast<unsigned char>(value);
  std::size_t words = bytes / 8;
  asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
  std::size_t rest = bytes % 8;
  asm volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(pattern) : "memory");
  return result;
}

int memcmp(const void* left, const void* right, std::size_t bytes) {
  const auto* a = static_cast<const unsigned char*>(left);
  const auto* b = static_cast<const unsigned char*>(right);
  std::size_t i = 0;
  for (std::uint64_t x, y; bytes - i >= sizeof x; i += sizeof x) {
    __builtin_memcpy(&x, a + i, sizeof x);
    __builtin_memcpy(&y, b + i, sizeof y);
    if (x != y) break;
  }
  for (; i < bytes; ++i) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

std::size_t strlen(const char* text) {
  std::size_t n = 0;
  while (*static_cast<const volatile char*>(text + n) != '\0') ++n;
  return n;
}

void __cxa_pure_virtual() {
  for (;;) asm volatile("cli; hlt");
}

}  // extern "C"
