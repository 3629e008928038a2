// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "channel/hypercall.hpp"
#include "config/config.hpp"
#include "monitor/monitor.hpp"
#include "support/host_platform.hpp"

namespace vmsrs::test {

// The real monitor and engine in this process: what a call reaches after its exit on the machine.
// One at a time.
class MonitorMachine {
 public:
  MonitorMachine();

  // The secret that opens the management channel of this machine: 32 times 0x11.
  static config::Digest management_secret();

  // A call of a program: its status; results in `registers`.
  std::uint64_t call(std::uint64_t address_space, std::uint64_t thread,
                     channel::Registers& registers);
  // How many of the next calls find their buffer's page missing once.
  int touches_to_ask = 0;

  HostPlatform platform;

 private:
  std::vector<std::uint8_t> storage_;
};

// The daemon's way there, in place of VMMCALL.
class MonitorHypercall final : public channel::Hypercall {
 public:
  explicit MonitorHypercall(MonitorMachine& machine) : machine_(machine) {}
  void call(channel::Registers& registers) override { machine_.call(0x1000, 1, registers); }

 private:
  MonitorMachine& machine_;
};

// A server process with one thread, as the guest library would make its calls.
class MonitorServer {
 public:
  MonitorServer(MonitorMachine& machine, std::uint64_t address_space)
      : machine_(machine), address_space_(address_space) {}
  std::uint64_t attach(const char* name, const config::Digest& secret, std::uint32_t process_id);
  std::uint64_t call(std::uint64_t number, std::initializer_list<std::uint64_t> arguments = {});
  // Registers the region below and copies it into the mirror.
  std::uint64_t profile();

  alignas(4096) std::uint64_t region[512] = {};

 private:
  MonitorMachine& machine_;
  std::uint64_t address_space_;
};

}  // namespace vmsrs::test
