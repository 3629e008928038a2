// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace vmsrs::test {

// Memory of whole pages, zeroed, mapped so many times: as many processes would have it, each at an
// address of its own. Throws if there is none.
class Pages {
 public:
  explicit Pages(std::size_t bytes, unsigned views = 1) : bytes_(bytes) {
    const int file = memfd_create("pages", MFD_CLOEXEC);
    const bool sized = file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0;
    for (unsigned i = 0; sized && i < views; ++i)
      views_.push_back(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    close(file);
    if (!sized || views_.back() == MAP_FAILED) throw std::runtime_error("no memory for a test");
  }
  ~Pages() {
    for (void* const view : views_) munmap(view, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::uint8_t* data(unsigned view = 0) const { return static_cast<std::uint8_t*>(views_[view]); }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::vector<void*> views_;
};

}  // namespace vmsrs::test
