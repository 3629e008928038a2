// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Bytes and byte masks. A mask has bit i set for byte i of a granule (at most 64 bytes).
namespace vmsrs::recovery {

using ByteMask = std::uint64_t;

constexpr ByteMask mask_of(unsigned first, unsigned count) {
  return (count >= 64 ? ~ByteMask{0} : (ByteMask{1} << count) - 1) << first;
}

inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
  __builtin_memcpy(to, from, bytes);
}
inline void clear_bytes(void* to, std::size_t bytes) { __builtin_memset(to, 0, bytes); }
inline bool equal_bytes(const void* a, const void* b, std::size_t bytes) {
  return __builtin_memcmp(a, b, bytes) == 0;
}

// How many leading bytes of two ranges are the same.
inline std::size_t same_bytes(const void* left, const void* right, std::size_t bytes) {
  constexpr std::size_t kBlock = 4096;  // large enough for memcmp to come to its speed
  constexpr std::size_t kWord = 8;
  const auto* const a = static_cast<const std::uint8_t*>(left);
  const auto* const b = static_cast<const std::uint8_t*>(right);
  std::size_t same = 0;
  while (bytes - same >= kBlock && equal_bytes(a + same, b + same, kBlock)) same += kBlock;
  while (bytes - same >= kWord && equal_bytes(a + same, b + same, kWord)) same += kWord;
  while (same < bytes && a[same] == b[same]) ++same;
  return same;
}

// A bit of a mask for each byte becomes all bits of that byte.
constexpr std::uint64_t byte_wide(std::uint64_t bits) {
  bits = (bits | bits << 28) & 0x0000000f0000000full;
  bits = (bits | bits << 14) & 0x0003000300030003ull;
  bits = (bits | bits << 7) & 0x0101010101010101ull;
  return bits * 0xff;
}
static_assert(byte_wide(0xff) == ~0ull && byte_wide(0x81) == 0xff000000000000ffull);

// Those bytes of a word.
inline void copy_masked_word(std::uint8_t* to, const std::uint8_t* from, std::uint64_t bits) {
  std::uint64_t word, old;
  copy_bytes(&word, from, 8);
  copy_bytes(&old, to, 8);
  old ^= (word ^ old) & byte_wide(bits);
  copy_bytes(to, &old, 8);
}

// Of whole granules: words of which the mask has a byte are written whole.
inline void copy_masked(std::uint8_t* to, const std::uint8_t* from, ByteMask mask) {
  for (unsigned i = 0; mask != 0; i += 8, mask >>= 8)
    if ((mask & 0xff) != 0) copy_masked_word(to + i, from + i, mask & 0xff);
}

// By shifts and additions: not every processor that this runs on has an instruction for it, and
// below the guest there is no run-time library.
constexpr unsigned count_bits(ByteMask mask) {
  mask -= mask >> 1 & 0x5555555555555555ull;
  mask = (mask & 0x3333333333333333ull) + (mask >> 2 & 0x3333333333333333ull);
  return static_cast<unsigned>(
      ((mask + (mask >> 4)) & 0x0f0f0f0f0f0f0f0full) * 0x0101010101010101ull >> 56);
}
static_assert(count_bits(~0ull) == 64 && count_bits(0x8000000000000001ull) == 2);

// Takes the same time wherever the first difference is.
inline bool equal_secret(const std::uint8_t* a, const std::uint8_t* b, std::size_t bytes) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < bytes; ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  asm volatile("" : "+r"(difference));
  return difference == 0;
}

}  // namespace vmsrs::recovery
