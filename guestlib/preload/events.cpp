// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstdint>
#include <cstdlib>

#include "connections.hpp"
#include "next.hpp"
#include "thread.hpp"
#include "user.hpp"
#include "users.hpp"

// libevent 2 (event.h, event2/event.h): what it calls for a connection is a user. Everything by
// which a program registers a call goes through event_assign(), in the library itself too.
struct event;
struct event_base;

namespace vmsrs::preload {
namespace {

using Callback = void (*)(int, short, void*);

// What the program has asked for; libevent has run_event() and this in its place.
struct Assigned {
  const event* of;
  Callback callback;
  void* argument;
  Assigned* next;
};

constexpr std::size_t kBuckets = 4096;
constinit Assigned* buckets[kBuckets]{};
constinit std::atomic_flag lock = ATOMIC_FLAG_INIT;

class Locked {
 public:
  Locked() {
    while (lock.test_and_set(std::memory_order_acquire)) __builtin_ia32_pause();
  }
  ~Locked() { lock.clear(std::memory_order_release); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  guest::NotUnwound whole_;
};

Assigned*& bucket_of(const event* of) {
  return buckets[(reinterpret_cast<std::uintptr_t>(of) >> 4) * 0x9e3779b97f4a7c15ull >> 52];
}
Assigned** place_of(const event* of) {
  Assigned** place = &bucket_of(of);
  while (*place != nullptr && (*place)->of != of) place = &(*place)->next;
  return place;
}

// nullptr: no memory for it.
Assigned* assign(const event* of, Callback callback, void* argument) {
  auto* const fresh = static_cast<Assigned*>(std::calloc(1, sizeof(Assigned)));
  Assigned* known = nullptr;
  {
    const Locked locked;
    Assigned** const place = place_of(of);
    if (*place == nullptr && fresh != nullptr) *place = fresh;
    known = *place;
    if (known != nullptr) {
      known->of = of;
      known->callback = callback;
      known->argument = argument;
    }
  }
  if (known != fresh) std::free(fresh);
  return known;
}

bool find(const event* of, Assigned& copy) {
  const Locked locked;
  const Assigned* const known = *place_of(of);
  if (known != nullptr) copy = *known;
  return known != nullptr;
}

void forget(const event* of) {
  Assigned* gone = nullptr;
  {
    const Locked locked;
    Assigned** const place = place_of(of);
    gone = *place;
    if (gone != nullptr) *place = gone->next;
  }
  std::free(gone);
}

struct Call {
  Callback callback;
  void* argument;
  int descriptor;
  short what;
};

void run_user(void* given) {
  const Call call = *static_cast<const Call*>(given);
  begin_user(call.descriptor);
  call.callback(call.descriptor, call.what, call.argument);
  end_user();
}

void run_event(int descriptor, short what, void* given) {
  Call call{};
  {
    const Locked locked;
    const auto& known = *static_cast<const Assigned*>(given);
    call = {known.callback, known.argument, descriptor, what};
  }
  const bool in_user = guest::has_frame();  // libevent's loop in a callback
  if (policy() == Users::kEvents && !in_user && connection_number(descriptor) != 0)
    guest::run_in_frame(run_user, &call);
  else
    call.callback(descriptor, what, call.argument);
}

}  // namespace
}  // namespace vmsrs::preload

using namespace vmsrs::preload;

extern "C" {

void* event_self_cbarg();

int event_assign(event* of, event_base* base, int descriptor, short what, Callback callback,
                 void* argument) {
  Assigned* known = nullptr;
  if (policy() == Users::kEvents && descriptor >= 0) {
    if (argument == VMSRS_NEXT(event_self_cbarg)()) argument = of;
    known = assign(of, callback, argument);
  } else {
    forget(of);
  }
  if (known == nullptr)
    return VMSRS_NEXT(event_assign)(of, base, descriptor, what, callback, argument);
  return VMSRS_NEXT(event_assign)(of, base, descriptor, what, run_event, known);
}

void event_free(event* of) {
  VMSRS_NEXT(event_free)(of);
  forget(of);
}

Callback event_get_callback(const event* of) {
  Assigned known{};
  return find(of, known) ? known.callback : VMSRS_NEXT(event_get_callback)(of);
}
void* event_get_callback_arg(const event* of) {
  Assigned known{};
  return find(of, known) ? known.argument : VMSRS_NEXT(event_get_callback_arg)(of);
}
void event_get_assignment(const event* of, event_base** base, int* descriptor, short* what,
                          Callback* callback, void** argument) {
  VMSRS_NEXT(event_get_assignment)(of, base, descriptor, what, callback, argument);
  Assigned known{};
  if (!find(of, known)) return;
  if (callback != nullptr) *callback = known.callback;
  if (argument != nullptr) *argument = known.argument;
}

}  // extern "C"
