// SPDX-License-Identifier: Apache-2.0
#include "service.hpp"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>

#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "heap/heap.hpp"
#include "suppression.hpp"

namespace vmsrs::guest {
namespace {

// A request is looked for often while there are some, and rarely after a second without any.
constexpr long kBusyPauseNs = 20'000'000;
constexpr long kIdlePauseNs = 100'000'000;
constexpr int kBusyPauses = 50;
constexpr std::size_t kStackBytes = 256 * 1024;

// False: it failed.
bool serve_request() {
  for (;;) {
    const CallResult result = call_to_end(VMSRS_CALL_SERVICE);
    if (result.status != VMSRS_DRAIN) return result.status == VMSRS_OK;
    see_to_declared(result.first, result.second);
  }
}

// A hypervisor that does not know the call is not told.
void report_heaps() {
  static std::uint64_t told = 0;
  static bool heard = true;
  const std::uint64_t count = quarantined_frees();
  if (count == told || !heard) return;
  const std::uint64_t status = call(VMSRS_CALL_REPORT_HEAPS, {.rdi = count}).status;
  if (status == VMSRS_OK) told = count;  // else at the next turn
  heard = status != VMSRS_UNKNOWN_CALL;
}

void* serve(void*) {
  std::uint64_t seen = 0, served = 0;
  int busy_pauses = kBusyPauses;
  for (;;) {
    // Both are read afresh: detach stops the thread before it takes the window away.
    if (__atomic_load_n(&control().service_stop, __ATOMIC_ACQUIRE) != 0) return nullptr;
    const vmsrs_window* window = attached_window();
    if (window != nullptr) {
      const std::uint64_t request =
          __atomic_load_n(&window->status.service_request, __ATOMIC_ACQUIRE);
      const std::uint64_t taken = __atomic_load_n(&window->status.service_taken, __ATOMIC_ACQUIRE);
      // A call that failed is repeated at the next turn: the request stands.
      if (request != seen) busy_pauses = kBusyPauses;
      seen = request;
      if (request != served && request != taken && serve_request()) served = request;
      report_heaps();
    }
    if (busy_pauses > 0) --busy_pauses;
    const timespec pause = {0, busy_pauses > 0 ? kBusyPauseNs : kIdlePauseNs};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  }
}

}  // namespace

int start_service_thread() {
  control_page.block.service_stop = 0;
  // The thread inherits the mask: no signal of the program's is ever handled on it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int error = pthread_create(&control_page.block.service_thread, &attributes, serve, nullptr);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0)
    return fail(VMSRS_ERROR_SYSTEM, "service thread: pthread_create: %s", strerrordesc_np(error));
  pthread_setname_np(control_page.block.service_thread, "vmsrs-service");
  return 0;
}

void stop_service_thread() {
  __atomic_store_n(&control_page.block.service_stop, 1u, __ATOMIC_RELEASE);
  pthread_join(control_page.block.service_thread, nullptr);
}

}  // namespace vmsrs::guest
