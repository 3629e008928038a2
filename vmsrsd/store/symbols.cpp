// SPDX-License-Identifier: Apache-2.0
#include "store/symbols.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

namespace vmsrs::store {
namespace {

constexpr std::size_t kMostMappings = 65536;
constexpr std::size_t kMostFunctions = 1000000;
constexpr std::size_t kLongestName = 500;

struct Descriptor {
  explicit Descriptor(int number_) : number(number_) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number;
};

struct EndElf {
  void operator()(Elf* elf) const { elf_end(elf); }
};

std::string readable(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  std::string all = status == 0 && text ? text.get() : name;
  if (all.size() > kLongestName) all.resize(kLongestName);
  return all;
}

// The file that is mapped, and no other: what its name leads to may be a device that blocks, or
// have been replaced since.
bool is_mapped_file(int descriptor, std::uint64_t device, std::uint64_t inode) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_dev == device &&
         status.st_ino == inode;
}

// The first 16 digits of the build id among the notes of a section.
std::optional<std::string> build_in(Elf_Data* notes) {
  GElf_Nhdr note;
  std::size_t name = 0;
  std::size_t content = 0;
  for (std::size_t at = 0;
       notes != nullptr && (at = gelf_getnote(notes, at, &note, &name, &content)) > 0;) {
    const char* const bytes = static_cast<const char*>(notes->d_buf);
    if (note.n_type != NT_GNU_BUILD_ID || note.n_descsz < 8 || note.n_namesz != 4 ||
        std::memcmp(bytes + name, "GNU", 4) != 0)
      continue;
    std::string digits;
    for (std::size_t i = 0; i < 8; ++i)
      for (const int shift : {4, 0})
        digits += "0123456789abcdef"[static_cast<unsigned char>(bytes[content + i]) >> shift & 15];
    return digits;
  }
  return std::nullopt;
}

}  // namespace

const std::vector<Symbols::Mapping>& Symbols::mappings_of(std::uint32_t process_id) {
  const auto [entry, fresh] = mappings_.try_emplace(process_id);
  if (!fresh) return entry->second;
  std::ifstream stream(proc_ + "/" + std::to_string(process_id) + "/maps");
  for (std::string line; std::getline(stream, line) && entry->second.size() < kMostMappings;) {
    // proc(5): begin-end rights offset major:minor inode path; the path may hold blanks.
    std::istringstream fields(line);
    Mapping mapping;
    std::string rights;
    std::uint64_t major = 0;
    std::uint64_t minor = 0;
    char dash = 0;
    char colon = 0;
    fields >> std::hex >> mapping.begin >> dash >> mapping.end >> rights >> mapping.file_offset >>
        major >> colon >> minor >> std::dec >> mapping.inode;
    if (!fields || mapping.inode == 0) continue;
    std::getline(fields >> std::ws, mapping.file);
    mapping.device = makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
    entry->second.push_back(std::move(mapping));
  }
  return entry->second;
}

Symbols::Module Symbols::read_module(std::uint32_t process_id, const Mapping& mapping) const {
  Module module;
  // As the process sees it, which may be in a container.
  const std::string seen = proc_ + "/" + std::to_string(process_id) + "/root" + mapping.file;
  Descriptor file(::open(seen.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number < 0) {
    Descriptor here(::open(mapping.file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    std::swap(file.number, here.number);
  }
  if (file.number < 0 || !is_mapped_file(file.number, mapping.device, mapping.inode)) return module;
  if (elf_version(EV_CURRENT) == EV_NONE) return module;
  const std::unique_ptr<Elf, EndElf> elf(elf_begin(file.number, ELF_C_READ, nullptr));
  if (!elf || elf_kind(elf.get()) != ELF_K_ELF) return module;
  std::size_t segment_count = 0;
  if (elf_getphdrnum(elf.get(), &segment_count) != 0) return module;
  for (std::size_t i = 0; i < segment_count; ++i) {
    GElf_Phdr header;
    if (gelf_getphdr(elf.get(), static_cast<int>(i), &header) == nullptr) break;
    if (header.p_type == PT_LOAD)
      module.segments.push_back({header.p_offset, header.p_filesz, header.p_vaddr});
  }
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf.get(), section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) continue;
    if (header.sh_type == SHT_NOTE && !module.build)
      module.build = build_in(elf_getdata(section, nullptr));
    if (header.sh_entsize == 0) continue;
    if (header.sh_type != SHT_SYMTAB && header.sh_type != SHT_DYNSYM) continue;
    Elf_Data* const data = elf_getdata(section, nullptr);
    if (data == nullptr) continue;
    const std::size_t count = std::min(header.sh_size / header.sh_entsize, kMostFunctions);
    for (std::size_t i = 0; i < count; ++i) {
      GElf_Sym symbol;
      if (gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr) break;
      const auto type = GELF_ST_TYPE(symbol.st_info);
      if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF ||
          symbol.st_size == 0)
        continue;
      const char* const name = elf_strptr(elf.get(), header.sh_link, symbol.st_name);
      if (name == nullptr || *name == '\0') continue;
      module.functions.push_back({symbol.st_value, symbol.st_value + symbol.st_size, name});
    }
  }
  // Of names for the same place the first in the alphabet: the same answer every time.
  std::sort(module.functions.begin(), module.functions.end(),
            [](const Function& a, const Function& b) {
              return std::tie(a.begin, a.name) < std::tie(b.begin, b.name);
            });
  return module;
}

const Symbols::Module& Symbols::module_of(std::uint32_t process_id, const Mapping& mapping) {
  const auto key = std::tuple(mapping.device, mapping.inode);
  const auto found = modules_.find(key);
  if (found != modules_.end()) return found->second;
  return modules_.emplace(key, read_module(process_id, mapping)).first->second;
}

Place Symbols::place(std::uint32_t process_id, std::uint64_t address) {
  Place place{address, {}, {}, {}, {}, {}};
  if (process_id == 0 || address == 0) return place;
  const std::vector<Mapping>& mappings = mappings_of(process_id);
  const auto mapping = std::find_if(mappings.begin(), mappings.end(), [&](const Mapping& one) {
    return address >= one.begin && address < one.end;
  });
  if (mapping == mappings.end()) return place;
  place.module = mapping->file;
  const std::uint64_t in_file = address - mapping->begin + mapping->file_offset;
  place.offset = in_file;
  const Module& module = module_of(process_id, *mapping);
  place.build = module.build;
  const auto segment =
      std::find_if(module.segments.begin(), module.segments.end(), [&](const Segment& one) {
        return in_file >= one.file_offset && in_file < one.file_offset + one.bytes;
      });
  if (segment == module.segments.end()) return place;
  const std::uint64_t in_module = in_file - segment->file_offset + segment->address;
  place.offset = in_module;
  auto function =
      std::upper_bound(module.functions.begin(), module.functions.end(), in_module,
                       [](std::uint64_t value, const Function& one) { return value < one.begin; });
  while (function != module.functions.begin()) {
    --function;
    if (in_module < function->end) {
      const auto first = std::find_if(module.functions.begin(), function, [&](const Function& one) {
        return one.begin == function->begin && in_module < one.end;
      });
      place.symbol = readable(first->name.c_str());
      place.symbol_offset = in_module - first->begin;
      break;
    }
    // An outer function of a greater size would be rare: only the nearest few are looked at.
    if (function->begin + (1 << 20) < in_module) break;
  }
  return place;
}

std::optional<std::string> Symbols::program(std::uint32_t process_id) const {
  std::error_code error;
  const auto file =
      std::filesystem::read_symlink(proc_ + "/" + std::to_string(process_id) + "/exe", error);
  if (error) return std::nullopt;
  return file.string();
}

}  // namespace vmsrs::store
