// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <atomic>
#include <cstdint>

#include "svm/address.hpp"
#include "svm/guest_walk.hpp"
#include "svm/hang_detector.hpp"
#include "svm/spin_lock.hpp"
#include "svm/vmcb.hpp"

namespace vmsrs::svm {

constexpr std::uint32_t kMaxProcessors = 64;

// Exits by reason, of one CPU. Written by that CPU, read by any (SEMANTICS.md 6, MGMT_EXITS).
struct ExitStatistics {
  std::atomic<std::uint64_t> count[VMSRS_EXIT_REASON_COUNT];
  std::atomic<std::uint64_t> cycles[VMSRS_EXIT_REASON_COUNT];

  void add(vmsrs_exit_reason reason, std::uint64_t spent) {
    // One writer: a plain load and store, no locked instruction.
    count[reason].store(count[reason].load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
    cycles[reason].store(cycles[reason].load(std::memory_order_relaxed) + spent,
                         std::memory_order_relaxed);
  }
};

// One CPU: its virtual machine control block and what other CPUs may ask of it. Whole pages of its
// own, so that no cache line is shared between CPUs but for the requests.
struct alignas(kPage) Processor {
  std::uint32_t index;
  std::uint32_t apic_id;
  Vmcb* vmcb;
  void* host_save_area;
  std::uint8_t* stack_top;
  GeneralRegs general_regs;
  ExitStatistics exits;
  CallerMemory caller_memory;

  // The guest's memory type range registers (MSRs 0x200 to 0x2ff): what it has written, and without
  // effect. The real ones stay as the firmware left them; one of them over hidden memory would part
  // the caches from what is in it.
  std::uint64_t memory_types[0x100];

  bool nmi_blocked;  // an NMI was injected and its IRET has not been seen
  bool nmi_pending;

  std::atomic<bool> in_engine;  // this CPU's own: see InEngine

  std::atomic<bool> in_guest;  // or on its way there: see GuestGate

  // Requests from other CPUs, seen at the next exit; an NMI makes that happen now.
  alignas(64) SpinLock request_lock;  // for the change between running and waiting
  std::atomic<bool> started;          // has come up in the hypervisor
  std::atomic<bool> waits_for_sipi;
  std::atomic<bool> init_request;
  std::atomic<std::uint32_t> sipi_request;  // kSipiValid | vector
  std::atomic<bool> stop_request;
  std::atomic<bool> stopped;  // until its guest starts anew; the VMCB has the state that it had
  std::atomic<bool> restart_request;  // of the boot CPU alone
  std::atomic<bool> kicked;           // an NMI of the hypervisor's own is on its way
  std::atomic<bool> life_asked;       // at the next NMI: look whether the guest lives here
  std::atomic<CpuLife> life;          // what was found
  std::uint64_t apic_stores_seen;     // up to the last such look
};
constexpr std::uint32_t kSipiValid = 0x100;

// All CPUs; filled at boot, fixed afterwards.
struct Processors {
  Processor* list[kMaxProcessors];
  std::uint32_t count;
  Processor* find(std::uint32_t apic_id) const {
    for (std::uint32_t i = 0; i < count; ++i) {
      if (list[i]->apic_id == apic_id) return list[i];
    }
    return nullptr;
  }
};
extern Processors processors;

}  // namespace vmsrs::svm
