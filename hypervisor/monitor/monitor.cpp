// SPDX-License-Identifier: Apache-2.0
#include "monitor/monitor.hpp"

#include <new>

#include "monitor/instance.hpp"

namespace vmsrs::monitor {
namespace {

// Raw memory: an object with a constructor would need start-up code that runs before main.
alignas(Monitor) unsigned char memory_of_instance[sizeof(Monitor)];
Monitor* current = nullptr;

void count(Monitor& monitor, vmsrs_status status) {
  switch (status) {
    case VMSRS_DENIED:
    case VMSRS_THROTTLED:
      monitor.denied_calls.fetch_add(1, std::memory_order_relaxed);
      break;
    case VMSRS_UNKNOWN_CALL:
    case VMSRS_BAD_VERSION:
    case VMSRS_BAD_ARGUMENT:
    case VMSRS_BAD_ADDRESS:
    case VMSRS_BAD_LENGTH:
    case VMSRS_UNALIGNED:
    case VMSRS_NO_REGION:
    case VMSRS_OVERLAP:
      monitor.refused_calls.fetch_add(1, std::memory_order_relaxed);
      break;
    default:
      break;
  }
}

recovery::Reply answer(const Context& context) {
  const std::uint64_t call = context.registers.rax;
  if (call == VMSRS_CALL_VERSION)
    return {VMSRS_OK, VMSRS_ABI_VERSION, context.monitor.platform.isolation()};
  if (call >= VMSRS_CALL_ATTACH && call <= VMSRS_CALL_REPORT_HEAPS)
    return context.has_engine ? library_call(context) : VMSRS_NO_ENGINE;
  if (call >= VMSRS_CALL_MGMT_OPEN && call <= VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS)
    return management_call(context);
  return VMSRS_UNKNOWN_CALL;
}

void finish(const Context& context, CallRegisters& registers) {
  const recovery::Reply reply = answer(context);
  count(context.monitor, reply.status);
  const bool denied = reply.status == VMSRS_DENIED || reply.status == VMSRS_THROTTLED;
  if (denied && context.has_engine)
    context.monitor.engine.note_denied(registers.rax, reply.status, context.caller.address_space);
  registers.rax = reply.status;
  if (reply.result_count > 0) registers.rdx = reply.first;
  if (reply.result_count > 1) registers.rsi = reply.second;
}

}  // namespace

Monitor& instance() { return *current; }

bool initialise(recovery::Platform& platform, void* storage, std::size_t storage_bytes,
                const MonitorConfig& config) {
  current = new (memory_of_instance) Monitor(platform, storage, storage_bytes, config);
  return current->engine.ready();
}

void dispatch(const Caller& caller, CallRegisters& registers) {
  finish(Context{*current, caller, registers, true}, registers);
}

void dispatch_without_engine(const Caller& caller, CallRegisters& registers) {
  finish(Context{*current, caller, registers, false}, registers);
}

void see_fault(const Caller& caller, const vmsrs_fault& fault) {
  const recovery::Engine::Entry server = current->engine.enter(caller.address_space);
  if (server) server->see_fault(fault, server->thread(caller.thread, *caller.memory));
}

bool end_address_space(std::uint64_t address_space) {
  Monitor& monitor = *current;
  monitor.tokens.close_all(address_space, monitor.platform);
  return monitor.engine.reap_address_space(address_space).ok();
}

void end_all_address_spaces() {
  current->tokens.close_all(current->platform);
  current->engine.reap_all_address_spaces();
}

bool has_been_managed() { return current->tokens.has_been_opened(); }

bool end_thread(const Caller& caller) {
  const recovery::Engine::Entry server = current->engine.enter(caller.address_space);
  return !server || server->end_idle_thread(server->thread(caller.thread, *caller.memory));
}

}  // namespace vmsrs::monitor
