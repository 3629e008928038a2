// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"

// Profiling (the paper, 4.6): which memory is protected.
namespace vmsrs::guest {
namespace {

struct RegionName {
  char text[VMSRS_NAME_BYTES] = {};
};

int read_name(const char* function, const char* name, RegionName& to) {
  const std::size_t length = name != nullptr ? strnlen(name, VMSRS_NAME_BYTES) : 0;
  if (length == 0 || length == VMSRS_NAME_BYTES)
    return fail(VMSRS_ERROR_ARGUMENT, "%s: the name must have 1 to %u characters", function,
                VMSRS_NAME_BYTES - 1);
  std::memcpy(to.text, name, length);
  return 0;
}

int check_place(void* address, std::size_t bytes, unsigned granule_bytes) {
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
  return 0;
}

// PROFILE_FILL to its end: mirror from memory, or memory from mirror. The last status.
std::uint64_t fill(std::uint64_t region, std::size_t bytes) {
  std::uint64_t offset = 0;
  for (;;) {
    const CallResult piece = call(VMSRS_CALL_PROFILE_FILL, {.rdi = region, .rsi = offset});
    const bool went_on = piece.first > offset && piece.first <= bytes;
    if (piece.status != VMSRS_AGAIN || !went_on) return piece.status;
    offset = piece.first;
  }
}

// `name`: nullptr for none.
int profile_as(const RegionName* name, void* address, std::size_t bytes, unsigned granule_bytes,
               bool eager) {
  if (const int error = check_place(address, bytes, granule_bytes); error != 0) return error;
  vmsrs_claim* claims = nullptr;
  if (control().areas != nullptr) {
    claims = make_claims(bytes / granule_bytes);
    if (claims == nullptr) return VMSRS_ERROR_STORAGE;
  }
  if (const int error = prepare_region(address, bytes); error != 0) return error;
  CallArguments arguments = {.rdi = to_register(address),
                             .rsi = bytes,
                             .rdx = granule_bytes,
                             .r8 = to_register(claims),
                             .r9 = eager ? VMSRS_PROFILE_EAGER : 0u};
  if (name != nullptr) arguments.r10 = to_register(name);
  const CallResult region = name == nullptr
                                ? call(VMSRS_CALL_PROFILE, arguments)
                                : call(VMSRS_CALL_PROFILE_NAMED, arguments, {name, sizeof *name});
  if (region.status != VMSRS_OK) {
    forget_region();
    return fail_status("profile", region.status);
  }
  const bool kept = name != nullptr && region.second != 0;
  const std::uint64_t status = fill(region.first, bytes);
  if (status == VMSRS_OK) {
    if (claims != nullptr)
      add_claimed_region({to_register(address), bytes, claims,
                          static_cast<std::uint32_t>(__builtin_ctz(granule_bytes)),
                          static_cast<std::uint32_t>(region.first)});
    return kept ? VMSRS_PROFILED_KEPT : VMSRS_PROFILED_NEW;
  }
  // What is kept is kept still, for another attempt.
  if (!kept) call(VMSRS_CALL_UNPROFILE, {.rdi = region.first});
  forget_region();
  return fail_status(kept ? "profile, filling the memory" : "profile, copying the present content",
                     status);
}

}  // namespace
}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int Init_profile(void) {
  if (attached_window() == nullptr) return fail_status("Init_profile", VMSRS_NOT_ATTACHED);
  if (any_open_scope()) return fail_status("Init_profile", VMSRS_BUSY);
  const CallResult result = call_to_end(VMSRS_CALL_INIT_PROFILE);
  if (result.status != VMSRS_OK) return fail_status("Init_profile", result.status);
  return forget_claimed_regions();
}

int profile(void* address, size_t bytes, unsigned granule_bytes) {
  return profile_as(nullptr, address, bytes, granule_bytes, false);
}

int profile_named(void* address, size_t bytes, unsigned granule_bytes, const char* name) {
  RegionName text;
  if (const int error = read_name("profile_named", name, text); error != 0) return error;
  return profile_as(&text, address, bytes, granule_bytes, false);
}

int vmsrs_profile(void* address, size_t bytes, unsigned granule_bytes,
                  const vmsrs_profile_options* options) {
  if (options == nullptr) return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_profile: options is NULL");
  RegionName text;
  const bool named = options->name != nullptr;
  if (named)
    if (const int error = read_name("vmsrs_profile", options->name, text); error != 0) return error;
  return profile_as(named ? &text : nullptr, address, bytes, granule_bytes, options->eager);
}

int unprofile_named(const char* name) {
  if (attached_window() == nullptr) return fail_status("unprofile_named", VMSRS_NOT_ATTACHED);
  RegionName text;
  if (const int error = read_name("unprofile_named", name, text); error != 0) return error;
  if (any_open_scope()) return fail_status("unprofile_named", VMSRS_BUSY);
  const CallResult result =
      call(VMSRS_CALL_UNPROFILE_NAMED, {.rdi = to_register(&text)}, {&text, sizeof text});
  if (result.status == VMSRS_NO_REGION)
    return fail(VMSRS_ERROR_ARGUMENT, "unprofile_named: no region has the name %s", text.text);
  if (result.status != VMSRS_OK) return fail_status("unprofile_named", result.status);
  forget_claimed_region(result.first);
  return 0;
}
