// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>

namespace vmsrs::guest {

inline constexpr std::size_t kErrorMessageBytes = 512;

// Leaves the message for vmsrs_error_message() of this thread and returns the error. Not
// async-signal-safe: never called on the way of a fault.
[[gnu::format(printf, 2, 3)]] int fail(vmsrs_error error, const char* format, ...);

// The same for a call's refusal: says which call, what the status means and what to do.
int fail_status(const char* call_name, std::uint64_t status);

// One line for people about a status, without "what to do". Async-signal-safe.
const char* status_text(std::uint64_t status);

}  // namespace vmsrs::guest
