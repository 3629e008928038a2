// SPDX-License-Identifier: Apache-2.0
#include "svm/instruction_fetch.hpp"

#include "svm/guest_access.hpp"
#include "svm/guest_walk.hpp"
#include "svm/machine.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint16_t kCodeLong = 1u << 9;  // CS.L in the VMCB's packed attributes

Walk find_code(const PagingState& paging, std::uint64_t address) {
  if ((paging.cr0 & x86::kCr0Pg) != 0) {
    return walk_guest(paging, GuestVirtual{address}, recovery::Access::kRead,
                      Privilege::kSupervisor);
  }
  if (!machine().owned_by_guest(GuestPhysical{address})) return {};
  return {.result = recovery::MemoryResult::kOk, .address = HostPhysical{address}};
}

}  // namespace

InstructionBytes fetch_instruction(const Vmcb& vmcb, std::size_t wanted) {
  const PagingState paging{vmcb.save.cr0, vmcb.save.cr3, vmcb.save.cr4, vmcb.save.efer};
  const bool is_long = (vmcb.save.cs.attributes & kCodeLong) != 0;
  const std::uint64_t begin =
      is_long ? vmcb.save.rip : ((vmcb.save.cs.base + vmcb.save.rip) & 0xffffffff);
  InstructionBytes bytes;
  const std::uint8_t* page = nullptr;
  const GuestAccess access;
  for (; bytes.count < wanted; ++bytes.count) {
    const std::uint64_t at = begin + bytes.count;
    if (page == nullptr || (at & kPageMask) == 0) {
      const Walk walk = find_code(paging, align_down(at, kPage));
      if (walk.result != recovery::MemoryResult::kOk) break;
      page = host_pointer<const std::uint8_t>(walk.address);
    }
    bytes.at[bytes.count] = page[at & kPageMask];
  }
  return bytes;
}

}  // namespace vmsrs::svm
