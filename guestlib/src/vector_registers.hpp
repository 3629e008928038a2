// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ucontext.h>

#include <cstdint>

namespace vmsrs::guest {

// Where the processor's XSAVE area has its parts (AMD APM volume 2, 11.5; CPUID leaf 0xD). Asked
// once: CPUID traps in a guest. 0: the processor has no such part.
struct XsaveLayout {
  std::uint32_t avx;           // upper halves of YMM0..15
  std::uint32_t opmask;        // K0..7
  std::uint32_t zmm_upper;     // upper halves of ZMM0..15
  std::uint32_t zmm_16_to_31;  // whole
  std::uint32_t key_rights;    // PKRU
};

XsaveLayout read_xsave_layout();

// Clears registers as the interrupted thread will see them. Async-signal-safe.
void clear_xmm(ucontext_t& context, unsigned index);  // bits 0..127 only
// Every bit, as an instruction with a VEX or EVEX prefix does.
void clear_vector(ucontext_t& context, const XsaveLayout& layout, unsigned index);
void clear_opmask(ucontext_t& context, const XsaveLayout& layout, unsigned index);
void clear_mmx(ucontext_t& context, unsigned index);
// Takes back the pending exceptions of the x87 unit, which would be raised again and again.
void clear_x87_exceptions(ucontext_t& context);

// PKRU. False: it is not in the image.
[[nodiscard]] bool read_key_rights(const ucontext_t& context, const XsaveLayout& layout,
                                   std::uint32_t& rights);
void write_key_rights(ucontext_t& context, const XsaveLayout& layout, std::uint32_t rights);

}  // namespace vmsrs::guest
