// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/processor.hpp"

// The hypervisor contradicts itself: a fault of its own. As a rule that ends the machine. If Linux
// is to go on, and the fault was in a call to the engine, the engine is abandoned: the CPU that has
// faulted, and each that waits in the engine or is to enter it, handles its exit without. Hidden
// memory, devices and the hypervisor itself stay out of the guest's reach as before; nothing of the
// servers' memory is looked at or restored any more.
namespace vmsrs::svm {

// At boot, before there are other CPUs.
void let_linux_go_on();

// Once true, for ever.
bool engine_is_abandoned();

// After a fault on this CPU, by its handler. Returns if the machine has to end: Linux is not to go
// on, the fault was not in the engine, or it is the second one.
void abandon_engine();

// In the engine's spin loops. Does not return if the engine is abandoned: whose lock this CPU waits
// for, it may never be given back.
void leave_abandoned_engine();

// While one lives, its CPU is in the engine, and can leave it at any instruction.
class InEngine {
 public:
  explicit InEngine(Processor& processor) : processor_(processor) { note(true); }
  ~InEngine() { note(false); }
  InEngine(const InEngine&) = delete;
  InEngine& operator=(const InEngine&) = delete;

 private:
  // For this CPU's own fault handler: no other one looks at it.
  void note(bool inside) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    processor_.in_engine.store(inside, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  Processor& processor_;
};

}  // namespace vmsrs::svm
