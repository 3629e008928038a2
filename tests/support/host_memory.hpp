// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "recovery/guest_memory.hpp"

namespace vmsrs::test {

// Guest memory that is the test process's own memory. One object a thread: it keeps the permissions
// of a call under way. Call begin_call() before each hypercall.
class HostMemory final : public recovery::GuestMemory {
 public:
  enum class Page { kPresent, kNotPresent, kReadOnly, kForbidden };

  // Which addresses exist. Without any range: all of the lower half does (for tests that run whole
  // programs against the engine in one process).
  void add_range(const void* address, std::size_t bytes);

  // These do not, whatever ranges there are.
  void forbid_range(const void* address, std::size_t bytes);

  // The state of the 4 KiB page around an address; kForbidden answers kBadAddress.
  void set_page(const void* address, Page state);
  // What the guest library does after VMSRS_TOUCH: the page becomes present and writable.
  void touch(std::uint64_t address);

  // From now on the n-th access (1 = the next) to memory that was not prepared earlier in the same
  // call fails so, once.
  void fail_at(std::uint64_t n, recovery::MemoryResult result = recovery::MemoryResult::kTouch);
  void begin_call() { prepared_.clear(); }
  std::uint64_t access_count() const { return accesses_; }

  recovery::MemoryOutcome prepare(recovery::GuestVirtual address, std::size_t bytes,
                                  recovery::Access access) override;
  recovery::MemoryOutcome read(recovery::GuestVirtual address, void* to,
                               std::size_t bytes) override;
  recovery::MemoryOutcome write(recovery::GuestVirtual address, const void* from,
                                std::size_t bytes) override;
  recovery::MemoryOutcome map(recovery::GuestVirtual address, std::size_t bytes,
                              recovery::Access access, std::uint8_t*& at) override;
  std::size_t mapped_pages() const override { return mapped_pages_; }
  void set_mapped_pages(std::size_t pages) { mapped_pages_ = pages; }
  recovery::MemoryOutcome compare(recovery::GuestVirtual address, const void* with,
                                  std::size_t bytes, std::size_t& same) override;

 private:
  struct Range {
    std::uint64_t begin, end;
    recovery::Access access;
  };
  bool exists(std::uint64_t begin, std::uint64_t end) const;
  bool was_prepared(std::uint64_t begin, std::uint64_t end, recovery::Access access) const;
  recovery::MemoryOutcome examine(std::uint64_t begin, std::size_t bytes, recovery::Access access);

  std::vector<Range> ranges_, forbidden_;
  std::vector<Range> prepared_;
  std::map<std::uint64_t, Page> pages_;
  std::uint64_t accesses_ = 0;
  std::size_t mapped_pages_ = 256;
  std::uint64_t fail_in_ = 0;
  recovery::MemoryResult fail_result_ = recovery::MemoryResult::kTouch;
};

}  // namespace vmsrs::test
