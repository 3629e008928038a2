// SPDX-License-Identifier: Apache-2.0
#include "locks.hpp"

#include <dlfcn.h>
#include <errno.h>

#include <cstdint>

#include "control.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"
#include "thread.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint32_t kMostHeld = 64;
constexpr long kSliceNs = 50'000'000;  // of a wait, between two looks at the user
constexpr std::uintptr_t kIsRwlock = 1;

struct HeldLock {
  std::uintptr_t lock;  // and kIsRwlock
  std::uint64_t sum;
};

struct Held {
  std::uint32_t watched;  // the thread is in the body of a scope
  std::uint32_t count;
  std::uint32_t let_go;  // of `locks`, by the library, of the thread's last user
  HeldLock frame;        // of the body's caller
  HeldLock locks[kMostHeld];
};

constinit thread_local Held held{};

std::uint64_t sum_of(std::uintptr_t lock, std::uint32_t place) {
  return ((lock ^ control().seal_key) + place) * 0x9e3779b97f4a7c15ull;
}
bool is_whole(const HeldLock& entry, std::uint32_t place) {
  return entry.sum == sum_of(entry.lock, place);
}

std::uintptr_t entry_of(const LockFunctions::Kind& kind, const void* lock) {
  const bool is_rwlock = kind.let_go != lock_functions().mutex.let_go;
  return reinterpret_cast<std::uintptr_t>(lock) | (is_rwlock ? kIsRwlock : 0);
}

// Within a frame that unwinding takes away.
bool goes_with_the_body(const void* lock) {
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const auto at = reinterpret_cast<std::uintptr_t>(lock);
  return !is_whole(held.frame, kMostHeld) || (at >= here && at < held.frame.lock);
}

void note(const LockFunctions::Kind& kind, const void* lock) {
  const std::uint32_t count = held.count;
  if (count >= kMostHeld || goes_with_the_body(lock)) return;
  const std::uintptr_t entry = entry_of(kind, lock);
  held.locks[count] = {entry, sum_of(entry, count)};
  held.count = count + 1;
}

void forget(const LockFunctions::Kind& kind, const void* lock) {
  const std::uintptr_t entry = entry_of(kind, lock);
  if (held.count > kMostHeld) return;
  for (std::uint32_t i = held.count; i-- > 0;) {
    if (held.locks[i].lock != entry) continue;
    for (; i + 1 < held.count; ++i) {
      const HeldLock& next = held.locks[i + 1];
      held.locks[i] = {next.lock, is_whole(next, i + 1) ? sum_of(next.lock, i) : 0};
    }
    --held.count;
    return;
  }
}

// Nobody has let go of it behind our back (a shared library that is bound to the C library's own
// functions, say).
bool is_still_held(const HeldLock& entry) {
  const void* const lock = reinterpret_cast<const void*>(entry.lock & ~kIsRwlock);
  const std::int32_t thread = this_thread();
  if ((entry.lock & kIsRwlock) == 0)
    return static_cast<const pthread_mutex_t*>(lock)->__data.__owner == thread;
  const auto& rwlock = static_cast<const pthread_rwlock_t*>(lock)->__data;
  return rwlock.__cur_writer == thread || (rwlock.__cur_writer == 0 && rwlock.__readers != 0);
}

// The program lets go of a lock that the library has let go of for its user, and which the thread
// has not taken since: by now it may be somebody else's.
bool was_let_go(const LockFunctions::Kind& kind, const void* lock) {
  const std::uintptr_t entry = entry_of(kind, lock);
  for (std::uint32_t i = 0; i < held.let_go && i < kMostHeld; ++i) {
    if (held.locks[i].lock != entry || !is_whole(held.locks[i], i)) continue;
    held.locks[i] = {};
    return true;
  }
  return false;
}

constexpr bool is_taken(int result) { return result == 0 || result == EOWNERDEAD; }

// A wait ends where the user is looked at, not where the time signal finds it: what the C library
// has noted of who waits stays true.
int try_watched(const LockFunctions::Kind& kind, void* lock) {
  const NotUnwound whole;
  const int result = kind.attempt(lock);
  if (is_taken(result)) note(kind, lock);
  return result;
}
int wait_watched(const LockFunctions::Kind& kind, void* lock, clockid_t clock,
                 const timespec* until) {
  const NotUnwound whole;
  int result = kind.wait(lock, clock, until);
  // A mutex with priority inheritance knows one clock only.
  if (result == EINVAL && clock == CLOCK_MONOTONIC) result = kind.take(lock);
  if (is_taken(result)) note(kind, lock);
  return result;
}

bool is_earlier(const timespec& one, const timespec& other) {
  return one.tv_sec != other.tv_sec ? one.tv_sec < other.tv_sec : one.tv_nsec < other.tv_nsec;
}
timespec end_of_slice(clockid_t clock) {
  timespec end{};
  clock_gettime(clock, &end);
  end.tv_nsec += kSliceNs;
  if (end.tv_nsec >= 1'000'000'000) {
    end.tv_nsec -= 1'000'000'000;
    ++end.tv_sec;
  }
  return end;
}

template <typename Function>
void find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// Whoever is first; all find the same.
const LockFunctions& lock_functions() {
  LockFunctions& all = control_page.block.locks;
  if (__atomic_load_n(&all.mutex.let_go, __ATOMIC_ACQUIRE) != nullptr) [[likely]]
    return all;
  find(all.mutex.attempt, "pthread_mutex_trylock");
  find(all.mutex.wait, "pthread_mutex_clocklock");
  find(all.mutex.take, "pthread_mutex_lock");
  find(all.reading.attempt, "pthread_rwlock_tryrdlock");
  find(all.reading.wait, "pthread_rwlock_clockrdlock");
  find(all.reading.take, "pthread_rwlock_rdlock");
  find(all.reading.let_go, "pthread_rwlock_unlock");
  find(all.writing.attempt, "pthread_rwlock_trywrlock");
  find(all.writing.wait, "pthread_rwlock_clockwrlock");
  find(all.writing.take, "pthread_rwlock_wrlock");
  find(all.writing.let_go, "pthread_rwlock_unlock");
  int (*last)(void*) = nullptr;
  find(last, "pthread_mutex_unlock");
  __atomic_store_n(&all.mutex.let_go, last, __ATOMIC_RELEASE);
  return all;
}

void set_up_locks(const vmsrs_options& options) {
  lock_functions();
  control_page.block.watches_locks = !options.locks_stay;
  control_page.block.on_lock_left = options.on_lock_left;
}

void begin_holding(const void* frame) {
  if (!control().watches_locks) return;
  const auto at = reinterpret_cast<std::uintptr_t>(frame);
  held.frame = {at, sum_of(at, kMostHeld)};
  held.count = held.let_go = 0;
  held.watched = 1;
}

void end_holding() { held.watched = held.count = 0; }

std::uint32_t held_lock_count() { return held.watched == 1 ? held.count : 0; }

void let_go_of_locks_since(std::uint32_t count) {
  while (held.count > count && held.count <= kMostHeld) {
    const std::uint32_t place = --held.count;
    const HeldLock entry = held.locks[place];
    const std::uintptr_t at = entry.lock & ~kIsRwlock;
    if (!is_whole(entry, place) || !touch_page(at, true) || !is_still_held(entry)) continue;
    void* const lock = reinterpret_cast<void*>(at);
    if (control().on_lock_left != nullptr) control().on_lock_left(lock);
    const LockFunctions& all = lock_functions();
    ((entry.lock & kIsRwlock) != 0 ? all.writing : all.mutex).let_go(lock);
  }
}

void let_go_of_locks() {
  held.watched = 0;
  if (held.count != 0) held.let_go = held.count;
  let_go_of_locks_since(0);
  held.count = 0;
}

int take_lock(const LockFunctions::Kind& kind, void* lock, clockid_t clock, const timespec* until) {
  if (held.let_go != 0) was_let_go(kind, lock);
  if (held.watched != 1) return until != nullptr ? kind.wait(lock, clock, until) : kind.take(lock);
  int result = try_watched(kind, lock);
  while (result == EBUSY || result == ETIMEDOUT) {
    const timespec slice = end_of_slice(clock);
    const bool last = until != nullptr && !is_earlier(slice, *until);
    result = wait_watched(kind, lock, clock, last ? until : &slice);
    if (result != ETIMEDOUT || last) break;
    if (user_is_crashed()) meet_crash();
  }
  return result;
}

int try_lock(const LockFunctions::Kind& kind, void* lock) {
  if (held.let_go != 0) was_let_go(kind, lock);
  return held.watched == 1 ? try_watched(kind, lock) : kind.attempt(lock);
}

int let_go_of_lock(const LockFunctions::Kind& kind, void* lock) {
  if (held.let_go != 0 && was_let_go(kind, lock)) return 0;
  if (held.watched != 1) return kind.let_go(lock);
  const NotUnwound whole;
  const int result = kind.let_go(lock);
  if (result == 0) forget(kind, lock);
  return result;
}

const void* held_locks(std::size_t& bytes) {
  bytes = sizeof held;
  return &held;
}

}  // namespace vmsrs::guest
