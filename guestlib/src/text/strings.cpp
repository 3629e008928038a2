// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/text.h>
#include <vmsrs/vmsrs.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../claims.hpp"
#include "../guest_call.hpp"
#include "profiled.hpp"

using namespace vmsrs::guest;

namespace {

constexpr std::size_t kPiece = 256;

bool is_profiled(const void* memory, std::size_t bytes) {
  return touches_region(to_register(memory), bytes);
}

// Copies with the 0, at most `most` characters; how many there were without it.
std::size_t copy_string(char* to, const char* from, std::size_t most) {
  char piece[kPiece];
  std::size_t used = 0;
  std::size_t done = 0;
  StringReader reader(from);
  for (char c = 1; c != 0;) {
    c = done + used < most ? reader.get() : '\0';
    piece[used++] = c;
    if (used < kPiece && c != 0) continue;
    put_bytes(to + done, piece, used);
    done += used;
    used = 0;
  }
  return done - 1;
}

}  // namespace

void* vmsrs_memset(void* to, int byte, size_t bytes) {
  put_filled(to, byte, bytes);
  return to;
}

void* vmsrs_memmove(void* to, const void* from, size_t bytes) {
  if (is_profiled(to, bytes) && is_profiled(from, bytes))
    vmsrs_assign(to, from, bytes);
  else if (is_profiled(to, bytes))
    vmsrs_store_range(to, from, bytes);
  else
    get_bytes(to, from, bytes);
  return to;
}

void* vmsrs_memcpy(void* to, const void* from, size_t bytes) {
  return vmsrs_memmove(to, from, bytes);
}

int vmsrs_memcmp(const void* left, const void* right, size_t bytes) {
  const auto* a = static_cast<const char*>(left);
  const auto* b = static_cast<const char*>(right);
  char of_a[kPiece];
  char of_b[kPiece];
  while (bytes > 0) {
    const std::size_t now = std::min(bytes, kPiece);
    get_bytes(of_a, a, now);
    get_bytes(of_b, b, now);
    if (const int order = std::memcmp(of_a, of_b, now); order != 0) return order;
    a += now;
    b += now;
    bytes -= now;
  }
  return 0;
}

void* vmsrs_memchr(const void* memory, int byte, size_t bytes) {
  const auto* const begin = static_cast<const char*>(memory);
  char piece[kPiece];
  for (std::size_t done = 0; done < bytes; done += kPiece) {
    const std::size_t now = std::min(bytes - done, kPiece);
    get_bytes(piece, begin + done, now);
    if (const void* const found = std::memchr(piece, byte, now))
      return const_cast<char*>(begin) + done + (static_cast<const char*>(found) - piece);
  }
  return nullptr;
}

size_t vmsrs_strnlen(const char* text, size_t most) {
  StringReader reader(text);
  std::size_t length = 0;
  while (length < most && reader.get() != 0) ++length;
  return length;
}

size_t vmsrs_strlen(const char* text) { return vmsrs_strnlen(text, ~std::size_t{0}); }

int vmsrs_strncmp(const char* left, const char* right, size_t most) {
  StringReader a(left);
  StringReader b(right);
  for (std::size_t i = 0; i < most; ++i) {
    const auto of_a = static_cast<unsigned char>(a.get());
    const auto of_b = static_cast<unsigned char>(b.get());
    if (of_a != of_b) return of_a < of_b ? -1 : 1;
    if (of_a == 0) return 0;
  }
  return 0;
}

int vmsrs_strcmp(const char* left, const char* right) {
  return vmsrs_strncmp(left, right, ~std::size_t{0});
}

char* vmsrs_strchr(const char* text, int character) {
  StringReader reader(text);
  for (std::size_t i = 0;; ++i) {
    const char c = reader.get();
    if (c == static_cast<char>(character)) return const_cast<char*>(text) + i;
    if (c == 0) return nullptr;
  }
}

char* vmsrs_strrchr(const char* text, int character) {
  StringReader reader(text);
  char* last = nullptr;
  for (std::size_t i = 0;; ++i) {
    const char c = reader.get();
    if (c == static_cast<char>(character)) last = const_cast<char*>(text) + i;
    if (c == 0) return last;
  }
}

char* vmsrs_strstr(const char* text, const char* wanted) {
  const PrivateString all(text);
  const PrivateString part(wanted);
  if (all.text() == nullptr || part.text() == nullptr) return nullptr;
  const char* const found = std::strstr(all.text(), part.text());
  return found != nullptr ? const_cast<char*>(text) + (found - all.text()) : nullptr;
}

char* vmsrs_strdup(const char* text) {
  PrivateString copy(text);
  return copy.text() != nullptr ? copy.release() : nullptr;
}

char* vmsrs_stpcpy(char* to, const char* from) {
  return to + copy_string(to, from, ~std::size_t{0});
}

char* vmsrs_strcpy(char* to, const char* from) {
  vmsrs_stpcpy(to, from);
  return to;
}

char* vmsrs_strncpy(char* to, const char* from, size_t bytes) {
  const std::size_t length = vmsrs_strnlen(from, bytes);
  vmsrs_memmove(to, from, length);
  if (length < bytes) put_filled(to + length, 0, bytes - length);
  return to;
}

char* vmsrs_strcat(char* to, const char* from) {
  vmsrs_stpcpy(to + vmsrs_strlen(to), from);
  return to;
}

char* vmsrs_strncat(char* to, const char* from, size_t most) {
  copy_string(to + vmsrs_strlen(to), from, most);
  return to;
}
