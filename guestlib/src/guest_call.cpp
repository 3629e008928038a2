// SPDX-License-Identifier: Apache-2.0
#include "guest_call.hpp"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.hpp"
#include "protection_key.hpp"
#include "unprotected.hpp"

namespace vmsrs::guest {
namespace {

// The largest operation names 64 KiB twice: 34 pages, each of which Linux may take away again
// before the repetition. Past this the machine is out of memory in all but name.
constexpr unsigned kTouchLimit = 4096;
constexpr unsigned kReadTouchLimit = 64;
// Each AGAIN stands for a bounded piece of work that was done; 2^24 pieces are 1 TiB of region.
constexpr unsigned kAgainLimit = 1u << 24;

constexpr std::uint64_t page_of(std::uint64_t address) { return address / VMSRS_PAGE_BYTES; }

bool inside(std::uint64_t address, ReadOnlyRange range) {
  const std::uint64_t first = to_register(range.address);
  return range.bytes != 0 && page_of(address) >= page_of(first) &&
         page_of(address) <= page_of(first + range.bytes - 1);
}

// For kernels before 5.14. A page that is gone faults here, in the thread's own name, and that
// fault is handled like any other.
void touch_by_access(std::uint64_t address, bool writable) {
  auto* byte = reinterpret_cast<volatile std::uint8_t*>(address);
  if (writable)
    asm volatile("lock addb $0, %0" : "+m"(*byte) : : "cc", "memory");
  else
    static_cast<void>(*byte);
}

// The kernel's own way of touching: it gives an error where an access would give a signal.
int populate(std::uint64_t page, std::uint64_t bytes, bool writable) {
  const int saved_errno = errno;
  const long result =
      syscall(SYS_madvise, page, bytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  const int error = result == 0 ? 0 : errno;
  errno = saved_errno;
  return error;
}

}  // namespace

bool kernel_can_populate() {
  return madvise(&control_page, sizeof control_page, MADV_POPULATE_READ) == 0;
}

bool can_be_read(std::uint64_t address) {
  return control().can_populate &&
         populate(address & ~std::uint64_t{VMSRS_PAGE_BYTES - 1}, VMSRS_PAGE_BYTES, false) == 0;
}

bool touch_page(std::uint64_t address, bool writable) {
  const StoresAllowed allowed(strict_key());
  if (!control().can_populate) {
    touch_by_access(address, writable);
    return true;
  }
  const int error =
      populate(address & ~std::uint64_t{VMSRS_PAGE_BYTES - 1}, VMSRS_PAGE_BYTES, writable);
  return error == 0 || error == EINTR || error == EAGAIN;  // repeated by the caller
}

bool touch_pages(std::uint64_t first, std::uint64_t bytes) {
  const StoresAllowed allowed(strict_key());
  return control().can_populate && populate(first, bytes, true) == 0;
}

CallResult call(vmsrs_call number, const CallArguments& arguments, ReadOnlyRange source) {
  std::uint64_t missing = 0;
  for (unsigned touched = 0; touched < kTouchLimit; ++touched) {
    const CallResult result = platform_call(number, arguments);
    if (result.status == VMSRS_NO_ENGINE) [[unlikely]]
      go_on_unprotected();
    if (result.status != VMSRS_TOUCH) return result;
    missing = result.first;
    // A page of the source may be one of the destination too: then reading it does not help.
    const bool writable = !inside(missing, source) || touched >= kReadTouchLimit;
    if (!touch_page(missing, writable)) break;
  }
  return {VMSRS_BAD_ADDRESS, missing, 0};
}

CallResult call_to_end(vmsrs_call number, const CallArguments& arguments, ReadOnlyRange source) {
  CallResult result;
  for (unsigned again = 0; again < kAgainLimit; ++again) {
    result = call(number, arguments, source);
    if (result.status != VMSRS_AGAIN) break;
  }
  return result;
}

}  // namespace vmsrs::guest
