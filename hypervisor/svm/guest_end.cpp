// SPDX-License-Identifier: Apache-2.0
#include "svm/guest_end.hpp"

#include <atomic>

#include "svm/exit_handlers.hpp"
#include "svm/processor_start.hpp"

namespace vmsrs::svm {
namespace {

constinit std::atomic<bool> guest_has_ended{false};

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

}  // namespace

void end_guest(Processor& processor, GuestEnd end) {
  if (guest_has_ended.exchange(true)) wait_to_be_stopped(processor);
  stop_other_processors();
  dump_and_end(processor, description(end));
}

}  // namespace vmsrs::svm
