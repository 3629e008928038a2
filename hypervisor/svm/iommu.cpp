// SPDX-License-Identifier: Apache-2.0
#include "svm/iommu.hpp"

#include <atomic>

#include "svm/console.hpp"
#include "svm/features.hpp"
#include "svm/machine.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// Registers (3.4), offsets in bytes.
constexpr std::uint64_t kDeviceTableBase = 0x00, kCommandBase = 0x08, kEventBase = 0x10,
                        kControl = 0x18, kExclusionBase = 0x20, kExclusionLimit = 0x28,
                        kExtendedFeatures = 0x30, kCommandHead = 0x2000, kCommandTail = 0x2008,
                        kEventHead = 0x2010, kEventTail = 0x2018, kStatus = 0x2020;
constexpr std::uint64_t kEnable = 1u << 0, kHyperTransportTunnel = 1u << 1, kLogEvents = 1u << 2,
                        kPassPostedWrites = 1u << 8, kPassPostedResponses = 1u << 9,
                        kCoherent = 1u << 10, kIsochronous = 1u << 11, kTakeCommands = 1u << 12;
constexpr std::uint64_t kInvalidateAllSupported = 1u << 6;  // extended features
constexpr std::uint64_t kLogOverflow = 1u << 0;             // status, written to clear
constexpr std::uint64_t kNoUnit = ~std::uint64_t{0};        // what is read where nothing answers

// Flags of an IVHD block (5.2.2.1).
constexpr std::uint8_t kFlagTunnel = 1, kFlagPassPostedWrites = 2, kFlagPassPostedResponses = 4,
                       kFlagIsochronous = 8;

// A device's entry (2.2.2): translation by the nested tables, four levels; interrupts go through as
// they are, but no INIT.
struct DeviceEntry {
  std::uint64_t words[4];
};
static_assert(sizeof(DeviceEntry) == 32);
constexpr std::uint64_t kEntryValid = 1, kTranslates = 2, kFourLevels = 4u << 9,
                        kReadable = 1ull << 61, kWritable = 1ull << 62;
constexpr std::uint64_t kDomain = 1;  // word 1
constexpr unsigned kSystemManagementShift = 40;
constexpr std::uint64_t kInterruptsValid = 1;  // word 2
constexpr std::uint64_t kPassExternal = 1ull << 57, kPassNmi = 1ull << 58,
                        kFixedUnmapped = 1ull << 60, kPassLint0 = 1ull << 62,
                        kPassLint1 = 1ull << 63;
constexpr std::uint64_t kDeviceCount = 65536;
constexpr std::uint64_t kDeviceTableBytes = kDeviceCount * sizeof(DeviceEntry);
constexpr std::uint64_t kDeviceTableSize = kDeviceTableBytes / kPage - 1;  // as the register has it

// Commands (2.4) and events (2.5): 256 of 16 bytes each.
struct Command {
  std::uint64_t words[2];
};
constexpr unsigned kOperationShift = 60;
constexpr std::uint64_t kCompletionWait = 1ull << kOperationShift,
                        kInvalidateDevice = 2ull << kOperationShift,
                        kInvalidatePages = 3ull << kOperationShift,
                        kInvalidateInterrupts = 5ull << kOperationShift,
                        kInvalidateAll = 8ull << kOperationShift;
constexpr std::uint64_t kStores = 1;
constexpr std::uint64_t kAllPages = 0x7ffffffffffff003;  // word 1: the whole domain, tables too
constexpr std::uint64_t kRingCount = 256, kRingBytes = kRingCount * sizeof(Command);
constexpr std::uint64_t kRingSize = 8ull << 56;  // as the registers have it
constexpr std::uint64_t kPageFaultEvent = 2;
static_assert(kRingBytes == kPage);

constexpr std::uint64_t kAnswerMs = 1000;

class Unit {
 public:
  bool start(const Iommu& iommu, const DeviceEntry* devices, PagePool& pool) {
    registers_ = iommu.registers.begin;
    devices_ = reinterpret_cast<std::uint64_t>(devices);
    commands_ = static_cast<Command*>(pool.take(kRingBytes));
    events_ = static_cast<volatile Command*>(pool.take(kRingBytes));
    done_ = static_cast<volatile std::uint64_t*>(pool.take(kPage));
    if (commands_ == nullptr || events_ == nullptr || done_ == nullptr) return false;
    if (read(kControl) == kNoUnit) return false;
    write(kControl, 0);
    write(kDeviceTableBase, devices_ | kDeviceTableSize);
    write(kCommandBase, reinterpret_cast<std::uint64_t>(commands_) | kRingSize);
    write(kEventBase, reinterpret_cast<std::uint64_t>(events_) | kRingSize);
    for (const std::uint64_t at : {kCommandHead, kCommandTail, kEventHead, kEventTail})
      write(at, 0);
    write(kExclusionBase, 0);
    write(kExclusionLimit, 0);
    control_ = kTakeCommands | kLogEvents | kCoherent | kEnable | link_control(iommu.link_flags);
    write(kControl, control_);
    return forget_everything();
  }

  // Does it hold its devices to that table?
  bool holds() const {
    return (read(kControl) & kEnable) != 0 &&
           read(kDeviceTableBase) == (devices_ | kDeviceTableSize);
  }

  // Takes what it has reported since the last time.
  std::uint64_t take_refused() {
    std::uint64_t count = 0;
    const std::uint64_t tail = read(kEventTail) % kRingBytes;
    std::uint64_t head = read(kEventHead) % kRingBytes;
    for (; head != tail; head = (head + sizeof(Command)) % kRingBytes)
      count += events_[head / sizeof(Command)].words[0] >> kOperationShift == kPageFaultEvent;
    write(kEventHead, head);
    if ((read(kStatus) & kLogOverflow) != 0) restart_log();
    return count;
  }

 private:
  std::uint64_t read(std::uint64_t at) const {
    return *reinterpret_cast<volatile std::uint64_t*>(registers_ + at);
  }
  void write(std::uint64_t at, std::uint64_t value) {
    *reinterpret_cast<volatile std::uint64_t*>(registers_ + at) = value;
  }

  static std::uint64_t link_control(std::uint8_t flags) {
    return ((flags & kFlagTunnel) != 0 ? kHyperTransportTunnel : 0) |
           ((flags & kFlagPassPostedWrites) != 0 ? kPassPostedWrites : 0) |
           ((flags & kFlagPassPostedResponses) != 0 ? kPassPostedResponses : 0) |
           ((flags & kFlagIsochronous) != 0 ? kIsochronous : 0);
  }

  // What was cached under the firmware.
  bool forget_everything() {
    if ((read(kExtendedFeatures) & kInvalidateAllSupported) != 0)
      return give({kInvalidateAll, 0}) && wait();
    for (std::uint64_t device = 0; device < kDeviceCount; ++device)
      if (!give({kInvalidateDevice | device, 0}) || !give({kInvalidateInterrupts | device, 0}))
        return false;
    return give({kInvalidatePages | kDomain << 32, kAllPages}) && wait();
  }

  // A full ring is waited for.
  bool give(Command command) {
    const std::uint64_t next = (tail_ + sizeof(Command)) % kRingBytes;
    if (!until([&] { return read(kCommandHead) % kRingBytes != next; })) return false;
    commands_[tail_ / sizeof(Command)] = command;
    tail_ = next;
    write(kCommandTail, tail_);
    return true;
  }

  bool wait() {
    *done_ = 0;
    const auto place = reinterpret_cast<std::uint64_t>(done_);
    return give({kCompletionWait | place | kStores, 1}) && until([&] { return *done_ != 0; });
  }

  template <class Condition>
  static bool until(Condition condition) {
    const std::uint64_t begin = x86::read_tsc();
    const std::uint64_t limit = kAnswerMs * machine().tsc_per_ms;
    while (!condition()) {
      if (x86::read_tsc() - begin > limit) return false;
      x86::pause();
    }
    return true;
  }

  // 2.5.2: off, cleared, on.
  void restart_log() {
    write(kControl, control_ & ~kLogEvents);
    write(kStatus, kLogOverflow);
    write(kEventHead, 0);
    write(kEventTail, 0);
    write(kControl, control_);
  }

  std::uint64_t registers_ = 0, devices_ = 0, control_ = 0, tail_ = 0;
  Command* commands_ = nullptr;
  volatile Command* events_ = nullptr;
  volatile std::uint64_t* done_ = nullptr;
};

constinit Unit units[IommuList::kCapacity];
constinit std::uint32_t unit_count = 0;
constinit std::atomic<std::uint64_t> refused{0};
constinit std::atomic<bool> taking{false};

// Emulated units (QEMU's 7.2) lose the interrupts that are to pass: there all go
// unexamined.
std::uint64_t interrupt_control() {
  if (features().emulated) return 0;
  return kInterruptsValid | kPassExternal | kPassNmi | kFixedUnmapped | kPassLint0 | kPassLint1;
}

void fill_devices(const IommuList& list, DeviceEntry* devices) {
  const DeviceEntry entry = {{value(machine().nested.root()) | kEntryValid | kTranslates |
                                  kFourLevels | kReadable | kWritable,
                              kDomain, interrupt_control(), 0}};
  for (std::uint64_t device = 0; device < kDeviceCount; ++device) devices[device] = entry;
  for (std::uint32_t i = 0; i < list.setting_count; ++i) {
    const DeviceSetting& setting = list.settings[i];
    const auto management = static_cast<std::uint64_t>((setting.bits & kSystemManagement) >> 4);
    for (std::uint64_t device = setting.first; device <= setting.last; ++device)
      devices[device].words[1] |= management << kSystemManagementShift;
  }
}

}  // namespace

std::uint64_t iommu_bytes(const IommuList& list) {
  if (list.count == 0) return 0;
  return kDeviceTableBytes + list.count * (2 * kRingBytes + kPage);
}

bool start_iommus(const IommuList& list, PagePool& pool) {
  if (list.count == 0 || list.incomplete) return false;
  auto* const devices = static_cast<DeviceEntry*>(pool.take(kDeviceTableBytes));
  if (devices == nullptr) return false;
  fill_devices(list, devices);
  for (const Iommu& iommu : list) {
    if (!units[unit_count].start(iommu, devices, pool)) {
      console::warn("the IOMMU at ", console::Hex{iommu.registers.begin}, " does not answer");
      return false;
    }
    ++unit_count;
  }
  return true;
}

std::uint64_t count_open_iommus() {
  std::uint64_t open = 0;
  for (std::uint32_t i = 0; i < unit_count; ++i) open += !units[i].holds();
  return open;
}

std::uint64_t refused_device_accesses() {
  if (!taking.exchange(true, std::memory_order_acquire)) {
    for (std::uint32_t i = 0; i < unit_count; ++i)
      refused.fetch_add(units[i].take_refused(), std::memory_order_relaxed);
    taking.store(false, std::memory_order_release);
  }
  return refused.load(std::memory_order_relaxed);
}

}  // namespace vmsrs::svm
