// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/vmsrs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "misuse.hpp"
#include "protection_key.hpp"
#include "suppression.hpp"
#include "thread.hpp"
#include "unprotected.hpp"
#include "user.hpp"

// Class 1 of the function library (the paper, 4.7): loads, stores and assignments of profiled
// memory.
//
// Why a load without a trap is right. The mode word is (epoch, suppression?), written by the engine
// alone, and its epoch rises with every change. A load reads the data, then the mode; the processor
// does not reorder loads, and the compiler is kept from it. If the mode is the very word that the
// thread took note of earlier, and that was normal, then nobody was crashed and uncollected at any
// instant between: the store of that word is what makes a user crashed, and it becomes normal only
// after all that the user polluted has been put back. So the data is by a user who was not crashed
// when it was read. In suppression docs/protocol.md says what a load looks at; in a region without
// claims it is a call.
namespace vmsrs::guest {
namespace {

// One instruction whatever the length: a wild range is one fault, not one for each word.
void plain_copy(void* to, const void* from, std::size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

bool is_normal(std::uint64_t mode) { return (mode & VMSRS_MODE_SUPPRESSION) == 0; }

// Of bytes that lie in one granule of `region`.
std::size_t bytes_in_granule(const fast::Region& region, std::uint64_t at, std::size_t bytes) {
  const std::uint64_t size = 1ull << region.shift;
  const std::uint64_t left = size - ((at - region.begin) & (size - 1));
  return std::min<std::size_t>(bytes, left);
}

// The next accesses of the thread's user may be there: then the region is not looked up, and if it
// is not strict they are made in line.
void remember(fast::Thread& thread, const fast::Region& region) {
  if (thread.own != 0) (region.key == kNoKey ? thread.region : thread.strict) = region;
}

const fast::Region& last_region_at(const fast::Thread& thread, std::uint64_t address) {
  return address - thread.strict.begin < thread.strict.bytes ? thread.strict : thread.region;
}

// Bytes of a region with claims, whatever the mode; `data` is what a plain load gave, and stays
// where that is as good: a crashed user may read anything, and a refused page is the fault of who
// reads it.
void load_claimed(const vmsrs_window& window, const fast::Region& region, std::byte* data,
                  std::uint64_t from, std::size_t bytes) {
  EngineCalls calls;
  Claims access(claims_thread(&window), window, control().area_bytes, calls);
  while (bytes > 0) {
    std::size_t now = 8;
    const std::size_t most = bytes_in_granule(region, from, bytes);
    while (now > most || (now != bytes && from % now != 0)) now /= 2;
    std::uint64_t value = 0;
    switch (access.load(region, from, value, now)) {
      case Access::kDone:
        std::memcpy(data, &value, now);
        break;
      case Access::kCrashed:
        return meet_crash();
      case Access::kRefused:
        break;
    }
    data += now;
    from += now;
    bytes -= now;
  }
}

// In a region without claims, or in none.
template <typename T>
T load_by_call(const T* from, T data) {
  const CallResult result = EngineCalls().load(to_register(from), sizeof(T));
  if (result.status == VMSRS_OK) return static_cast<T>(result.first);
  if (result.status == VMSRS_CRASHED) meet_crash();
  return data;
}

// As a user sees them that reads committed values only; `to` holds what a plain load gave.
void load_committed(const vmsrs_window& window, void* to, const void* from, std::size_t bytes) {
  const std::uint64_t address = to_register(from);
  const fast::Region* const region = claimed_region_at(address, bytes);
  EngineCalls calls;
  Claims access(claims_thread(&window), window, control().area_bytes, calls);
  const bool crashed = region != nullptr
                           ? access.load_committed(*region, address, to, bytes) == Access::kCrashed
                           : calls.load_committed(address, to, bytes).status == VMSRS_CRASHED;
  if (crashed) meet_crash();
}

// The mode is not what the thread took note of, or it is suppression.
template <typename T>
[[gnu::noinline]] T settled_load(const T* from, T data) {
  const vmsrs_window* window = attached_window();
  if (window == nullptr) return data;
  fast::Thread& thread = claims_thread(window);
  if (thread.reader != 0) {
    load_committed(*window, &data, from, sizeof(T));
    return data;
  }
  const fast::Region* const region = claimed_region_at(to_register(from), sizeof(T));
  EngineCalls calls;
  Claims access(thread, *window, control().area_bytes, calls);
  if (region != nullptr) {
    remember(thread, *region);
    const std::uint64_t at = to_register(from);
    std::uint64_t value = 0;
    if (bytes_in_granule(*region, at, sizeof(T)) == sizeof(T) &&
        access.load(*region, at, value, sizeof(T)) == Access::kDone) [[likely]]
      return static_cast<T>(value);
    load_claimed(*window, *region, reinterpret_cast<std::byte*>(&data), at, sizeof(T));
    return data;
  }
  const std::uint64_t mode = fast::mode_of(thread);
  if (!is_normal(mode) || !access.note_mode(mode)) return load_by_call(from, data);
  return fast::load(thread, from, data) ? data : load_by_call(from, data);
}

template <typename T>
T load(const T* from) {
  T data;
  if (fast::load(vmsrs_fast_thread, from, data)) [[likely]]
    return data;
  return settled_load(from, data);
}

// A range in a region without claims is restored in place under suppression, then copied. If the
// mode word has not moved since before the restoration, nobody crashed in the meantime, and the
// copy is of settled data. Each repetition means that somebody did crash, or was collected: a
// reader is delayed by others' progress only. Should crashes come faster than it can copy, it goes
// on word by word, each one exact.
constexpr unsigned kRangeAttempts = 256;

void copy_by_calls(const vmsrs_window& window, std::byte* to, const std::byte* from,
                   std::size_t bytes) {
  for (unsigned attempt = 0; attempt < kRangeAttempts; ++attempt) {
    const std::uint64_t before = __atomic_load_n(&window.status.mode, __ATOMIC_ACQUIRE);
    if (!is_normal(before)) {
      const CallResult result =
          call(VMSRS_CALL_LOAD_RANGE, {.rdi = to_register(from), .rsi = bytes});
      if (result.status == VMSRS_CRASHED) meet_crash();
      if (result.status != VMSRS_OK) return plain_copy(to, from, bytes);
    }
    plain_copy(to, from, bytes);
    fast::barrier();
    if (__atomic_load_n(&window.status.mode, __ATOMIC_ACQUIRE) == before) return;
  }
  for (; bytes >= 8; bytes -= 8, to += 8, from += 8) {
    const std::uint64_t word = load(reinterpret_cast<const std::uint64_t*>(from));
    std::memcpy(to, &word, 8);
  }
  for (; bytes > 0; --bytes) *to++ = load(from++);
}

void copy_settled(std::byte* to, const std::byte* from, std::size_t bytes) {
  plain_copy(to, from, bytes);
  fast::barrier();
  if (fast::mode_of(vmsrs_fast_thread) == vmsrs_fast_thread.seen) [[likely]]
    return;
  const vmsrs_window* window = attached_window();
  if (window == nullptr) return;
  if (vmsrs_fast_thread.reader != 0) return load_committed(*window, to, from, bytes);
  if (const fast::Region* region = claimed_region_at(to_register(from), bytes))
    return load_claimed(*window, *region, to, to_register(from), bytes);
  copy_by_calls(*window, to, from, bytes);
}

// What an access that the hypervisor refused would have been.
vmsrs_fault_kind refusal_kind(std::uint64_t status, std::uint64_t address) {
  if (status == VMSRS_NO_STORAGE) return VMSRS_FAULT_STORAGE;
  if (address < 64 * 1024) return VMSRS_FAULT_NULL;
  const auto high_bits = static_cast<std::int64_t>(address) >> 47;
  if (high_bits != 0 && high_bits != -1) return VMSRS_FAULT_NON_CANONICAL;
  return status == VMSRS_BAD_ADDRESS ? VMSRS_FAULT_WILD : VMSRS_FAULT_CHECK;
}

// A refused store outside every scope has nobody to suppress and nobody to tell, and losing it in
// silence is the one thing that must not happen.
[[noreturn]] void refuse_without_user(std::uint64_t status, std::uint64_t address) {
  end_process("a store outside every user scope", address, status_text(status));
}

// The user's crash, for a store that was refused. False: nobody refuses stores any more.
bool crash_refused(std::uint64_t status, std::uint64_t address) {
  fail_status("a store", status);
  const CallResult crash =
      crash_user(refusal_kind(status, address), address, to_register(__builtin_return_address(0)));
  if (crash.status == VMSRS_CRASHED && past_bounds(crash.first)) unwind();
  if (crash.status == VMSRS_NO_ENGINE) return false;
  if (crash.status != VMSRS_OK && crash.status != VMSRS_CRASHED)
    refuse_without_user(status, address);
  return true;
}

// The thread's words say that no scope is open. If what the library keeps sealed says otherwise, or
// is damaged too, its user has written over them: that user has crashed.
bool user_is_damaged(std::uint64_t address) {
  const ThreadContext& context = thread_context();
  if (seal_holds(context) && context.depth == 0) return false;
  const CallResult crash = crash_user(VMSRS_FAULT_CHECK, address, 0);
  return crash.status == VMSRS_OK || crash.status == VMSRS_CRASHED;
}

// What a user stores that sees old values only would undo what others do meanwhile.
bool only_reads() { return vmsrs_fast_thread.reader != 0 && !user_is_crashed(); }

// Runs a store, which gives a status, in the thread's user or, without one, in a user of its own.
// False: there is no engine any more, and it has not been made.
template <typename Store>
bool made_in_a_scope(std::uint64_t address, Store store) {
  const bool open = vmsrs_fast_thread.own != 0 || control().areas == nullptr;
  if (!open && user_is_damaged(address)) return meet_crash(), true;
  std::uint64_t status = VMSRS_NO_USER;
  if (open) status = only_reads() ? std::uint64_t{VMSRS_READ_ONLY} : store();
  if (status == VMSRS_OK) [[likely]]
    return true;
  if (status == VMSRS_CRASHED) return meet_crash(), true;
  if (status == VMSRS_NO_ENGINE) return false;
  if (status != VMSRS_NO_USER) return crash_refused(status, address);
  std::uint64_t depth = 0;
  constexpr std::uint64_t kNoLabel = 0;
  if (open_scope(kNoLabel, ScopeKind::kUser, nullptr, nullptr, depth) != 0) {
    if (is_unprotected()) return false;
    refuse_without_user(VMSRS_NO_SLOT, address);
  }
  status = store();
  if (status != VMSRS_OK && status != VMSRS_NO_ENGINE)
    crash_user(refusal_kind(status, address), address, 0);
  const int outcome = close_scopes(depth);
  if (status == VMSRS_NO_ENGINE) return false;
  if (status != VMSRS_OK) refuse_without_user(status, address);
  if (outcome != VMSRS_FINISHED) refuse_without_user(VMSRS_WRONG_STATE, address);
  return true;
}

// `plain`: the same store, in a process that is not protected any more.
template <typename Store, typename Plain>
void in_a_scope(std::uint64_t address, Store store, Plain plain) {
  if (!made_in_a_scope(address, store) && may_store_unprotected()) plain();
}

std::uint64_t status_of(Access outcome, const Claims& access) {
  if (outcome == Access::kDone) [[likely]]
    return VMSRS_OK;
  return outcome == Access::kCrashed ? std::uint64_t{VMSRS_CRASHED} : access.status();
}

// `from` may lie anywhere: a source that is not there is found out once, and outside of a store.
std::uint64_t store_claimed(const vmsrs_window& window, const fast::Region& region,
                            std::uint64_t to, const std::byte* from, std::size_t bytes) {
  fast::Thread& thread = claims_thread(&window);
  remember(thread, region);
  EngineCalls calls;
  Claims access(thread, window, control().area_bytes, calls);
  while (bytes > 0) {
    const std::size_t now = bytes_in_granule(region, to, bytes);
    alignas(8) std::byte granule[64];
    plain_copy(granule, from, now);
    const std::uint64_t status = status_of(access.store(region, to, granule, now), access);
    if (status != VMSRS_OK) return status;
    to += now;
    from += now;
    bytes -= now;
  }
  return VMSRS_OK;
}

// Is the thread's user crashed? Its own words cannot be asked, for it may have written over them.
bool stores_nothing(const vmsrs_window& window) {
  return !is_normal(__atomic_load_n(&window.status.mode, __ATOMIC_ACQUIRE)) && user_is_crashed();
}

void store_piece(std::byte* to, const std::byte* from, std::size_t bytes) {
  const vmsrs_window* const window = attached_window();
  const std::uint64_t address = to_register(to);
  const fast::Region* const region = claimed_region_at(address, bytes);
  in_a_scope(
      address,
      [&]() -> std::uint64_t {
        if (region != nullptr && !stores_nothing(*window))
          return store_claimed(*window, *region, address, from, bytes);
        return call(VMSRS_CALL_STORE_RANGE,
                    {.rdi = address, .rsi = to_register(from), .rdx = bytes}, {from, bytes})
            .status;
      },
      [&] { plain_copy(to, from, bytes); });
}

// In a process that is not attached, or no more.
bool may_store_plainly() { return !is_unprotected() || may_store_unprotected(); }

template <typename T>
void store_plainly(T* to, T value) {
  if (may_store_plainly()) fast::plain_store(to, value);
}

template <typename T>
[[gnu::noinline]] void store_slowly(T* to, T value) {
  const vmsrs_window* const window = attached_window();
  if (window == nullptr) return store_plainly(to, value);
  const std::uint64_t address = to_register(to);
  fast::Thread& thread = vmsrs_fast_thread;
  const fast::Region* region = &last_region_at(thread, address);
  if (address - region->begin >= region->bytes) {
    region = claimed_region_at(address, sizeof(T));
    if (region != nullptr) remember(thread, *region);
  }
  const bool whole =
      region != nullptr && bytes_in_granule(*region, address, sizeof(T)) == sizeof(T);
  in_a_scope(
      address,
      [&]() -> std::uint64_t {
        if (region != nullptr && stores_nothing(*window)) region = nullptr;
        if (region != nullptr && whole) [[likely]] {
          EngineCalls calls;
          Claims access(claims_thread(window), *window, control().area_bytes, calls);
          return status_of(access.store(*region, address, &value, sizeof(T)), access);
        }
        const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
        if (region != nullptr)
          if (const fast::Region* all = claimed_region_at(address, sizeof(T)))
            return store_claimed(*window, *all, address, bytes, sizeof(T));
        note_trapped();
        return call(VMSRS_CALL_STORE, {.rdi = address, .rsi = value, .rdx = sizeof(T)}).status;
      },
      [&] { fast::plain_store(to, value); });
}

// In the region where the thread's user last stored, a granule that is its own or nobody's.
template <typename T>
bool store_or_claim(T* to, T value) {
  fast::Thread& thread = vmsrs_fast_thread;
  const vmsrs_window* const window = attached_window();
  const fast::Region& region = last_region_at(thread, to_register(to));
  if (!fast::is_word_of<T>(region, to_register(to) - region.begin) || window == nullptr ||
      thread.mode != &window->status.mode || thread.own == 0 || thread.reader != 0)
    return false;
  EngineCalls calls;
  return Claims(thread, *window, control().area_bytes, calls).try_store_word(region, to, value);
}

template <typename T>
void store(T* to, T value) {
  if (!store_or_claim(to, value)) [[unlikely]]
    store_slowly(to, value);
}

template <typename T>
bool compare_exchange_plain(void* word, void* expected, const void* desired) {
  T value;
  std::memcpy(&value, desired, sizeof value);
  return __atomic_compare_exchange(static_cast<T*>(word), static_cast<T*>(expected), &value, false,
                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool compare_exchange_plain(void* word, void* expected, const void* desired, std::size_t bytes) {
  switch (bytes) {
    case 1:
      return compare_exchange_plain<std::uint8_t>(word, expected, desired);
    case 2:
      return compare_exchange_plain<std::uint16_t>(word, expected, desired);
    case 4:
      return compare_exchange_plain<std::uint32_t>(word, expected, desired);
    default:
      return compare_exchange_plain<std::uint64_t>(word, expected, desired);
  }
}

// The same word, nobody else's store between its being looked at and its being stored.
bool compare_exchange(std::byte* word, std::uint64_t& seen, std::uint64_t desired,
                      std::size_t bytes) {
  const vmsrs_window* const window = attached_window();
  const std::uint64_t address = to_register(word);
  const fast::Region* const region = claimed_region_at(address, bytes);
  bool equal = true;  // what a crashed user hears: a loop of its own must end
  const auto by_engine = [&]() -> std::uint64_t {
    EngineCalls calls;
    if (region != nullptr && !stores_nothing(*window)) {
      fast::Thread& thread = claims_thread(window);
      remember(thread, *region);
      Claims access(thread, *window, control().area_bytes, calls);
      const Access outcome = access.store_if(*region, address, seen, desired, bytes, equal);
      if (outcome != Access::kDone) equal = true;
      return status_of(outcome, access);
    }
    constexpr std::uint64_t kNoTicket = 0;
    const CallResult result = calls.store_if(address, desired, seen, bytes, kNoTicket, false);
    equal = result.status != VMSRS_OK || result.first == 0;
    if (!equal) seen = result.second;
    return result.status;
  };
  in_a_scope(address, by_engine,
             [&] { equal = compare_exchange_plain(word, &seen, &desired, bytes); });
  return equal;
}

void fill_piece(std::byte* to, std::uint8_t value, std::size_t bytes) {
  const std::uint64_t address = to_register(to);
  if (claimed_region_at(address, bytes) != nullptr) {
    std::byte buffer[1024];
    std::memset(buffer, value, std::min(bytes, sizeof buffer));
    for (std::size_t done = 0; done < bytes; done += sizeof buffer)
      store_piece(to + done, buffer, std::min(bytes - done, sizeof buffer));
    return;
  }
  in_a_scope(
      address,
      [&]() -> std::uint64_t {
        note_trapped();
        return call(VMSRS_CALL_FILL_RANGE, {.rdi = address, .rsi = value, .rdx = bytes}).status;
      },
      [&] { std::memset(to, value, bytes); });
}

// Calls piece(offset, bytes) for each piece of an operation that is longer than one call may be.
template <typename Piece>
void for_pieces(std::size_t bytes, std::size_t piece_bytes, bool backwards, Piece piece) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t now = std::min(piece_bytes, bytes - done);
    piece(backwards ? bytes - done - now : done, now);
    done += now;
  }
}

// Both sides are profiled, so the source must be loaded as loads are (it may change its value when
// a user crashes) before it is stored: through memory that nobody else writes.
template <std::size_t kBytes>
[[gnu::noinline]] void assign(std::byte* to, const std::byte* from, std::size_t bytes,
                              bool backwards) {
  alignas(64) std::byte buffer[kBytes];
  for_pieces(bytes, kBytes, backwards, [&](std::size_t offset, std::size_t now) {
    copy_settled(buffer, from + offset, now);
    store_piece(to + offset, buffer, now);
  });
}

}  // namespace
}  // namespace vmsrs::guest

namespace guest = vmsrs::guest;

uint8_t vmsrs_load_u8(const uint8_t* from) { return guest::load(from); }
uint16_t vmsrs_load_u16(const uint16_t* from) { return guest::load(from); }
uint32_t vmsrs_load_u32(const uint32_t* from) { return guest::load(from); }
uint64_t vmsrs_load_u64(const uint64_t* from) { return guest::load(from); }
uint8_t vmsrs_settled_u8(const uint8_t* from, uint8_t loaded) {
  return guest::settled_load(from, loaded);
}
uint16_t vmsrs_settled_u16(const uint16_t* from, uint16_t loaded) {
  return guest::settled_load(from, loaded);
}
uint32_t vmsrs_settled_u32(const uint32_t* from, uint32_t loaded) {
  return guest::settled_load(from, loaded);
}
uint64_t vmsrs_settled_u64(const uint64_t* from, uint64_t loaded) {
  return guest::settled_load(from, loaded);
}
void vmsrs_store_u8(uint8_t* to, uint8_t value) { guest::store(to, value); }
void vmsrs_store_u16(uint16_t* to, uint16_t value) { guest::store(to, value); }
void vmsrs_store_u32(uint32_t* to, uint32_t value) { guest::store(to, value); }
void vmsrs_store_u64(uint64_t* to, uint64_t value) { guest::store(to, value); }

bool vmsrs_compare_exchange(void* word, void* expected, const void* desired, size_t bytes) {
  const bool is_word = bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
  if (!is_word || guest::to_register(word) % bytes != 0) {
    guest::report_misuse("vmsrs_compare_exchange", word, "no aligned word of 1, 2, 4 or 8 bytes");
    return true;
  }
  if (guest::attached_window() == nullptr) {
    if (!guest::may_store_plainly()) return true;
    return guest::compare_exchange_plain(word, expected, desired, bytes);
  }
  std::uint64_t seen = 0;
  std::uint64_t value = 0;
  std::memcpy(&seen, expected, bytes);
  std::memcpy(&value, desired, bytes);
  const bool equal = guest::compare_exchange(static_cast<std::byte*>(word), seen, value, bytes);
  if (!equal) std::memcpy(expected, &seen, bytes);
  return equal;
}

void vmsrs_load_range(void* to, const void* from_profiled, size_t bytes) {
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from_profiled);
  guest::for_pieces(bytes, VMSRS_MAX_RANGE_BYTES, false, [&](size_t offset, size_t now) {
    guest::copy_settled(target + offset, source + offset, now);
  });
}

void vmsrs_store_range(void* to_profiled, const void* from, size_t bytes) {
  if (guest::attached_window() == nullptr) {
    if (guest::may_store_plainly()) std::memmove(to_profiled, from, bytes);
    return;
  }
  auto* target = static_cast<std::byte*>(to_profiled);
  const auto* source = static_cast<const std::byte*>(from);
  const bool backwards = target > source && target < source + bytes;
  guest::for_pieces(bytes, VMSRS_MAX_RANGE_BYTES, backwards, [&](size_t offset, size_t now) {
    guest::store_piece(target + offset, source + offset, now);
  });
}

void vmsrs_fill_range(void* to_profiled, int byte_value, size_t bytes) {
  if (guest::attached_window() == nullptr) {
    if (guest::may_store_plainly()) std::memset(to_profiled, byte_value, bytes);
    return;
  }
  auto* target = static_cast<std::byte*>(to_profiled);
  const auto value = static_cast<std::uint8_t>(byte_value);
  guest::for_pieces(bytes, VMSRS_MAX_RANGE_BYTES, false, [&](size_t offset, size_t now) {
    guest::fill_piece(target + offset, value, now);
  });
}

void vmsrs_assign(void* to_profiled, const void* from_profiled, size_t bytes) {
  auto* target = static_cast<std::byte*>(to_profiled);
  const auto* source = static_cast<const std::byte*>(from_profiled);
  if (guest::attached_window() == nullptr) {
    if (guest::may_store_plainly()) std::memmove(target, source, bytes);
    return;
  }
  const bool backwards = target > source && target < source + bytes;
  if (bytes <= 1024)
    guest::assign<1024>(target, source, bytes, backwards);
  else
    guest::assign<VMSRS_MAX_RANGE_BYTES>(target, source, bytes, backwards);
}
