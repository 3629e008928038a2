// SPDX-License-Identifier: Apache-2.0
#include "boot/linux_loader.hpp"

#include "svm/console.hpp"

namespace vmsrs::boot {
namespace {

// Offsets in the setup header and in boot_params are the same ("The Real-Mode Kernel Header").
constexpr std::uint32_t kHeaderBegin = 0x1f1;
constexpr std::uint32_t kSetupSectors = 0x1f1, kBootFlag = 0x1fe, kJump = 0x201, kMagic = 0x202,
                        kVersion = 0x206, kLoadFlags = 0x211, kInitrdMax = 0x22c,
                        kAlignment = 0x230, kRelocatable = 0x234, kCommandLineSize = 0x238,
                        kPreferredAddress = 0x258, kInitSize = 0x260;
constexpr std::uint32_t kE820Count = 0x1e8, kVideoMode = 0x1fa, kLoaderType = 0x210,
                        kCode32Start = 0x214, kRamdiskImage = 0x218, kRamdiskSize = 0x21c,
                        kCommandLinePointer = 0x228, kE820Table = 0x2d0, kRootPointer = 0x70;
constexpr std::uint16_t kOldestVersion = 0x20a;  // the first with pref_address and init_size

// boot_params, the command line, the segment table that the protocol asks for (native_entry.S has
// its place too), the ACPI root pointer.
constexpr std::uint64_t kBootParams = kBootParameters.begin;
constexpr std::uint64_t kCommandLine = 0x91000;
constexpr std::uint64_t kSegments = 0x92000;
constexpr std::uint64_t kRootPointerCopy = 0x93000;

template <class T>
T get(const std::uint8_t* from, std::uint32_t offset) {
  T v;
  __builtin_memcpy(&v, from + offset, sizeof(v));
  return v;
}
template <class T>
void put(std::uint8_t* to, std::uint32_t offset, T v) {
  __builtin_memcpy(to + offset, &v, sizeof(v));
}

struct [[gnu::packed]] E820Entry {
  std::uint64_t base, length;
  std::uint32_t type;
};
static_assert(sizeof(E820Entry) == 20);

// boot_params.screen_info (Linux's include/uapi/linux/screen_info.h).
void put_screen(const Screen& screen, bool uefi, std::uint8_t* params) {
  constexpr std::uint8_t kVga = 1, kVesaPixels = 0x23, kEfiPixels = 0x70;
  if (screen.kind == Screen::Kind::kText) {
    constexpr std::uint8_t kTextMode = 3, kGlyphHeight = 16;
    put(params, 0x06, kTextMode);
    put(params, 0x07, static_cast<std::uint8_t>(screen.width));
    put(params, 0x0e, static_cast<std::uint8_t>(screen.height));
    put(params, 0x0f, kVga);
    put(params, 0x10, std::uint16_t{kGlyphHeight});
  }
  if (screen.kind != Screen::Kind::kPixels) return;
  constexpr std::uint32_t kBaseHas64Bits = 2;
  const std::uint32_t bytes = screen.pitch * screen.height;
  put(params, 0x0f, uefi ? kEfiPixels : kVesaPixels);
  put(params, 0x12, static_cast<std::uint16_t>(screen.width));
  put(params, 0x14, static_cast<std::uint16_t>(screen.height));
  put(params, 0x16, std::uint16_t{screen.bits});
  put(params, 0x18, static_cast<std::uint32_t>(screen.address));
  put(params, 0x1c, uefi ? bytes : (bytes + 0xffff) >> 16);
  put(params, 0x24, static_cast<std::uint16_t>(screen.pitch));
  __builtin_memcpy(params + 0x26, screen.colours, sizeof(screen.colours));
  put(params, 0x36, kBaseHas64Bits);
  put(params, 0x3a, static_cast<std::uint32_t>(screen.address >> 32));
}

}  // namespace

LinuxKernel inspect_kernel(const Module& module) {
  const auto* image = reinterpret_cast<const std::uint8_t*>(module.begin);
  if (module.bytes() < 4096 || get<std::uint16_t>(image, kBootFlag) != 0xaa55 ||
      __builtin_memcmp(image + kMagic, "HdrS", 4) != 0) {
    console::stop("module 0 is not a Linux kernel (bzImage)");
  }
  if (get<std::uint16_t>(image, kVersion) < kOldestVersion ||
      (get<std::uint8_t>(image, kLoadFlags) & 1) == 0) {
    console::stop("the kernel's boot protocol is older than 2.10");
  }
  LinuxKernel kernel;
  const std::uint32_t sectors = get<std::uint8_t>(image, kSetupSectors);
  const std::uint64_t setup_bytes = ((sectors == 0 ? 4 : sectors) + 1) * 512;
  if (setup_bytes >= module.bytes()) console::stop("the kernel's image is cut off");
  kernel.code_begin = module.begin + setup_bytes;
  kernel.code_bytes = module.bytes() - setup_bytes;
  kernel.load_address = get<std::uint64_t>(image, kPreferredAddress);
  const std::uint64_t init_size = get<std::uint32_t>(image, kInitSize);
  kernel.needed_bytes = init_size > kernel.code_bytes ? init_size : kernel.code_bytes;
  if (get<std::uint8_t>(image, kRelocatable) != 0) {
    kernel.alignment = get<std::uint32_t>(image, kAlignment);
  }
  kernel.initrd_limit = std::uint64_t{get<std::uint32_t>(image, kInitrdMax)} + 1;
  kernel.command_line_bytes = get<std::uint32_t>(image, kCommandLineSize);
  kernel.setup_header_bytes = kMagic + get<std::uint8_t>(image, kJump) - kHeaderBegin;
  if (kernel.setup_header_bytes > sizeof(kernel.setup_header)) {
    kernel.setup_header_bytes = sizeof(kernel.setup_header);
  }
  __builtin_memcpy(kernel.setup_header, image + kHeaderBegin, kernel.setup_header_bytes);
  return kernel;
}

bool LinuxKernel::takes_command_line(std::uint64_t length) const {
  return length <= command_line_bytes && length < kSegments - kCommandLine;
}

std::uint32_t load_kernel(const LinuxKernel& kernel, const BootInformation& information,
                          svm::PhysicalRange initrd, const MemoryMap& map,
                          const char* command_line) {
  // The module may lie over the kernel's place: the boot loader knew nothing of it.
  __builtin_memmove(reinterpret_cast<void*>(kernel.load_address),
                    reinterpret_cast<const void*>(kernel.code_begin), kernel.code_bytes);

  auto* const params = reinterpret_cast<std::uint8_t*>(kBootParams);
  __builtin_memset(params, 0, 4096);
  __builtin_memcpy(params + kHeaderBegin, kernel.setup_header, kernel.setup_header_bytes);
  put<std::uint8_t>(params, kLoaderType, 0xff);
  put<std::uint16_t>(params, kVideoMode, 0xffff);
  put(params, kCode32Start, static_cast<std::uint32_t>(kernel.load_address));
  put(params, kRamdiskImage, static_cast<std::uint32_t>(initrd.begin));
  put(params, kRamdiskSize, static_cast<std::uint32_t>(information.modules[kInitrdModule].bytes()));
  put(params, kCommandLinePointer, static_cast<std::uint32_t>(kCommandLine));
  const std::size_t length = __builtin_strlen(command_line);
  if (!kernel.takes_command_line(length)) {
    console::stop("the kernel's command line is longer than it takes");
  }
  __builtin_memcpy(reinterpret_cast<void*>(kCommandLine), command_line, length + 1);
  const RootPointer& root = information.root_pointer;
  if (root.bytes > 0) {
    __builtin_memcpy(reinterpret_cast<void*>(kRootPointerCopy), root.data, root.bytes);
    put(params, kRootPointer, kRootPointerCopy);
  }
  put_screen(information.screen, information.uefi, params);

  std::uint32_t at = kE820Table;
  for (const MemoryRange& range : map) {
    put(params, at, E820Entry{range.begin, range.end - range.begin, range.type});
    at += sizeof(E820Entry);
  }
  put(params, kE820Count, static_cast<std::uint8_t>(map.count()));

  // The VMCB's segments are loaded already; the table is there for code that loads them again.
  const std::uint64_t segments[4] = {0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
  __builtin_memcpy(reinterpret_cast<void*>(kSegments), segments, sizeof(segments));
  return static_cast<std::uint32_t>(kBootParams);
}

}  // namespace vmsrs::boot
