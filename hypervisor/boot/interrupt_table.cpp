// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "boot/host_cpu.hpp"
#include "svm/console.hpp"
#include "svm/contradiction.hpp"

extern "C" {
extern char host_fault_vectors[], host_nmi_vector[], host_drain_vector[], host_security_vector[];
[[noreturn]] void host_fault(const std::uint64_t* frame, std::uint64_t cr2);
}

namespace vmsrs::boot {
namespace {

// APM vol. 2, 4.8.4.
struct Gate {
  std::uint16_t offset_low, selector, attributes, offset_middle;
  std::uint32_t offset_high, reserved;
};
static_assert(sizeof(Gate) == 16);
constexpr std::uint16_t kInterruptGate = 0x8e00;
constexpr std::uint16_t kHostCode = 0x08;
constexpr std::size_t kStubBytes = 16, kExceptions = 32, kNmi = 2, kDoubleFault = 8,
                      kMachineCheck = 18, kSecurity = 30;

// A page of its own, which the host's tables keep from being written.
alignas(svm::kPage) constinit Gate table[256] = {};
static_assert(sizeof(table) == svm::kPage);

Gate gate_to(const char* handler) {
  const auto at = reinterpret_cast<std::uint64_t>(handler);
  return {static_cast<std::uint16_t>(at),
          kHostCode,
          kInterruptGate,
          static_cast<std::uint16_t>(at >> 16),
          static_cast<std::uint32_t>(at >> 32),
          0};
}

}  // namespace

svm::PhysicalRange fill_interrupt_table() {
  for (std::size_t i = 0; i < 256; ++i) {
    table[i] = gate_to(i < kExceptions ? host_fault_vectors + i * kStubBytes : host_drain_vector);
  }
  table[kNmi] = gate_to(host_nmi_vector);
  table[kSecurity] = gate_to(host_security_vector);
  const auto begin = reinterpret_cast<std::uint64_t>(table);
  return {begin, begin + sizeof(table)};
}

void load_interrupt_table() {
  struct [[gnu::packed]] {
    std::uint16_t limit;
    std::uint64_t base;
  } const pointer{sizeof(table) - 1, reinterpret_cast<std::uint64_t>(table)};
  asm volatile("lidt %0" ::"m"(pointer));
}

}  // namespace vmsrs::boot

// A fault of the hypervisor itself: a defect. frame: vector, error code, rip, cs, rflags, rsp, ss.
void host_fault(const std::uint64_t* frame, std::uint64_t cr2) {
  using vmsrs::console::Hex;
  using namespace vmsrs::boot;
  namespace console = vmsrs::console;
  console::seize_lines();
  const console::Line line =
      console::complain("the hypervisor faulted: vector ", frame[0], " code ", Hex{frame[1]}, " at ",
                        Hex{frame[2]}, " stack ", Hex{frame[5]}, " cr2 ", Hex{cr2});
  if (frame[0] != kDoubleFault && frame[0] != kMachineCheck) vmsrs::svm::abandon_engine();
  console::give_up(line.text() + __builtin_strlen(console::kErrorPrefix));
}
