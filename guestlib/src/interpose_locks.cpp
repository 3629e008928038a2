// SPDX-License-Identifier: Apache-2.0
#include "interpose.hpp"
#include "locks.hpp"

// Mutexes and reader-writer locks of the program and of its shared libraries, in place of the C
// library's: outside of scopes they are its own behind one look at a word of the thread's. Weak, as
// sigaction() is. Under a sanitizer, which has put its own there, no lock is known.
namespace vmsrs::guest {

void keep_locks_interposed() { asm volatile(""); }

}  // namespace vmsrs::guest

#ifndef VMSRS_SANITIZED
using namespace vmsrs::guest;

extern "C" {

[[gnu::weak]] int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  return take_lock(lock_functions().mutex, mutex, CLOCK_MONOTONIC, nullptr);
}
[[gnu::weak]] int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  return try_lock(lock_functions().mutex, mutex);
}
[[gnu::weak]] int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* until) noexcept {
  return take_lock(lock_functions().mutex, mutex, CLOCK_REALTIME, until);
}
[[gnu::weak]] int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                          const timespec* until) noexcept {
  return take_lock(lock_functions().mutex, mutex, clock, until);
}
[[gnu::weak]] int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  return let_go_of_lock(lock_functions().mutex, mutex);
}

[[gnu::weak]] int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  return take_lock(lock_functions().reading, lock, CLOCK_MONOTONIC, nullptr);
}
[[gnu::weak]] int pthread_rwlock_tryrdlock(pthread_rwlock_t* lock) noexcept {
  return try_lock(lock_functions().reading, lock);
}
[[gnu::weak]] int pthread_rwlock_timedrdlock(pthread_rwlock_t* lock,
                                             const timespec* until) noexcept {
  return take_lock(lock_functions().reading, lock, CLOCK_REALTIME, until);
}
[[gnu::weak]] int pthread_rwlock_clockrdlock(pthread_rwlock_t* lock, clockid_t clock,
                                             const timespec* until) noexcept {
  return take_lock(lock_functions().reading, lock, clock, until);
}
[[gnu::weak]] int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  return take_lock(lock_functions().writing, lock, CLOCK_MONOTONIC, nullptr);
}
[[gnu::weak]] int pthread_rwlock_trywrlock(pthread_rwlock_t* lock) noexcept {
  return try_lock(lock_functions().writing, lock);
}
[[gnu::weak]] int pthread_rwlock_timedwrlock(pthread_rwlock_t* lock,
                                             const timespec* until) noexcept {
  return take_lock(lock_functions().writing, lock, CLOCK_REALTIME, until);
}
[[gnu::weak]] int pthread_rwlock_clockwrlock(pthread_rwlock_t* lock, clockid_t clock,
                                             const timespec* until) noexcept {
  return take_lock(lock_functions().writing, lock, clock, until);
}
[[gnu::weak]] int pthread_rwlock_unlock(pthread_rwlock_t* lock) noexcept {
  return let_go_of_lock(lock_functions().writing, lock);
}

}  // extern "C"
#endif
