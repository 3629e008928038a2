// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/protect.h>

#include "claims.hpp"
#include "control.hpp"
#include "guest_call.hpp"
#include "protect/hook_page.hpp"
#include "protect/store_by_value.hpp"
#include "protection_key.hpp"
#include "suppression.hpp"

namespace vmsrs::guest {
namespace {

// The granules become the user's, if it has one that is not crashed and nobody else is there.
bool reserve(std::uint64_t to, std::uint64_t bytes) {
  const vmsrs_window* const window = attached_window();
  const fast::Region* const region = claimed_region_at(to, bytes);
  if (window == nullptr || region == nullptr || control().areas == nullptr) return false;
  fast::Thread& thread = claims_thread(window);
  if (thread.own == 0 || thread.reader != 0 || (in_suppression() && user_is_crashed()))
    return false;
  if (region->key == kNoKey) thread.region = *region;
  EngineCalls calls;
  return Claims(thread, *window, control().area_bytes, calls).reserve(*region, to, bytes);
}

}  // namespace
}  // namespace vmsrs::guest

using namespace vmsrs::guest;

bool vmsrs_is_in_region(const void* at, size_t bytes) {
  return touches_region(to_register(at), bytes);
}

// In a section of its own: a thread in it has not made its store yet, though the window is open.
[[gnu::section("vmsrs_reserve"), gnu::noinline]] bool vmsrs_reserve_store(const void* to,
                                                                          size_t bytes,
                                                                          const void* resume) {
  bool reserved;
  {
    const InHook in_hook;
    if (!touches_region(to_register(to), bytes)) return true;
    reserved = reserve(to_register(to), bytes);
  }
  if (!reserved && resume != nullptr) begin_by_value(resume);
  return reserved;
}

void vmsrs_hooks_are_at(const void* begin, const void* end) {
  note_hook_text(to_register(begin), to_register(end) - to_register(begin));
}
