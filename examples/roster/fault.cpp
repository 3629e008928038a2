// SPDX-License-Identifier: Apache-2.0
#include "fault.hpp"

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "roster.hpp"

namespace roster {

namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::uintptr_t kHoleAddress = 0x0000'0123'4567'0000;  // far from what mmap hands out
constexpr std::size_t kNoSuchEmployee = std::size_t{1} << 36;   // 4 TiB beyond: nothing is there

// The compiler must neither see that these are wrong nor leave them out.
[[gnu::noinline]] void store_through(std::uintptr_t address) {
  auto* volatile pointer = reinterpret_cast<volatile std::uint64_t*>(address);
  *pointer = 0xbad0'bad0'bad0'bad0;
}

void store_into_hole() {
  void* const page = mmap(reinterpret_cast<void*>(kHoleAddress), kPageBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::perror("roster: mmap");
    std::exit(1);
  }
  *static_cast<volatile std::uint64_t*>(page) = 1;
  munmap(page, kPageBytes);
  store_through(reinterpret_cast<std::uintptr_t>(page));
}

}  // namespace

bool parse_fault(std::string_view text, Fault& fault) {
  fault = text == "hole" ? Fault::hole : Fault::pointer;
  return text == "hole" || text == "pointer";
}

void commit_fault(Fault fault, void* memory) {
  if (fault == Fault::hole) return store_into_hole();
  store_through(reinterpret_cast<std::uintptr_t>(static_cast<Employee*>(memory) + kNoSuchEmployee));
}

}  // namespace roster
