// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "call.hpp"

// Calls as the rest of the library makes them: with the touch protocol. A call that finds a page of
// the caller not present, or not yet writable, changes nothing and names the page; the library
// makes it present without changing a byte of it and repeats.
namespace vmsrs::guest {

// Memory that a call only reads: touched without asking for permission to write.
struct ReadOnlyRange {
  const void* address = nullptr;
  std::size_t bytes = 0;
};

// Repeats while the answer is TOUCH, up to a bound. A page that cannot be made present gives
// VMSRS_BAD_ADDRESS, as would have an address that the hypervisor refuses; `first` is then an
// address in that page. Async-signal-safe.
CallResult call(vmsrs_call number, const CallArguments& arguments = {}, ReadOnlyRange source = {});

// Repeats while the answer is AGAIN as well; VMSRS_AGAIN is returned when the bound is reached.
CallResult call_to_end(vmsrs_call number, const CallArguments& arguments = {},
                       ReadOnlyRange source = {});

// Makes the page present (and writable, if asked for) without changing it. False: it cannot be.
bool touch_page(std::uint64_t address, bool writable);
// The same, writable, for whole pages in one system call. False: some may not have been reached.
bool touch_pages(std::uint64_t first, std::uint64_t bytes);

// Is the page mapped, and may be read? False also where the kernel cannot be asked.
bool can_be_read(std::uint64_t address);

// MADV_POPULATE_READ and _WRITE: Linux 5.14 and later.
bool kernel_can_populate();

inline std::uint64_t to_register(const volatile void* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

}  // namespace vmsrs::guest
