// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VMSRS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VMSRS_SANITIZED 1
#endif
#endif

#ifndef VMSRS_SANITIZED
extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*) noexcept;
#endif

namespace vmsrs::guest {

// The C library's own sigaction(), which nobody puts his in place of. A sanitizer has put its own
// there first: then that is used, and ours is only called by name (vmsrs_sigaction).
inline int kernel_sigaction(int signal, const struct sigaction* action, struct sigaction* former) {
#ifdef VMSRS_SANITIZED
  return sigaction(signal, action, former);
#else
  return __sigaction(signal, action, former);
#endif
}

// Has the linker take interpose.cpp out of the archive.
void keep_interposed();
// The same for interpose_locks.cpp.
void keep_locks_interposed();

}  // namespace vmsrs::guest
