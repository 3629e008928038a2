// SPDX-License-Identifier: Apache-2.0
#include "svm/processor_start.hpp"

#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/guest_gate.hpp"
#include "svm/hang_watch.hpp"
#include "svm/machine.hpp"
#include "svm/restart.hpp"
#include "svm/svm_exit_handler.hpp"
#include "svm/x86.hpp"

extern "C" {
void host_sleep();  // boot/host_vectors.S
void host_redirected_init();
[[noreturn]] void host_run_afresh(vmsrs::svm::Processor* processor, std::uint8_t* stack_top,
                                  void (*run)(vmsrs::svm::Processor&));
}

namespace vmsrs::svm {

constinit Processors processors{};

namespace {

constinit GuestGate gate;
constinit std::uint64_t held_since = 0;  // by the counter of who holds

void stop_if_asked(Processor& processor) {
  if (!processor.stop_request) return;
  processor.stopped = true;
  while (processor.stop_request) {
    host_sleep();
    processor.kicked = false;
  }
  processor.stopped = false;
}

constinit std::atomic<Processor*> holder{nullptr};  // who has closed the gate

bool is_this_cpu(const Processor& processor) {
  return processor.apic_id == apic_read(kApicId) >> 24;
}

}  // namespace

Processor* this_processor() { return processors.find(apic_read(kApicId) >> 24); }

// One NMI at a time: the target takes the first one for the hypervisor's, and a second one that
// came behind it would be the guest's. Whatever it is kicked for is stored before, so that the one
// on its way is enough.
void kick(Processor& target) {
  if (!target.kicked.exchange(true)) send_ipi(target.apic_id, kIpiNmi | kIpiAssert);
}

// Kicks are sent with the lock held, so after it all that were sent are on their way: lets them in,
// for some time, lest one becomes the next guest's NMI.
void forget_kicks(Processor& processor) {
  asm volatile("stgi" ::: "memory");
  for (int i = 0; i < 64; ++i) x86::pause();
  asm volatile("clgi" ::: "memory");
  processor.kicked = false;
}

void request_init(Processor& target) {
  target.request_lock.lock();
  target.sipi_request = 0;
  if (!target.waits_for_sipi) {
    target.init_request = true;
    kick(target);
  }
  target.request_lock.unlock();
}

void request_start_up(Processor& target, std::uint8_t vector) {
  // Without an INIT before it a start-up IPI does nothing. Linux sends two: the second comes late.
  target.request_lock.lock();
  if (target.waits_for_sipi || target.init_request) {
    target.sipi_request = kSipiValid | vector;
    kick(target);
  }
  target.request_lock.unlock();
}

void take_redirected_init(Processor& target) {
  machine().redirected_init_count.fetch_add(1, std::memory_order_relaxed);
  target.init_request = target.init_request || !target.waits_for_sipi;
}

void stop_other_processors() {
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    Processor& target = *processors.list[i];
    if (is_this_cpu(target) || target.stop_request.exchange(true)) continue;
    kick(target);
  }
  const std::uint64_t begin = x86::read_tsc();
  const std::uint64_t patience = machine().tsc_per_ms * 1000;
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    const Processor& target = *processors.list[i];
    while (!is_this_cpu(target) && !target.stopped && x86::read_tsc() - begin < patience)
      x86::pause();
  }
}

void wait_to_be_stopped(Processor& processor) {
  while (!processor.stop_request) x86::pause();
  host_run_afresh(&processor, processor.stack_top, run_guest);
}

void restart_processors(Processor& self) {
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    Processor& target = *processors.list[i];
    target.request_lock.lock();
    target.sipi_request = 0;
    if (i == 0)
      target.restart_request = true;
    else if (!target.waits_for_sipi)
      target.init_request = true;
    target.stop_request = false;
    if (&target != &self) kick(target);
    target.request_lock.unlock();
  }
  host_run_afresh(&self, self.stack_top, run_guest);
}

void wait_until_others_wait() {
  const std::uint64_t begin = x86::read_tsc();
  const std::uint64_t patience = machine().tsc_per_ms * 10000;
  for (std::uint32_t i = 1; i < processors.count; ++i) {
    while (!processors.list[i]->waits_for_sipi) {
      if (x86::read_tsc() - begin > patience) console::stop("CPU ", i, " does not leave the guest");
      x86::pause();
    }
  }
}

void wait_for_start_up(Processor& processor) {
  std::uint32_t request = 0;
  while (request == 0) {
    for (;;) {
      processor.kicked = false;  // those so far have been let in; what they were for is seen now
      if (processor.sipi_request != 0) break;
      stop_if_asked(processor);
      if (processor.restart_request) return;
      host_sleep();  // every request comes with a kick
    }
    // An INIT that came in between has taken the start-up IPI back.
    processor.request_lock.lock();
    request = processor.sipi_request.exchange(0);
    if (request != 0) processor.waits_for_sipi = false;
    processor.request_lock.unlock();
  }
  forget_kicks(processor);
  resume_hang_watch(processor);
  enter_real_mode(processor, static_cast<std::uint8_t>(request));
}

// With the lock, as all kicks but those that end the machine: an INIT's target then knows that
// those sent so far are on their way (forget_kicks).
void hold_other_processors() {
  Processor* const self = this_processor();
  const bool in_engine = self->in_engine.exchange(false);  // a fault in here leaves locks behind
  std::uint64_t began = 0;
  gate.close(
      processors.count,
      [](std::uint32_t i) -> std::atomic<bool>& { return processors.list[i]->in_guest; },
      [&](std::uint32_t i, auto is_in) {
        if (i == 0) began = x86::read_tsc();
        Processor& target = *processors.list[i];
        target.request_lock.lock();
        if (is_in()) kick(target);
        target.request_lock.unlock();
      },
      x86::pause);
  held_since = began;
  holder = self;
  self->in_engine = in_engine;
}

std::uint64_t release_other_processors() {
  const std::uint64_t length = x86::read_tsc() - held_since;
  holder = nullptr;
  gate.open();
  return length;
}

void release_if_held_by(const Processor& self) {
  if (holder == &self) release_other_processors();
}

void leave_guest(Processor& processor) { GuestGate::leave(processor.in_guest); }

namespace {

void obey_requests(Processor& processor) {
  stop_if_asked(processor);
  // What came while a kick was forgotten is seen here too.
  while (processor.init_request) {
    processor.request_lock.lock();
    processor.waits_for_sipi = true;
    processor.init_request = false;
    processor.request_lock.unlock();
    forget_kicks(processor);
    reset_local_apic();
    wait_for_start_up(processor);
    stop_if_asked(processor);
  }
  if (processor.restart_request) restart_guest(processor);
}

}  // namespace

void obey_requests_and_enter(Processor& processor) {
  for (;;) {
    obey_requests(processor);
    if (!gate.try_enter(processor.in_guest)) {
      while (gate.closed() && !processor.stop_request) x86::pause();
      continue;
    }
    // A kick from here on ends in an exit; one that came before may have been forgotten.
    if (!processor.init_request && !processor.stop_request && !processor.restart_request) return;
    leave_guest(processor);
  }
}

}  // namespace vmsrs::svm

// On the way from STGI to CLGI, from host_vectors.S.
void host_redirected_init() {
  using namespace vmsrs::svm;
  if (Processor* const self = processors.find(apic_read(kApicId) >> 24))
    take_redirected_init(*self);
}
