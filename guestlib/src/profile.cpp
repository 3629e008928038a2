// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/vmsrs.h>

#include <cstdint>

#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"

// Profiling (the paper, 4.6): which memory is protected.
using namespace vmsrs::guest;

int Init_profile(void) {
  if (attached_window() == nullptr) return fail_status("Init_profile", VMSRS_NOT_ATTACHED);
  if (any_open_scope()) return fail_status("Init_profile", VMSRS_BUSY);
  const CallResult result = call_to_end(VMSRS_CALL_INIT_PROFILE);
  if (result.status != VMSRS_OK) return fail_status("Init_profile", result.status);
  return forget_claimed_regions();
}

int profile(void* address, size_t bytes, unsigned granule_bytes) {
  if (attached_window() == nullptr) return fail_status("profile", VMSRS_NOT_ATTACHED);
  if (granule_bytes != 8 && granule_bytes != 16 && granule_bytes != 32 && granule_bytes != 64)
    return fail(VMSRS_ERROR_ARGUMENT, "profile: granule of %u bytes: it must be 8, 16, 32 or 64",
                granule_bytes);
  const std::uint64_t first = to_register(address);
  if (bytes == 0 || bytes % 64 != 0 || first % 64 != 0 || first + bytes < first)
    return fail(VMSRS_ERROR_ARGUMENT,
                "profile: %p, %zu bytes: both must be multiples of 64, and not zero", address,
                bytes);
  for (std::uint64_t page = first; page < first + bytes;
       page = (page / VMSRS_PAGE_BYTES + 1) * VMSRS_PAGE_BYTES)
    if (!touch_page(page, true))
      return fail(VMSRS_ERROR_ARGUMENT, "profile: the page at %p is not mapped, or not writable",
                  reinterpret_cast<void*>(page));
  const std::uint64_t granules = bytes / granule_bytes;
  vmsrs_claim* claims = nullptr;
  if (control().areas != nullptr) {
    claims = make_claims(granules);
    if (claims == nullptr) return VMSRS_ERROR_STORAGE;
  }
  if (const int error = prepare_region(address, bytes); error != 0) return error;
  const CallResult region =
      call(VMSRS_CALL_PROFILE,
           {.rdi = first, .rsi = bytes, .rdx = granule_bytes, .r10 = to_register(claims)});
  if (region.status != VMSRS_OK) {
    forget_region();
    return fail_status("profile", region.status);
  }
  std::uint64_t offset = 0;
  for (;;) {
    const CallResult fill = call(VMSRS_CALL_PROFILE_FILL, {.rdi = region.first, .rsi = offset});
    if (fill.status == VMSRS_OK) {
      if (claims != nullptr)
        add_claimed_region({first, bytes, claims,
                            static_cast<std::uint32_t>(__builtin_ctz(granule_bytes)),
                            static_cast<std::uint32_t>(region.first)});
      return 0;
    }
    const bool went_on = fill.first > offset && fill.first <= bytes;
    if (fill.status != VMSRS_AGAIN || !went_on) {
      call(VMSRS_CALL_UNPROFILE, {.rdi = region.first});
      forget_region();
      return fail_status("profile, copying the present content", fill.status);
    }
    offset = fill.first;
  }
}
