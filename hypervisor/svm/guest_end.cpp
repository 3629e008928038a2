// SPDX-License-Identifier: Apache-2.0
#include "svm/guest_end.hpp"

#include <atomic>

#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/guest_end_ring.hpp"
#include "svm/machine.hpp"
#include "svm/processor_start.hpp"
#include "svm/restart.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constinit GuestEndRing ring;
constinit std::atomic<bool> guest_has_ended{false};
constinit std::atomic<bool> reset_is_wanted{false};
constinit std::uint32_t starts = 0;
constinit bool crash_kernel_is_skipped = false;

const char* description(GuestEnd end) {
  switch (end) {
    case GuestEnd::kShutdown:
      return "guest shutdown (triple fault)";
    case GuestEnd::kPanic:
      return "guest panic";
    case GuestEnd::kReset:
      return "guest reset that nobody has announced";
    case GuestEnd::kHang:
      return "guest hang: no CPU takes interrupts";
  }
  return "guest end";
}

vmsrs_guest_cpu state_of(const Processor& processor, bool held) {
  const VmcbControl& control = processor.vmcb->control;
  const VmcbSave& s = processor.vmcb->save;
  const GeneralRegs& g = processor.general_regs;
  vmsrs_guest_cpu cpu{};
  cpu.cpu = processor.index;
  cpu.state = processor.waits_for_sipi ? VMSRS_GUEST_CPU_WAITS
              : held                   ? VMSRS_GUEST_CPU_HELD
                                       : VMSRS_GUEST_CPU_LOST;
  cpu.privilege_level = s.cpl;
  cpu.cs = s.cs.selector;
  cpu.rip = s.rip;
  cpu.rsp = s.rsp;
  cpu.rflags = s.rflags;
  cpu.cr0 = s.cr0;
  cpu.cr2 = s.cr2;
  cpu.cr3 = s.cr3;
  cpu.cr4 = s.cr4;
  cpu.efer = s.efer;
  cpu.rax = s.rax;
  cpu.rbx = g.rbx;
  cpu.rcx = g.rcx;
  cpu.rdx = g.rdx;
  cpu.rsi = g.rsi;
  cpu.rdi = g.rdi;
  cpu.rbp = g.rbp;
  const std::uint64_t high[] = {g.r8, g.r9, g.r10, g.r11, g.r12, g.r13, g.r14, g.r15};
  __builtin_memcpy(cpu.r8_to_r15, high, sizeof(high));
  cpu.exit_code = control.exit_code & 0xffffffff;
  cpu.exit_info1 = control.exit_info1;
  cpu.exit_info2 = control.exit_info2;
  return cpu;
}

void record(const Processor& processor, GuestEnd end, std::uint64_t detail) {
  vmsrs_guest_end head{};
  head.time_ns = x86::read_tsc();  // made nanoseconds by who reads it
  head.kind = static_cast<std::uint32_t>(end);
  head.cpu = processor.index;
  head.start = starts;
  head.cpu_count = processors.count;
  head.detail = detail;
  head.log_sequence = console::last_line();
  GuestEndRing::Record& place = ring.add(head);
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    const Processor& other = *processors.list[i];
    place.cpus[i] = state_of(other, &other == &processor || other.stopped);
  }
}

}  // namespace

void end_guest(Processor& processor, GuestEnd end, std::uint64_t detail) {
  if (guest_has_ended.exchange(true)) wait_to_be_stopped(processor);
  stop_other_processors();
  record(processor, end, detail);
  const bool restart = may_restart();
  dump(processor, description(end), restart ? VMSRS_LOG_WARNING : VMSRS_LOG_ERROR);
  if (!restart) give_up();
  reset_is_wanted = false;
  guest_has_ended = false;
  restart_processors(processor);
}

void end_before_crash_kernel() { crash_kernel_is_skipped = true; }

void count_guest_start() { ++starts; }
std::uint32_t guest_start() { return starts; }

std::uint8_t panic_events() { return kPanicked | kCrashKernelLoaded; }

void see_panic(Processor& processor, std::uint8_t event) {
  if ((event & panic_events()) == 0) return;
  if ((event & kPanicked) != 0 || crash_kernel_is_skipped)
    end_guest(processor, GuestEnd::kPanic, event);
  console::log_guest("guest panic; its crash kernel comes first");
}

void announce_reset(bool wanted) { reset_is_wanted = wanted; }

void see_reset(Processor& processor, const PortAccess& write) {
  if (!reset_is_wanted)
    end_guest(processor, GuestEnd::kReset, std::uint64_t{write.port} << 32 | write.value);
  leave_machine("the guest resets the machine, as announced");
}

void leave_machine(const char* why) {
  stop_other_processors();
  const Machine& m = machine();
  __builtin_memset(reinterpret_cast<void*>(m.storage_begin), 0, m.hidden.end - m.storage_begin);
  x86::write_back_caches();
  console::say(why);
}

std::uint32_t guest_ends(std::uint64_t& cursor, vmsrs_guest_end* out, std::uint32_t room) {
  return ring.read(cursor, out, room);
}

bool guest_end_cpu(std::uint64_t sequence, std::uint32_t cpu, vmsrs_guest_cpu& out) {
  return ring.read_cpu(sequence, cpu, out);
}

}  // namespace vmsrs::svm
