// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "instruction.hpp"
#include "shadow.hpp"

// The labels of one thread's registers, and what an instruction does to them and to memory.
namespace vmsrs::study {

struct Access {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  bool store = false;
};

// The even labels follow data alone, the odd ones also addresses: what is loaded or stored by a
// corrupted pointer is corrupted for them.
inline constexpr Labels kAddressLabels = 0xaaaa'aaaa'aaaa'aaaaull;

// Of one instruction: corrupted values that were used as an address, and that decided a branch.
struct Decisions {
  Labels addresses = 0, branches = 0;
};

class Registers {
 public:
  // `accesses`: what the instruction did to memory, in order.
  Decisions execute(const Instruction& instruction, std::span<const Access> accesses,
                    Shadow& memory);
  void forget(Labels labels);

 private:
  std::array<Labels, kRegisterCells> cells_{};
};

}  // namespace vmsrs::study
