// SPDX-License-Identifier: Apache-2.0
// What instructions do to labels, each by its code: loaded from memory whose every byte has a label
// of its own, worked on, and stored.
#include <bit>
#include <boost/test/unit_test.hpp>
#include <initializer_list>
#include <string>
#include <vector>

#include "instruction.hpp"
#include "registers.hpp"
#include "shadow.hpp"

namespace vmsrs::study {
namespace {

constexpr std::uint64_t kFrom = 0x10000, kTo = 0x20000;

struct Machine {
  Machine() {
    // Even labels only: those are followed through data alone.
    for (unsigned i = 0; i < 32; ++i) memory.set(kFrom + i, Labels{1} << (2 * i));
  }

  Decisions run(const std::vector<std::uint8_t>& code,
                std::initializer_list<Access> accesses = {}) {
    Instruction instruction;
    BOOST_REQUIRE(decode(code.data(), code.size(), 0x400000, instruction));
    return registers.execute(instruction, accesses, memory);
  }
  void load(const std::vector<std::uint8_t>& code, std::uint32_t bytes, std::uint64_t offset = 0) {
    run(code, {Access{kFrom + offset, bytes, false}});
  }
  void store(const std::vector<std::uint8_t>& code, std::uint32_t bytes) {
    run(code, {Access{kTo, bytes, true}});
  }
  // What each byte depends on: '.' nothing, 'a' the first byte of kFrom, 'A' the 27th, '*' several.
  std::string stored(unsigned bytes) {
    std::string text;
    for (unsigned i = 0; i < bytes; ++i) {
      const Labels labels = memory.at(kTo + i);
      const bool one = labels != 0 && (labels & (labels - 1)) == 0;
      const auto index = static_cast<unsigned>(std::countr_zero(labels)) / 2;
      text += labels == 0 ? '.'
              : !one      ? '*'
                          : static_cast<char>(index < 26 ? 'a' + index : 'A' + index - 26);
    }
    return text;
  }

  Shadow memory;
  Registers registers;
};

const std::vector<std::uint8_t> kLoadRax{0x48, 0x8b, 0x07}, kLoadRbx{0x48, 0x8b, 0x1f},
    kStoreRax{0x48, 0x89, 0x06}, kStoreXmm0{0x0f, 0x11, 0x06}, kLoadXmm0{0xf3, 0x0f, 0x6f, 0x07},
    kLoadXmm1{0xf3, 0x0f, 0x6f, 0x0f};

struct Case {
  const char* what;
  std::vector<std::uint8_t> code;
  const char* expected;  // of rax, or of xmm0
};

}  // namespace

BOOST_AUTO_TEST_CASE(general_registers) {
  // rax holds a..h, rbx i..p.
  const Case cases[] = {
      {"nop", {0x90}, "abcdefgh"},
      {"mov eax, ebx", {0x89, 0xd8}, "ijkl...."},
      {"mov al, bl", {0x88, 0xd8}, "ibcdefgh"},
      {"mov ah, bl", {0x88, 0xdc}, "aicdefgh"},
      {"mov ax, bx", {0x66, 0x89, 0xd8}, "ijcdefgh"},
      {"mov eax, 1", {0xb8, 1, 0, 0, 0}, "........"},
      {"movzx eax, bl", {0x0f, 0xb6, 0xc3}, "i......."},
      {"movsx rax, bl", {0x48, 0x0f, 0xbe, 0xc3}, "iiiiiiii"},
      {"movsxd rax, ebx", {0x48, 0x63, 0xc3}, "ijklllll"},
      {"xor eax, eax", {0x31, 0xc0}, "........"},
      {"xor rax, rbx", {0x48, 0x31, 0xd8}, "********"},
      {"and eax, 1", {0x83, 0xe0, 0x01}, "abcd...."},
      {"add al, 1", {0x04, 0x01}, "abcdefgh"},
      {"add rax, 1", {0x48, 0x83, 0xc0, 0x01}, "********"},
      {"lea rax, [rcx+1]", {0x48, 0x8d, 0x41, 0x01}, "........"},
      {"lea rax, [rbx+rcx]", {0x48, 0x8d, 0x04, 0x0b}, "********"},
      {"cmove rax, rcx", {0x48, 0x0f, 0x44, 0xc1}, "abcdefgh"},
      {"cmove rax, rbx", {0x48, 0x0f, 0x44, 0xc3}, "********"},
  };
  for (const Case& tried : cases) {
    Machine machine;
    machine.load(kLoadRax, 8);
    machine.load(kLoadRbx, 8, 8);
    machine.run(tried.code);
    machine.store(kStoreRax, 8);
    BOOST_TEST(machine.stored(8) == tried.expected, tried.what << " gives " << machine.stored(8));
  }
}

BOOST_AUTO_TEST_CASE(vector_registers) {
  // xmm0 holds a..p, xmm1 q..F.
  const Case cases[] = {
      {"movaps xmm0, xmm1", {0x0f, 0x28, 0xc1}, "qrstuvwxyzABCDEF"},
      {"movq xmm0, xmm1", {0xf3, 0x0f, 0x7e, 0xc1}, "qrstuvwx........"},
      {"movss xmm0, xmm1", {0xf3, 0x0f, 0x10, 0xc1}, "qrstefghijklmnop"},
      {"movsd xmm0, xmm1", {0xf2, 0x0f, 0x10, 0xc1}, "qrstuvwxijklmnop"},
      {"movhlps xmm0, xmm1", {0x0f, 0x12, 0xc1}, "yzABCDEFijklmnop"},
      {"movlhps xmm0, xmm1", {0x0f, 0x16, 0xc1}, "abcdefghqrstuvwx"},
      {"punpcklqdq xmm0, xmm1", {0x66, 0x0f, 0x6c, 0xc1}, "abcdefghqrstuvwx"},
      {"punpckhqdq xmm0, xmm1", {0x66, 0x0f, 0x6d, 0xc1}, "ijklmnopyzABCDEF"},
      {"pshufd xmm0, xmm1, 0x4e", {0x66, 0x0f, 0x70, 0xc1, 0x4e}, "yzABCDEFqrstuvwx"},
      {"pxor xmm0, xmm0", {0x66, 0x0f, 0xef, 0xc0}, "................"},
      {"por xmm0, xmm1", {0x66, 0x0f, 0xeb, 0xc1}, "****************"},
      {"movd xmm0, ecx", {0x66, 0x0f, 0x6e, 0xc1}, "................"},
      {"paddb xmm0, xmm1", {0x66, 0x0f, 0xfc, 0xc1}, "****************"},
  };
  for (const Case& tried : cases) {
    Machine machine;
    machine.load(kLoadXmm0, 16);
    machine.load(kLoadXmm1, 16, 16);
    machine.run(tried.code);
    machine.store(kStoreXmm0, 16);
    BOOST_TEST(machine.stored(16) == tried.expected, tried.what << " gives " << machine.stored(16));
  }
}

BOOST_AUTO_TEST_CASE(memory_operands) {
  Machine machine;
  // A load of 16 bytes that comes in two pieces; the upper half by movhps.
  machine.run(kLoadXmm0, {Access{kFrom, 8, false}, Access{kFrom + 8, 8, false}});
  machine.store({0x0f, 0x17, 0x06}, 8);
  BOOST_TEST(machine.stored(8) == "ijklmnop");
  machine.load({0x0f, 0x16, 0x07}, 8, 16);
  machine.store(kStoreXmm0, 16);
  BOOST_TEST(machine.stored(16) == "abcdefghqrstuvwx");
  // movss and movq from memory clear the rest.
  machine.load({0xf3, 0x0f, 0x10, 0x07}, 4);
  machine.store(kStoreXmm0, 16);
  BOOST_TEST(machine.stored(16) == "abcd............");
  // rep movsb, a byte of it; rep stosq; push and pop.
  machine.run({0xf3, 0xa4}, {Access{kFrom + 3, 1, false}, Access{kTo, 1, true}});
  BOOST_TEST(machine.stored(2) == "db");
  machine.load(kLoadRax, 8, 8);
  machine.run({0xf3, 0x48, 0xab}, {Access{kTo, 8, true}});
  BOOST_TEST(machine.stored(8) == "ijklmnop");
  machine.run({0x50}, {Access{kTo + 64, 8, true}});
  machine.run({0x5b}, {Access{kTo + 64, 8, false}});
  machine.run({0x48, 0x89, 0x1e}, {Access{kTo, 8, true}});
  BOOST_TEST(machine.stored(8) == "ijklmnop");
  // Overwritten by a constant and by a call's return address.
  machine.store({0xc7, 0x06, 1, 0, 0, 0}, 4);
  BOOST_TEST(machine.stored(8) == "....mnop");
  machine.run({0xe8, 0, 0, 0, 0}, {Access{kTo, 8, true}});
  BOOST_TEST(machine.stored(8) == "........");
  // leave: rbp from memory, whatever it was.
  machine.run({0x48, 0x8b, 0x2f}, {Access{kFrom, 8, false}});
  machine.run({0xc9}, {Access{kTo + 128, 8, false}});
  machine.run({0x48, 0x89, 0x2e}, {Access{kTo, 8, true}});
  BOOST_TEST(machine.stored(8) == "........");
}

BOOST_AUTO_TEST_CASE(wide_vectors) {
  Machine machine;
  machine.load({0xc5, 0xfe, 0x6f, 0x07}, 32);  // vmovdqu ymm0, [rdi]
  machine.store({0xc5, 0xfe, 0x7f, 0x06}, 32);
  BOOST_TEST(machine.stored(32) == "abcdefghijklmnopqrstuvwxyzABCDEF");
  machine.run({0xc5, 0xf8, 0x28, 0xc0});  // vmovaps xmm0, xmm0 clears the upper half
  machine.store({0xc5, 0xfe, 0x7f, 0x06}, 32);
  BOOST_TEST(machine.stored(32) == "abcdefghijklmnop................");
}

BOOST_AUTO_TEST_CASE(flags_and_addresses) {
  Machine machine;
  machine.load(kLoadRax, 8);
  machine.run({0x48, 0x85, 0xc0});  // test rax, rax
  BOOST_TEST(machine.run({0x74, 0x00}).branches != 0u);
  machine.run({0x0f, 0x95, 0xc0});  // setne al
  machine.store({0x88, 0x06}, 1);
  BOOST_TEST(machine.stored(1) == "*");
  // Labels with an odd number are followed through addresses, even ones are not.
  machine.memory.set(kFrom, Labels{3});
  machine.load(kLoadRax, 8);
  const Decisions decisions = machine.run({0x48, 0x8b, 0x18}, {Access{kTo + 512, 8, false}});
  BOOST_TEST((decisions.addresses & 3) == 3u);
  machine.run({0x48, 0x89, 0x1e}, {Access{kTo, 8, true}});
  BOOST_TEST(machine.memory.at(kTo) == Labels{2});
  BOOST_TEST(machine.memory.count(0) == 1u);
}

BOOST_AUTO_TEST_CASE(shadow_counts_and_forgets) {
  Shadow memory;
  memory.set(0xfff, 1);
  memory.set(0x1000, 3);
  BOOST_TEST(memory.count(0) == 2u);
  BOOST_TEST(memory.count(1) == 1u);
  memory.move(0xffe, 0x5ffe, 4);
  BOOST_TEST(memory.at(0xfff) == 0u);
  BOOST_TEST(memory.at(0x6000) == 3u);
  memory.clear(0x5fff, 1);
  BOOST_TEST(memory.count(0) == 1u);
  BOOST_TEST(memory.peak(0) == 2u);
  memory.forget(1);
  BOOST_TEST(memory.at(0x6000) == 2u);
  BOOST_TEST(memory.peak(0) == 0u);
}

}  // namespace vmsrs::study
