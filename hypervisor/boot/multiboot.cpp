// SPDX-License-Identifier: Apache-2.0
#include "boot/multiboot.hpp"

#include <initializer_list>

#include "svm/console.hpp"

namespace vmsrs::boot {
namespace {

// The Multiboot Specification version 0.6.96, 3.3.
struct Information {
  std::uint32_t flags;
  std::uint32_t memory_lower, memory_upper;
  std::uint32_t boot_device;
  std::uint32_t command_line;
  std::uint32_t module_count, modules;
  std::uint32_t symbols[4];
  std::uint32_t map_length, map;
  std::uint32_t drives_length, drives;
  std::uint32_t config_table;
  std::uint32_t boot_loader_name;
};
static_assert(sizeof(Information) == 68);

struct ModuleEntry {
  std::uint32_t begin, end, text, reserved;
};

struct [[gnu::packed]] MapEntry {
  std::uint32_t size;  // of what follows
  std::uint64_t base, length;
  std::uint32_t type;
};

constexpr std::uint32_t kLoaderMagic = 0x2badb002;
constexpr std::uint32_t kHasCommandLine = 1u << 2, kHasModules = 1u << 3, kHasMap = 1u << 6,
                        kHasLoaderName = 1u << 9;

template <class T>
const T* at(std::uint64_t address) {
  return reinterpret_cast<const T*>(address);
}

// QEMU puts the file's name in front of every string; GRUB does not.
const char* without_file_name(const char* text, bool has_file_name) {
  if (!has_file_name) return text;
  while (*text != '\0' && *text != ' ') ++text;
  while (*text == ' ') ++text;
  return text;
}

void copy_map(const Information& info, MemoryMap& memory) {
  // Usable ranges first, so that whatever else is said of the same memory wins.
  for (const bool usable : {true, false}) {
    for (std::uint64_t offset = 0; offset < info.map_length;) {
      const auto* entry = at<MapEntry>(info.map + offset);
      offset += entry->size + sizeof(entry->size);
      if ((entry->type == kUsable) != usable || entry->length == 0) continue;
      if (!memory.set(entry->base, entry->base + entry->length, entry->type)) {
        console::stop("the memory map has too many entries");
      }
    }
  }
}

}  // namespace

void copy_multiboot(std::uint32_t magic, std::uint64_t information, BootInformation& out) {
  if (magic != kLoaderMagic) console::stop("not started by a multiboot 1 boot loader");
  const auto& info = *at<Information>(information);
  if ((info.flags & kHasMap) == 0) console::stop("the boot loader gave no memory map");
  copy_map(info, out.memory);

  const bool is_qemu = (info.flags & kHasLoaderName) != 0 &&
                       after_prefix(at<char>(info.boot_loader_name), "qemu") != nullptr;
  if ((info.flags & kHasCommandLine) != 0 &&
      !out.options.assign(without_file_name(at<char>(info.command_line), is_qemu))) {
    console::stop("the hypervisor's command line is longer than 1024 characters");
  }
  if ((info.flags & kHasModules) == 0) return;
  constexpr std::uint32_t kMost = kModuleCount;
  out.module_count = info.module_count < kMost ? info.module_count : kMost;
  for (std::uint32_t i = 0; i < out.module_count; ++i) {
    const auto& entry = at<ModuleEntry>(info.modules)[i];
    out.modules[i] = {entry.begin, entry.end};
    if (i == kKernelModule &&
        !out.linux_options.assign(without_file_name(at<char>(entry.text), is_qemu))) {
      console::stop("the kernel's command line is longer than 2048 characters");
    }
  }
}

}  // namespace vmsrs::boot
