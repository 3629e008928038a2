// SPDX-License-Identifier: Apache-2.0
// Provokes a fault at one store of one connection's request: the tests say which, in a file that
// both map. Linked in place of nothing: --wrap puts it before the hooks.
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

enum Kind { kWildStore, kDivision, kAbort, kScribble };

// play.py has the same.
struct Order {
  uint32_t port;   // of the client's end of the connection; 0: nobody's
  uint32_t kind;   // enum Kind
  uint64_t store;  // which of its stores, the first is 1; 0: they are counted only
  uint64_t count;  // of them, so far
  uint64_t site;   // where the fault was: the address behind the hook's call, less that of main
  // With calls by hand: stores that none has announced, of whatever thread, and where the last was.
  _Atomic uint64_t unannounced;
  uint64_t unannounced_site;
};
static struct Order* order;
static __thread uint32_t counted_port;  // of the calling thread's event, if its stores are counted

__attribute__((constructor)) static void map_order(void) {
  const char* const path = getenv("MEMCACHED_FAULTS");
  if (path == NULL) errx(EX_USAGE, "MEMCACHED_FAULTS: the file of orders is not named");
  const int file = open(path, O_RDWR | O_CLOEXEC);
  order = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (order == MAP_FAILED) err(EX_NOINPUT, "%s", path);
  close(file);
}

// A connection's event; guard.c gives its descriptor for a label.
int __real_vmsrs_run_user(uint64_t label, void (*body)(void*), void* argument,
                          void (*on_crash)(void*), void* on_crash_argument);
int __wrap_vmsrs_run_user(uint64_t label, void (*body)(void*), void* argument,
                          void (*on_crash)(void*), void* on_crash_argument) {
  struct sockaddr_in peer;
  socklen_t bytes = sizeof peer;
  if (order->port != 0 && getpeername((int)label, (struct sockaddr*)&peer, &bytes) == 0 &&
      ntohs(peer.sin_port) == order->port)
    counted_port = order->port;
  const int outcome = __real_vmsrs_run_user(label, body, argument, on_crash, on_crash_argument);
  counted_port = 0;
  return outcome;
}

int main(int, char**);

// Slab pages, in the order in which they were taken: others' items.
extern volatile char guard_memory[];
static void scribble(uint64_t seed) {
  enum { kBytes = 4096, kAmong = 3 << 20 };
  volatile char* const to = guard_memory + seed * 7919 * 64 % (kAmong - kBytes);
  for (int i = 0; i < kBytes; ++i) to[i] = (char)(i * 7 + 1);
}

static void provoke(uint32_t kind) {
  static volatile int zero;
  switch (kind) {
    case kScribble:
      scribble(order->store);
      *(volatile int*)16 = 1;
      return;
    case kWildStore:
      *(volatile int*)16 = 1;
      return;
    case kDivision:
      zero = 12345 / zero;
      return;
    default:
      abort();
  }
}

__attribute__((noinline)) static void count(const void* resume) {
  if (order->port != counted_port) return;  // it is another request's by now
  if (++order->count != order->store) return;
  order->site = (uint64_t)resume - (uint64_t)&main;
  provoke(order->kind);
}

#ifdef GUARD_BY_HAND
bool guard_is_announced(const void* at, size_t bytes);
// The hooks are there for faults, and to see what the calls by hand have missed.
__attribute__((noinline)) static void look(const void* at, size_t bytes, const void* resume) {
  if (guard_is_announced(at, bytes)) return;
  ++order->unannounced;
  order->unannounced_site = (uint64_t)resume - (uint64_t)&main;
}
#define FINISH(bytes, call) look(at, bytes, __builtin_return_address(0))
#else
#define FINISH(bytes, call) __attribute__((musttail)) return call
#endif

#define HOOK(name, bytes, call, ...)                                                \
  void __real_##name(__VA_ARGS__);                                                  \
  void __wrap_##name(__VA_ARGS__) {                                                 \
    if (__builtin_expect(counted_port != 0, 0)) count(__builtin_return_address(0)); \
    FINISH(bytes, call);                                                            \
  }
#define HOOK_OF(bytes)                                                                 \
  HOOK(__asan_store##bytes##_noabort, bytes, __real___asan_store##bytes##_noabort(at), \
       const void* at)
HOOK_OF(1)
HOOK_OF(2)
HOOK_OF(4)
HOOK_OF(8)
HOOK_OF(16)
HOOK(__asan_storeN_noabort, bytes, __real___asan_storeN_noabort(at, bytes), const void* at,
     size_t bytes)
