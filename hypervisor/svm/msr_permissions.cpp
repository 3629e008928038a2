// SPDX-License-Identifier: Apache-2.0
#include "svm/msr_permissions.hpp"

#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constexpr unsigned kRead = 1, kWrite = 2;

void intercept(std::uint8_t* map, std::uint32_t msr, unsigned access) {
  // Three blocks of 8192 MSRs, two bits each.
  std::uint32_t block = 0;
  if (msr >= 0xc0010000) {
    block = 0x1000;
  } else if (msr >= 0xc0000000) {
    block = 0x800;
  }
  const std::uint32_t number = msr & 0x1fff;
  std::uint8_t& byte = map[block + number / 4];
  byte = static_cast<std::uint8_t>(byte | access << (2 * (number % 4)));
}

// Writing one of these could lay hidden memory open: another APIC address passes the APIC trap by,
// TOP_MEM, the IORRs and the configuration space's place turn memory into device space and back,
// the SMM ones move the SMM handler or call it.
constexpr std::uint32_t kFixed[] = {
    x86::kMsrApicBase,      x86::kMsrSyscfg,        x86::kMsrIorrBase0,   x86::kMsrIorrBase0 + 1,
    x86::kMsrIorrBase0 + 2, x86::kMsrIorrBase0 + 3, x86::kMsrTopMem,      x86::kMsrTopMem2,
    x86::kMsrSmmBase,       x86::kMsrSmmBase + 1,   x86::kMsrSmmBase + 2, x86::kMsrSmiOnIo,
    x86::kMsrSmiOnIo + 1,   x86::kMsrSmiOnIo + 2,   x86::kMsrSmiOnIo + 3, x86::kMsrSmiOnIo + 4,
    x86::kMsrSmiOnIo + 6,   x86::kMsrMmioConfig,    x86::kMsrRmpBase,     x86::kMsrRmpBase + 1,
};

}  // namespace

void fill_msr_permissions(std::uint8_t* map) {
  for (const std::uint32_t msr : kFixed) intercept(map, msr, kWrite);
  intercept(map, x86::kMsrTsc, kWrite);
  intercept(map, x86::kMsrPatchLoader, kWrite);
  intercept(map, x86::kMsrTscAdjust, kRead | kWrite);
  for (std::uint32_t i = 0; i <= 0xff; ++i) {
    intercept(map, x86::kMsrX2Apic + i, kRead | kWrite);
    if (is_memory_type_msr(x86::kMsrMtrrBase0 + i)) {
      intercept(map, x86::kMsrMtrrBase0 + i, kRead | kWrite);
    }
  }
  intercept(map, x86::kMsrEfer, kRead | kWrite);
  intercept(map, x86::kMsrVmCr, kRead | kWrite);
  intercept(map, x86::kMsrIgnne, kWrite);
  intercept(map, x86::kMsrVmHsavePa, kRead | kWrite);
  intercept(map, x86::kMsrSvmKey, kRead | kWrite);
}

bool is_memory_type_msr(std::uint32_t msr) {
  return (msr >= 0x200 && msr <= 0x20f) || msr == 0x250 || msr == 0x258 || msr == 0x259 ||
         (msr >= 0x268 && msr <= 0x26f) || msr == x86::kMsrMtrrDefault;
}

bool is_fixed_msr(std::uint32_t msr) {
  for (const std::uint32_t fixed : kFixed) {
    if (fixed == msr) return true;
  }
  return false;
}

}  // namespace vmsrs::svm
