// SPDX-License-Identifier: Apache-2.0
#include "claims.hpp"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bounds.hpp"
#include "control.hpp"
#include "drain.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "protect/hook_page.hpp"
#include "protect/store_by_value.hpp"
#include "protection_key.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint64_t kNoMode = 0;  // what a thread looks at before its first access
// A write set of so many granules, a MiB in granules of 64 bytes and what goes with it; the stores
// to more of them are calls. Beyond what can be handed over, the engine looks at the granules
// itself. Mapped, not used, until there are so many; and not a power of two, so that the users'
// heads do not share the same few places of a cache.
constexpr std::uint64_t kMostGranules = 20'000;
constexpr std::uint64_t kAreaBytes =
    sizeof(vmsrs_user_area) + kMostGranules * sizeof(std::uint64_t);
static_assert(kAreaBytes % 64 == 0 && kAreaBytes <= VMSRS_MAX_USER_AREA_BYTES);

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + VMSRS_PAGE_BYTES - 1) & ~std::size_t{VMSRS_PAGE_BYTES - 1};
}

void* map_pages(std::size_t bytes, const char* what) {
  void* const at = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at != MAP_FAILED) return at;
  fail(VMSRS_ERROR_SYSTEM, "profile: memory for %s: mmap: %s", what, strerrordesc_np(errno));
  return nullptr;
}

// nullptr: the thread has none, or its word for it is damaged.
vmsrs_user_area* own_area() {
  const std::byte* const areas = control().areas;
  vmsrs_user_area* const area = vmsrs_fast_thread.area;
  if (areas == nullptr) return nullptr;
  const std::uint64_t at = to_register(area) - to_register(areas);
  const bool fits = at < VMSRS_MAX_USERS * control().area_bytes && at % control().area_bytes == 0;
  return fits ? area : nullptr;
}

const fast::Region* claimed_region_numbered(std::uint64_t number) {
  const std::uint32_t count = __atomic_load_n(&control().region_count, __ATOMIC_ACQUIRE);
  for (std::uint32_t i = 0; i < count && i < VMSRS_MAX_REGIONS; ++i)
    if (control().regions[i].number == number && control().regions[i].bytes != 0)
      return &control().regions[i];
  return nullptr;
}

// Another processor reads these lines next: let them go to where it finds them sooner. A hint,
// which older processors ignore; of many lines it costs more than it saves.
void demote_lines(const std::byte* lines, std::size_t bytes) {
  constexpr std::size_t kMostBytes = 1024;
  constexpr std::size_t kLineBytes = 64;
  for (std::size_t at = 0; at < bytes && at < kMostBytes; at += kLineBytes)
    asm volatile("cldemote %0" : : "m"(lines[at]) : "memory");
}

vmsrs_user_area& area_of(std::uint64_t slot) {
  return *reinterpret_cast<vmsrs_user_area*>(control().areas + slot * control().area_bytes);
}

// Is this one of the users whose loads are looked at?
bool is_sampled() {
  const std::uint32_t every = control().exposed_sample_every;
  return every != 0 && (__builtin_ia32_rdtsc() * VMSRS_TAG_BODY_FACTOR >> 32) % every == 0;
}

// Those of this server's other processes too, if it has had any.
void make_processors_agree() {
  const vmsrs_window* const window = attached_window();
  const bool alone =
      window == nullptr || __atomic_load_n(&window->status.processes, __ATOMIC_ACQUIRE) == 0;
  syscall(SYS_membarrier,
          alone ? MEMBARRIER_CMD_PRIVATE_EXPEDITED : MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

constexpr unsigned kSpins = 64;
constexpr unsigned kYields = 64;
constexpr unsigned kPausesPerMs = 20;
constexpr unsigned kPausesPerKick = kSpins + 2;

void pause_for(unsigned attempt) {
  if (attempt < kSpins) {
    __builtin_ia32_pause();
  } else if (attempt < kSpins + kYields) {
    sched_yield();
  } else {
    const timespec pause = {0, 1'000'000 / kPausesPerMs};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  }
}

// Counted in the waiting thread's own pauses, not by a clock: a process that is stopped as a whole
// must not find its own threads late when it goes on.
bool past_patience(unsigned attempt) {
  return attempt >= kSpins + kYields + control().stuck_limit_ms * kPausesPerMs;
}

}  // namespace

namespace {

// Areas of this process's own making. VMSRS_JOIN: another process was quicker.
std::uint64_t make_areas(std::byte*& at, int& error) {
  constexpr std::size_t kBytes = VMSRS_MAX_USERS * kAreaBytes;
  void* const memory = control().areas_memory != nullptr
                           ? control().areas_memory
                           : map_pages(kBytes, "the users' write sets");
  error = memory != nullptr ? prepare_sparse(memory, kBytes) : VMSRS_ERROR_SYSTEM;
  if (error != 0) return VMSRS_NO_STORAGE;
  at = static_cast<std::byte*>(memory);
  const CallResult result =
      call(VMSRS_CALL_USER_AREAS, {.rdi = to_register(at), .rsi = kAreaBytes});
  if (result.status != VMSRS_OK) forget_region();
  return result.status;
}

// Those that another process has made. VMSRS_NOT_FOUND: none has.
std::uint64_t join_areas(std::byte*& at, int& error) {
  constexpr std::uint64_t kNoRegion = 0;
  switch (join_memory(kNoRegion, Part::kAreas, nullptr, at)) {
    case Joined::kNone:
      return VMSRS_NOT_FOUND;
    case Joined::kFailed:
      error = VMSRS_ERROR_STATE;
      return VMSRS_NO_STORAGE;
    case Joined::kDone:
      break;
  }
  const CallResult result =
      call(VMSRS_CALL_USER_AREAS_JOIN, {.rdi = to_register(at), .rsi = kAreaBytes});
  if (result.status != VMSRS_OK) forget_region();
  return result.status;
}

// Both kinds: whether other processes store to the same areas shows later only.
bool register_for_barriers() {
  for (const int kind :
       {MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED})
    if (syscall(SYS_membarrier, kind, 0, 0) != 0) return false;
  return true;
}

}  // namespace

int prepare_user_areas(bool shared) {
  if (control().areas != nullptr) return 0;
  if (!register_for_barriers())
    return fail(VMSRS_ERROR_SYSTEM, "profile: membarrier: %s: this kernel is too old",
                strerrordesc_np(errno));
  constexpr unsigned kAttempts = 8;  // processes that make and give up areas at the same time
  std::byte* at = nullptr;
  std::uint64_t status = shared ? VMSRS_JOIN : VMSRS_NOT_FOUND;
  for (unsigned i = 0; i < kAttempts && (status == VMSRS_JOIN || status == VMSRS_NOT_FOUND); ++i) {
    int error = 0;
    status = status == VMSRS_JOIN ? join_areas(at, error) : make_areas(at, error);
    if (error != 0) return error;
  }
  if (status != VMSRS_OK) return fail_status("profile, the users' write sets", status);
  if (!unlock_control()) return fail(VMSRS_ERROR_SYSTEM, "profile: mprotect");
  control_page.block.area_bytes = kAreaBytes;
  control_page.block.areas_memory = at;
  __atomic_store_n(&control_page.block.areas, at, __ATOMIC_RELEASE);
  return lock_control() ? 0 : fail(VMSRS_ERROR_SYSTEM, "profile: mprotect");
}

int make_claims(std::uint64_t count, vmsrs_claim*& claims) {
  const std::size_t bytes = whole_pages(count * sizeof(vmsrs_claim));
  void* const at = map_pages(bytes, "the region's claims");
  if (at == nullptr) return VMSRS_ERROR_SYSTEM;
  const int error = prepare_region(at, bytes);
  if (error != 0)
    munmap(at, bytes);
  else
    claims = static_cast<vmsrs_claim*>(at);
  return error;
}

void free_claims(vmsrs_claim* claims, std::uint64_t count) {
  forget_region();  // what prepare_region took for them
  munmap(claims, whole_pages(count * sizeof(vmsrs_claim)));
}

void add_region(const fast::Region& region) {
  if (!unlock_control()) return;
  ControlBlock& block = control_page.block;
  std::uint32_t place = 0;  // of one that was given up, or a new one
  while (place < block.region_count && block.regions[place].bytes != 0) ++place;
  if (place < VMSRS_MAX_REGIONS) {
    block.regions[place] = region;
    if (place == block.region_count)
      __atomic_store_n(&block.region_count, place + 1, __ATOMIC_RELEASE);
  }
  note_region_bounds(block.regions, block.region_count);
  (void)lock_control();
}

void forget_region_numbered(std::uint64_t number) {
  if (control().region_count == 0 || !unlock_control()) return;
  for (fast::Region& region : control_page.block.regions) {
    if (region.number != number) continue;
    end_strict(region);
    __atomic_store_n(&region.bytes, std::uint64_t{0}, __ATOMIC_RELEASE);
  }
  note_region_bounds(control().regions, control().region_count);
  (void)lock_control();
}

void drop_regions() {
  for (std::uint32_t i = 0; i < control().region_count && i < VMSRS_MAX_REGIONS; ++i)
    end_strict(control().regions[i]);
  __atomic_store_n(&control_page.block.region_count, 0u, __ATOMIC_RELEASE);
}

// Their claims stay mapped: a thread may be in the middle of an access.
int forget_regions() {
  const bool had_areas = control().areas != nullptr;
  if (!unlock_control()) return fail(VMSRS_ERROR_SYSTEM, "Init_profile: mprotect");
  control_page.block.areas = nullptr;
  drop_regions();
  note_region_bounds(nullptr, 0);
  if (!lock_control()) return fail(VMSRS_ERROR_SYSTEM, "Init_profile: mprotect");
  constexpr bool kShared = false;  // this process was the only one
  return had_areas ? prepare_user_areas(kShared) : 0;
}

const fast::Region* claimed_region_at(std::uint64_t address, std::uint64_t bytes) {
  const std::uint32_t count = __atomic_load_n(&control().region_count, __ATOMIC_ACQUIRE);
  for (std::uint32_t i = 0; i < count && i < VMSRS_MAX_REGIONS; ++i) {
    const fast::Region& region = control().regions[i];
    const std::uint64_t at = address - region.begin;
    if (at < region.bytes && bytes <= region.bytes - at && region.claims != nullptr) return &region;
  }
  return nullptr;
}

bool touches_region(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t end = address + bytes < address ? ~0ull : address + bytes;
  const std::uint32_t count = __atomic_load_n(&control().region_count, __ATOMIC_ACQUIRE);
  for (std::uint32_t i = 0; i < count && i < VMSRS_MAX_REGIONS; ++i) {
    const fast::Region& region = control().regions[i];
    const bool given_up = region.bytes == 0;
    if (!given_up && address < region.begin + region.bytes && region.begin < end) return true;
  }
  return false;
}

static void forget_last_regions(fast::Thread& thread) {
  thread.region.bytes = 0;
  thread.strict.bytes = 0;
}

fast::Thread& claims_thread(const vmsrs_window* window) {
  fast::Thread& thread = vmsrs_fast_thread;
  const std::uint64_t* const mode = window != nullptr ? &window->status.mode : &kNoMode;
  if (thread.mode != mode) {
    thread.seen = thread.seen_any = fast::kNever;
    forget_last_regions(thread);
    fast::barrier();
    thread.mode = mode;
  }
  return thread;
}

void take_user(std::uint64_t slot, std::uint64_t user_word, bool reader) {
  constexpr std::uint64_t kOutermost = 1;
  fast::Thread& thread = claims_thread(attached_window());
  forbid_stores(strict_key());  // and allow loads, if the thread is older than the key
  thread.reader = reader;
  thread.sampled = !reader && is_sampled();
  if (reader || thread.sampled != 0) thread.seen = fast::kNever;
  const std::uint64_t own = vmsrs_tag_body(VMSRS_TAG_OWN, slot, user_word >> 2);
  if (thread.own == own) return set_scope_depth(kOutermost);  // it has begun: its write set stands
  forget_last_regions(thread);
  thread.own = own;
  thread.own_check = thread.own * VMSRS_TAG_BODY_FACTOR;
  if (control().areas == nullptr) return;
  thread.area = &area_of(slot);
  empty_write_set(slot, user_word);
  set_scope_depth(kOutermost);
}

void go_on_with_user(std::uint64_t slot, std::uint64_t user_word, const vmsrs_write_set& set,
                     bool sampled) {
  fast::Thread& thread = claims_thread(attached_window());
  forbid_stores(strict_key());
  forget_last_regions(thread);
  thread.reader = 0;
  thread.sampled = sampled;
  thread.seen = thread.seen_any = fast::kNever;
  thread.own = vmsrs_tag_body(VMSRS_TAG_OWN, slot, user_word >> 2);
  thread.own_check = thread.own * VMSRS_TAG_BODY_FACTOR;
  thread.set = set;
  if (control().areas == nullptr) return;
  thread.area = &area_of(slot);
  set_scope_depth(1);
}

void empty_write_set(std::uint64_t slot, std::uint64_t user_word) {
  vmsrs_user_area& area = area_of(slot);
  fast::close_window(area);
  fast::close_hook_window(area);
  area.process = static_cast<std::uint64_t>(control().process);
  vmsrs_fast_thread.set = {0, 0, vmsrs_tag_body(VMSRS_TAG_OWN, slot, user_word >> 2)};
  __atomic_store_n(&area.count, std::uint64_t{0}, __ATOMIC_RELEASE);
}

CallResult end_user(std::uint64_t flags) {
  fast::Thread& thread = vmsrs_fast_thread;
  const std::uint64_t own = thread.own;
  const std::uint64_t own_check = thread.own_check;
  close_hook_window();
  std::size_t room = 0;
  std::byte* const buffer = call_buffer(room);
  HandedOver over;
  EngineCalls calls;
  const vmsrs_window* const window = attached_window();
  const bool handed_over = buffer != nullptr && own_area() != nullptr && window != nullptr &&
                           Claims(thread, *window, control().area_bytes, calls)
                               .hand_over(buffer, room, claimed_region_numbered, over);
  if (handed_over) demote_lines(buffer, over.bytes);
  const vmsrs_write_set& set = thread.set;
  const CallResult result =
      call_to_end(VMSRS_CALL_USER_END, {.rdi = handed_over ? to_register(buffer) : 0,
                                        .rsi = flags | over.bytes << VMSRS_HANDED_OVER_SHIFT,
                                        .rdx = set.masked,
                                        .r10 = set.count,
                                        .r8 = set.sum,
                                        .r9 = over.sum});
  if (result.status == VMSRS_OK && result.first != 0) {  // a scope within another one
    thread.own = own;
    thread.own_check = own_check;
  }
  return result;
}

void leave_user() {
  set_scope_depth(0);
  forbid_stores(strict_key());
  fast::Thread& thread = vmsrs_fast_thread;
  forget_last_regions(thread);
  thread.own = 0;
  thread.reader = 0;
  thread.sampled = 0;
  // What it looks at is the library's, whatever its user has written over it.
  thread.mode = &kNoMode;
  thread.seen = thread.seen_any = fast::kNever;
}

void set_scope_depth(std::uint64_t depth) {
  vmsrs_user_area* const area = own_area();
  if (area != nullptr) __atomic_store_n(&area->depth, depth, __ATOMIC_RELEASE);
}

bool may_have_stored(std::uint64_t user_word) {
  const fast::Thread& thread = vmsrs_fast_thread;
  const bool mine =
      thread.own >> VMSRS_TAG_GENERATION_SHIFT == (user_word >> 2 & VMSRS_TAG_GENERATION_MASK);
  return !mine || thread.set.count != 0 || thread.set.sum != thread.own;
}

void close_window_of(std::uint64_t slot) {
  if (control().areas != nullptr && slot < VMSRS_MAX_USERS) fast::close_window(area_of(slot));
}

bool is_hook_window_open() {
  const vmsrs_user_area* const area = own_area();
  return area != nullptr && __atomic_load_n(&area->hook_window, __ATOMIC_RELAXED) == 1;
}

void close_hook_window() {
  if (vmsrs_user_area* const area = own_area()) fast::close_hook_window(*area);
  forbid_stores(strict_key());
}

bool any_open_scope() {
  const vmsrs_window* const window = attached_window();
  if (window == nullptr) return false;
  for (std::uint64_t slot = 0; control().areas != nullptr && slot < VMSRS_MAX_USERS; ++slot) {
    const std::uint64_t word = __atomic_load_n(&window->users[slot], __ATOMIC_ACQUIRE);
    if ((word & 3) == VMSRS_USER_ACTIVE &&
        __atomic_load_n(&area_of(slot).process, __ATOMIC_ACQUIRE) ==
            static_cast<std::uint64_t>(control().process) &&
        __atomic_load_n(&area_of(slot).depth, __ATOMIC_ACQUIRE) != 0)
      return true;
  }
  return false;
}

void note_trapped() {
  ThreadContext& context = thread_context();
  if (context.trapped != 0 || !seal_holds(context)) return;
  context.trapped = 1;
  seal(context);
}

CallResult EngineCalls::store(std::uint64_t to, const void* from, std::size_t bytes,
                              std::uint64_t ticket, bool write_set_full) {
  note_trapped();
  return call(VMSRS_CALL_STORE_RANGE,
              {.rdi = to,
               .rsi = to_register(from),
               .rdx = bytes,
               .r10 = ticket,
               .r8 = write_set_full ? VMSRS_STORE_WRITE_SET_FULL : 0u},
              {from, bytes});
}

CallResult EngineCalls::store_if(std::uint64_t to, std::uint64_t value, std::uint64_t expected,
                                 std::size_t bytes, std::uint64_t ticket, bool write_set_full) {
  note_trapped();
  const std::uint64_t full = write_set_full ? VMSRS_STORE_WRITE_SET_FULL : 0u;
  return call(VMSRS_CALL_STORE, {.rdi = to,
                                 .rsi = value,
                                 .rdx = bytes,
                                 .r10 = ticket,
                                 .r8 = full | VMSRS_STORE_IF_EQUAL,
                                 .r9 = expected});
}

// Of a sampled user the engine must not forget at its end what it has read.
CallResult EngineCalls::load(std::uint64_t from, std::size_t bytes) {
  const bool sampled = vmsrs_fast_thread.sampled != 0;
  if (sampled) note_trapped();
  return call(sampled ? VMSRS_CALL_LOAD_SAMPLED : VMSRS_CALL_LOAD, {.rdi = from, .rsi = bytes});
}

CallResult EngineCalls::load_committed(std::uint64_t from, void* to, std::size_t bytes) {
  return call(VMSRS_CALL_LOAD_COMMITTED, {.rdi = from, .rsi = bytes, .rdx = to_register(to)});
}

// Its thread may come back: then its time is bounded as any crashed user's is.
static void abandon(std::uint64_t slot, std::uint64_t user_word) {
  const CallResult result = call(VMSRS_CALL_USER_ABANDON, {.rdi = slot, .rsi = user_word >> 2});
  if (result.status == VMSRS_OK) start_time_bound_of(slot, result.first);
}

// A thread that is descheduled in its window is waited for: it stores its word and goes on. One
// that does not is given up, so that nobody waits for ever. One whose process dies there is no
// thread of any user's any more.
bool EngineCalls::drain(std::uint64_t wanted) {
  const vmsrs_window* const window = attached_window();
  if (window == nullptr || control().areas == nullptr) return true;  // no store without a call
  return see_windows_closed(
      *window, wanted, area_of, make_processors_agree,
      [](std::uint64_t slot, std::uint64_t word, unsigned attempt) {
        if (past_patience(attempt)) {
          abandon(slot, word);
          return false;
        }
        pause_for(attempt);
        return true;
      },
      [](std::uint64_t slot, unsigned attempt) {
        return attempt % kPausesPerKick == kPausesPerKick - 1 && has_stored(slot);
      });
}

void EngineCalls::wait(std::uint64_t slot, unsigned attempt) {
  const vmsrs_window* const window = attached_window();
  if (past_patience(attempt) && window != nullptr && slot < VMSRS_MAX_USERS)
    abandon(slot, __atomic_load_n(&window->users[slot], __ATOMIC_ACQUIRE));
  else
    pause_for(attempt);
}

bool EngineCalls::came_out(std::uint64_t slot, std::uint64_t crash_epoch) {
  make_processors_agree();
  if (control().areas == nullptr || slot >= VMSRS_MAX_USERS) return false;
  if (fast::is_open(area_of(slot).window) || fast::is_open(area_of(slot).hook_window)) return false;
  call_to_end(VMSRS_CALL_USER_DRAINED, {.rdi = slot, .rsi = crash_epoch});
  return true;
}

}  // namespace vmsrs::guest

__thread vmsrs::fast::Thread vmsrs_fast_thread = {.mode = &vmsrs::guest::kNoMode,
                                                  .seen = vmsrs::fast::kNever,
                                                  .seen_any = vmsrs::fast::kNever,
                                                  .own = 0,
                                                  .own_check = 0,
                                                  .area = nullptr,
                                                  .set = {},
                                                  .region = {},
                                                  .reader = 0,
                                                  .sampled = 0,
                                                  .strict = {}};
