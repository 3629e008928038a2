// SPDX-License-Identifier: Apache-2.0
#include "svm/svm_platform.hpp"

#include "svm/console.hpp"
#include "svm/contradiction.hpp"
#include "svm/features.hpp"
#include "svm/guest_end.hpp"
#include "svm/machine.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {

__extension__ using Uint128 = unsigned __int128;

void SvmPlatform::start_clock() {
  constexpr std::uint64_t kNsPerMs = 1000000;
  begin_tsc_ = x86::read_tsc();
  ns_per_tick_ = (kNsPerMs << 32) / machine().tsc_per_ms;
}

std::uint32_t SvmPlatform::isolation() const { return VMSRS_ISOLATION_HYPERVISOR; }

// Another CPU's counter may lag a little behind the one the clock was started on.
std::uint64_t SvmPlatform::since_start_ns(std::uint64_t counter) const {
  const std::uint64_t ticks = counter > begin_tsc_ ? counter - begin_tsc_ : 0;
  return static_cast<std::uint64_t>((Uint128{ticks} * ns_per_tick_) >> 32);
}

std::uint64_t SvmPlatform::now_ns() const { return since_start_ns(x86::read_tsc()); }

std::uint64_t SvmPlatform::cycles() const { return x86::read_tsc(); }

std::uint64_t SvmPlatform::random() {
  if (features().rdrand) {
    for (int i = 0; i < 16; ++i) {
      std::uint64_t word = 0;
      bool good = false;
      asm volatile("rdrand %0" : "=r"(word), "=@ccc"(good));
      if (good) return word;
    }
  }
  // No generator: the counter, stirred (the finaliser of MurmurHash3).
  std::uint64_t x = x86::read_tsc();
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
  return x ^ (x >> 33);
}

void SvmPlatform::relax() const {
  x86::pause();
  leave_abandoned_engine();
}

vmsrs_window* SvmPlatform::window(std::uint32_t server) {
  return server < VMSRS_MAX_SERVERS ? machine().server_windows[server] : nullptr;
}

std::uint32_t SvmPlatform::cpu_count() const { return processors.count; }

std::uint64_t SvmPlatform::hidden_bytes() const {
  return machine().image.bytes() + machine().hidden.bytes();
}

std::uint64_t SvmPlatform::hidden_access_count() const {
  return machine().hidden_access_count.load(std::memory_order_relaxed) + refused_device_accesses();
}

std::uint64_t SvmPlatform::window_write_count() const {
  return machine().window_write_count.load(std::memory_order_relaxed);
}

bool SvmPlatform::exits(std::uint32_t cpu, vmsrs_exits& out) const {
  if (cpu >= processors.count) return false;
  const ExitStatistics& exits = processors.list[cpu]->exits;
  out = vmsrs_exits{};
  out.cpu = cpu;
  for (unsigned i = 0; i < VMSRS_EXIT_REASON_COUNT; ++i) {
    out.count[i] = exits.count[i].load(std::memory_order_relaxed);
    out.cycles[i] = exits.cycles[i].load(std::memory_order_relaxed);
  }
  return true;
}

std::uint64_t SvmPlatform::cycles_per_second() const { return machine().tsc_per_ms * 1000; }

std::uint32_t SvmPlatform::log_lines(std::uint64_t& cursor, vmsrs_log_line* out,
                                     std::uint32_t room) {
  std::uint32_t count = 0;
  for (; count < room && console::read_log(cursor, out[count]); ++count, ++cursor)
    out[count].time_ns = since_start_ns(out[count].time_ns);
  return count;
}

std::uint32_t SvmPlatform::memory_ranges(vmsrs_memory_range* out) const {
  const Machine& m = machine();
  std::uint32_t count = 0;
  const auto add = [&](std::uint64_t begin, std::uint64_t end, vmsrs_memory_use use) {
    if (begin < end && count < VMSRS_MAX_MEMORY_RANGES) out[count++] = {begin, end, use, 0};
  };
  add(m.image.begin, m.image.end, VMSRS_MEMORY_IMAGE);
  add(m.hidden.begin, m.storage_begin, VMSRS_MEMORY_OWN);
  add(m.storage_begin, m.hidden.end, VMSRS_MEMORY_STORAGE);
  add(m.windows.begin, m.windows.end, VMSRS_MEMORY_WINDOWS);
  for (const Iommu& iommu : m.iommus)
    add(iommu.registers.begin, iommu.registers.end, VMSRS_MEMORY_IOMMU);
  return count;
}

std::uint32_t SvmPlatform::guest_start() const { return svm::guest_start(); }

std::uint32_t SvmPlatform::guest_watch() const { return machine().guest_watch; }

std::uint32_t SvmPlatform::guest_ends(std::uint64_t& cursor, vmsrs_guest_end* out,
                                      std::uint32_t room) {
  const std::uint32_t count = svm::guest_ends(cursor, out, room);
  for (std::uint32_t i = 0; i < count; ++i) out[i].time_ns = since_start_ns(out[i].time_ns);
  return count;
}

bool SvmPlatform::guest_end_cpu(std::uint64_t sequence, std::uint32_t cpu,
                                vmsrs_guest_cpu& out) const {
  return svm::guest_end_cpu(sequence, cpu, out);
}

bool SvmPlatform::announce_reset(bool wanted) {
  svm::announce_reset(wanted);
  return true;
}

void SvmPlatform::hold_others() { hold_other_processors(); }

void SvmPlatform::release_others() {
  hold_cycles_.fetch_add(release_other_processors(), std::memory_order_relaxed);
  hold_count_.fetch_add(1, std::memory_order_relaxed);
}

recovery::HoldStatistics SvmPlatform::holds() const {
  return {hold_count_.load(std::memory_order_relaxed),
          hold_cycles_.load(std::memory_order_relaxed)};
}

bool SvmPlatform::check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) const {
  return svm::check_hidden(cursor, result);
}

std::uint64_t SvmPlatform::devices() const {
  return machine().devices_confined ? VMSRS_DEVICES_CONFINED : VMSRS_DEVICES_FREE;
}

}  // namespace vmsrs::svm
