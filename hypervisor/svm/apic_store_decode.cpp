// SPDX-License-Identifier: Apache-2.0
#include "svm/apic_store_decode.hpp"

#include "svm/features.hpp"
#include "svm/instruction_fetch.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint16_t kCodeLong = 1u << 9;  // CS.L and CS.D in the VMCB's packed attributes
constexpr std::uint16_t kCodeDefault32 = 1u << 10;

InstructionBytes fetch(const Vmcb& vmcb) {
  const std::size_t brought = vmcb.control.fetched_count;
  if (!features().decode_assists || brought == 0 || brought > kLongestInstruction) {
    return fetch_instruction(vmcb);
  }
  InstructionBytes bytes;
  bytes.count = brought;
  __builtin_memcpy(bytes.at, vmcb.control.fetched_bytes, brought);
  return bytes;
}

std::uint64_t* general_register(Processor& processor, unsigned number) {
  GeneralRegs& r = processor.general_regs;
  VmcbSave& save = processor.vmcb->save;
  std::uint64_t* const order[16] = {&save.rax, &r.rcx, &r.rdx, &r.rbx, &save.rsp, &r.rbp,
                                    &r.rsi,    &r.rdi, &r.r8,  &r.r9,  &r.r10,    &r.r11,
                                    &r.r12,    &r.r13, &r.r14, &r.r15};
  return order[number & 15];
}

// Bytes of a ModRM operand with 32- or 64-bit addressing, from the ModRM byte on; 0 if it is a
// register.
std::size_t modrm_length(const InstructionBytes& bytes, std::size_t at) {
  const unsigned mod = bytes.at[at] >> 6, rm = bytes.at[at] & 7;
  if (mod == 3) return 0;
  std::size_t length = 1;
  const bool has_sib = rm == 4;
  if (has_sib) ++length;
  if (mod == 1) return length + 1;
  const bool wide_without_base =
      mod == 0 && (rm == 5 || (has_sib && at + 1 < bytes.count && (bytes.at[at + 1] & 7) == 5));
  return length + (mod == 2 || wide_without_base ? 4 : 0);
}

std::uint32_t word_at(const InstructionBytes& bytes, std::size_t at) {
  std::uint32_t word = 0;
  __builtin_memcpy(&word, &bytes.at[at], sizeof(word));
  return word;
}

}  // namespace

bool decode_apic_store(Processor& processor, ApicStore& store) {
  const InstructionBytes bytes = fetch(*processor.vmcb);
  const std::uint16_t code = processor.vmcb->save.cs.attributes;
  const bool is_long = (code & kCodeLong) != 0;
  if (!is_long && (code & kCodeDefault32) == 0) return false;  // 16-bit code
  std::size_t at = 0;
  auto is_plain_prefix = [](std::uint8_t b) {
    return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65 || b == 0xf0;
  };
  while (at < bytes.count && is_plain_prefix(bytes.at[at])) ++at;
  unsigned rex = 0;
  if (is_long && at < bytes.count && (bytes.at[at] & 0xf0) == 0x40) rex = bytes.at[at++];
  if ((rex & 8) != 0) return false;  // a 64-bit store
  // Opcode, ModRM, SIB, displacement, immediate: the longest form must be there before it is read.
  if (at + 2 > bytes.count) return false;
  const std::uint8_t opcode = bytes.at[at++];
  if (opcode == 0xa3) {
    store.value = static_cast<std::uint32_t>(processor.vmcb->save.rax);
    store.length = at + (is_long ? 8 : 4);
    return store.length <= bytes.count;
  }
  if (opcode != 0x89 && opcode != 0x87 && opcode != 0xc7) return false;
  const unsigned reg = ((bytes.at[at] >> 3) & 7) | ((rex & 4) != 0 ? 8 : 0);
  const std::size_t operand = modrm_length(bytes, at);
  if (operand == 0) return false;
  store.length = at + operand + (opcode == 0xc7 ? 4 : 0);
  if (store.length > bytes.count) return false;
  if (opcode == 0xc7) {
    if ((reg & 7) != 0) return false;
    store.value = word_at(bytes, at + operand);
    return true;
  }
  std::uint64_t* const source = general_register(processor, reg);
  store.value = static_cast<std::uint32_t>(*source);
  if (opcode == 0x87) store.exchange_register = source;
  return true;
}

}  // namespace vmsrs::svm
