// SPDX-License-Identifier: Apache-2.0
#include "protection_key.hpp"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>

#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"

namespace vmsrs::guest {
namespace {

constexpr int kKeyFault = 4;  // si_code SEGV_PKUERR (Linux, include/uapi/asm-generic/siginfo.h)
constexpr greg_t kErrorCodeStore = 1 << 1;  // AMD APM volume 2, 8.2.15

// CPUID leaf 7, ECX
constexpr unsigned kProcessorHasKeys = 1u << 3;
constexpr unsigned kKernelUsesKeys = 1u << 4;

int fail_without_keys(int error) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
  const char* const why =
      (ecx & kProcessorHasKeys) == 0 ? "this processor has none (the flag pku of /proc/cpuinfo)"
      : (ecx & kKernelUsesKeys) == 0 ? "this kernel does not use the processor's"
      : error == ENOSPC              ? "the program has taken all of them"
                                     : strerrordesc_np(error);
  return fail(
      VMSRS_ERROR_SYSTEM,
      "vmsrs_make_strict: no protection key: %s. Without one plain stores to the region are "
      "found by the sweep only",
      why);
}

// Once a process, for all its strict regions. 0 or a vmsrs_error.
int take_key() {
  if (strict_key() != kNoKey) return 0;
  const long key = syscall(SYS_pkey_alloc, 0ul, static_cast<unsigned long>(kNoStore));
  if (key < 0) return fail_without_keys(errno);
  if (!unlock_control()) return fail(VMSRS_ERROR_SYSTEM, "vmsrs_make_strict: mprotect");
  control_page.block.strict_key = static_cast<std::uint32_t>(key);
  return lock_control() ? 0 : fail(VMSRS_ERROR_SYSTEM, "vmsrs_make_strict: mprotect");
}

bool set_key(std::uint64_t begin, std::uint64_t bytes, std::uint32_t key) {
  return syscall(SYS_pkey_mprotect, begin, bytes, PROT_READ | PROT_WRITE,
                 static_cast<unsigned long>(key)) == 0;
}

bool set_key(const fast::Region& region, std::uint32_t key) {
  const std::uint64_t claims = (region.bytes >> region.shift) * sizeof(vmsrs_claim);
  return set_key(region.begin, region.bytes, key) &&
         (region.claims == nullptr || set_key(to_register(region.claims), claims, key));
}

// Of this process; nullptr: none begins there.
fast::Region* region_that_begins_at(std::uint64_t address) {
  for (std::uint32_t i = 0; i < control().region_count && i < VMSRS_MAX_REGIONS; ++i)
    if (control().regions[i].bytes != 0 && control().regions[i].begin == address)
      return &control_page.block.regions[i];
  return nullptr;
}

bool note_key(fast::Region& region, std::uint32_t key) {
  if (!unlock_control()) return false;
  region.key = static_cast<std::uint16_t>(key);
  return lock_control();
}

int make_strict(std::uint64_t address) {
  fast::Region* const region = region_that_begins_at(address);
  if (region == nullptr)
    return fail(VMSRS_ERROR_ARGUMENT,
                "vmsrs_make_strict: %p: no region of this process begins there",
                reinterpret_cast<void*>(address));
  if (region->key != kNoKey) return 0;
  if (region->begin % VMSRS_PAGE_BYTES != 0 || region->bytes % VMSRS_PAGE_BYTES != 0)
    return fail(VMSRS_ERROR_ARGUMENT,
                "vmsrs_make_strict: %p, %llu bytes: both must be multiples of %u, for keys are the "
                "property of whole pages",
                reinterpret_cast<void*>(address), static_cast<unsigned long long>(region->bytes),
                VMSRS_PAGE_BYTES);
  if (const int error = take_key(); error != 0) return error;
  // Who stores from here on allows it first, whether or not it has to.
  if (!note_key(*region, strict_key()))
    return fail(VMSRS_ERROR_SYSTEM, "vmsrs_make_strict: mprotect");
  if (set_key(*region, strict_key())) return 0;
  const int error = errno;
  set_key(*region, kNoKey);
  static_cast<void>(note_key(*region, kNoKey));
  return fail(VMSRS_ERROR_SYSTEM, "vmsrs_make_strict: pkey_mprotect: %s", strerrordesc_np(error));
}

}  // namespace

std::uint32_t strict_key() { return control().strict_key; }

void forbid_stores_of(ucontext_t& interrupted) {
  const std::uint32_t key = strict_key();
  std::uint32_t rights = 0;
  if (key != kNoKey && read_key_rights(interrupted, control().xsave, rights))
    write_key_rights(interrupted, control().xsave, with_rights(rights, key, kNoStore));
}

KeyFault meet_key_fault(int signal, const siginfo_t& info, ucontext_t& interrupted) {
  const std::uint32_t key = strict_key();
  if (signal != SIGSEGV || info.si_code != kKeyFault || key == kNoKey || info.si_pkey != key)
    return KeyFault::kNone;
  if ((interrupted.uc_mcontext.gregs[REG_ERR] & kErrorCodeStore) != 0) return KeyFault::kStore;
  forbid_stores_of(interrupted);
  return KeyFault::kLoad;
}

void end_strict(const fast::Region& region) {
  if (region.bytes != 0 && region.key != kNoKey) set_key(region, kNoKey);
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_make_strict(void* region) {
  if (attached_window() == nullptr) return fail_status("vmsrs_make_strict", VMSRS_NOT_ATTACHED);
  if (any_open_scope()) return fail_status("vmsrs_make_strict", VMSRS_BUSY);
  return make_strict(to_register(region));
}

bool vmsrs_is_strict(const void* at) {
  const std::uint64_t address = to_register(at);
  for (std::uint32_t i = 0; i < control().region_count && i < VMSRS_MAX_REGIONS; ++i) {
    const vmsrs::fast::Region& region = control().regions[i];
    if (address - region.begin < region.bytes) return region.key != kNoKey;
  }
  return false;
}
