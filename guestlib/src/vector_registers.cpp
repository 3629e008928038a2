// SPDX-License-Identifier: Apache-2.0
#include "vector_registers.hpp"

#include <cpuid.h>

#include <cstddef>
#include <cstring>

namespace vmsrs::guest {
namespace {

// Linux describes what it saved in bytes that the FXSAVE area leaves to software
// (struct _fpx_sw_bytes in the kernel's asm/sigcontext.h).
struct SoftwareBytes {
  std::uint32_t magic;
  std::uint32_t extended_size;
  std::uint64_t features;
  std::uint32_t xstate_size;
};
constexpr std::size_t kSoftwareBytesOffset = 464;
constexpr std::uint32_t kXstateMagic = 0x46505853;
constexpr std::size_t kFxsaveBytes = 512;

constexpr unsigned kOsXsave = 1u << 27;  // CPUID 1, ECX

constexpr unsigned kAvxFeature = 2;
constexpr unsigned kOpmaskFeature = 5;
constexpr unsigned kZmmUpperFeature = 6;
constexpr unsigned kZmm16To31Feature = 7;
constexpr unsigned kKeyRightsFeature = 9;

// Where the interrupted thread's XSAVE area has that part; nullptr: it has not.
std::byte* part_of(const ucontext_t& context, unsigned feature, std::uint32_t offset,
                   std::size_t bytes) {
  auto* area = reinterpret_cast<std::byte*>(context.uc_mcontext.fpregs);
  if (area == nullptr || offset < kFxsaveBytes) return nullptr;
  SoftwareBytes software;
  std::memcpy(&software, area + kSoftwareBytesOffset, sizeof software);
  const bool is_there = software.magic == kXstateMagic &&
                        (software.features >> feature & 1u) != 0 &&
                        offset + bytes <= software.xstate_size;
  return is_there ? area + offset : nullptr;
}

// The header's first word says which parts are not in their initial state, zero.
std::uint64_t& parts_in_use(const ucontext_t& context) {
  return *reinterpret_cast<std::uint64_t*>(
      reinterpret_cast<std::byte*>(context.uc_mcontext.fpregs) + kFxsaveBytes);
}

// A part that is not marked in the header is in its initial state whatever its bytes are: so
// clearing bytes is right in both cases and the header stays as it is.
void clear_part(ucontext_t& context, unsigned feature, std::uint32_t offset, std::size_t bytes) {
  if (std::byte* const part = part_of(context, feature, offset, bytes)) std::memset(part, 0, bytes);
}

}  // namespace

XsaveLayout read_xsave_layout() {
  XsaveLayout layout{};
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsXsave) == 0) return layout;
  const auto offset_of = [](unsigned feature) -> std::uint32_t {
    unsigned size = 0, offset = 0, flags = 0, unused = 0;
    if (__get_cpuid_count(0xd, feature, &size, &offset, &flags, &unused) == 0 || size == 0)
      return 0;
    return offset;
  };
  layout.avx = offset_of(kAvxFeature);
  layout.opmask = offset_of(kOpmaskFeature);
  layout.zmm_upper = offset_of(kZmmUpperFeature);
  layout.zmm_16_to_31 = offset_of(kZmm16To31Feature);
  layout.key_rights = offset_of(kKeyRightsFeature);
  return layout;
}

void clear_xmm(ucontext_t& context, unsigned index) {
  if (context.uc_mcontext.fpregs == nullptr || index >= 16) return;
  std::memset(&context.uc_mcontext.fpregs->_xmm[index], 0, 16);
}

void clear_vector(ucontext_t& context, const XsaveLayout& layout, unsigned index) {
  if (index >= 16) {
    clear_part(context, kZmm16To31Feature, layout.zmm_16_to_31 + (index - 16) * 64u, 64);
    return;
  }
  clear_xmm(context, index);
  clear_part(context, kAvxFeature, layout.avx == 0 ? 0 : layout.avx + index * 16u, 16);
  clear_part(context, kZmmUpperFeature, layout.zmm_upper == 0 ? 0 : layout.zmm_upper + index * 32u,
             32);
}

void clear_opmask(ucontext_t& context, const XsaveLayout& layout, unsigned index) {
  clear_part(context, kOpmaskFeature, layout.opmask == 0 ? 0 : layout.opmask + index * 8u, 8);
}

void clear_mmx(ucontext_t& context, unsigned index) {
  if (context.uc_mcontext.fpregs == nullptr || index >= 8) return;
  std::memset(&context.uc_mcontext.fpregs->_st[index], 0, 8);
}

void clear_x87_exceptions(ucontext_t& context) {
  if (context.uc_mcontext.fpregs == nullptr) return;
  context.uc_mcontext.fpregs->swd &= static_cast<std::uint16_t>(~0x80ffu);
}

bool read_key_rights(const ucontext_t& context, const XsaveLayout& layout, std::uint32_t& rights) {
  const std::byte* const part =
      part_of(context, kKeyRightsFeature, layout.key_rights, sizeof rights);
  if (part == nullptr) return false;
  rights = 0;
  if ((parts_in_use(context) >> kKeyRightsFeature & 1u) != 0)
    std::memcpy(&rights, part, sizeof rights);
  return true;
}

void write_key_rights(ucontext_t& context, const XsaveLayout& layout, std::uint32_t rights) {
  std::byte* const part = part_of(context, kKeyRightsFeature, layout.key_rights, sizeof rights);
  if (part == nullptr) return;
  std::memcpy(part, &rights, sizeof rights);
  parts_in_use(context) |= 1ull << kKeyRightsFeature;
}

}  // namespace vmsrs::guest
