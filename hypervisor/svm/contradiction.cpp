// SPDX-License-Identifier: Apache-2.0
#include "svm/contradiction.hpp"

#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/processor_start.hpp"
#include "svm/svm_exit_handler.hpp"

extern "C" [[noreturn]] void host_run_afresh(vmsrs::svm::Processor* processor,
                                             std::uint8_t* stack_top,
                                             void (*run)(vmsrs::svm::Processor&));

namespace vmsrs::svm {
namespace {

constinit bool linux_goes_on = false;
constinit std::atomic<bool> abandoned{false};

// The exit is as it was: until the engine answers nothing of it has been changed.
void handle_exit_without_engine(Processor& processor) {
  handle_exit(processor);
  run_guest(processor);
}

[[noreturn]] void leave(Processor& self) {
  self.in_engine = false;
  release_if_held_by(self);
  host_run_afresh(&self, self.stack_top, handle_exit_without_engine);
}

}  // namespace

void let_linux_go_on() { linux_goes_on = true; }

bool engine_is_abandoned() { return abandoned.load(std::memory_order_acquire); }

void abandon_engine() {
  Processor* const self = this_processor();
  if (!linux_goes_on || self == nullptr || !self->in_engine || abandoned.exchange(true)) return;
  dump(*self, "without the engine, in this exit", VMSRS_LOG_ERROR);
  console::complain(
      "the engine is abandoned: Linux goes on, and NOTHING IS PROTECTED any more until the machine "
      "boots anew");
  leave(*self);
}

void leave_abandoned_engine() {
  if (!engine_is_abandoned()) return;
  Processor* const self = this_processor();
  if (self != nullptr && self->in_engine) leave(*self);
}

}  // namespace vmsrs::svm
