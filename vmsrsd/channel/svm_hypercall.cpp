// SPDX-License-Identifier: Apache-2.0
#include <cpuid.h>
#include <vmsrs/abi.h>

#include <cstring>
#include <fstream>

#include "channel/hypercall.hpp"

namespace vmsrs::channel {
namespace {

class SvmHypercall final : public Hypercall {
 public:
  void call(Registers& registers) override {
    register std::uint64_t r10 __asm__("r10") = registers.r10;
    register std::uint64_t r8 __asm__("r8") = registers.r8;
    register std::uint64_t r9 __asm__("r9") = registers.r9;
    __asm__ volatile("vmmcall"
                     : "+a"(registers.rax), "+S"(registers.rsi), "+d"(registers.rdx)
                     : "D"(registers.rdi), "r"(r10), "r"(r8), "r"(r9)
                     : "memory", "cc");
  }
};

struct Leaf {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(std::uint32_t number) {
  Leaf leaf;
  __cpuid(number, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
  return leaf;
}

bool has_signature(const Leaf& leaf) {
  char name[12];
  std::memcpy(name, &leaf.ebx, 4);
  std::memcpy(name + 4, &leaf.ecx, 4);
  std::memcpy(name + 8, &leaf.edx, 4);
  return std::memcmp(name, VMSRS_CPUID_SIGNATURE, sizeof(name)) == 0;
}

std::string dotted(std::uint32_t version) {
  return std::to_string(version >> 16) + "." + std::to_string(version & 0xffffu);
}

// The same major version, and the caller's minor not above the callee's.
bool serves(std::uint32_t callee, std::uint32_t caller) {
  return callee >> 16 == caller >> 16 && (caller & 0xffffu) <= (callee & 0xffffu);
}

}  // namespace

bool has_hypervisor() { return has_signature(cpuid(VMSRS_CPUID_SIGNATURE_LEAF)); }

std::string no_hypervisor(const std::string& linux_command_line) {
  const std::string mark = "vmsrs.fallback=\"";
  std::string words = "no VMSRS hypervisor is running below this Linux";
  const std::size_t begin = linux_command_line.find(mark);
  if (begin == std::string::npos) return words;
  const std::size_t first = begin + mark.size();
  const std::string reason =
      linux_command_line.substr(first, linux_command_line.find('"', first) - first);
  return words + " (it gave up at boot: " + reason + ")";
}

std::string no_hypervisor() {
  std::ifstream file("/proc/cmdline");
  std::string line;
  std::getline(file, line);
  return no_hypervisor(line);
}

Probe probe_svm() {
  if (!has_hypervisor()) {
    return {nullptr,
            no_hypervisor() +
                ": boot this machine through its VMSRS boot entry, then start vmsrsd again"};
  }
  const std::uint32_t version = cpuid(VMSRS_CPUID_VERSION_LEAF).eax;
  if (!serves(version, VMSRS_ABI_VERSION)) {
    return {nullptr, "the hypervisor speaks ABI " + dotted(version) + ", this vmsrsd needs " +
                         dotted(VMSRS_ABI_VERSION) + ": install both from the same release"};
  }
  return {std::make_unique<SvmHypercall>(), ""};
}

}  // namespace vmsrs::channel
