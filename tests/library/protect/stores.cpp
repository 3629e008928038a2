// SPDX-License-Identifier: Apache-2.0
#include "stores.hpp"

#include <immintrin.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <utility>

namespace vmsrs::test {
namespace {

template <typename T>
T* at(Target& target, std::size_t offset) {
  return reinterpret_cast<T*>(target.bytes + offset);
}

template <typename T>
void integers(Target& target, std::uint64_t value) {
  for (std::size_t i = 0; i < 40; ++i) {
    T* const word = at<T>(target, i * 56);
    *word = static_cast<T>(value + i);
    asm volatile("" : : : "memory");
    *word = static_cast<T>(*word * 3);
  }
}

void numbers(Target& target, std::uint64_t value) {
  at<std::uint32_t>(target, 8)[0] = 77;
  at<std::uint64_t>(target, 64)[0] = 0xffff'ffff'8000'0001ull;
  at<std::uint8_t>(target, 3)[0] = 200;
  at<std::uint16_t>(target, 128)[static_cast<int>(value % 7)] = 40000;
}

void unaligned(Target& target, std::uint64_t value) {
  for (std::size_t i = 0; i < 70; ++i) std::memcpy(target.bytes + 13 * i + 1, &value, 8);
}

void floats(Target& target, std::uint64_t value) {
  at<float>(target, 4)[0] = static_cast<float>(value) / 3;
  at<double>(target, 136)[0] = static_cast<double>(value) / 7;
  *at<long double>(target, 256) = static_cast<long double>(value) / 11;
}

// The address is the value: its register is used twice.
void own_address(Target& target, std::uint64_t) {
  for (std::size_t i = 0; i < 4; ++i) {
    auto* const word = at<std::uint64_t>(target, 512 + 8 * i);
    *word = reinterpret_cast<std::uint64_t>(word) - reinterpret_cast<std::uint64_t>(target.bytes);
  }
  auto** const link = at<std::uint64_t*>(target, 600);
  *link = reinterpret_cast<std::uint64_t*>(link);
  *link = nullptr;
}

struct Bits {
  unsigned a : 3, b : 7, c : 22;
};
void bit_fields(Target& target, std::uint64_t value) {
  at<Bits>(target, 40)->b = value % 100;
  at<Bits>(target, 40)->c = 5;
}

struct Pair {
  std::uint64_t first, second;
};
void structures(Target& target, std::uint64_t value) {
  *at<Pair>(target, 100) = {value, ~value};
  *at<Pair>(target, 240) = *at<Pair>(target, 100);
}

// Two stores behind one hook, where the processor has no registers so wide.
using Wide = std::uint64_t __attribute__((vector_size(32)));

void vectors(Target& target, std::uint64_t value) {
  *at<unsigned __int128>(target, 1184) = static_cast<unsigned __int128>(value) << 64 | ~value;
  *at<Wide>(target, 1152) = Wide{value, value + 1, value + 2, value + 3};
  const __m128i words = _mm_set1_epi64x(static_cast<long long>(value));
  _mm_storeu_si128(at<__m128i>(target, 1031), words);
  _mm_store_si128(at<__m128i>(target, 1088), words);
  _mm_stream_si128(at<__m128i>(target, 1104), words);
  _mm_storel_epi64(at<__m128i>(target, 1128), words);
  _mm_storeh_pd(at<double>(target, 1136), _mm_castsi128_pd(words));
  _mm_store_ss(at<float>(target, 1148), _mm_castsi128_ps(words));
}

void loops(Target& target, std::uint64_t value) {
  auto* const words = at<std::uint64_t>(target, 1200);
  for (std::size_t i = 0; i < 100; ++i) words[i] = value ^ i;
  unsigned char* const text = target.bytes + 2500;
  for (std::size_t i = 0; i < 200; ++i) text[i] = static_cast<unsigned char>(value >> i % 8);
}

template <typename T>
void atomics(Target& target, std::uint64_t value) {
  auto& word = *at<std::atomic<T>>(target, 3000);
  word.store(static_cast<T>(value));
  word.fetch_add(5);
  word.fetch_sub(2, std::memory_order_relaxed);
  word.fetch_or(0x10);
  word.fetch_and(static_cast<T>(~T{4}));
  word.fetch_xor(3);
  const T former = word.exchange(static_cast<T>(value + 9));
  T expected = static_cast<T>(value + 9);
  word.compare_exchange_strong(expected, static_cast<T>(former + 1));
  word.compare_exchange_strong(expected, T{0});
}

void swaps(Target& target, std::uint64_t value) {
  auto* const words = at<std::uint64_t>(target, 3200);
  words[0] = value;
  words[1] = value + 1;
  asm volatile("" : : : "memory");
  std::swap(words[0], words[1]);
  std::swap(words[1], words[9]);
}

// A callee's frame between two stores.
[[gnu::noinline]] void deeper(std::uint64_t* words, std::uint64_t value) {
  words[0] = value;
  if (value % 8 != 0) deeper(words + 1, value - 1);
  words[10] += value;
}
void calls(Target& target, std::uint64_t value) { deeper(at<std::uint64_t>(target, 3400), value); }

// Through functions of the C library.
void copies(Target& target, std::uint64_t value) {
  unsigned char* const to = target.bytes;
  to[0] = static_cast<unsigned char>(value);
  const std::size_t bytes = 100 + value % 50;
  unsigned char from[200];
  for (std::size_t i = 0; i < sizeof from; ++i) from[i] = static_cast<unsigned char>(value + i);
  std::memcpy(to + 7, from, bytes);
  std::memset(to + 300, static_cast<int>(value & 0xff), bytes);
  std::memmove(to + 320, to + 310, bytes);
  mempcpy(to + 600, from, bytes);
  to[1] = to[7];
}
void texts(Target& target, std::uint64_t value) {
  char* const to = at<char>(target, 2048);
  to[0] = 'x';
  std::strcpy(to + 1, "one");
  stpcpy(to + 9, "two");
  std::strncpy(to + 17, "three", 12);
  std::strcat(to + 1, " and more");
  std::strncat(to + 9, " and much more", 6);
  std::snprintf(to + 70, 60, "%s %lu %.3f", "four", value, 1.5);
  std::sprintf(to + 140, "%d", static_cast<int>(value % 1000));
  to[200] = to[70];
}

}  // namespace

const Shape shapes[] = {{"bytes", integers<std::uint8_t>},
                        {"halves", integers<std::uint16_t>},
                        {"words", integers<std::uint32_t>},
                        {"double words", integers<std::uint64_t>},
                        {"numbers", numbers},
                        {"unaligned", unaligned},
                        {"floats", floats},
                        {"own address", own_address},
                        {"bit fields", bit_fields},
                        {"structures", structures},
                        {"vectors", vectors},
                        {"loops", loops},
                        {"atomic bytes", atomics<std::uint8_t>},
                        {"atomic words", atomics<std::uint32_t>},
                        {"atomic double words", atomics<std::uint64_t>},
                        {"swaps", swaps},
                        {"calls", calls},
                        {"copies", copies},
                        {"texts", texts}};
const std::size_t shape_count = sizeof shapes / sizeof *shapes;

alignas(4096) Target global_target;

void store_by_name(unsigned char value) {
  global_target.bytes[7] = value;
  global_target.bytes[4000] = value;
  ++global_target.bytes[8];
}

bool read_line(Target& target, int file, std::FILE* stream) {
  const bool got = read(file, target.bytes + 10, 5) == 5 &&
                   std::fread(target.bytes + 30, 2, 3, stream) == 3 &&
                   std::fgets(reinterpret_cast<char*>(target.bytes) + 50, 40, stream) != nullptr;
  target.bytes[0] = got;
  return got;
}

bool read_line_of(char* to, int bytes, std::FILE* stream) {
  return std::fgets(to, bytes, stream) == to;
}
long receive(char* to, std::size_t bytes, int socket) { return recv(socket, to, bytes, 0); }

void store_byte(unsigned char* to, unsigned char value) { *to = value; }
void store_word(std::uint64_t* to, std::uint64_t value) { *to = value; }
void add_to_word(std::uint64_t* word, std::uint64_t value, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) __atomic_fetch_add(word, value, __ATOMIC_RELAXED);
}
}  // namespace vmsrs::test

// By hand: no compiler puts anything that faults between a hook and its store.
asm(R"(
  .text
  .macro hook_of_first_argument  # the three arguments go to RBX, R12 and R13
  pushq %rbx
  pushq %r12
  pushq %r13
  movq %rdi, %rbx
  movq %rsi, %r12
  movq %rdx, %r13
  call __asan_store8_noabort@PLT
  .endm
  .macro return_to_caller
  popq %r13
  popq %r12
  popq %rbx
  ret
  .endm

  .globl vmsrs_test_store_quotient
vmsrs_test_store_quotient:
  hook_of_first_argument
  movq %r12, %rax
  xorl %edx, %edx
  divq %r13
  movq %rax, (%rbx)
  return_to_caller

  .globl vmsrs_test_store_when
vmsrs_test_store_when:
  hook_of_first_argument
  movl $1, (%r13)
1:
  pause
  cmpl $2, (%r13)
  jne 1b
  movq %r12, (%rbx)
  return_to_caller
)");
