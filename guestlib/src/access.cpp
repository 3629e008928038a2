// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"
#include "user.hpp"

// Class 1 of the function library (the paper, 4.7): loads, stores and assignments of profiled
// memory.
//
// Why a load without a trap is right. The mode word is (epoch, suppression?), written by the
// hypervisor alone, and its epoch rises with every change. A load reads it, then the data, then
// reads it again; the processor does not reorder loads, and the compiler is kept from it. If both
// readings are the same word and say "normal", then nobody was crashed and uncollected at any
// instant between them: the store of that word is what makes a user crashed, and it becomes normal
// only after all that the user polluted has been put back. So the data is by a user who was not
// crashed when it was read. Looking at the mode only once, before or after, would not do: before, a
// user may crash between the look and the load; after, the data may have been read under
// suppression, still polluted, while crash, restoration and collection are all over by the time of
// the look, and the mode says "normal" again. The epoch tells that case from an undisturbed one.
namespace vmsrs::guest {
namespace {

template <typename T>
struct [[gnu::packed, gnu::may_alias]] Unaligned {
  T value;
};

// One load or store instruction, at any alignment.
template <typename T>
T plain_load(const T* from) {
  return reinterpret_cast<const volatile Unaligned<T>*>(from)->value;
}
template <typename T>
void plain_store(T* to, T value) {
  reinterpret_cast<volatile Unaligned<T>*>(to)->value = value;
}

// One instruction whatever the length: a wild range is one fault, not one for each word.
void plain_copy(void* to, const void* from, std::size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

std::uint64_t mode_of(const vmsrs_window* window) {
  return __atomic_load_n(&window->status.mode, __ATOMIC_ACQUIRE);
}
bool is_normal(std::uint64_t mode) { return (mode & VMSRS_MODE_SUPPRESSION) == 0; }
void compiler_barrier() { asm volatile("" : : : "memory"); }

// `data` is what a plain load gave: good enough for a crashed user, who may read anything, and for
// memory outside the regions, which nothing restores.
template <typename T>
[[gnu::noinline]] T settled_load(const T* from, T data) {
  const CallResult result = call(VMSRS_CALL_LOAD, {.rdi = to_register(from), .rsi = sizeof(T)});
  if (result.status == VMSRS_OK) return static_cast<T>(result.first);
  if (result.status == VMSRS_CRASHED) check_time_bound();
  return data;
}

template <typename T>
T load(const T* from) {
  const vmsrs_window* window = attached_window();
  if (window == nullptr) return plain_load(from);
  const std::uint64_t before = mode_of(window);
  const T data = plain_load(from);
  compiler_barrier();
  if (mode_of(window) == before && is_normal(before)) [[likely]]
    return data;
  return settled_load(from, data);
}

// A range under suppression is restored in place, then copied. If the mode word has not moved since
// before the restoration, nobody crashed in the meantime, and the copy is of settled data. Each
// repetition means that somebody did crash, or was collected: a reader is delayed by others'
// progress only. Should crashes come faster than it can copy, it goes on word by word, each one
// exact.
constexpr unsigned kRangeAttempts = 256;

void copy_settled(std::byte* to, const std::byte* from, std::size_t bytes) {
  const vmsrs_window* window = attached_window();
  for (unsigned attempt = 0; window != nullptr && attempt < kRangeAttempts; ++attempt) {
    const std::uint64_t before = mode_of(window);
    if (!is_normal(before)) {
      const CallResult result =
          call(VMSRS_CALL_LOAD_RANGE, {.rdi = to_register(from), .rsi = bytes});
      if (result.status == VMSRS_CRASHED) check_time_bound();
      if (result.status != VMSRS_OK) break;
    }
    plain_copy(to, from, bytes);
    compiler_barrier();
    if (mode_of(window) == before) return;
    if (attempt + 1 < kRangeAttempts) continue;
    for (; bytes >= 8; bytes -= 8, to += 8, from += 8) {
      const std::uint64_t word = load(reinterpret_cast<const std::uint64_t*>(from));
      std::memcpy(to, &word, 8);
    }
    for (; bytes > 0; --bytes) *to++ = load(from++);
    return;
  }
  plain_copy(to, from, bytes);
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
// silence is the one thing that must not happen: the process ends, as it would have on a wild
// store.
[[noreturn]] void refuse_without_user(std::uint64_t status, std::uint64_t address) {
  char digits[] = "0x0000000000000000";
  for (unsigned i = 0; i < 16; ++i)
    digits[2 + i] = "0123456789abcdef"[address >> (60 - 4 * i) & 15];
  const char* const parts[] = {"vmsrs: a store outside every user scope, to ", digits,
                               ", was refused: ", status_text(status),
                               ". It cannot be carried out, and nobody could be told: ending.\n"};
  for (const char* part : parts)
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  std::abort();
}

// STORE, STORE_RANGE or FILL_RANGE, in the thread's user or, without one, in a user of its own.
void store_call(vmsrs_call number, const CallArguments& arguments, ReadOnlyRange source) {
  CallResult result = call(number, arguments, source);
  if (result.status == VMSRS_OK) [[likely]]
    return;
  if (result.status == VMSRS_CRASHED) return check_time_bound();
  if (result.status != VMSRS_NO_USER) {
    const CallResult crash = crash_user(refusal_kind(result.status, arguments.rdi), arguments.rdi,
                                        to_register(__builtin_return_address(0)));
    if (crash.status == VMSRS_CRASHED && past_bounds(crash.first)) unwind();
    if (crash.status != VMSRS_OK && crash.status != VMSRS_CRASHED)
      refuse_without_user(result.status, arguments.rdi);
    return;
  }
  std::uint64_t depth = 0;
  constexpr std::uint64_t kNoLabel = 0;
  if (open_scope(kNoLabel, nullptr, nullptr, depth) != 0)
    refuse_without_user(VMSRS_NO_SLOT, arguments.rdi);
  result = call(number, arguments, source);
  if (result.status != VMSRS_OK)
    crash_user(refusal_kind(result.status, arguments.rdi), arguments.rdi, 0);
  const int outcome = close_scopes(depth);
  if (result.status != VMSRS_OK) refuse_without_user(result.status, arguments.rdi);
  if (outcome != VMSRS_FINISHED) refuse_without_user(VMSRS_WRONG_STATE, arguments.rdi);
}

template <typename T>
void store(T* to, T value) {
  if (attached_window() == nullptr) return plain_store(to, value);
  store_call(VMSRS_CALL_STORE, {.rdi = to_register(to), .rsi = value, .rdx = sizeof(T)}, {});
}

void store_piece(std::byte* to, const std::byte* from, std::size_t bytes) {
  store_call(VMSRS_CALL_STORE_RANGE,
             {.rdi = to_register(to), .rsi = to_register(from), .rdx = bytes}, {from, bytes});
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
void vmsrs_store_u8(uint8_t* to, uint8_t value) { guest::store(to, value); }
void vmsrs_store_u16(uint16_t* to, uint16_t value) { guest::store(to, value); }
void vmsrs_store_u32(uint32_t* to, uint32_t value) { guest::store(to, value); }
void vmsrs_store_u64(uint64_t* to, uint64_t value) { guest::store(to, value); }

void vmsrs_load_range(void* to, const void* from_profiled, size_t bytes) {
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from_profiled);
  guest::for_pieces(bytes, VMSRS_MAX_RANGE_BYTES, false, [&](size_t offset, size_t now) {
    guest::copy_settled(target + offset, source + offset, now);
  });
}

void vmsrs_store_range(void* to_profiled, const void* from, size_t bytes) {
  if (guest::attached_window() == nullptr) {
    std::memmove(to_profiled, from, bytes);
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
    std::memset(to_profiled, byte_value, bytes);
    return;
  }
  auto* target = static_cast<std::byte*>(to_profiled);
  const auto value = static_cast<std::uint8_t>(byte_value);
  guest::for_pieces(bytes, VMSRS_MAX_RANGE_BYTES, false, [&](size_t offset, size_t now) {
    guest::store_call(VMSRS_CALL_FILL_RANGE,
                      {.rdi = guest::to_register(target + offset), .rsi = value, .rdx = now}, {});
  });
}

void vmsrs_assign(void* to_profiled, const void* from_profiled, size_t bytes) {
  auto* target = static_cast<std::byte*>(to_profiled);
  const auto* source = static_cast<const std::byte*>(from_profiled);
  if (guest::attached_window() == nullptr) {
    std::memmove(target, source, bytes);
    return;
  }
  const bool backwards = target > source && target < source + bytes;
  if (bytes <= 1024)
    guest::assign<1024>(target, source, bytes, backwards);
  else
    guest::assign<VMSRS_MAX_RANGE_BYTES>(target, source, bytes, backwards);
}
