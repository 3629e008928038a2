// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

// The library's one seam to what is below it. Exactly one implementation is linked: svm/call.cpp
// for guests of the hypervisor, a call into the engine for the tests of the library.
namespace vmsrs::guest {

struct CallResult {
  std::uint64_t status = VMSRS_OK;
  std::uint64_t first = 0;   // RDX
  std::uint64_t second = 0;  // RSI
};

struct CallArguments {
  std::uint64_t rdi = 0, rsi = 0, rdx = 0, r10 = 0, r8 = 0, r9 = 0;
};

// One call, whatever it answers. Async-signal-safe. Not before probe() returned 0.
CallResult platform_call(vmsrs_call number, const CallArguments& arguments);

// Is the platform there and does its ABI fit? 0, or a vmsrs_error with its message set.
int probe_platform();

// The window of a server, read-only for everybody in this process. nullptr: the message says why.
const vmsrs_window* map_window(const char* windows_directory, std::uint32_t server);
void unmap_window(const vmsrs_window* window);

}  // namespace vmsrs::guest
