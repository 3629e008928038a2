// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "shadow.hpp"

// What an instruction does with data, decoded once. Values are not known, and not needed.
namespace vmsrs::study {

// Cells of a thread's registers, one for each byte: 16 general registers, 32 vector registers of 64
// bytes, then one cell for all flags and one for the x87 registers together.
inline constexpr std::size_t kGeneralCells = 16 * 8;
inline constexpr std::size_t kVectorBytes = 64;
inline constexpr std::size_t kFlagsCell = kGeneralCells + 32 * kVectorBytes;
inline constexpr std::size_t kX87Cell = kFlagsCell + 1;
inline constexpr std::size_t kRegisterCells = kX87Cell + 1;

struct Place {
  bool memory = false;
  bool may_stay = false;   // written under a condition: the old content may stay
  std::uint16_t cell = 0;  // of a register
  std::uint16_t bytes = 0;
  std::uint16_t cleared = 0;  // bytes behind these that are made zero, or copies of the sign
};

enum class Flow : std::uint8_t {
  none,      // no data of the program's
  mix,       // every byte of what is written depends on every byte that is read
  copy,      // byte by byte
  bytewise,  // each byte on the bytes at its place (and, or, xor)
  shuffle,   // as `picks` says
};

struct Instruction {
  std::uint64_t address = 0;
  std::uint8_t bytes = 0;
  Flow flow = Flow::none;
  bool call = false, ret = false, conditional_branch = false;
  bool sign_extends = false;
  bool loads = false, stores = false;
  bool repeated = false;  // a string instruction that may do nothing
  // Of a memory operand based on the stack pointer alone; the address minus this is the stack
  // pointer.
  std::optional<std::int64_t> stack_displacement;
  bool stack_operand_is_stored = false;
  std::uint8_t source_count = 0, target_count = 0, address_count = 0;
  std::array<Place, 6> sources;
  std::array<Place, 4> targets;
  std::array<std::uint16_t, 4> addresses;  // cells of general registers that make up addresses
  // shuffle: for each of 16 bytes of the target which of source 0 (0 to 15) or source 1 (16 to 31)
  // it is.
  std::array<std::uint8_t, 16> picks;
};

// False: these bytes are no instruction.
[[nodiscard]] bool decode(const void* code, std::size_t bytes, std::uint64_t address,
                          Instruction& out);

}  // namespace vmsrs::study
