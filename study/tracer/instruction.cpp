// SPDX-License-Identifier: Apache-2.0
#include "instruction.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <span>

namespace vmsrs::study {
namespace {

struct Decoded {
  ZydisDecodedInstruction head;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  [[nodiscard]] std::span<const ZydisDecodedOperand> all() const {
    return {operands, head.operand_count};
  }
};

bool is_stack_pointer(ZydisRegister reg) {
  return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg) == ZYDIS_REGISTER_RSP;
}

bool reads(const ZydisDecodedOperand& operand) {
  return (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
}
bool writes(const ZydisDecodedOperand& operand) {
  return (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
}
bool is_memory(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN;
}

// The cell of the first byte of the general register that this is a part of.
std::optional<std::uint16_t> general_cell(ZydisRegister reg) {
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(whole) != ZYDIS_REGCLASS_GPR64 || whole == ZYDIS_REGISTER_RSP)
    return {};
  return static_cast<std::uint16_t>(ZydisRegisterGetId(whole) * 8);
}

// Nothing: a register that holds no data of the program's (the stack pointer, segments, rip).
std::optional<Place> register_place(ZydisRegister reg, bool vex) {
  const auto bytes =
      static_cast<std::uint16_t>(ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg) / 8);
  Place place{.bytes = bytes};
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: {
      const auto cell = general_cell(reg);
      if (!cell) return {};
      const bool high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
      place.cell = static_cast<std::uint16_t>(*cell + (high ? 1 : 0));
      place.cleared = bytes == 4 ? 4 : 0;
      return place;
    }
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
      place.cell = static_cast<std::uint16_t>(
          kGeneralCells + static_cast<unsigned>(ZydisRegisterGetId(reg)) * kVectorBytes);
      place.cleared = vex ? static_cast<std::uint16_t>(kVectorBytes - bytes) : std::uint16_t{0};
      return place;
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_MMX:
      return Place{.cell = kX87Cell, .bytes = 1};
    case ZYDIS_REGCLASS_FLAGS:
      return Place{.cell = kFlagsCell, .bytes = 1};
    default:
      return {};
  }
}

Flow flow_of(const Decoded& decoded) {
  switch (decoded.head.mnemonic) {
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
      return Flow::none;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_LEAVE:
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVUPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVDQU:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VMOVQ:
      return Flow::copy;
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_PAND:
    case ZYDIS_MNEMONIC_PANDN:
    case ZYDIS_MNEMONIC_POR:
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_ANDPS:
    case ZYDIS_MNEMONIC_ANDNPS:
    case ZYDIS_MNEMONIC_ORPS:
    case ZYDIS_MNEMONIC_XORPS:
      return Flow::bytewise;
    case ZYDIS_MNEMONIC_PUNPCKLQDQ:
    case ZYDIS_MNEMONIC_PUNPCKHQDQ:
    case ZYDIS_MNEMONIC_MOVLHPS:
    case ZYDIS_MNEMONIC_MOVHLPS:
    case ZYDIS_MNEMONIC_PSHUFD:
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      return Flow::shuffle;
    default:
      return Flow::mix;
  }
}

bool moves_one_lane(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_MOVSS || mnemonic == ZYDIS_MNEMONIC_MOVSD ||
         mnemonic == ZYDIS_MNEMONIC_MOVLPS || mnemonic == ZYDIS_MNEMONIC_MOVLPD;
}

// xor r,r and its like: zero, or all ones, whatever was there.
bool is_constant(const Decoded& decoded) {
  switch (decoded.head.mnemonic) {
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_XORPS:
    case ZYDIS_MNEMONIC_XORPD:
    case ZYDIS_MNEMONIC_VPXOR:
    case ZYDIS_MNEMONIC_VXORPS:
    case ZYDIS_MNEMONIC_PCMPEQB:
    case ZYDIS_MNEMONIC_PCMPEQD:
    case ZYDIS_MNEMONIC_VPCMPEQB:
    case ZYDIS_MNEMONIC_VPCMPEQD:
      break;
    default:
      return false;
  }
  const unsigned last = decoded.head.operand_count_visible - 1u;
  return decoded.operands[last].type == ZYDIS_OPERAND_TYPE_REGISTER &&
         decoded.operands[last - 1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
         decoded.operands[last].reg.value == decoded.operands[last - 1].reg.value;
}

void add_source(Instruction& out, const Place& place) {
  if (out.source_count < out.sources.size()) out.sources[out.source_count++] = place;
}
void add_target(Instruction& out, const Place& place) {
  if (out.target_count < out.targets.size()) out.targets[out.target_count++] = place;
}
void add_address(Instruction& out, ZydisRegister reg) {
  const auto cell = general_cell(reg);
  if (cell && out.address_count < out.addresses.size()) out.addresses[out.address_count++] = *cell;
}

void add_operand(const Decoded& decoded, const ZydisDecodedOperand& operand, bool vex,
                 Instruction& out) {
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) {  // lea: the address is the data
      for (const ZydisRegister reg : {operand.mem.base, operand.mem.index})
        if (const auto cell = general_cell(reg)) add_source(out, {.cell = *cell, .bytes = 8});
      return;
    }
    const Place place{.memory = true, .bytes = static_cast<std::uint16_t>(operand.size / 8)};
    if (reads(operand)) add_source(out, place), out.loads = true;
    if (writes(operand)) add_target(out, place), out.stores = true;
    add_address(out, operand.mem.base);
    add_address(out, operand.mem.index);
    if (is_stack_pointer(operand.mem.base) && operand.mem.index == ZYDIS_REGISTER_NONE) {
      out.stack_displacement = operand.mem.disp.has_displacement ? operand.mem.disp.value : 0;
      out.stack_operand_is_stored = !reads(operand);
    }
    return;
  }
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return;
  auto place = register_place(operand.reg.value, vex);
  if (!place) return;
  // What a copy does to its counters and pointers (rsi, rdi, rcx) leaves them what they were.
  if (out.flow == Flow::copy && operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
      decoded.head.meta.category == ZYDIS_CATEGORY_STRINGOP && writes(operand) && reads(operand))
    return;
  // leave: rbp is loaded; that it was where the stack pointer goes is no data.
  if (reads(operand) && decoded.head.mnemonic != ZYDIS_MNEMONIC_LEAVE) add_source(out, *place);
  if (writes(operand)) {
    place->may_stay = (operand.actions & ZYDIS_OPERAND_ACTION_CONDWRITE) != 0;
    add_target(out, *place);
  }
}

// Copies: one source, one target, and what becomes of the rest of a longer target.
void finish_copy(const Decoded& decoded, Instruction& out) {
  if (out.target_count > 1) out.target_count = 1;
  if (out.target_count == 0) {
    out.flow = Flow::none;
    return;
  }
  Place& target = out.targets[0];
  out.sign_extends = decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVSX ||
                     decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVSXD;
  if (out.source_count == 0) {  // an immediate value
    out.flow = Flow::mix;
    return;
  }
  const Place& source = out.sources[0];
  std::uint16_t bytes = std::min(target.bytes, source.bytes);
  if (decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVD || decoded.head.mnemonic == ZYDIS_MNEMONIC_VMOVD)
    bytes = std::min<std::uint16_t>(bytes, 4);
  if (decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVQ || decoded.head.mnemonic == ZYDIS_MNEMONIC_VMOVQ)
    bytes = std::min<std::uint16_t>(bytes, 8);
  const bool lane = moves_one_lane(decoded.head.mnemonic);
  if (lane && !target.memory && !source.memory)
    bytes = decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVSS ? 4 : 8;
  const bool rest_stays = lane && !target.memory &&
                          (!source.memory || decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVLPS ||
                           decoded.head.mnemonic == ZYDIS_MNEMONIC_MOVLPD);
  if (!target.memory && !rest_stays)
    target.cleared = static_cast<std::uint16_t>(target.cleared + target.bytes - bytes);
  if (target.memory && bytes < target.bytes) bytes = target.bytes;
  target.bytes = bytes;
}

void finish_shuffle(const Decoded& decoded, Instruction& out) {
  const auto& head = decoded.head;
  const auto& to = decoded.operands[0];
  const auto& from = decoded.operands[1];
  out.source_count = out.target_count = 0;
  const auto place_of = [](const ZydisDecodedOperand& operand) {
    return is_memory(operand)
               ? Place{.memory = true, .bytes = static_cast<std::uint16_t>(operand.size / 8)}
               : *register_place(operand.reg.value, false);
  };
  if (is_memory(to)) {  // movhps [m], x: the upper half
    Place half = place_of(from);
    half.cell = static_cast<std::uint16_t>(half.cell + 8);
    half.bytes = 8;
    add_source(out, half);
    add_target(out, {.memory = true, .bytes = 8});
    out.flow = Flow::copy;
    return;
  }
  add_source(out, place_of(to));
  add_source(out, place_of(from));
  add_target(out, place_of(to));
  for (std::uint8_t i = 0; i < 16; ++i) {
    std::uint8_t pick = i;  // stays
    switch (head.mnemonic) {
      case ZYDIS_MNEMONIC_PUNPCKLQDQ:
      case ZYDIS_MNEMONIC_MOVLHPS:
      case ZYDIS_MNEMONIC_MOVHPS:
      case ZYDIS_MNEMONIC_MOVHPD:
        if (i >= 8) pick = static_cast<std::uint8_t>(16 + i - 8);
        break;
      case ZYDIS_MNEMONIC_PUNPCKHQDQ:
        pick = static_cast<std::uint8_t>(i < 8 ? i + 8 : 16 + i);
        break;
      case ZYDIS_MNEMONIC_MOVHLPS:
        if (i < 8) pick = static_cast<std::uint8_t>(16 + i + 8);
        break;
      default: {  // pshufd
        const auto order = static_cast<unsigned>(decoded.operands[2].imm.value.u);
        pick = static_cast<std::uint8_t>(16 + 4 * ((order >> (2 * (i / 4))) & 3) + i % 4);
      }
    }
    out.picks[i] = pick;
  }
}

}  // namespace

bool decode(const void* code, std::size_t bytes, std::uint64_t address, Instruction& out) {
  static const ZydisDecoder decoder = [] {
    ZydisDecoder made;
    ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return made;
  }();
  Decoded decoded;
  out = {};
  out.address = address;
  out.bytes = static_cast<std::uint8_t>(bytes);
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, bytes, &decoded.head, decoded.operands)))
    return false;
  out.call = decoded.head.meta.category == ZYDIS_CATEGORY_CALL;
  out.ret = decoded.head.meta.category == ZYDIS_CATEGORY_RET;
  out.conditional_branch = decoded.head.meta.category == ZYDIS_CATEGORY_COND_BR;
  out.repeated = (decoded.head.attributes &
                  (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  out.flow = flow_of(decoded);
  // These touch none of their operands.
  if (decoded.head.mnemonic == ZYDIS_MNEMONIC_NOP ||
      decoded.head.meta.category == ZYDIS_CATEGORY_PREFETCH)
    return true;
  const bool vex = decoded.head.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ||
                   decoded.head.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
  for (const ZydisDecodedOperand& operand : decoded.all()) add_operand(decoded, operand, vex, out);
  if (is_constant(decoded)) {
    out.source_count = 0;
    out.flow = Flow::mix;
  } else if (out.flow == Flow::copy) {
    finish_copy(decoded, out);
  } else if (out.flow == Flow::shuffle) {
    finish_shuffle(decoded, out);
  }
  return true;
}

}  // namespace vmsrs::study
