// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi.hpp"

#include "boot/ivrs.hpp"

namespace vmsrs::boot {
namespace {

struct [[gnu::packed]] Rsdp {
  char signature[8];
  std::uint8_t checksum;
  char oem[6];
  std::uint8_t revision;
  std::uint32_t rsdt;
  std::uint32_t length;
  std::uint64_t xsdt;
};
struct [[gnu::packed]] Header {
  char signature[4];
  std::uint32_t length;
  std::uint8_t revision, checksum;
  std::uint8_t rest[26];
};
static_assert(sizeof(Header) == 36);
struct [[gnu::packed]] Madt {
  Header header;
  std::uint32_t local_apic, flags;
};
struct [[gnu::packed]] MadtEntry {
  std::uint8_t type, length;
};
struct [[gnu::packed]] MadtLocalApic {
  MadtEntry entry;
  std::uint8_t acpi_id, apic_id;
  std::uint32_t flags;
};
struct [[gnu::packed]] MadtLocalX2Apic {
  MadtEntry entry;
  std::uint16_t reserved;
  std::uint32_t apic_id, flags, acpi_id;
};
struct [[gnu::packed]] MadtIoApic {
  MadtEntry entry;
  std::uint8_t id, reserved;
  std::uint32_t address, first_interrupt;
};
constexpr std::uint8_t kLocalApicEntry = 0, kIoApicEntry = 1, kLocalX2ApicEntry = 9;
constexpr std::uint32_t kEnabled = 1;
constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;

template <class T>
const T* at(std::uint64_t address) {
  return reinterpret_cast<const T*>(address);
}

bool sums_to_zero(const void* table, std::uint32_t length) {
  std::uint8_t sum = 0;
  for (std::uint32_t i = 0; i < length; ++i) {
    sum = static_cast<std::uint8_t>(sum + static_cast<const std::uint8_t*>(table)[i]);
  }
  return sum == 0;
}

const Rsdp* search(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t address = begin; address < end; address += 16) {
    if (__builtin_memcmp(at<char>(address), "RSD PTR ", 8) == 0 &&
        sums_to_zero(at<char>(address), 20)) {
      return at<Rsdp>(address);
    }
  }
  return nullptr;
}

const Rsdp* find_rsdp() {
  constexpr std::uint64_t kEbdaSegment = 0x40e;
  std::uint64_t segment_at = kEbdaSegment;
  asm("" : "+r"(segment_at));  // the compiler takes small constants for null pointers
  const std::uint64_t ebda = std::uint64_t{*at<std::uint16_t>(segment_at)} << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000) {
    if (const Rsdp* found = search(ebda, ebda + 1024)) return found;
  }
  return search(0xe0000, 0x100000);
}

void add_cpu(CpuList& cpus, std::uint32_t apic_id, std::uint32_t flags) {
  if ((flags & kEnabled) == 0) return;
  if (cpus.count == CpuList::kCapacity || apic_id >= 0xff) {
    cpus.has_more = true;
    return;
  }
  for (std::uint32_t i = 0; i < cpus.count; ++i) {
    if (cpus.apic_ids[i] == apic_id) return;
  }
  cpus.apic_ids[cpus.count++] = apic_id;
}

template <class Visitor>
void for_each_entry(const Madt& madt, Visitor&& visit) {
  const std::uint64_t end = reinterpret_cast<std::uint64_t>(&madt) + madt.header.length;
  for (std::uint64_t address = reinterpret_cast<std::uint64_t>(&madt + 1);
       address + sizeof(MadtEntry) <= end;) {
    const auto* entry = at<MadtEntry>(address);
    if (entry->length < sizeof(MadtEntry)) return;
    visit(entry->type, address);
    address += entry->length;
  }
}

void read_madt(const Madt& madt, CpuList& cpus) {
  for_each_entry(madt, [&](std::uint8_t type, std::uint64_t address) {
    if (type == kLocalApicEntry) {
      const auto* local = at<MadtLocalApic>(address);
      add_cpu(cpus, local->apic_id, local->flags);
    } else if (type == kLocalX2ApicEntry) {
      const auto* local = at<MadtLocalX2Apic>(address);
      add_cpu(cpus, local->apic_id, local->flags);
    }
  });
}

// nullptr: there is none, or it lies where it cannot be read yet.
Header* find_table(const RootPointer& root_pointer, const char* signature) {
  const auto* rsdp = reinterpret_cast<const Rsdp*>(root_pointer.data);
  if (root_pointer.bytes == 0) rsdp = find_rsdp();
  if (rsdp == nullptr) return nullptr;
  const bool wide = rsdp->revision >= 2 && rsdp->xsdt != 0 && rsdp->xsdt < kFourGiB;
  const auto* root = at<Header>(wide ? rsdp->xsdt : rsdp->rsdt);
  const std::uint64_t step = wide ? 8 : 4;
  const std::uint64_t first = reinterpret_cast<std::uint64_t>(root) + sizeof(Header);
  const std::uint64_t end = reinterpret_cast<std::uint64_t>(root) + root->length;
  for (std::uint64_t address = first; address + step <= end; address += step) {
    std::uint64_t table = 0;
    __builtin_memcpy(&table, at<char>(address), step);
    if (table < kFourGiB && __builtin_memcmp(at<char>(table), signature, 4) == 0) {
      return reinterpret_cast<Header*>(table);
    }
  }
  return nullptr;
}

Header* find_ivrs(const RootPointer& root) {
  Header* const table = find_table(root, "IVRS");
  return table != nullptr && sums_to_zero(table, table->length) ? table : nullptr;
}

}  // namespace

bool find_cpus(const RootPointer& root, CpuList& cpus) {
  const Header* const madt = find_table(root, "APIC");
  if (madt == nullptr) return false;
  read_madt(*reinterpret_cast<const Madt*>(madt), cpus);
  return cpus.count > 0;
}

std::size_t find_io_apics(const RootPointer& root, std::uint64_t* pages, std::size_t capacity) {
  std::size_t count = 0;
  const Header* const madt = find_table(root, "APIC");
  if (madt == nullptr) return 0;
  for_each_entry(*reinterpret_cast<const Madt*>(madt),
                 [&](std::uint8_t type, std::uint64_t address) {
                   if (type != kIoApicEntry) return;
                   if (count < capacity)
                     pages[count] = svm::align_down(at<MadtIoApic>(address)->address, svm::kPage);
                   ++count;
                 });
  return count;
}

void* find_iommus(const RootPointer& root, svm::IommuList& iommus) {
  Header* const table = find_ivrs(root);
  if (table == nullptr) return nullptr;
  read_ivrs(reinterpret_cast<const std::uint8_t*>(table), table->length, iommus);
  return table;
}

void hide_iommus(void* ivrs) {
  if (ivrs == nullptr) return;
  auto* const table = static_cast<Header*>(ivrs);
  constexpr char kOtherFirstLetter = 'X';
  table->checksum =
      static_cast<std::uint8_t>(table->checksum + table->signature[0] - kOtherFirstLetter);
  table->signature[0] = kOtherFirstLetter;
}

}  // namespace vmsrs::boot
