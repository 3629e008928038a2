// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// How many instructions something executes: by single steps, where no counter of the processor may
// be read. Exact and the same in every run, unlike times.
namespace vmsrs::bench {

namespace detail {
std::uint64_t count_instructions(void (*run)(void*), void* argument);
}

// In user mode, of the calling thread, operation()'s own call and a few around it included: take
// the difference of two. Slow: some microseconds an instruction. The program ends if it cannot be
// traced.
template <typename Operation>
std::uint64_t instructions(Operation operation) {
  return detail::count_instructions([](void* p) { (*static_cast<Operation*>(p))(); }, &operation);
}

}  // namespace vmsrs::bench
