// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

// The seam between the daemon and the engine: one call with the ABI's register map. On the machine
// it is VMMCALL, on the hosted platform a lane of vmsrs-hosted; tests put the monitor's dispatcher
// here.
namespace vmsrs::channel {

struct Registers {
  std::uint64_t rax = 0, rdi = 0, rsi = 0, rdx = 0, r10 = 0, r8 = 0, r9 = 0;
};

class Hypercall {
 public:
  virtual ~Hypercall() = default;
  // Status in rax, results in rdx and rsi. Any thread.
  virtual void call(Registers& registers) = 0;
};

struct Probe {
  std::unique_ptr<Hypercall> hypercall;  // null: there is none, and `problem` says so
  std::string problem;                   // one line: what is missing and what to do
};

enum class Platform { kAuto, kSvm, kHosted };

// Looks for the hypervisor by CPUID (without it VMMCALL would be an illegal instruction), and for
// vmsrs-hosted at `socket` (empty: VMSRS_HOSTED_SOCKET of the environment, or the default). kAuto:
// the hypervisor, else vmsrs-hosted.
[[nodiscard]] Probe probe_platform(Platform platform, const std::string& socket);

[[nodiscard]] bool has_hypervisor();
[[nodiscard]] Probe probe_svm();
// The words for its absence. A hypervisor that gave up at boot and started Linux alone has left the
// reason on Linux's command line (`vmsrs.fallback`).
[[nodiscard]] std::string no_hypervisor(const std::string& linux_command_line);
[[nodiscard]] std::string no_hypervisor();  // of this Linux
[[nodiscard]] Probe probe_hosted(const std::string& socket);

}  // namespace vmsrs::channel
