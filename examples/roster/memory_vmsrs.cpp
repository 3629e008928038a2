// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/internal.h>

#include <algorithm>
#include <vmsrs/vmsrs.hpp>

#include "memory.hpp"
#include "roster.hpp"

// The roster's memory under the guest library. All the library that it needs is in this file.
namespace roster::memory {

namespace {
// A crashed user waits in its scope while the others are looked at, on a slow machine too.
constexpr std::uint32_t kSuppressionLimitMs = 120'000;

bool check(int result, const char* what, std::string& error) {
  if (result >= 0) return true;
  error = std::string(what) + ": " + vmsrs_error_message();
  return false;
}

template <typename Visit>
void for_ranges(bool writable, Visit visit) {
  constexpr std::size_t kMaxRanges = 32;
  vmsrs_internal_range ranges[kMaxRanges];
  const std::size_t count = std::min(vmsrs_internal_ranges(ranges, kMaxRanges), kMaxRanges);
  for (std::size_t i = 0; i < count; ++i)
    if (ranges[i].writable == writable)
      visit(static_cast<volatile unsigned char*>(ranges[i].address), ranges[i].bytes);
}
}  // namespace

const char* name() { return "vmsrs"; }

bool protect(const Options& options, void* address, std::size_t bytes, std::string& error) {
  vmsrs_options attach{};
  attach.server_name = options.server_name.c_str();
  attach.secret_file = options.secret_file.c_str();
  if (!options.windows_directory.empty())
    attach.windows_directory = options.windows_directory.c_str();
  attach.suppression_limit_ms = kSuppressionLimitMs;
  attach.signal_mask_stays = true;  // nothing here blocks signals
  attach.trap_every_store = options.trap_every_store;
  attach.site_crash_limit = attach.crash_limit =
      UINT32_MAX;  // it is here to crash, again and again
  attach.crashed_calls =
      VMSRS_CALLS_DESCRIPTORS;  // whoever has crashed goes on saying what it does
  return check(vmsrs_attach(&attach), "cannot attach to VMSRS", error) &&
         check(Init_profile(), "cannot clear the profile", error) &&
         check(profile(address, bytes, kGranuleBytes), "cannot protect the roster", error);
}

Outcome run(Kind kind, std::uint64_t label, void (*body)(void*), void (*on_crash)(void*),
            void* argument) {
  const auto run_scope = kind == Kind::reader ? vmsrs_run_reader : vmsrs_run_user;
  switch (run_scope(label, body, argument, on_crash, argument)) {
    case VMSRS_FINISHED:
      return Outcome::finished;
    case VMSRS_SUPPRESSED:
    case VMSRS_UNWOUND:
      return Outcome::suppressed;
    default:
      return Outcome::refused;
  }
}

std::uint64_t load(const std::uint64_t* from) { return vmsrs::load(from); }
void store(std::uint64_t* to, std::uint64_t value) { vmsrs::store(to, value); }

std::size_t scribble_over_recovery_memory() {
  constexpr std::size_t kPageBytes = 4096;
  std::size_t overwritten = 0;
  for_ranges(true, [&](volatile unsigned char* at, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) at[i] = 0xa5;
    overwritten += bytes;
  });
  // What cannot be written: one attempt a page, each of which faults.
  for_ranges(false, [](volatile unsigned char* at, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += kPageBytes) at[i] = 0xa5;
  });
  return overwritten;
}

}  // namespace roster::memory
