// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>

// Code that knows nothing of the library; stores.cpp is built as vmsrs_protect() builds a program.
namespace vmsrs::test {

struct Target {
  static constexpr std::size_t kBytes = 4096;
  alignas(64) unsigned char bytes[kBytes];
};

// One kind of store each, made at several places of the target.
struct Shape {
  const char* name;
  void (*make)(Target& target, std::uint64_t value);
};
extern const Shape shapes[];
extern const std::size_t shape_count;

// Memory that stores name, and such stores.
extern Target global_target;
void store_by_name(unsigned char value);
// Reads five bytes from the one, six and a line from the other.
bool read_line(Target& target, int file, std::FILE* stream);
bool read_line_of(char* to, int bytes, std::FILE* stream);
long receive(char* to, std::size_t bytes, int socket);
void store_byte(unsigned char* to, unsigned char value);
void store_word(std::uint64_t* to, std::uint64_t value);
void add_to_word(std::uint64_t* word, std::uint64_t value, std::size_t times);

}  // namespace vmsrs::test

// Its store of value / divisor follows the division, which follows the hook.
extern "C" void vmsrs_test_store_quotient(std::uint64_t* to, std::uint64_t value,
                                          std::uint64_t divisor);
// Between the hook and the store it sets `stage` to 1 and waits until that is 2.
extern "C" void vmsrs_test_store_when(std::uint64_t* to, std::uint64_t value, int* stage);
