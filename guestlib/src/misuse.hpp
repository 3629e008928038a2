// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// What the library itself finds to be wrong with what the program does.
namespace vmsrs::guest {

// Nobody can be suppressed for it, and to go on would lose it in silence: says so on the standard
// error, and ends the process as a wild store would have.
[[noreturn]] void end_process(const char* what, std::uint64_t address, const char* why);

// An error of the calling thread's user (VMSRS_FAULT_CHECK), which is crashed when this returns;
// vmsrs_error_message() says "function: address: why". Without a user the process ends.
void report_misuse(const char* function, const volatile void* address, const char* why);

}  // namespace vmsrs::guest
