// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <vmsrs/fast.hpp>

// Strict mode: the pages of strict regions, and of their claims, carry a protection key of the
// processor's (AMD APM volume 2, 5.6.7), one for the process. A register of each thread, PKRU, says
// what it may do with a key's pages. Stores are forbidden but for the moments in which the library
// makes one, so a store by anybody else faults before it changes anything. The register is all the
// state there is: nothing of it lies in memory.
namespace vmsrs::guest {

inline constexpr std::uint32_t kNoKey = 0;  // key 0 is that of all other pages
inline constexpr std::uint32_t kLastKey = 15;

// Two bits for each key.
inline constexpr std::uint32_t kNoAccess = 1;  // neither load nor store
inline constexpr std::uint32_t kNoStore = 2;

inline std::uint32_t with_rights(std::uint32_t all, std::uint32_t key, std::uint32_t rights) {
  return (all & ~((kNoAccess | kNoStore) << 2 * key)) | rights << 2 * key;
}

inline void set_rights(std::uint32_t key, std::uint32_t rights) {
  std::uint32_t all, upper;
  asm volatile("rdpkru" : "=a"(all), "=d"(upper) : "c"(0));
  asm volatile("wrpkru" : : "a"(with_rights(all, key, rights)), "c"(0), "d"(0) : "memory");
}

// A user may have written over a thread's last regions, and their keys: on what all other pages
// have, and the stack with them, nothing is to be changed.
inline bool is_key(std::uint32_t key) { return key - 1 < kLastKey; }

// Of the calling thread. Loads are allowed after either: a signal handler, and a thread that is
// older than the key, begin without.
inline void allow_stores(std::uint32_t key) {
  if (is_key(key)) [[unlikely]]
    set_rights(key, 0);
}
inline void forbid_stores(std::uint32_t key) {
  if (is_key(key)) [[unlikely]]
    set_rights(key, kNoStore);
}

// Stores of the calling thread are allowed for as long as it lives. Not one in another.
class StoresAllowed {
 public:
  explicit StoresAllowed(std::uint32_t key) : key_(key) { allow_stores(key_); }
  ~StoresAllowed() { forbid_stores(key_); }
  StoresAllowed(const StoresAllowed&) = delete;
  StoresAllowed& operator=(const StoresAllowed&) = delete;

 private:
  std::uint32_t key_;
};

// The process's key; kNoKey: it has had no strict region.
std::uint32_t strict_key();

// Of the thread that a signal has interrupted, from when it goes on.
void forbid_stores_of(ucontext_t& interrupted);

enum class KeyFault {
  kNone,  // the fault is not the key's
  kLoad,  // by a thread that could not: now it can, and goes on
  kStore
};
KeyFault meet_key_fault(int signal, const siginfo_t& info, ucontext_t& interrupted);

// Its pages are as they were before it was strict. Nothing, if it is not.
void end_strict(const fast::Region& region);

}  // namespace vmsrs::guest
