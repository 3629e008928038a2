// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/internal.h>

#include <algorithm>
#include <vmsrs/vmsrs.hpp>

#include "layout.hpp"
#include "memory.hpp"

// The shop's memory under the guest library. All the library that a server needs is in this file.
namespace bookshop::memory {

namespace {
bool check(int result, const char* what, std::string& error) {
  if (result >= 0) return true;
  error = std::string(what) + ": " + vmsrs_error_message();
  return false;
}
}  // namespace

const char* name() { return "vmsrs"; }

bool protect(const Options& options, void* address, std::size_t bytes, std::string& error) {
  vmsrs_options attach{};
  attach.server_name = options.server_name.c_str();
  attach.secret_file = options.secret_file.c_str();
  if (!options.windows_directory.empty())
    attach.windows_directory = options.windows_directory.c_str();
  attach.suppression_limit_ms = options.suppression_limit_ms;
  attach.crash_limit = attach.site_crash_limit = options.crash_limit;
  attach.signal_mask_stays = true;  // nothing here blocks signals
  // Its users write over what the library knows of their threads, their connection's name included,
  // and are to be answered all the same.
  attach.crashed_calls = VMSRS_CALLS_DESCRIPTORS;
  return check(vmsrs_attach(&attach), "cannot attach to VMSRS", error) &&
         check(Init_profile(), "cannot clear the profile", error) &&
         check(profile(address, bytes, kGranuleBytes), "cannot protect the shop's memory", error);
}

Outcome run_user(std::uint64_t label, void (*body)(void*), void (*on_crash)(void*),
                 void* argument) {
  switch (vmsrs_run_user(label, body, argument, on_crash, argument)) {
    case VMSRS_FINISHED:
      return Outcome::finished;
    case VMSRS_SUPPRESSED:
    case VMSRS_UNWOUND:
      return Outcome::suppressed;
    default:
      return Outcome::refused;
  }
}

bool user_crashed() { return vmsrs_user_crashed(); }

std::uint64_t load_word(const std::uint64_t* from) { return vmsrs::load(from); }
void store_word(std::uint64_t* to, std::uint64_t value) { vmsrs::store(to, value); }
void load_range(void* to, const void* from_shared, std::size_t bytes) {
  vmsrs_load_range(to, from_shared, bytes);
}
void store_range(void* to_shared, const void* from, std::size_t bytes) {
  vmsrs_store_range(to_shared, from, bytes);
}

std::size_t scribble_over_recovery_memory() {
  constexpr std::size_t kMaxRanges = 32;
  constexpr std::size_t kPageBytes = 4096;
  vmsrs_internal_range ranges[kMaxRanges];
  const std::size_t count = std::min(vmsrs_internal_ranges(ranges, kMaxRanges), kMaxRanges);
  std::size_t overwritten = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!ranges[i].writable) continue;
    auto* const bytes = static_cast<volatile unsigned char*>(ranges[i].address);
    for (std::size_t at = 0; at < ranges[i].bytes; ++at) bytes[at] = 0xa5;
    overwritten += ranges[i].bytes;
  }
  // What cannot be written: one attempt a page. The first is this user's crash; the others are
  // further faults of a user who has crashed.
  for (std::size_t i = 0; i < count; ++i) {
    if (ranges[i].writable) continue;
    auto* const bytes = static_cast<volatile unsigned char*>(ranges[i].address);
    for (std::size_t at = 0; at < ranges[i].bytes; at += kPageBytes) bytes[at] = 0xa5;
  }
  return overwritten;
}

}  // namespace bookshop::memory
