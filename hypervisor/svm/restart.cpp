// SPDX-License-Identifier: Apache-2.0
#include "svm/restart.hpp"

#include "monitor/monitor.hpp"
#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/contradiction.hpp"
#include "svm/guest_end.hpp"
#include "svm/machine.hpp"
#include "svm/processor_start.hpp"
#include "svm/quiet_devices.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// So many guests that live shorter than that, one after another, and the machine ends: the cause is
// not a passing one.
constexpr std::uint32_t kMostEarlyEnds = 3;
constexpr std::uint64_t kEarlySeconds = 60;

constinit LoadGuest load_guest = nullptr;
constinit std::uint64_t last_start = 0;  // of the time-stamp counter
constinit std::uint32_t early_ends = 0;
constinit bool resets = false;

// What neither the VMCB nor an INIT resets.
void reset_registers() {
  asm volatile("fninit");
  constexpr std::uint32_t kHasXsave = 1u << 26, kX87 = 1;
  if ((x86::cpuid(1).ecx & kHasXsave) != 0) {
    const std::uint64_t cr4 = x86::read_cr4();
    x86::write_cr4(cr4 | x86::kCr4Osxsave);
    asm volatile("xsetbv" ::"c"(0), "a"(kX87), "d"(0));
    x86::write_cr4(cr4);
  }
  asm volatile(
      "mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" ::"r"(std::uint64_t{0}));
}

// By whatever resets machines: firmware's own way first.
[[noreturn]] void reset_machine() {
  const PowerPorts& ports = machine().power_ports;
  if (ports.reset_port != 0) x86::out8(ports.reset_port, ports.reset_value);
  constexpr std::uint8_t kFullReset = 6, kPulseReset = 0xfe;
  x86::out8(kChipsetReset, kFullReset);
  x86::out8(kKeyboardCommand, kPulseReset);
  console::end_machine();
}

}  // namespace

void set_guest_loader(LoadGuest load) {
  load_guest = load;
  last_start = x86::read_tsc();
}

void reset_when_given_up() { resets = true; }

void give_up() {
  if (!resets) console::end_machine();
  leave_machine(monitor::has_been_managed()
                    ? "Linux is given up: the machine is reset"
                    : "Linux ended before management was opened: the machine is reset");
  reset_machine();
}

bool may_restart() {
  if (load_guest == nullptr || engine_is_abandoned()) return false;
  if (resets && !monitor::has_been_managed()) return false;
  const std::uint64_t lived_seconds =
      (x86::read_tsc() - last_start) / (machine().tsc_per_ms * 1000);
  early_ends = lived_seconds < kEarlySeconds ? early_ends + 1 : 0;
  if (early_ends <= kMostEarlyEnds) return true;
  console::complain("Linux has ended ", early_ends, " times within ", kEarlySeconds,
                    " s of its start: no restart");
  return false;
}

void restart_guest(Processor& self) {
  self.restart_request = false;
  self.waits_for_sipi = false;
  self.init_request = false;
  wait_until_others_wait();
  quiet_devices();
  forget_kicks(self);
  reset_local_apic();
  monitor::end_all_address_spaces();
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    processors.list[i]->vmcb->control.tsc_offset = 0;
    read_memory_types(*processors.list[i]);
  }
  reset_registers();
  last_start = x86::read_tsc();
  load_guest(self);
  console::say("starting Linux again, start ", guest_start(),
               " of this machine; recovery storage is as it was");
}

}  // namespace vmsrs::svm
