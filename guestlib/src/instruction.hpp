// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Zydis/Zydis.h>
#include <ucontext.h>

#include <cstdint>

// An instruction of an interrupted thread, and that thread's general registers.
namespace vmsrs::guest {

struct Instruction {
  ZydisDecodedInstruction head;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

// At an address that the processor has fetched an instruction from. False: it is none.
[[nodiscard]] bool decode(const ZydisDecoder& decoder, std::uint64_t rip, Instruction& out);

// By register number of the instruction encoding.
inline constexpr int kGeneralRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                              REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                              REG_R12, REG_R13, REG_R14, REG_R15};

inline std::uint64_t get(const ucontext_t& context, int reg) {
  return static_cast<std::uint64_t>(context.uc_mcontext.gregs[reg]);
}
inline void set(ucontext_t& context, int reg, std::uint64_t value) {
  context.uc_mcontext.gregs[reg] = static_cast<greg_t>(value);
}

// Where the 64-bit register lies in the context; -1: it is no general one.
int greg_of(ZydisRegister reg);
// The register itself or a part of it.
bool is_part_of(ZydisRegister reg, ZydisRegister whole);
// A general register of any width. False: it is none.
bool read_general(const ucontext_t& context, ZydisRegister reg, std::uint64_t& value);
// Where a memory operand lies, before the instruction is executed on the calling thread.
std::uint64_t address_of(const Instruction& instruction, const ZydisDecodedOperand& operand,
                         const ucontext_t& context);

}  // namespace vmsrs::guest
