// SPDX-License-Identifier: Apache-2.0
#include "boot/multiboot.hpp"

#include <initializer_list>

namespace vmsrs::boot {
namespace {

constexpr const char* kDamaged = "the boot loader's information is damaged";
constexpr const char* kNoMap = "the boot loader gave no memory map";
constexpr const char* kFullMap = "the memory map has too many entries";
constexpr const char* kLongOptions = "the hypervisor's command line is longer than 1024 characters";
constexpr const char* kLongLinuxOptions =
    "the kernel's command line is longer than 2048 characters";

template <class T>
const T* at(std::uint64_t address) {
  return reinterpret_cast<const T*>(address);
}

// One entry of the boot loader's memory map. Types that Linux does not know are not its memory.
struct [[gnu::packed]] MapEntry {
  std::uint64_t base, length;
  std::uint32_t type;
};

std::uint32_t known_type(std::uint32_t type) {
  constexpr std::uint32_t kLastOfBios = 5, kPersistent = 7;
  const bool known =
      (type >= kUsable && type <= kLastOfBios) || type == kPersistent || type == kPersistentLegacy;
  return known ? type : kReserved;
}

// `next(entry)` walks the boot loader's entries; false behind the last one.
template <class Walk>
const char* copy_map(Walk walk, MemoryMap& memory) {
  // Usable ranges first, so that whatever else is said of the same memory wins.
  for (const bool usable : {true, false}) {
    Walk next = walk;
    for (MapEntry entry; next(entry);) {
      if ((entry.type == kUsable) != usable || entry.length == 0) continue;
      if (entry.length > ~entry.base) return kDamaged;
      if (!memory.set(entry.base, entry.base + entry.length, known_type(entry.type))) {
        return kFullMap;
      }
    }
  }
  return memory.count() > 0 ? nullptr : kNoMap;
}

const char* add_module(std::uint64_t begin, std::uint64_t end, const char* text,
                       BootInformation& out) {
  if (end < begin) return kDamaged;
  if (out.module_count == kModuleCount) return nullptr;
  if (out.module_count == kKernelModule && !out.linux_options.assign(text)) {
    return kLongLinuxOptions;
  }
  out.modules[out.module_count++] = {begin, end};
  return nullptr;
}

// The Multiboot Specification version 0.6.96, 3.3.
namespace one {

constexpr std::uint32_t kLoaderMagic = 0x2badb002;
constexpr std::uint32_t kHasCommandLine = 1u << 2, kHasModules = 1u << 3, kHasMap = 1u << 6,
                        kHasLoaderName = 1u << 9;

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

struct MapWalk {
  std::uint64_t address, end;
  bool operator()(MapEntry& entry) {
    std::uint32_t size = 0;  // of the entry behind it
    if (end - address < sizeof(size)) return false;
    __builtin_memcpy(&size, at<char>(address), sizeof(size));
    address += sizeof(size);
    if (size < sizeof(entry) || end - address < size) return false;
    __builtin_memcpy(&entry, at<char>(address), sizeof(entry));
    address += size;
    return true;
  }
};

// QEMU puts the file's name in front of every string; GRUB does not.
const char* without_file_name(const char* text, bool has_file_name) {
  if (!has_file_name) return text;
  while (*text != '\0' && *text != ' ') ++text;
  while (*text == ' ') ++text;
  return text;
}

const char* copy(std::uint64_t information, BootInformation& out) {
  const auto& info = *at<Information>(information);
  if ((info.flags & kHasMap) == 0) return kNoMap;
  const std::uint64_t map = info.map;
  const char* problem = copy_map(MapWalk{map, map + info.map_length}, out.memory);
  const bool is_qemu = (info.flags & kHasLoaderName) != 0 &&
                       after_prefix(at<char>(info.boot_loader_name), "qemu") != nullptr;
  if ((info.flags & kHasCommandLine) != 0 &&
      !out.options.assign(without_file_name(at<char>(info.command_line), is_qemu))) {
    return kLongOptions;
  }
  const std::uint32_t modules = (info.flags & kHasModules) != 0 ? info.module_count : 0;
  for (std::uint32_t i = 0; problem == nullptr && i < modules && i < kModuleCount; ++i) {
    const auto& entry = at<ModuleEntry>(info.modules)[i];
    problem =
        add_module(entry.begin, entry.end, without_file_name(at<char>(entry.text), is_qemu), out);
  }
  return problem;
}

}  // namespace one

// The Multiboot2 Specification version 2.0, 3.6: tags, each on a boundary of 8 bytes.
namespace two {

constexpr std::uint32_t kLoaderMagic = 0x36d76289;
constexpr std::uint32_t kMostBytes = 1 << 20;

struct Tag {
  std::uint32_t type, bytes;
};
enum TagType : std::uint32_t {
  kEnd = 0,
  kCommandLine = 1,
  kModule = 3,
  kMap = 6,
  kFrameBuffer = 8,
  kEfi32 = 11,
  kEfi64 = 12,
  kAcpiOld = 14,
  kAcpiNew = 15,
  kBootServicesRun = 18,
};

// What of a tag has the size that its type wants.
template <class T>
bool read(const Tag* tag, T& body, std::uint32_t offset = sizeof(Tag)) {
  if (tag->bytes < offset + sizeof(T)) return false;
  __builtin_memcpy(&body, reinterpret_cast<const char*>(tag) + offset, sizeof(T));
  return true;
}

const char* text_of(const Tag* tag, std::uint32_t offset) {
  const auto* const text = reinterpret_cast<const char*>(tag);
  for (std::uint32_t i = offset; i < tag->bytes; ++i) {
    if (text[i] == '\0') return text + offset;
  }
  return nullptr;
}

struct MapWalk {
  const Tag* tag;
  std::uint32_t step, offset;
  bool operator()(MapEntry& entry) {
    if (tag->bytes - offset < step) return false;
    __builtin_memcpy(&entry, reinterpret_cast<const char*>(tag) + offset, sizeof(entry));
    offset += step;
    return true;
  }
};

const char* read_map(const Tag* tag, BootInformation& out) {
  struct {
    std::uint32_t entry_bytes, version;
  } head;
  if (!read(tag, head) || head.entry_bytes < sizeof(MapEntry)) return kDamaged;
  return copy_map(MapWalk{tag, head.entry_bytes, sizeof(Tag) + sizeof(head)}, out.memory);
}

const char* read_module(const Tag* tag, BootInformation& out) {
  struct {
    std::uint32_t begin, end;
  } module;
  if (!read(tag, module)) return kDamaged;
  const char* const text = text_of(tag, sizeof(Tag) + sizeof(module));
  return text == nullptr ? kDamaged : add_module(module.begin, module.end, text, out);
}

const char* read_screen(const Tag* tag, BootInformation& out) {
  struct [[gnu::packed]] {
    std::uint64_t address;
    std::uint32_t pitch, width, height;
    std::uint8_t bits, type;
    std::uint16_t reserved;
  } head;
  struct {
    std::uint8_t red_position, red_bits, green_position, green_bits, blue_position, blue_bits;
  } colours{};
  constexpr std::uint8_t kDirectColours = 1;
  if (!read(tag, head)) return kDamaged;
  out.screen.kind = Screen::Kind::kNone;
  if (head.type == Screen::kTextType) out.screen.kind = Screen::Kind::kText;
  if (head.type != kDirectColours || (head.bits != 32 && head.bits != 24)) return nullptr;
  if (!read(tag, colours, sizeof(Tag) + sizeof(head))) return kDamaged;
  out.screen = {Screen::Kind::kPixels,
                head.address,
                head.pitch,
                head.width,
                head.height,
                head.bits,
                {colours.red_bits, colours.red_position, colours.green_bits, colours.green_position,
                 colours.blue_bits, colours.blue_position}};
  return nullptr;
}

void read_root_pointer(const Tag* tag, RootPointer& out) {
  // The newer one is the longer one; both may be there.
  const std::uint32_t bytes = tag->bytes - static_cast<std::uint32_t>(sizeof(Tag));
  if (bytes < 20 || bytes <= out.bytes) return;
  out.bytes = bytes < sizeof(out.data) ? bytes : sizeof(out.data);
  __builtin_memcpy(out.data, tag + 1, out.bytes);
}

const char* read_tag(const Tag* tag, BootInformation& out) {
  switch (tag->type) {
    case kCommandLine: {
      const char* const text = text_of(tag, sizeof(Tag));
      if (text == nullptr) return kDamaged;
      return out.options.assign(text) ? nullptr : kLongOptions;
    }
    case kModule:
      return read_module(tag, out);
    case kMap:
      return read_map(tag, out);
    case kFrameBuffer:
      return read_screen(tag, out);
    case kEfi32:
    case kEfi64:
      out.uefi = true;
      return nullptr;
    case kAcpiOld:
    case kAcpiNew:
      read_root_pointer(tag, out.root_pointer);
      return nullptr;
    case kBootServicesRun:
      return "the boot loader left the firmware's boot services running";
    default:
      return nullptr;
  }
}

const char* copy(std::uint64_t information, BootInformation& out) {
  const std::uint32_t total = *at<std::uint32_t>(information);
  if (total > kMostBytes) return kDamaged;
  out.screen.kind = Screen::Kind::kNone;
  for (std::uint64_t offset = 8;;) {
    if (offset + sizeof(Tag) > total) return kDamaged;
    const auto* const tag = at<Tag>(information + offset);
    if (tag->bytes < sizeof(Tag) || tag->bytes > total - offset) return kDamaged;
    if (tag->type == kEnd) break;
    if (const char* const problem = read_tag(tag, out)) return problem;
    offset += (tag->bytes + 7) & ~7u;
  }
  // Without a word about it there is VGA text, where there is a BIOS.
  if (out.screen.kind == Screen::Kind::kNone && !out.uefi) out.screen.kind = Screen::Kind::kText;
  return out.memory.count() > 0 ? nullptr : kNoMap;
}

}  // namespace two

}  // namespace

const char* copy_multiboot(std::uint32_t magic, std::uint64_t information, BootInformation& out) {
  if (magic == one::kLoaderMagic) return one::copy(information, out);
  if (magic == two::kLoaderMagic) return two::copy(information, out);
  return "not started by a multiboot boot loader";
}

}  // namespace vmsrs::boot
