// SPDX-License-Identifier: Apache-2.0
#include "svm/hang_watch.hpp"

#include "svm/apic.hpp"
#include "svm/guest_end.hpp"
#include "svm/hang_detector.hpp"
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

bool takes_interrupts(const Processor& processor) {
  return (processor.vmcb->save.rflags & x86::kRflagsIf) != 0;
}

// What those said that were asked at the last sample. One that said nothing has not exited since.
bool another_takes_interrupts(const Processor& self) {
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    const Processor& other = *processors.list[i];
    if (&other != &self && !other.waits_for_sipi && other.interrupts_seen) return true;
  }
  return false;
}

void ask_the_others(const Processor& self) {
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    Processor& other = *processors.list[i];
    if (&other == &self || other.waits_for_sipi) continue;
    other.interrupts_seen = false;
    other.interrupts_asked = true;
    other.request_lock.lock();
    kick(other);
    other.request_lock.unlock();
  }
}

void sample(Processor& self) {
  const bool asked = others_were_asked;
  others_were_asked = !takes_interrupts(self);
  if (!others_were_asked || (asked && another_takes_interrupts(self))) {
    detector.alive();
  } else if (asked && detector.silent()) {
    end_guest(self, GuestEnd::kHang);
  }
  if (others_were_asked) ask_the_others(self);
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
  if (processor.interrupts_asked.exchange(false))
    processor.interrupts_seen = takes_interrupts(processor);
  if (&processor != watcher || !timer.due()) return false;
  timer.rearm();
  sample(processor);
  return true;
}

void resume_hang_watch(const Processor& processor) {
  if (&processor == watcher) timer.rearm();
}

}  // namespace vmsrs::svm
