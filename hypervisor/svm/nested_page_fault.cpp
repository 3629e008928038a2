// SPDX-License-Identifier: Apache-2.0
#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/machine.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint64_t kFaultWrite = 1u << 1;

}  // namespace

// #NPF (APM vol. 2, 15.25.6). The tables never change, so each one is either a store to the local
// APIC or an I/O APIC, or something that the guest may not do. The answer to the latter is #GP: it
// has no page-fault address to be "repaired" at, where an injected #PF would only be tried again
// for ever.
vmsrs_exit_reason handle_nested_page_fault(Processor& processor) {
  const VmcbControl& control = processor.vmcb->control;
  const std::uint64_t address = control.exit_info2;
  const bool write = (control.exit_info1 & kFaultWrite) != 0;
  Machine& m = machine();
  if (align_down(address, kPage) == kLocalApic && write) {
    handle_apic_store(processor, address & kPageMask);
    return VMSRS_EXIT_APIC;
  }
  if (write && m.is_io_apic(align_down(address, kPage))) {
    handle_io_apic_store(processor, address);
    return VMSRS_EXIT_APIC;
  }
  if (m.is_hidden(address)) {
    m.hidden_access_count.fetch_add(1, std::memory_order_relaxed);
  } else if (m.windows.contains(address)) {
    m.window_write_count.fetch_add(1, std::memory_order_relaxed);
  } else {
    console::log_guest("refused an access to ", console::Hex{address},
                       ", which is mapped for nobody");
  }
  refuse(processor, Vector::kGeneralProtection);
  return VMSRS_EXIT_NESTED_PAGE_FAULT;
}

}  // namespace vmsrs::svm
