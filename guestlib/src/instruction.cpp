// SPDX-License-Identifier: Apache-2.0
#include "instruction.hpp"

#include <vmsrs/abi.h>

namespace vmsrs::guest {
namespace {

ZydisRegister whole_of(ZydisRegister reg) {
  return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
}

std::uint64_t thread_base() {
  std::uint64_t base;
  asm("mov %%fs:0, %0" : "=r"(base));  // which points to itself (ELF TLS, variant II)
  return base;
}

}  // namespace

// The bytes from RIP to the end of its page can be read, for they were fetched; the next page only
// if the instruction goes on there, and then it was fetched as well.
bool decode(const ZydisDecoder& decoder, std::uint64_t rip, Instruction& out) {
  const std::uint64_t to_page_end = VMSRS_PAGE_BYTES - rip % VMSRS_PAGE_BYTES;
  const std::uint64_t first = to_page_end < ZYDIS_MAX_INSTRUCTION_LENGTH
                                  ? to_page_end
                                  : std::uint64_t{ZYDIS_MAX_INSTRUCTION_LENGTH};
  const auto* bytes = reinterpret_cast<const void*>(rip);
  ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes, first, &out.head, out.operands);
  if (status == ZYDIS_STATUS_NO_MORE_DATA && first < ZYDIS_MAX_INSTRUCTION_LENGTH)
    status = ZydisDecoderDecodeFull(&decoder, bytes, ZYDIS_MAX_INSTRUCTION_LENGTH, &out.head,
                                    out.operands);
  return ZYAN_SUCCESS(status);
}

int greg_of(ZydisRegister reg) {
  if (ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_GPR64) return -1;
  return kGeneralRegisters[static_cast<unsigned>(ZydisRegisterGetId(reg)) & 15];
}

bool is_part_of(ZydisRegister reg, ZydisRegister whole) {
  return reg != ZYDIS_REGISTER_NONE && whole_of(reg) == whole;
}

bool read_general(const ucontext_t& context, ZydisRegister reg, std::uint64_t& value) {
  const int whole = greg_of(whole_of(reg));
  if (whole < 0) return false;
  const bool is_high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
  value = get(context, whole) >> (is_high ? 8 : 0);
  return true;
}

std::uint64_t address_of(const Instruction& instruction, const ZydisDecodedOperand& operand,
                         const ucontext_t& context) {
  const ZydisDecodedOperandMem& memory = operand.mem;
  std::uint64_t base = 0, index = 0;
  if (memory.base == ZYDIS_REGISTER_RIP)
    base = get(context, REG_RIP) + instruction.head.length;
  else
    read_general(context, memory.base, base);
  read_general(context, memory.index, index);
  const std::uint64_t segment = memory.segment == ZYDIS_REGISTER_FS ? thread_base() : 0;
  return segment + base + index * memory.scale +
         static_cast<std::uint64_t>(memory.disp.has_displacement ? memory.disp.value : 0);
}

}  // namespace vmsrs::guest
