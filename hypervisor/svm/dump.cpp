// SPDX-License-Identifier: Apache-2.0
#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"

namespace vmsrs::svm {
namespace {

using console::Hex;

void dump_segment(const char* name, const Segment& s) {
  console::log("  ", name, " ", Hex{s.selector}, " base ", Hex{s.base}, " limit ", Hex{s.limit},
               " attributes ", Hex{s.attributes});
}

}  // namespace

void dump(const Processor& processor, const char* why, vmsrs_log_level level) {
  const VmcbControl& control = processor.vmcb->control;
  const VmcbSave& s = processor.vmcb->save;
  const GeneralRegs& g = processor.general_regs;
  const auto headline = [&](auto tell) {
    tell("CPU ", processor.index, ": ", why, ": exit ", Hex{control.exit_code & 0xffffffff},
         " info ", Hex{control.exit_info1}, " ", Hex{control.exit_info2}, " at ",
         Hex{s.cs.selector}, ":", Hex{s.rip});
  };
  if (level == VMSRS_LOG_ERROR) {
    headline([](auto... parts) { console::complain(parts...); });
  } else {
    headline([](auto... parts) { console::warn(parts...); });
  }
  console::log("  rax ", Hex{s.rax}, " rbx ", Hex{g.rbx}, " rcx ", Hex{g.rcx}, " rdx ", Hex{g.rdx});
  console::log("  rsi ", Hex{g.rsi}, " rdi ", Hex{g.rdi}, " rbp ", Hex{g.rbp}, " rsp ", Hex{s.rsp});
  console::log("  r8 ", Hex{g.r8}, " r9 ", Hex{g.r9}, " r10 ", Hex{g.r10}, " r11 ", Hex{g.r11});
  console::log("  r12 ", Hex{g.r12}, " r13 ", Hex{g.r13}, " r14 ", Hex{g.r14}, " r15 ", Hex{g.r15});
  console::log("  rflags ", Hex{s.rflags}, " cr0 ", Hex{s.cr0}, " cr2 ", Hex{s.cr2}, " cr3 ",
               Hex{s.cr3}, " cr4 ", Hex{s.cr4}, " efer ", Hex{s.efer}, " cpl ",
               std::uint32_t{s.cpl});
  dump_segment("cs", s.cs);
  dump_segment("ss", s.ss);
  dump_segment("gdtr", s.gdtr);
  dump_segment("idtr", s.idtr);
  console::log("  event interrupted ", Hex{control.exit_interrupt_info}, " injected ",
               Hex{control.event_injection});
}

void dump_and_end(const Processor& processor, const char* why) {
  dump(processor, why, VMSRS_LOG_ERROR);
  console::end_machine();
}

}  // namespace vmsrs::svm
