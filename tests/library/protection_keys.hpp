// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "protection_key.hpp"

// For tests that need a processor with protection keys. Without one they are skipped, and say so;
// VMSRS_TEST_KEYS=1: there must be some.
namespace vmsrs::test {

inline bool has_keys() {
  static const bool has = [] {
    // With no rights, as Linux begins: what a thread may do with a key outlasts pkey_free().
    const long key = syscall(SYS_pkey_alloc, 0ul, 1ul);
    if (key >= 0) syscall(SYS_pkey_free, key);
    const bool wanted = std::getenv("VMSRS_TEST_KEYS") != nullptr;
    if (key < 0)
      std::fprintf(stderr, "%s: no protection keys here (pkey_alloc: %s)\n",
                   wanted ? "FAILED" : "SKIPPED", std::strerror(errno));
    if (key < 0 && wanted) std::abort();
    return key >= 0;
  }();
  return has;
}

// As a precondition of Boost.Test.
inline boost::test_tools::assertion_result keys_are_there(boost::unit_test::test_unit_id) {
  return has_keys();
}

// What the calling thread may do with strict memory.
inline std::uint32_t rights_on_strict_memory() {
  std::uint32_t all, upper;
  asm volatile("rdpkru" : "=a"(all), "=d"(upper) : "c"(0));
  return all >> 2 * guest::strict_key() & 3;
}

}  // namespace vmsrs::test
