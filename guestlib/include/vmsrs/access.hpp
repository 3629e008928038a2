// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vmsrs/fast.hpp>

// Class 1 of the library: loads, stores and assignments of profiled memory, in line where nothing
// has to be asked.
namespace vmsrs {

namespace detail {
template <typename T>
concept Word = std::is_trivially_copyable_v<T> &&
    (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);

template <std::size_t kBytes>
using Plain = std::conditional_t<
    kBytes == 1, std::uint8_t,
    std::conditional_t<kBytes == 2, std::uint16_t,
                       std::conditional_t<kBytes == 4, std::uint32_t, std::uint64_t>>>;

// The value of a word of which a plain load gave `data`, but not in normal mode.
template <typename Plain>
[[gnu::noinline]] Plain settled(const Plain* word, Plain data) {
  if (fast::load_in_suppression(vmsrs_fast_thread, word, data)) return data;
  if constexpr (sizeof(Plain) == 1)
    return vmsrs_settled_u8(word, data);
  else if constexpr (sizeof(Plain) == 2)
    return vmsrs_settled_u16(word, data);
  else if constexpr (sizeof(Plain) == 4)
    return vmsrs_settled_u32(word, data);
  else
    return vmsrs_settled_u64(word, data);
}
}  // namespace detail

// A monitored load of profiled memory. Words of 1, 2, 4, 8 bytes are one operation; in normal mode
// that is the load itself and a look at the mode, in line.
template <typename T>
requires std::is_trivially_copyable_v<T> T load(const T* from) {
  if constexpr (detail::Word<T>) {
    using Plain = detail::Plain<sizeof(T)>;
    const auto* const word = reinterpret_cast<const Plain*>(from);
    Plain data;
    if (fast::load(vmsrs_fast_thread, word, data)) [[likely]]
      return std::bit_cast<T>(data);
    return std::bit_cast<T>(detail::settled(word, data));
  } else {
    T value;
    vmsrs_load_range(&value, from, sizeof(T));
    return value;
  }
}

// A monitored store to profiled memory; in line where the user has stored to the granule before.
template <typename T>
requires std::is_trivially_copyable_v<T>
void store(T* to, const std::type_identity_t<T>& value) {
  if constexpr (detail::Word<T>) {
    using Plain = detail::Plain<sizeof(T)>;
    auto* const word = reinterpret_cast<Plain*>(to);
    const Plain data = std::bit_cast<Plain>(value);
    if (fast::store(vmsrs_fast_thread, word, data)) [[likely]]
      return;
    if constexpr (sizeof(T) == 1)
      vmsrs_store_u8(word, data);
    else if constexpr (sizeof(T) == 2)
      vmsrs_store_u16(word, data);
    else if constexpr (sizeof(T) == 4)
      vmsrs_store_u32(word, data);
    else
      vmsrs_store_u64(word, data);
  } else {
    vmsrs_store_range(to, &value, sizeof(T));
  }
}

// *to = *from, both profiled.
template <typename T>
requires std::is_trivially_copyable_v<T>
void assign(T* to, const T* from) {
  if constexpr (detail::Word<T>)
    store(to, load(from));
  else
    vmsrs_assign(to, from, sizeof(T));
}

}  // namespace vmsrs
