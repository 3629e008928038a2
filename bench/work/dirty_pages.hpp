// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

// Which pages of a region have been written: what an incremental checkpoint is made of.
namespace vmsrs::bench {

struct PageRange {
  std::size_t offset, bytes;
};

class DirtyPages {
 public:
  virtual ~DirtyPages() = default;
  // The pages written since they were last cleaned.
  virtual std::vector<PageRange> list() = 0;
  // The same, clean from now on.
  virtual std::vector<PageRange> take() = 0;
  // Writes are free until the next take(), and are not noticed; it lists nothing that is of use.
  virtual void suspend() = 0;
};

// uffd        userfaultfd, write-protected pages, a thread on the engine's processor that hears of
//             each first write and lifts the protection (UFFDIO_WRITEPROTECT)
// uffd-async  the same protection, lifted by the kernel itself, which keeps the list (Linux 6.7)
// mprotect    protected pages and a handler of SIGSEGV, for kernels that refuse the others
// Null: this kernel refuses.
std::unique_ptr<DirtyPages> watch_pages(std::string_view way, void* region, std::size_t bytes);

}  // namespace vmsrs::bench
