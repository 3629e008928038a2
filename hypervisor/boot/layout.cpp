// SPDX-License-Identifier: Apache-2.0
#include "boot/layout.hpp"

#include "boot/host_cpu.hpp"
#include "boot/panic_device.hpp"
#include "svm/console.hpp"

extern "C" char image_begin[], image_end[];

namespace vmsrs::boot {
namespace {

using console::Hex;
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
    console::stop("too little memory: no place in one piece for ", what, " of ", size >> 20,
                  " MiB; free in all: ", map.usable_bytes() >> 20,
                  " MiB; give the machine more memory or the hypervisor a smaller hidden=");
  }
  must(map.set(begin, begin + size, kPlaced));
  return {begin, begin + size};
}

// What neither the boot loader nor the kernel needs. Places the kernel.
MemoryMap free_memory(const BootInformation& information, LinuxKernel& kernel, Layout& layout) {
  layout.image = {reinterpret_cast<std::uint64_t>(image_begin),
                  align_up(reinterpret_cast<std::uint64_t>(image_end), kLargePage)};
  MemoryMap free = information.memory;
  must(free.set(0, kLowMemoryEnd, kPlaced));
  must(free.set(layout.image.begin, layout.image.end, kPlaced));
  for (std::uint32_t i = 0; i < information.module_count; ++i) {
    const Module& m = information.modules[i];
    must(free.set(m.begin, align_up(m.end, kPage), kPlaced));
  }
  // The kernel's own module may lie there: it is moved.
  const std::uint64_t kernel_end = kernel.load_address + kernel.needed_bytes;
  if (information.memory.is_usable(kernel.load_address, kernel_end)) {
    must(free.set(kernel.load_address, kernel_end, kPlaced));
  } else if (kernel.alignment != 0) {
    kernel.load_address =
        place(free, kernel.needed_bytes, kernel.alignment, kFourGiB, "the kernel").begin;
  } else {
    console::stop("too little memory: the kernel needs ", Hex{kernel.load_address}, " to ",
                  Hex{kernel_end});
  }
  return free;
}

void check_low_memory(const BootInformation& information, svm::PhysicalRange needed) {
  if (information.memory.is_usable(needed.begin, needed.end)) return;
  console::stop("the firmware holds memory that the hypervisor needs: ", Hex{needed.begin}, " to ",
                Hex{needed.end});
}

svm::PhysicalRange place_hidden(MemoryMap& free, const HiddenMemory& hidden) {
  const std::uint64_t bytes =
      align_up(hidden.own_bytes, kLargePage) + align_up(hidden.storage_bytes, kLargePage);
  if (hidden.place == 0) return place(free, bytes, kLargePage, hidden.limit, "the hidden region");
  const std::uint64_t end = hidden.place + bytes;
  if (end > hidden.limit || !free.is_usable(hidden.place, end)) {
    console::stop("hidden_at=", Hex{hidden.place}, ": no free memory up to ", Hex{end});
  }
  must(free.set(hidden.place, end, kPlaced));
  return {hidden.place, end};
}

}  // namespace

void choose_layout(const BootInformation& information, const HiddenMemory& hidden,
                   LinuxKernel& kernel, Layout& layout) {
  check_low_memory(information, kTrampoline);
  check_low_memory(information, kBootParameters);
  MemoryMap free = free_memory(information, kernel, layout);
  layout.own_bytes = align_up(hidden.own_bytes, kLargePage);
  layout.hidden = place_hidden(free, hidden);
  layout.windows =
      place(free, information.modules[kWindowsModule].bytes(), kLargePage, kFourGiB, "the windows");
  layout.initrd = place(free, information.modules[kInitrdModule].bytes(), kPage,
                        kernel.initrd_limit, "the initrd");

  layout.acpi_tables =
      place(free, PanicDeviceTables::kBytes + kPage, kPage, kFourGiB, "the ACPI tables");

  layout.linux_map = information.memory;
  must(layout.linux_map.set(layout.acpi_tables.begin, layout.acpi_tables.end, kAcpiTables));
  // Reserved, not a gap: into a gap Linux would put PCI devices.
  must(layout.linux_map.set(layout.image.begin, layout.image.end, kReserved));
  must(layout.linux_map.set(layout.hidden.begin, layout.hidden.end, kReserved));
  must(layout.linux_map.set(layout.windows.begin, layout.windows.end, kPersistentLegacy));
}

void choose_native_layout(const BootInformation& information, LinuxKernel& kernel, Layout& layout) {
  check_low_memory(information, kBootParameters);
  MemoryMap free = free_memory(information, kernel, layout);
  const std::uint64_t initrd_bytes = information.modules[kInitrdModule].bytes();
  layout.initrd = {};
  if (initrd_bytes > 0) {
    layout.initrd = place(free, initrd_bytes, kPage, kernel.initrd_limit, "the initrd");
  }
  layout.linux_map = information.memory;
}

}  // namespace vmsrs::boot
