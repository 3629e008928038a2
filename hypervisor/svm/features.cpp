// SPDX-License-Identifier: Apache-2.0
#include "svm/features.hpp"

#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constinit Features found;

constexpr bool bit(std::uint32_t word, unsigned n) { return ((word >> n) & 1) != 0; }

std::uint64_t allowed_efer(const x86::CpuidResult& extended, std::uint32_t highest) {
  std::uint64_t allowed = x86::kEferSce | x86::kEferLme | x86::kEferLma;
  if (bit(extended.edx, 20)) allowed |= x86::kEferNxe;
  if (bit(extended.edx, 25)) allowed |= x86::kEferFfxsr;
  if (bit(extended.ecx, 17)) allowed |= x86::kEferTce;
  if (highest >= 0x80000008 && bit(x86::cpuid(0x80000008).ebx, 8)) allowed |= x86::kEferMcommit;
  if (highest >= 0x80000021) {
    const auto more = x86::cpuid(0x80000021);
    if (bit(more.eax, 7)) allowed |= x86::kEferUaie;
    if (bit(more.eax, 8)) allowed |= x86::kEferAutoIbrs;
  }
  return allowed;
}

}  // namespace

const Features& features() { return found; }

void detect_features() {
  const std::uint32_t highest_basic = x86::cpuid(0).eax;
  const std::uint32_t highest = x86::cpuid(0x80000000).eax;
  const auto basic = x86::cpuid(1);
  const auto extended = x86::cpuid(0x80000001);
  found.rdrand = bit(basic.ecx, 30);
  found.emulated = bit(basic.ecx, 31);
  if (highest_basic >= 7) {
    const auto structured = x86::cpuid(7);
    found.smep = bit(structured.ebx, 7);
    found.smap = bit(structured.ebx, 20);
  }
  found.long_mode = bit(extended.edx, 29);
  found.no_execute = bit(extended.edx, 20);
  found.huge_pages = bit(extended.edx, 26);
  found.svm = bit(extended.ecx, 2);
  found.efer_allowed = allowed_efer(extended, highest);
  if (highest >= 0x80000008) {
    const auto sizes = x86::cpuid(0x80000008);
    found.physical_bits = sizes.eax & 0xff;
    found.invlpgb = bit(sizes.ebx, 3);
  }
  if (!found.svm) return;
  found.svm_disabled = (x86::read_msr(x86::kMsrVmCr) & x86::kVmCrSvmDisabled) != 0;
  if (highest >= 0x8000000a) {
    // The nested-paging bit EDX[0] is not asked for: QEMU's qemu64 hides it though it works, and
    // every AMD processor of this century with long mode and SVM but the very first has it.
    const auto svm = x86::cpuid(0x8000000a);
    found.next_rip = bit(svm.edx, 3);
    found.flush_by_asid = bit(svm.edx, 6);
    found.decode_assists = bit(svm.edx, 7);
  }
}

}  // namespace vmsrs::svm
