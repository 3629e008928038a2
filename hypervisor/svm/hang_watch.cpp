// SPDX-License-Identifier: Apache-2.0
#include "svm/hang_watch.hpp"

#include "svm/apic.hpp"
#include "svm/guest_end.hpp"
#include "svm/hpet.hpp"
#include "svm/machine.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// Of the boot CPU only.
constinit Hpet timer;
constinit HangDetector detector;
constinit const Processor* watcher = nullptr;  // nullptr: nobody watches
constinit bool others_were_asked = false;

bool interrupt_waits() {
  std::uint32_t requested = 0;
  for (std::uint32_t word = 0; word < 0x80; word += 0x10)
    requested |= apic_read(kApicRequested + word);
  return requested != 0;
}

// Every interrupt that a guest handles ends in a store to the local APIC.
CpuLife look_at(Processor& self) {
  const std::uint64_t stores = self.exits.count[VMSRS_EXIT_APIC].load(std::memory_order_relaxed);
  const bool handled_one = stores != self.apic_stores_seen;
  self.apic_stores_seen = stores;
  return cpu_life((self.vmcb->save.rflags & x86::kRflagsIf) != 0, handled_one, interrupt_waits());
}

bool is_watched(const Processor& other, const Processor& self) {
  return &other != &self && !other.waits_for_sipi;
}

// What those have found that were asked at the last sample; quiet, if nothing yet.
CpuLife life_of_others(const Processor& self) {
  CpuLife life = CpuLife::kQuiet;
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    const Processor& other = *processors.list[i];
    if (is_watched(other, self)) life = life_of_both(life, other.life);
  }
  return life;
}

void ask_the_others(const Processor& self) {
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    Processor& other = *processors.list[i];
    if (!is_watched(other, self)) continue;
    other.life = CpuLife::kQuiet;
    other.life_asked = true;
    other.request_lock.lock();
    kick(other);
    other.request_lock.unlock();
  }
}

void sample(Processor& self) {
  CpuLife life = look_at(self);
  if (life >= CpuLife::kHandles) {
    others_were_asked = false;
  } else {
    // Without an answer of the others this sample decides nothing.
    life = others_were_asked ? life_of_both(life, life_of_others(self)) : CpuLife::kQuiet;
    ask_the_others(self);
    others_were_asked = true;
  }
  if (detector.sample(life)) end_guest(self, GuestEnd::kHang);
}

}  // namespace

bool find_hang_timer(std::uint64_t hpet) { return hpet != 0 && timer.find(hpet); }

void start_hang_watch(std::uint32_t seconds) {
  constexpr std::uint32_t kLongestPeriod = 5, kSamples = 6;
  const std::uint32_t apic_id = apic_read(kApicId) >> 24;
  std::uint32_t period = seconds / kSamples;
  if (period < 1) period = 1;
  if (period > kLongestPeriod) period = kLongestPeriod;
  detector.start(seconds / period);
  others_were_asked = false;
  watcher = processors.find(apic_id);
  timer.start(std::uint64_t{period} * 1000000,
              static_cast<std::uint32_t>(kLocalApic) | apic_id << 12, kIpiNmi);
}

bool watch_for_hang(Processor& processor) {
  if (processor.life_asked.exchange(false)) processor.life = look_at(processor);
  if (&processor != watcher || !timer.due()) return false;
  timer.rearm();
  sample(processor);
  return true;
}

void resume_hang_watch(const Processor& processor) {
  if (&processor == watcher) timer.rearm();
}

}  // namespace vmsrs::svm
