// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Memory that this process shares with a client: a memfd of fixed size that this process created,
// sealed and mapped before anybody else saw it.
namespace vmsrs::hosted {

enum class ClientMay { kRead, kWrite };

class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  // Whole pages. Not valid(): no memory or descriptor is left. With kRead the client can map it, or
  // write(2) to it, only for reading: the one mapping that may write is made here, before the seal.
  static SharedMemory create(const char* name, std::size_t bytes, ClientMay access);

  bool valid() const { return data_ != nullptr; }
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  int descriptor() const { return descriptor_; }
  // Are the seals on it that create() put there?
  bool is_sealed() const;

  // Of all such memory that this process has: how much there is, and how many lack a seal. Any
  // thread.
  struct Census {
    std::uint64_t count, unsealed;
  };
  static Census census();

 private:
  void list();
  void unlist();

  int descriptor_ = -1;
  int seals_ = 0;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Memory that is nobody else's: private, anonymous, left out of core dumps. For the recovery
// storage. nullptr: there is not so much.
void* take_hidden_memory(std::size_t bytes);

// Is [memory, memory + bytes) mapped private and anonymous, and is this process closed to others'
// debuggers and to core dumps?
bool is_hidden(const void* memory, std::size_t bytes);

}  // namespace vmsrs::hosted
