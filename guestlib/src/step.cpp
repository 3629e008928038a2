// SPDX-License-Identifier: Apache-2.0
#include "step.hpp"

#include <signal.h>
#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>

#include "instruction.hpp"

namespace vmsrs::guest {
namespace {

// Exception vectors, as Linux leaves them in REG_TRAPNO (AMD APM volume 2, 8.2).
constexpr greg_t kDivideError = 0;
constexpr greg_t kPageFault = 14;
constexpr greg_t kX87Error = 16;
constexpr greg_t kErrorCodeInstructionFetch = 1 << 4;

constexpr std::uint64_t kUserEnd = 0x0000'8000'0000'0000ull;

constexpr std::uint64_t kTrapFlag = 1u << 8;
constexpr std::uint64_t kCarry = 1u << 0, kParity = 1u << 2, kAdjust = 1u << 4, kZero = 1u << 6,
                        kSign = 1u << 7, kOverflow = 1u << 11, kDirection = 1u << 10;

bool changes_control_flow(const Instruction& instruction) {
  switch (instruction.head.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
      return true;
    default:
      return false;
  }
}

// push, pop, enter, leave, ...: if such an instruction faults the stack cannot be used, or half of
// its effect would be missing from it.
bool uses_stack(const Instruction& instruction) {
  if (instruction.head.mnemonic == ZYDIS_MNEMONIC_LEAVE) return true;
  for (unsigned i = 0; i < instruction.head.operand_count; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) continue;
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.base == ZYDIS_REGISTER_RSP)
      return true;
  }
  return false;
}

// Compilers put these where control never arrives: what follows is not the rest of the function.
bool is_trap(const Instruction& instruction) {
  const ZydisMnemonic mnemonic = instruction.head.mnemonic;
  return mnemonic == ZYDIS_MNEMONIC_UD0 || mnemonic == ZYDIS_MNEMONIC_UD1 ||
         mnemonic == ZYDIS_MNEMONIC_UD2;
}

bool reads_memory(const Instruction& instruction) {
  for (unsigned i = 0; i < instruction.head.operand_count; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
        (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0)
      return true;
  }
  return false;
}

// False: not a register that can be cleared and run on with.
bool clear_register(ucontext_t& context, const XsaveLayout& layout, const Instruction& instruction,
                    ZydisRegister reg) {
  const auto id = static_cast<unsigned>(ZydisRegisterGetId(reg));
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
        const int whole = kGeneralRegisters[reg - ZYDIS_REGISTER_AH];
        set(context, whole, get(context, whole) & ~0xff00ull);
      } else {
        // Zydis numbers AH..BH between BL and SPL.
        const auto index = static_cast<unsigned>(
            reg < ZYDIS_REGISTER_AH ? reg - ZYDIS_REGISTER_AL : reg - ZYDIS_REGISTER_SPL + 4);
        if (index == 4) return false;
        const int whole = kGeneralRegisters[index];
        set(context, whole, get(context, whole) & ~0xffull);
      }
      return true;
    case ZYDIS_REGCLASS_GPR16:
      if (id == 4) return false;
      set(context, kGeneralRegisters[id & 15],
          get(context, kGeneralRegisters[id & 15]) & ~0xffffull);
      return true;
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      if (id == 4) return false;  // a stack pointer of zero helps nobody
      set(context, kGeneralRegisters[id & 15], 0);
      return true;
    case ZYDIS_REGCLASS_XMM:
      if (instruction.head.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        clear_xmm(context, id);
      else
        clear_vector(context, layout, id);
      return true;
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
      clear_vector(context, layout, id);
      return true;
    case ZYDIS_REGCLASS_MASK:
      clear_opmask(context, layout, id);
      return true;
    case ZYDIS_REGCLASS_MMX:
      clear_mmx(context, id);
      return true;
    default:
      return true;  // flags, x87 stack, segments: left as they are
  }
}

bool clear_results(ucontext_t& context, const XsaveLayout& layout, const Instruction& instruction) {
  const ZydisMnemonic mnemonic = instruction.head.mnemonic;
  const bool exchanges = mnemonic == ZYDIS_MNEMONIC_XCHG || mnemonic == ZYDIS_MNEMONIC_XADD;
  for (unsigned i = 0; i < instruction.head.operand_count; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER ||
        (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
      continue;
    // A register that is read and written (add, or, ...) keeps its value: zero is added to it.
    if ((operand.actions & ZYDIS_OPERAND_ACTION_READ) != 0 && !exchanges) continue;
    if (!clear_register(context, layout, instruction, operand.reg.value)) return false;
  }
  return true;
}

// Comparisons, and compare-and-exchange, which would be repeated for ever if it failed.
void set_equal_flags(ucontext_t& context, const Instruction& instruction) {
  switch (instruction.head.mnemonic) {
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_PTEST:
    case ZYDIS_MNEMONIC_VPTEST:
    case ZYDIS_MNEMONIC_UCOMISS:
    case ZYDIS_MNEMONIC_UCOMISD:
    case ZYDIS_MNEMONIC_VUCOMISS:
    case ZYDIS_MNEMONIC_VUCOMISD:
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      break;
    case ZYDIS_MNEMONIC_CMPSD:  // also the name of a vector instruction
      if (instruction.head.meta.category == ZYDIS_CATEGORY_STRINGOP) break;
      return;
    default:
      return;
  }
  const std::uint64_t flags = get(context, REG_EFL);
  set(context, REG_EFL, (flags & ~(kCarry | kParity | kAdjust | kSign | kOverflow)) | kZero);
}

void finish_string(ucontext_t& context, const Instruction& instruction) {
  constexpr std::uint64_t kAnyRepeat =
      ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  std::uint64_t count = 1;
  if ((instruction.head.attributes & kAnyRepeat) != 0) {
    count = get(context, REG_RCX);
    set(context, REG_RCX, 0);
  }
  const std::uint64_t bytes = count * (instruction.head.operand_width / 8u);
  const std::uint64_t step = (get(context, REG_EFL) & kDirection) != 0 ? 0 - bytes : bytes;
  for (unsigned i = 0; i < instruction.head.operand_count; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (operand.mem.base == ZYDIS_REGISTER_RSI)
      set(context, REG_RSI, get(context, REG_RSI) + step);
    else if (operand.mem.base == ZYDIS_REGISTER_RDI)
      set(context, REG_RDI, get(context, REG_RDI) + step);
  }
}

void clear_quotient(ucontext_t& context, const Instruction& instruction) {
  switch (instruction.head.operand_width) {
    case 8:
      set(context, REG_RAX, get(context, REG_RAX) & ~0xffffull);
      break;
    case 16:
      set(context, REG_RAX, get(context, REG_RAX) & ~0xffffull);
      set(context, REG_RDX, get(context, REG_RDX) & ~0xffffull);
      break;
    default:
      set(context, REG_RAX, 0);
      set(context, REG_RDX, 0);
  }
}

}  // namespace

bool is_single_step(int signal, const siginfo_t& info, const ucontext_t& context) {
  return signal == SIGTRAP &&
         (info.si_code == TRAP_TRACE ||
          (info.si_code == TRAP_BRKPT && (get(context, REG_EFL) & kTrapFlag) != 0));
}

bool is_instruction_fetch(int signal, const siginfo_t& info, const ucontext_t& context) {
  const std::uint64_t rip = get(context, REG_RIP);
  if (rip >= kUserEnd) return true;
  if (signal != SIGSEGV && signal != SIGBUS) return false;
  if (context.uc_mcontext.gregs[REG_TRAPNO] != kPageFault) return false;
  return (context.uc_mcontext.gregs[REG_ERR] & kErrorCodeInstructionFetch) != 0 ||
         reinterpret_cast<std::uint64_t>(info.si_addr) == rip;
}

StepOver step_over(const ZydisDecoder& decoder, const XsaveLayout& layout, int signal,
                   ucontext_t& context) {
  const std::uint64_t rip = get(context, REG_RIP);
  Instruction instruction;
  if (!decode(decoder, rip, instruction)) return StepOver::kCannotStep;
  const greg_t vector = context.uc_mcontext.gregs[REG_TRAPNO];
  if (signal == SIGFPE && vector == kDivideError) {
    clear_quotient(context, instruction);
  } else {
    if (changes_control_flow(instruction) || uses_stack(instruction) || is_trap(instruction))
      return StepOver::kCannotStep;
    if (signal == SIGFPE && vector == kX87Error) clear_x87_exceptions(context);
    const bool is_string = instruction.head.meta.category == ZYDIS_CATEGORY_STRINGOP;
    if (is_string) finish_string(context, instruction);
    const bool loads = reads_memory(instruction);
    const ZydisMnemonic mnemonic = instruction.head.mnemonic;
    const bool is_lods = mnemonic == ZYDIS_MNEMONIC_LODSB || mnemonic == ZYDIS_MNEMONIC_LODSW ||
                         mnemonic == ZYDIS_MNEMONIC_LODSD || mnemonic == ZYDIS_MNEMONIC_LODSQ;
    if ((loads || signal == SIGFPE || signal == SIGILL) && (!is_string || is_lods) &&
        !clear_results(context, layout, instruction))
      return StepOver::kCannotStep;
    if (loads) set_equal_flags(context, instruction);
  }
  set(context, REG_RIP, rip + instruction.head.length);
  return StepOver::kStepped;
}

}  // namespace vmsrs::guest
