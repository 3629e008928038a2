// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "recovery/guest_memory.hpp"

// The three kinds of address of this code, as types that do not mix. Nested paging is the identity
// where it maps at all, and the host maps all memory at its own address; a conversion is still
// written out, because a guest-physical address must be checked before it becomes a host-physical
// one.
namespace vmsrs::svm {

using recovery::GuestVirtual;
using recovery::value;

enum class GuestPhysical : std::uint64_t {};
enum class HostPhysical : std::uint64_t {};

constexpr std::uint64_t value(GuestPhysical address) { return static_cast<std::uint64_t>(address); }
constexpr std::uint64_t value(HostPhysical address) { return static_cast<std::uint64_t>(address); }

template <class T>
T* host_pointer(HostPhysical address) {
  return reinterpret_cast<T*>(value(address));
}
inline HostPhysical host_physical(const void* pointer) {
  return HostPhysical{reinterpret_cast<std::uint64_t>(pointer)};
}

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPageMask = kPage - 1;
constexpr std::uint64_t kLargePage = std::uint64_t{2} << 20;
constexpr std::uint64_t kHugePage = std::uint64_t{1} << 30;

constexpr std::uint64_t align_down(std::uint64_t address, std::uint64_t to) {
  return address & ~(to - 1);
}
constexpr std::uint64_t align_up(std::uint64_t address, std::uint64_t to) {
  return (address + to - 1) & ~(to - 1);
}

// [begin, end) of guest-physical addresses.
struct PhysicalRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  constexpr bool contains(std::uint64_t address) const { return address >= begin && address < end; }
  constexpr bool overlaps(std::uint64_t first, std::uint64_t last_end) const {
    return first < end && last_end > begin;
  }
  constexpr std::uint64_t bytes() const { return end - begin; }
};

}  // namespace vmsrs::svm
