// SPDX-License-Identifier: Apache-2.0
#include "misuse.hpp"

#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <cstdlib>
#include <cstring>

#include "error.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"
#include "thread.hpp"

namespace vmsrs::guest {

void end_process(const char* what, std::uint64_t address, const char* why) {
  char digits[] = "0x0000000000000000";
  for (unsigned i = 0; i < 16; ++i)
    digits[2 + i] = "0123456789abcdef"[address >> (60 - 4 * i) & 15];
  const char* const parts[] = {"vmsrs: ",
                               what,
                               ", of ",
                               digits,
                               ": ",
                               why,
                               ". It cannot be carried out, and nobody could be told: ending.\n"};
  for (const char* part : parts)
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  std::abort();
}

void report_misuse(const char* function, const volatile void* address, const char* why) {
  fail(VMSRS_ERROR_ARGUMENT, "%s: %p: %s", function, const_cast<void*>(address), why);
  if (!scope_is_open()) end_process(function, to_register(address), why);
  const CallResult crash =
      crash_user(VMSRS_FAULT_CHECK, to_register(address), to_register(__builtin_return_address(0)));
  if (crash.status == VMSRS_CRASHED && past_bounds(crash.first)) unwind();
  if (crash.status != VMSRS_OK && crash.status != VMSRS_CRASHED)
    end_process(function, to_register(address), why);
}

}  // namespace vmsrs::guest

void vmsrs_report_misuse(const char* function, const void* address, const char* why) {
  vmsrs::guest::report_misuse(function, address, why);
}
