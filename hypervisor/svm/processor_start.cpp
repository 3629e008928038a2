// SPDX-License-Identifier: Apache-2.0
#include "svm/processor_start.hpp"

#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {

constinit Processors processors{};

namespace {

void kick(Processor& target) {
  target.kicked = true;
  send_ipi(target.apic_id, kIpiNmi | kIpiAssert);
}

void stop_if_asked(const Processor& processor) {
  if (processor.stop_request) x86::halt_for_ever();
}

}  // namespace

void request_init(Processor& target) {
  target.sipi_request = 0;
  target.init_request = true;
  // A CPU that is here already, or waits, looks by itself.
  if (!target.waits_for_sipi) kick(target);
}

void request_start_up(Processor& target, std::uint8_t vector) {
  // Without an INIT before it a start-up IPI does nothing. Linux sends two: the second comes late.
  if (target.waits_for_sipi || target.init_request) target.sipi_request = kSipiValid | vector;
}

void stop_other_processors() {
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    Processor& target = *processors.list[i];
    if (target.apic_id == apic_read(kApicId) >> 24) continue;
    target.stop_request = true;
    kick(target);
  }
}

void wait_for_start_up(Processor& processor) {
  processor.waits_for_sipi = true;
  processor.init_request = false;
  std::uint32_t request = 0;
  while ((request = processor.sipi_request.exchange(0)) == 0) {
    stop_if_asked(processor);
    processor.init_request = false;
    for (int i = 0; i < 64; ++i) x86::pause();
  }
  enter_real_mode(processor, static_cast<std::uint8_t>(request));
  processor.waits_for_sipi = false;
}

void obey_requests(Processor& processor) {
  stop_if_asked(processor);
  if (!processor.init_request) return;
  console::log("CPU ", processor.index, ": INIT");
  // From here on nobody kicks; a kick that is under way must not become the next guest's NMI.
  processor.waits_for_sipi = true;
  asm volatile("stgi; nop; clgi" ::: "memory");
  processor.kicked = false;
  reset_local_apic();
  wait_for_start_up(processor);
}

}  // namespace vmsrs::svm
