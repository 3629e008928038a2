// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "heap/heap.hpp"
#include "patience.hpp"

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
  const std::uint64_t first_page = first - first % VMSRS_PAGE_BYTES;
  if (touch_pages(first_page, first + bytes - first_page)) return 0;
  for (std::uint64_t page = first_page; page < first + bytes; page += VMSRS_PAGE_BYTES)
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
  const std::uint64_t granules = bytes / granule_bytes;
  vmsrs_claim* claims = nullptr;
  if (control().areas != nullptr)
    if (const int error = make_claims(granules, claims); error != 0) return error;
  const auto give_up = [&](int error) {
    forget_region();
    if (claims != nullptr) free_claims(claims, granules);
    return error;
  };
  if (const int error = prepare_region(address, bytes); error != 0) return give_up(error);
  CallArguments arguments = {.rdi = to_register(address),
                             .rsi = bytes,
                             .rdx = granule_bytes,
                             .r8 = to_register(claims),
                             .r9 = eager ? VMSRS_PROFILE_EAGER : 0u};
  if (name != nullptr) arguments.r10 = to_register(name);
  const CallResult region = name == nullptr
                                ? call(VMSRS_CALL_PROFILE, arguments)
                                : call(VMSRS_CALL_PROFILE_NAMED, arguments, {name, sizeof *name});
  if (region.status != VMSRS_OK) return give_up(fail_status("profile", region.status));
  const bool kept = name != nullptr && region.second != 0;
  const std::uint64_t status = fill(region.first, bytes);
  if (status == VMSRS_OK) {
    add_region(fast::make_region(to_register(address), bytes, claims,
                                 static_cast<std::uint32_t>(__builtin_ctz(granule_bytes)),
                                 static_cast<std::uint32_t>(region.first)));
    return kept ? VMSRS_PROFILED_KEPT : VMSRS_PROFILED_NEW;
  }
  // What is kept is kept still, for another attempt.
  if (kept) {  // still, for another attempt
    forget_region();
    return fail_status("profile, filling the memory", status);
  }
  call(VMSRS_CALL_UNPROFILE, {.rdi = region.first});
  return give_up(fail_status("profile, copying the present content", status));
}

// Maps the region, and its claims.
int join_parts(std::uint64_t number, bool has_claims, void* wanted, std::byte*& at,
               std::byte*& claims) {
  Joined joined = join_memory(number, Part::kBytes, static_cast<std::byte*>(wanted), at);
  if (joined == Joined::kDone && has_claims)
    joined = join_memory(number, Part::kClaims, nullptr, claims);
  if (joined == Joined::kNone)
    return fail(VMSRS_ERROR_STATE, "vmsrs_profile_join: the process that had it has just gone");
  return joined == Joined::kDone ? 0 : VMSRS_ERROR_STATE;
}

int join(const RegionName& name, void* wanted, void** at, std::size_t* bytes) {
  const CallResult found =
      call(VMSRS_CALL_PROFILE_FIND, {.rdi = to_register(&name)}, {&name, sizeof name});
  if (found.status == VMSRS_NO_REGION)
    return fail(VMSRS_ERROR_ARGUMENT,
                "vmsrs_profile_join: no process of this server has profiled a region %s",
                name.text);
  if (found.status == VMSRS_WRONG_STATE)
    return fail(VMSRS_ERROR_STATE, "vmsrs_profile_join: the region %s is still being profiled",
                name.text);
  if (found.status != VMSRS_OK) return fail_status("vmsrs_profile_join", found.status);
  const std::uint64_t number = VMSRS_FOUND_REGION(found.first);
  const std::uint64_t granule = VMSRS_FOUND_GRANULE(found.first);
  const bool has_claims = (found.first & VMSRS_FOUND_CLAIMS) != 0;
  if (has_claims && control().areas == nullptr)
    return fail(VMSRS_ERROR_STATE,
                "vmsrs_profile_join: the region %s was profiled without trap_every_store: attach "
                "all processes of a server with the same",
                name.text);
  std::byte* place = nullptr;
  std::byte* claims = nullptr;
  if (const int error = join_parts(number, has_claims, wanted, place, claims); error != 0)
    return error;
  const CallResult region = call(VMSRS_CALL_PROFILE_JOIN,
                                 {.rdi = to_register(place),
                                  .rsi = found.second,
                                  .rdx = granule,
                                  .r10 = to_register(&name),
                                  .r8 = to_register(claims)},
                                 {&name, sizeof name});
  if (region.status != VMSRS_OK) return fail_status("vmsrs_profile_join", region.status);
  add_region(fast::make_region(to_register(place), found.second,
                               reinterpret_cast<vmsrs_claim*>(claims),
                               static_cast<std::uint32_t>(__builtin_ctzll(granule)),
                               static_cast<std::uint32_t>(region.first)));
  if (at != nullptr) *at = place;
  if (bytes != nullptr) *bytes = found.second;
  return 0;
}

}  // namespace
}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int Init_profile(void) {
  if (attached_window() == nullptr) return fail_status("Init_profile", VMSRS_NOT_ATTACHED);
  if (any_open_scope()) return fail_status("Init_profile", VMSRS_BUSY);
  CallResult result{};
  try_for_a_while([&] {
    result = call_to_end(VMSRS_CALL_INIT_PROFILE);
    return result.status != VMSRS_BUSY;
  });
  if (result.status == VMSRS_BUSY)
    return fail(
        VMSRS_ERROR_STATE,
        "Init_profile: another process of this server is attached, or a user has not ended");
  if (result.status != VMSRS_OK) return fail_status("Init_profile", result.status);
  forget_heaps();
  return forget_regions();
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

int vmsrs_profile_join(const char* name, void* address, void** at, size_t* bytes) {
  if (attached_window() == nullptr) return fail_status("vmsrs_profile_join", VMSRS_NOT_ATTACHED);
  RegionName text;
  if (const int error = read_name("vmsrs_profile_join", name, text); error != 0) return error;
  return join(text, address, at, bytes);
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
  forget_region_numbered(result.first);
  return 0;
}
