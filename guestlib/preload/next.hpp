// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <cstdlib>

// VMSRS_NEXT(name): the function of that name that would have been called without this library,
// looked up once.
namespace vmsrs::preload {

// Never null where a program calls the name, for then there is one.
inline void* find_next(const char* name) {
  void* const function = dlsym(RTLD_NEXT, name);
  if (function == nullptr) std::abort();
  return function;
}

}  // namespace vmsrs::preload

#define VMSRS_NEXT(name)                                                                   \
  ([]() {                                                                                  \
    static void* found;                                                                    \
    if (__atomic_load_n(&found, __ATOMIC_RELAXED) == nullptr)                              \
      __atomic_store_n(&found, vmsrs::preload::find_next(#name), __ATOMIC_RELAXED);        \
    return reinterpret_cast<decltype(&::name)>(__atomic_load_n(&found, __ATOMIC_RELAXED)); \
  }())
