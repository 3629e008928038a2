// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>

// The library's one seam to what is below it. platform.cpp chooses at run time between svm/ (guests
// of the hypervisor) and hosted/ (clients of vmsrs-hosted); the tests of the library link a seam of
// their own in place of all three.
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

// Is a platform there and does its ABI fit? 0, or a vmsrs_error with its message set.
int probe_platform();

// The calling thread was taken out of whatever calls it was in the middle of (siglongjmp).
void abandon_calls();

// The window of a server, read-only for everybody in this process, after ATTACH. nullptr: the
// message says why.
const vmsrs_window* map_window(const char* windows_directory, std::uint32_t server);
void unmap_window(const vmsrs_window* window);

// Makes memory that is about to be profiled fit for it, keeping its content; its pages are present
// and writable. Nobody may write to these pages meanwhile. 0 or a vmsrs_error.
int prepare_region(void* address, std::size_t bytes);
// The same for memory most of which may never be used: zeroes still, or of no interest.
int prepare_sparse(void* address, std::size_t bytes);
// The last prepare_region or prepare_sparse was in vain; called twice, the one before it as well.
void forget_region();

// What belongs to a region beside its bytes; the users' areas belong to region 0, whatever that is.
enum class Part { kBytes, kClaims, kAreas };
enum class Joined {
  kDone,
  kNone,   // no process of this server has it
  kFailed  // the message says why
};
// Brings what another process of this server has to `wanted` (nullptr: anywhere) in this one; it
// was there already: so be it, if that is where it was wanted. `at` receives the address.
Joined join_memory(std::uint64_t region, Part part, std::byte* wanted, std::byte*& at);

// Memory that the calling thread's next call can name at no cost, for what it would have to fetch
// from elsewhere. nullptr: the platform gains nothing by it.
std::byte* call_buffer(std::size_t& bytes);

// What the platform keeps in this process's memory; for attack tests.
struct PlatformMemory {
  void* shared = nullptr;  // writable
  std::size_t shared_bytes = 0;
  const void* fixed = nullptr;  // read-only
  std::size_t fixed_bytes = 0;
  static constexpr std::size_t kMostDescriptors = 4;
  int descriptors[kMostDescriptors] = {-1, -1, -1, -1};  // that its calls need
};
PlatformMemory platform_memory();

}  // namespace vmsrs::guest
