// SPDX-License-Identifier: Apache-2.0
#include "boot/layout.hpp"

#include "svm/console.hpp"

extern "C" char image_begin[], image_end[];

namespace vmsrs::boot {
namespace {

using svm::align_up;
using svm::kLargePage;
using svm::kPage;

constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;
constexpr std::uint64_t kLowMemoryEnd = 1u << 20;

void must(bool fits) {
  if (!fits) console::stop("the memory map has too many entries");
}

// Takes the highest place there is and marks it taken.
svm::PhysicalRange place(MemoryMap& map, std::uint64_t bytes, std::uint64_t alignment,
                         std::uint64_t limit, const char* what) {
  const std::uint64_t size = align_up(bytes, alignment);
  const std::uint64_t begin = map.find_top(size, alignment, limit);
  if (begin == 0) {
    console::stop("too little memory: no place for ", what, " of ", size >> 20,
                  " MiB below 4 GiB; usable in all: ", map.usable_bytes() >> 20,
                  " MiB; give the machine more memory or the hypervisor a smaller hidden=");
  }
  must(map.set(begin, begin + size, kPlaced));
  return {begin, begin + size};
}

}  // namespace

void choose_layout(const BootInformation& information, const LinuxKernel& kernel,
                   std::uint64_t storage_bytes, std::uint64_t own_bytes, Layout& layout) {
  layout.image = {reinterpret_cast<std::uint64_t>(image_begin),
                  align_up(reinterpret_cast<std::uint64_t>(image_end), kLargePage)};

  MemoryMap free = information.memory;
  must(free.set(0, kLowMemoryEnd, kPlaced));
  must(free.set(layout.image.begin, layout.image.end, kPlaced));
  for (std::uint32_t i = 0; i < information.module_count; ++i) {
    const Module& m = information.modules[i];
    must(free.set(m.begin, align_up(m.end, kPage), kPlaced));
  }
  const std::uint64_t kernel_end = kernel.load_address + kernel.needed_bytes;
  if (!information.memory.is_usable(kernel.load_address, kernel_end)) {
    console::stop("too little memory: the kernel needs ", console::Hex{kernel.load_address}, " to ",
                  console::Hex{kernel_end});
  }
  must(free.set(kernel.load_address, kernel_end, kPlaced));

  layout.own_bytes = align_up(own_bytes, kLargePage);
  layout.hidden =
      place(free, layout.own_bytes + storage_bytes, kLargePage, kFourGiB, "the hidden region");
  layout.windows =
      place(free, information.modules[kWindowsModule].bytes(), kLargePage, kFourGiB, "the windows");
  layout.initrd = place(free, information.modules[kInitrdModule].bytes(), kPage,
                        kernel.initrd_limit, "the initrd");

  layout.linux_map = information.memory;
  // Reserved, not a gap: into a gap Linux would put PCI devices.
  must(layout.linux_map.set(layout.image.begin, layout.image.end, kReserved));
  must(layout.linux_map.set(layout.hidden.begin, layout.hidden.end, kReserved));
  must(layout.linux_map.set(layout.windows.begin, layout.windows.end, kPersistentLegacy));
}

}  // namespace vmsrs::boot
