// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vmsrs/vmsrs.hpp>

// The two arms of every comparison: the same loop is compiled over either. Monitored goes through
// vmsrs.hpp, as a C++ server does, so that whatever that header inlines is inlined here. Plain is
// volatile: one instruction for each access, as the compiler may not merge monitored ones either.
namespace vmsrs::bench {

struct Plain {
  static std::uint64_t load(const std::uint64_t* from) {
    return *static_cast<const volatile std::uint64_t*>(from);
  }
  static void store(std::uint64_t* to, std::uint64_t value) {
    *static_cast<volatile std::uint64_t*>(to) = value;
  }
  static void assign(std::uint64_t* to, const std::uint64_t* from) { store(to, load(from)); }
  static void begin(std::uint64_t) {}
  static void end() {}
};

struct Monitored {
  static std::uint64_t load(const std::uint64_t* from) { return vmsrs::load(from); }
  static void store(std::uint64_t* to, std::uint64_t value) { vmsrs::store(to, value); }
  static void assign(std::uint64_t* to, const std::uint64_t* from) { vmsrs::assign(to, from); }
  static void begin(std::uint64_t label) { vmsrs_user_begin(label); }
  static void end() { vmsrs_user_end(); }
};

}  // namespace vmsrs::bench
