// SPDX-License-Identifier: Apache-2.0
#pragma once

// The C++ runtime's, if the program has one: a thread's exceptions in flight (Itanium C++ ABI,
// 2.2.2). Those that abort() ended are forgotten with their frames.
struct ExceptionsInFlight {
  void* caught;
  unsigned uncaught_count;
};
extern "C" [[gnu::weak]] ExceptionsInFlight* __cxa_get_globals();

namespace vmsrs::guest {

inline ExceptionsInFlight exceptions_in_flight() {
  return __cxa_get_globals != nullptr ? *__cxa_get_globals() : ExceptionsInFlight{};
}
inline void put_exceptions_back(const ExceptionsInFlight& exceptions) {
  if (__cxa_get_globals != nullptr) *__cxa_get_globals() = exceptions;
}

}  // namespace vmsrs::guest
