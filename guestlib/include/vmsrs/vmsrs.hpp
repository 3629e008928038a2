// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <bit>
#include <cstring>
#include <memory>
#include <type_traits>

// The guest library, C++ interface: thin, typed, over <vmsrs/vmsrs.h>, whose conventions hold. No
// exceptions are thrown by it or needed for it.
namespace vmsrs {

namespace detail {
template <typename T>
concept Word = std::is_trivially_copyable_v<T> &&
    (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
}  // namespace detail

// A monitored load of profiled memory. Words of 1, 2, 4, 8 bytes are one operation.
template <typename T>
requires std::is_trivially_copyable_v<T> T load(const T* from) {
  if constexpr (detail::Word<T>) {
    if constexpr (sizeof(T) == 1)
      return std::bit_cast<T>(vmsrs_load_u8(reinterpret_cast<const std::uint8_t*>(from)));
    else if constexpr (sizeof(T) == 2)
      return std::bit_cast<T>(vmsrs_load_u16(reinterpret_cast<const std::uint16_t*>(from)));
    else if constexpr (sizeof(T) == 4)
      return std::bit_cast<T>(vmsrs_load_u32(reinterpret_cast<const std::uint32_t*>(from)));
    else
      return std::bit_cast<T>(vmsrs_load_u64(reinterpret_cast<const std::uint64_t*>(from)));
  } else {
    T value;
    vmsrs_load_range(&value, from, sizeof(T));
    return value;
  }
}

// A monitored store to profiled memory.
template <typename T>
requires std::is_trivially_copyable_v<T>
void store(T* to, const std::type_identity_t<T>& value) {
  if constexpr (detail::Word<T>) {
    if constexpr (sizeof(T) == 1)
      vmsrs_store_u8(reinterpret_cast<std::uint8_t*>(to), std::bit_cast<std::uint8_t>(value));
    else if constexpr (sizeof(T) == 2)
      vmsrs_store_u16(reinterpret_cast<std::uint16_t*>(to), std::bit_cast<std::uint16_t>(value));
    else if constexpr (sizeof(T) == 4)
      vmsrs_store_u32(reinterpret_cast<std::uint32_t*>(to), std::bit_cast<std::uint32_t>(value));
    else
      vmsrs_store_u64(reinterpret_cast<std::uint64_t*>(to), std::bit_cast<std::uint64_t>(value));
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

// Runs body() as one user; on_crash() runs in the fault handler (see vmsrs_run_user).
template <typename Body, typename OnCrash>
int run_user(std::uint64_t label, Body&& body, OnCrash&& on_crash) {
  using BodyType = std::remove_reference_t<Body>;
  using OnCrashType = std::remove_reference_t<OnCrash>;
  return vmsrs_run_user(
      label, [](void* p) { (*static_cast<BodyType*>(p))(); }, std::addressof(body),
      [](void* p) { (*static_cast<OnCrashType*>(p))(); }, std::addressof(on_crash));
}

}  // namespace vmsrs
