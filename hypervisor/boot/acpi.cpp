// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi.hpp"

#include "boot/acpi_tables.hpp"
#include "boot/fadt.hpp"
#include "boot/ivrs.hpp"

namespace vmsrs::boot {
namespace {

struct [[gnu::packed]] Madt {
  AcpiHeader header;
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
  return acpi_at<const T>(address);
}

bool sums_to_zero(const void* table, std::uint32_t length) {
  return checksum_of(table, length) == 0;
}

const AcpiRootPointer* search(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t address = begin; address < end; address += 16) {
    if (__builtin_memcmp(at<char>(address), "RSD PTR ", 8) == 0 &&
        sums_to_zero(at<char>(address), 20)) {
      return at<AcpiRootPointer>(address);
    }
  }
  return nullptr;
}

const AcpiRootPointer* find_rsdp() {
  constexpr std::uint64_t kEbdaSegment = 0x40e;
  std::uint64_t segment_at = kEbdaSegment;
  asm("" : "+r"(segment_at));  // the compiler takes small constants for null pointers
  const std::uint64_t ebda = std::uint64_t{*at<std::uint16_t>(segment_at)} << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000) {
    if (const AcpiRootPointer* found = search(ebda, ebda + 1024)) return found;
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

// Calls visit(AcpiHeader&) for all that the firmware's root table names and that can be read yet.
template <class Visitor>
void for_each_table(const RootPointer& root_pointer, Visitor&& visit) {
  const auto* rsdp = reinterpret_cast<const AcpiRootPointer*>(root_pointer.data);
  if (root_pointer.bytes == 0) return;
  const bool wide = has_wide_root(*rsdp);
  const auto* root = at<AcpiHeader>(wide ? rsdp->xsdt : rsdp->rsdt);
  const std::uint64_t step = wide ? 8 : 4;
  const std::uint64_t first = reinterpret_cast<std::uint64_t>(root) + sizeof(AcpiHeader);
  const std::uint64_t end = reinterpret_cast<std::uint64_t>(root) + root->length;
  for (std::uint64_t address = first; address + step <= end; address += step) {
    std::uint64_t table = 0;
    __builtin_memcpy(&table, at<char>(address), step);
    if (table < kFourGiB) visit(*acpi_at<AcpiHeader>(table));
  }
}

bool is_called(const AcpiHeader& table, const char* signature) {
  return __builtin_memcmp(table.signature, signature, sizeof(table.signature)) == 0;
}

// nullptr: there is none, or it lies where it cannot be read yet.
AcpiHeader* find_table(const RootPointer& root_pointer, const char* signature) {
  AcpiHeader* found = nullptr;
  for_each_table(root_pointer, [&](AcpiHeader& table) {
    if (found == nullptr && is_called(table, signature)) found = &table;
  });
  return found;
}

AcpiHeader* find_sound_table(const RootPointer& root, const char* signature) {
  AcpiHeader* const table = find_table(root, signature);
  return table != nullptr && sums_to_zero(table, table->length) ? table : nullptr;
}

// Calls visit(bytes, length) for the tables of definitions (AML).
template <class Visitor>
void for_each_definition(const RootPointer& root, Visitor&& visit) {
  const auto see = [&](AcpiHeader& table) {
    visit(reinterpret_cast<std::uint8_t*>(&table), table.length);
  };
  if (const AcpiHeader* const fadt = find_sound_table(root, "FACP")) {
    const std::uint64_t dsdt =
        definitions_of(reinterpret_cast<const std::uint8_t*>(fadt), fadt->length);
    if (dsdt != 0) see(*acpi_at<AcpiHeader>(dsdt));
  }
  for_each_table(root, [&](AcpiHeader& table) {
    if (is_called(table, "SSDT")) see(table);
  });
}

// Linux is not to find it.
void rename(AcpiHeader* table) {
  if (table == nullptr) return;
  constexpr char kOtherFirstLetter = 'X';
  table->checksum =
      static_cast<std::uint8_t>(table->checksum + table->signature[0] - kOtherFirstLetter);
  table->signature[0] = kOtherFirstLetter;
}

}  // namespace

void find_root_pointer(RootPointer& root) {
  const AcpiRootPointer* const rsdp = root.bytes == 0 ? find_rsdp() : nullptr;
  if (rsdp == nullptr) return;
  root.bytes = rsdp->revision >= 2 ? sizeof(*rsdp) : kOldRootPointerBytes;
  __builtin_memcpy(root.data, rsdp, root.bytes);
}

bool find_cpus(const RootPointer& root, CpuList& cpus) {
  const AcpiHeader* const madt = find_table(root, "APIC");
  if (madt == nullptr) return false;
  read_madt(*reinterpret_cast<const Madt*>(madt), cpus);
  return cpus.count > 0;
}

std::size_t find_io_apics(const RootPointer& root, std::uint64_t* pages, std::size_t capacity) {
  std::size_t count = 0;
  const AcpiHeader* const madt = find_table(root, "APIC");
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

void find_iommus(const RootPointer& root, svm::IommuList& iommus) {
  const AcpiHeader* const table = find_sound_table(root, "IVRS");
  if (table == nullptr) return;
  read_ivrs(reinterpret_cast<const std::uint8_t*>(table), table->length, iommus);
}

void hide_iommus(const RootPointer& root) { rename(find_sound_table(root, "IVRS")); }

void find_power_ports(const RootPointer& root, svm::PowerPorts& ports) {
  const AcpiHeader* const fadt = find_sound_table(root, "FACP");
  if (fadt == nullptr) return;
  read_fadt(reinterpret_cast<const std::uint8_t*>(fadt), fadt->length, ports);
  for_each_definition(root, [&](const std::uint8_t* table, std::uint32_t bytes) {
    if (!ports.off_known) read_off_types(table, bytes, ports);
  });
}

void hide_sleep(const RootPointer& root) {
  for_each_definition(
      root, [](std::uint8_t* table, std::uint32_t bytes) { hide_sleep_states(table, bytes); });
}

std::uint64_t find_hpet(const RootPointer& root) {
  constexpr std::size_t kAddressAt = sizeof(AcpiHeader) + 8;
  const AcpiHeader* const table = find_sound_table(root, "HPET");
  if (table == nullptr || table->length < kAddressAt + sizeof(std::uint64_t)) return 0;
  std::uint64_t address = 0;
  __builtin_memcpy(&address, reinterpret_cast<const std::uint8_t*>(table) + kAddressAt,
                   sizeof(address));
  return address % svm::kPage == 0 && address < kFourGiB ? address : 0;
}

void hide_hpet(const RootPointer& root) {
  rename(find_sound_table(root, "HPET"));
  for_each_definition(
      root, [](std::uint8_t* table, std::uint32_t bytes) { hide_hpet_device(table, bytes); });
}

bool add_panic_device(RootPointer& root, std::uint64_t place, PanicDeviceTables& tables) {
  RootPointer copy = root;
  if (!compose_panic_device(copy, place, tables)) return false;
  root = copy;
  return true;
}

}  // namespace vmsrs::boot
