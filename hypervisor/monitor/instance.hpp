// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "monitor/decode.hpp"
#include "monitor/monitor.hpp"
#include "monitor/throttle.hpp"
#include "monitor/tokens.hpp"
#include "recovery/engine.hpp"

// What is behind monitor.hpp. Not for the platforms.
namespace vmsrs::monitor {

struct Monitor {
  Monitor(recovery::Platform& machine, void* storage, std::size_t bytes, const MonitorConfig& c)
      : platform(machine), config(c), engine(machine, storage, bytes) {}

  recovery::Platform& platform;
  MonitorConfig config;
  recovery::SpinLock secret_lock;  // of config's
  recovery::Engine engine;
  Tokens tokens;
  Throttle attach_throttle;
  Throttle management_throttle;
  std::atomic<std::uint64_t> denied_calls{0};
  std::atomic<std::uint64_t> refused_calls{0};
};

// The monitor of the last initialise.
Monitor& instance();

// One call being answered.
struct Context {
  Monitor& monitor;
  const Caller& caller;
  const CallRegisters& registers;
  bool has_engine;  // false: it is abandoned, and nothing that it may have locked is looked at
};

recovery::Reply library_call(const Context& context);     // library_calls.cpp
recovery::Reply management_call(const Context& context);  // management_calls.cpp

}  // namespace vmsrs::monitor
