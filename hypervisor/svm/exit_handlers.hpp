// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "monitor/monitor.hpp"
#include "svm/event_injection.hpp"
#include "svm/processor.hpp"

// One function for each kind of exit; svm_exit_handler chooses. Each leaves the guest ready to be
// entered again.
namespace vmsrs::svm {

void handle_cpuid(Processor& processor);
void handle_msr(Processor& processor);
void handle_port(Processor& processor);
void handle_vmmcall(Processor& processor);
void handle_exception(Processor& processor, Vector vector);
void handle_security_exception(Processor& processor);
// Returns the reason to count: a store to the local APIC is one of its own.
vmsrs_exit_reason handle_nested_page_fault(Processor& processor);

// The thread that the exit interrupted; its memory by its own tables, until the guest goes on.
monitor::Caller caller_of(Processor& processor);

// Gives the guest an exception; a triple fault ends the machine.
void refuse(Processor& processor, Vector vector, std::uint32_t error_code = 0);

// The guest's registers, in the log; the first line is of that level.
void dump(const Processor& processor, const char* why, vmsrs_log_level level);
// Something happened that cannot: the same, then the end.
[[noreturn]] void dump_and_end(const Processor& processor, const char* why);

}  // namespace vmsrs::svm
