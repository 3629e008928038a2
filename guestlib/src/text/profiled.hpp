// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Memory that may be profiled or not, for functions that take either. Reads are settled loads,
// writes to profiled memory are stores of the calling thread's user.
namespace vmsrs::guest {

void put_bytes(void* to, const void* from, std::size_t bytes);
void put_filled(void* to, int byte, std::size_t bytes);
void get_bytes(void* to, const void* from, std::size_t bytes);

// Reads a string from its begin to wherever its user stops, never past the aligned 64 bytes that it
// stops in: those are on one page.
class StringReader {
 public:
  explicit StringReader(const char* from) : next_(from) {}
  char get();

 private:
  const char* next_;  // of what is not in the buffer yet
  char buffer_[64];
  std::size_t at_ = 0, end_ = 0;
};

// A copy in private memory, of at most `most` characters and a 0 behind them. Freed with the
// object.
class PrivateString {
 public:
  explicit PrivateString(const char* from, std::size_t most = ~std::size_t{0});
  ~PrivateString();
  PrivateString(const PrivateString&) = delete;
  PrivateString& operator=(const PrivateString&) = delete;

  // nullptr: no memory, errno says so.
  const char* text() const { return text_; }
  std::size_t length() const { return length_; }
  char* release();  // malloc's; the caller frees it

 private:
  char small_[256];
  char* text_ = small_;
  std::size_t length_ = 0;
};

}  // namespace vmsrs::guest
