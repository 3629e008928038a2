// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <new>
#include <utility>

// A protected process, and its memory, as objects.
namespace vmsrs {

// This process's attachment, for as long as it lives (vmsrs_attach, Init_profile, vmsrs_detach). It
// outlives its regions, and all users.
class Server {
 public:
  explicit Server(const vmsrs_options& options) : error_(vmsrs_attach(&options)) {}
  ~Server() {
    if (error_ == 0) vmsrs_detach();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // 0, or why the process is not protected: vmsrs_error_message() says more.
  int error() const { return error_; }

 private:
  int error_;
};

// Fresh pages, profiled. With a name they outlive the process (profile_named), and end with
// unprofile_named; others are protected until the server detaches. The pages stay mapped when the
// object goes: other threads may still read them.
class Region {
 public:
  // bytes: a multiple of 64. address: where, if that matters (pointers in a named region), else
  // nullptr.
  Region(std::size_t bytes, unsigned granule_bytes, const vmsrs_profile_options& options = {},
         void* address = nullptr)
      : bytes_(bytes) {
    const int fixed = address != nullptr ? MAP_FIXED_NOREPLACE : 0;
    memory_ =
        mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (memory_ == MAP_FAILED) {
      memory_ = nullptr;
      result_ = VMSRS_ERROR_SYSTEM;
      return;
    }
    result_ = vmsrs_profile(memory_, bytes, granule_bytes, &options);
  }

  // 0, or why it is not protected.
  int error() const { return result_ < 0 ? result_ : 0; }
  // What is in it is what the last process of the server had committed.
  bool kept() const { return result_ == VMSRS_PROFILED_KEPT; }
  void* data() const { return memory_; }
  std::size_t size() const { return bytes_; }
  // The T at an offset, of members that are Shared; new where the region is, as it was where kept.
  template <typename T>
  T& at(std::size_t offset = 0) const {
    return *new (static_cast<char*>(memory_) + offset) T;
  }

 private:
  void* memory_;
  std::size_t bytes_;
  int result_ = 0;
};

}  // namespace vmsrs
