// SPDX-License-Identifier: Apache-2.0
// What makes memcached a VMSRS server without a change to it: its shared memory is a region, each
// event of a connection a user. README.md tells why it is cut like this.
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include "bipbuffer.h"
#include "memcached.h"

// ---- The region: variables that protected.ld gathers, and behind them memory for slab pages, hash
// tables and the like. One region, so that a hook looks at one range.

#ifndef GUARD_PAGES
#define GUARD_PAGES \
  112  // of a MiB each: memcached has 64, and beyond them one for each size of items
#endif
enum { kGranuleBytes = 64, kPages = GUARD_PAGES, kPageBytes = 1 << 20, kHeapBytes = 16 << 20 };
// Of each page.
enum PageState { kFresh, kFreshTaken, kTaken, kFree };  // fresh: zeroes still
__attribute__((section(".bss.guard_pages"))) uint8_t guard_pages[kPages];
__attribute__((section(".bss.guard_heap"), aligned(4096))) char guard_heap[kHeapBytes];
__attribute__((section(".bss.guard_memory"), aligned(4096))) char guard_memory[kPages][kPageBytes];
extern char protected_begin[];  // protected.ld
static size_t page_count;       // of the region

static size_t page_of(const void* memory) {
  return (size_t)((const char*)memory - guard_memory[0]) / kPageBytes;
}

// Not more than memcached may use.
static size_t pages_wanted(void) {
  enum { kLeast = 64, kSizes = 48 };
  const size_t most = settings.maxbytes / kPageBytes;
  const size_t wanted = (most < kLeast ? kLeast : most) + kSizes;
  return wanted < kPages ? wanted : kPages;
}

static bool attached;

static uint32_t crash_limit(void) {
  const char* const text = getenv("MEMCACHED_CRASH_LIMIT");
  return text == NULL ? 0 : (uint32_t)strtoul(text, NULL, 10);
}

// Of a user, before it is taken to its end. What is announced by hand is many stores, some of them
// behind calls: one that has crashed must not run on to them.
#ifdef GUARD_BY_HAND
enum { kFaultLimit = 1 };
#else
enum { kFaultLimit = 0 };  // the library's own
#endif

static void attach(void) {
  const vmsrs_options options = {.server_name = "memcached",
                                 .secret_file = getenv("MEMCACHED_SECRET"),
                                 .fault_limit = kFaultLimit,
                                 .signal_mask_stays = true,
                                 .suppression_limit_ms = 2000,
                                 .site_crash_limit = crash_limit(),
                                 .crash_limit = crash_limit()};
  if (options.secret_file == NULL)
    errx(EX_USAGE, "MEMCACHED_SECRET: the secret's file is not named");
  const vmsrs_profile_options region = {.eager = true};
  page_count = pages_wanted();
  if (vmsrs_attach(&options) != 0 ||
      vmsrs_profile(protected_begin, (size_t)(guard_memory[page_count] - protected_begin),
                    kGranuleBytes, &region) < 0 ||
      vmsrs_heap_create(guard_heap, kHeapBytes, false) == NULL)
    errx(EX_UNAVAILABLE, "%s", vmsrs_error_message());
  attached = true;
}

// The first of memcached's functions that needs memory of the region's, and after its fork.
int guard_lock(pthread_mutex_t* lock);
int guard_unlock(pthread_mutex_t* lock);
pthread_mutex_t guard_alone = PTHREAD_MUTEX_INITIALIZER;  // of nothing: who has it is a user
void __real_assoc_init(int power);
void __wrap_assoc_init(int power) {
  attach();
  guard_lock(&guard_alone);
  __real_assoc_init(power);
  guard_unlock(&guard_alone);
}
// And what comes behind it.
void __real_slabs_init(size_t limit, double factor, bool prealloc, const uint32_t* sizes,
                       void* memory, bool reuse);
void __wrap_slabs_init(size_t limit, double factor, bool prealloc, const uint32_t* sizes,
                       void* memory, bool reuse) {
  guard_lock(&guard_alone);
  __real_slabs_init(limit, factor, prealloc, sizes, memory, reuse);
  guard_unlock(&guard_alone);
}

// What slabs.c and assoc.c call in place of malloc(), free() and memset(). A page that a crashed
// user took is free again, for its state is restored.
// Without slab_reassign memcached's are as long as their chunks are together, so a little shorter.
static bool is_page(size_t bytes) { return bytes > kPageBytes / 2 && bytes <= kPageBytes; }
void* guard_malloc(size_t bytes) {
  if (!is_page(bytes)) return vmsrs_malloc(bytes);
  for (size_t i = 0; i < page_count; ++i)
    if (guard_pages[i] == kFresh || guard_pages[i] == kFree) {
      vmsrs_store_u8(&guard_pages[i], guard_pages[i] == kFresh ? kFreshTaken : kTaken);
      return guard_memory[i];
    }
  return NULL;
}
void guard_free(void* memory) {
  const size_t page = page_of(memory);
  if (page < kPages)
    vmsrs_store_u8(&guard_pages[page], guard_pages[page] == kFreshTaken ? kFresh : kFree);
  else
    vmsrs_free(memory);
}
// A page that is zeroes is not made so: that would be a store to each of its granules.
void* guard_memset(void* memory, int byte, size_t bytes) {
  const size_t page = page_of(memory);
  if (page >= kPages || !is_page(bytes) || guard_pages[page] != kFreshTaken || byte != 0)
    return memset(memory, byte, bytes);
  vmsrs_store_u8(&guard_pages[page], kTaken);
  return memory;
}

// Entries name items, with a count in the item's head for each: they are restored together.
bipbuf_t* guard_bipbuf_new(unsigned bytes) {
  guard_lock(&guard_alone);
  bipbuf_t* const buffer = vmsrs_malloc(sizeof *buffer + bytes);
  if (buffer != NULL) bipbuf_init(buffer, bytes);
  guard_unlock(&guard_alone);
  return buffer;
}

// ---- One user at a time is at work on the region: from the first lock of shared data on that it
// takes until it has finished. That lock is the gate: nobody has one of the others without it, so
// they are not taken, and a thread knows by itself which of them it has.

enum { kReplyBytes = 64 * 1024, kFetched = 16, kHeld = 16 };

// References to an item that the thread's request has got by fetches, and that are not in the
// item's own count.
typedef struct Fetched {
  item* item;
  unsigned count;
} Fetched;

// The calling thread's request.
typedef struct Request {
  bool open;
  bool at_work;    // holds the gate
  unsigned locks;  // of shared data that it holds: the first ones of these
  const pthread_mutex_t* held[kHeld];
  // Of a thread without one, which tidies up:
  bool tidies;
  unsigned sections;  // from a first lock to a last one, of its user
  bool fetches;
  Fetched fetched[kFetched];
  unsigned fetched_count;
  // After a crash:
  bool del_waits, close_waits;
  // What the connection had of the region's when it began:
  item** had;
  size_t had_count, had_room;
  // What goes out when it has finished:
  size_t reply_bytes;
  char* reply;
} Request;
static __thread Request request;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static _Atomic unsigned waiting;  // for the gate
enum { kSections = 64 };

// An announcement by hand has not got its granules. A thread that tidies up has nothing to be
// unwound to: it would be parked with the gate.
void guard_refused(void) {
  if (!request.open) {
    warnx("a thread that tidies up may not store: %s", vmsrs_error_message());
    _exit(EX_SOFTWARE);
  }
  abort();
}

static void leave_gate(void) {
  request.at_work = false;
  pthread_mutex_unlock(&gate);
}

static void enter_gate(void) {
  if (pthread_mutex_trylock(&gate) != 0) {
    ++waiting;
    pthread_mutex_lock(&gate);
    --waiting;
  }
  request.at_work = true;
}

static void count_fetched(void);

static void enter(void) {
  if (!request.fetches) count_fetched();
  if (request.locks != 0 || request.at_work) return;
  enter_gate();
  if (request.open) return;
  vmsrs_user_begin(0);
}

static unsigned place_of(const pthread_mutex_t* lock) {
  unsigned i = 0;
  while (i < request.locks && request.held[i] != lock) ++i;
  return i;
}

static void finish(void) {
  request.sections = 0;
  vmsrs_user_end();
  leave_gate();
}

static void leave(void) {
  if (request.locks != 0 || request.open) return;
  if (!request.tidies || ++request.sections == kSections || waiting != 0) finish();
}

void guard_wait(void) {
  if (request.sections != 0 && request.locks == 0) finish();
}
void guard_sleep(void) {
  guard_wait();
  request.tidies = true;
}

int guard_lock(pthread_mutex_t* lock) {
  enter();
  if (request.locks == kHeld)
    errx(EX_SOFTWARE, "more than %d locks of shared data at a time", kHeld);
  request.held[request.locks++] = lock;
  return 0;
}
int guard_trylock(pthread_mutex_t* lock) {
  return place_of(lock) < request.locks ? EBUSY : guard_lock(lock);
}
int guard_unlock(pthread_mutex_t* lock) {
  const unsigned place = place_of(lock);
  if (place == request.locks) return EPERM;  // of a request that was unwound
  request.held[place] = request.held[--request.locks];
  leave();
  return 0;
}

// One of a connection's.
typedef struct Event {
  evutil_socket_t file;
  short which;
  conn* c;
} Event;

// ---- References to items that a request has fetched: it lets go of nearly all of them before it
// has finished, and nobody else is at work until then, so they are not in the items' own counts. A
// fetch stores nothing to the region therefore. Before the request takes any other lock of shared
// data, and at its end, the counts become what they should be.

static Fetched* fetched_of(const item* item) {
  for (unsigned i = request.fetched_count; i-- > 0;)
    if (request.fetched[i].item == item) return &request.fetched[i];
  return NULL;
}

static void count_fetched(void) {
  while (request.fetched_count > 0) {
    const Fetched* const last = &request.fetched[--request.fetched_count];
    vmsrs_store_u16(&last->item->refcount, (uint16_t)(last->item->refcount + last->count));
  }
}

item* __real_item_get(const char* key, size_t bytes, conn* c, bool update);
item* __wrap_item_get(const char* key, size_t bytes, conn* c, bool update) {
  request.fetches = request.open;
  item* const item = __real_item_get(key, bytes, c, update);
  request.fetches = false;
  return item;
}

// What a fetch changes in an item is that it was hit, and its place in the LRU. A thread's requests
// have that done for many of them together, or a moment later, by a user of its own.
enum { kHits = 64 };
typedef struct Hit {
  uint8_t bytes;
  char key[KEY_MAX_LENGTH];
} Hit;
static __thread Hit hits[kHits];
static __thread uint32_t hit_hashes[kHits];
static __thread unsigned hit_count;

static void note_hit(const char* key, size_t bytes, uint32_t hash) {
  if (hit_count == kHits) return;  // many in one event: memcached loses some then, too
  Hit* const hit = &hits[hit_count];
  hit_hashes[hit_count++] = hash;
  hit->bytes = (uint8_t)bytes;
  memcpy(hit->key, key, bytes);
}

static void bump_hits(void* argument) {
  const Event* const event = argument;
  for (unsigned i = 0; i < hit_count; ++i) {
    item_lock(hit_hashes[i]);
    item* const item = assoc_find(hits[i].key, hits[i].bytes, hit_hashes[i]);
    if (item != NULL) do_item_bump(event->c, item, hit_hashes[i]);
    item_unlock(hit_hashes[i]);
  }
}

// For a request that may show what an item's hits are, or changes what is there.
item* __real_item_get_locked(const char* key, size_t bytes, conn* c, bool update, uint32_t* hash);
item* __wrap_item_get_locked(const char* key, size_t bytes, conn* c, bool update, uint32_t* hash) {
  item* const item = __real_item_get_locked(key, bytes, c, update, hash);
  if (item == NULL || !request.open) return item;
  for (unsigned i = 0; i < hit_count; ++i) {
    if (hit_hashes[i] != *hash || hits[i].bytes != bytes || memcmp(hits[i].key, key, bytes) != 0)
      continue;
    do_item_bump(c, item, *hash);
    hit_hashes[i] = hit_hashes[--hit_count];
    hits[i] = hits[hit_count];
    --i;
  }
  return item;
}

// One that is there, and stays. As memcached judges.
static bool is_plain_fetch(const conn* c, item* item, bool update) {
  return item != NULL && !item_is_flushed(item) &&
         (item->exptime == 0 || item->exptime > current_time) &&
         (!update || settings.lru_segmented) && settings.verbose <= 2 &&
         (c->thread->l->eflags & LOG_FETCHERS) == 0;
}

// Its lock is held.
item* __real_do_item_get(const char* key, size_t bytes, uint32_t hash, conn* c, bool update);
item* __wrap_do_item_get(const char* key, size_t bytes, uint32_t hash, conn* c, bool update) {
  if (!request.fetches) return __real_do_item_get(key, bytes, hash, c, update);
  item* const item = assoc_find(key, bytes, hash);
  Fetched* fetched = fetched_of(item);
  if (!is_plain_fetch(c, item, update) || (fetched == NULL && request.fetched_count == kFetched)) {
    count_fetched();
    return __real_do_item_get(key, bytes, hash, c, update);
  }
  if (fetched == NULL) {
    fetched = &request.fetched[request.fetched_count++];
    *fetched = (Fetched){item, 0};
  }
  ++fetched->count;
  if (update && (item->it_flags & ITEM_ACTIVE) == 0) note_hit(key, bytes, hash);
  return item;
}

void __real_item_remove(item* item);
void __wrap_item_remove(item* item) {
  Fetched* const fetched = fetched_of(item);
  if (fetched == NULL) return __real_item_remove(item);
  if (--fetched->count == 0) *fetched = request.fetched[--request.fetched_count];
}

// ---- Replies wait until what they tell of has been finished.

static void send_all(int file, const char* from, size_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = send(file, from, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct pollfd writable = {.fd = file, .events = POLLOUT};
    if (sent < 0 && (errno != EAGAIN || poll(&writable, 1, 1000) <= 0)) {
      shutdown(file, SHUT_RDWR);  // memcached will see it, and close
      return;
    }
    if (sent < 0) continue;
    from += sent;
    bytes -= (size_t)sent;
  }
}

ssize_t __real_sendmsg(int file, const struct msghdr* message, int flags);
ssize_t __wrap_sendmsg(int file, const struct msghdr* message, int flags) {
  if (!request.open || message->msg_name != NULL) return __real_sendmsg(file, message, flags);
  size_t bytes = 0;
  for (size_t i = 0; i < message->msg_iovlen; ++i) bytes += message->msg_iov[i].iov_len;
  if (vmsrs_user_crashed()) return (ssize_t)bytes;
  if (!request.at_work) return __real_sendmsg(file, message, flags);
  if (request.reply == NULL) request.reply = malloc(kReplyBytes);
  if (request.reply == NULL || request.reply_bytes + bytes > kReplyBytes) {
    errno = EAGAIN;  // it is asked for as an event of its own, which has nothing to finish
    return -1;
  }
  for (size_t i = 0; i < message->msg_iovlen; ++i) {
    memcpy(request.reply + request.reply_bytes, message->msg_iov[i].iov_base,
           message->msg_iov[i].iov_len);
    request.reply_bytes += message->msg_iov[i].iov_len;
  }
  return (ssize_t)bytes;
}

// ---- A connection whose user has crashed: all that it got of the region in this event is not its
// any more, and it is closed.

int __real_event_del(struct event* event);
int __wrap_event_del(struct event* event) {
  if (!request.open || !vmsrs_user_crashed()) return __real_event_del(event);
  request.del_waits = true;
  return 0;
}
int __real_close(int file);
// Behind the replies that wait ("quit" comes with them).
int __wrap_close(int file) {
  if (!request.open || (!request.at_work && !vmsrs_user_crashed())) return __real_close(file);
  request.close_waits = true;
  return 0;
}

static void note(item* item) {
  if (request.had_count == request.had_room) {
    const size_t room = request.had_room == 0 ? 16 : 2 * request.had_room;
    void* const more = realloc(request.had, room * sizeof *request.had);
    if (more == NULL) return;  // then a count stays too high
    request.had = more;
    request.had_room = room;
  }
  request.had[request.had_count++] = item;
}

static void note_what_it_has(const conn* c) {
  request.had_count = 0;
  if (c->item != NULL && !c->item_malloced) note(c->item);
  for (const mc_resp* reply = c->resp_head; reply != NULL; reply = reply->next)
    if (reply->item != NULL) note(reply->item);
}

static void give_back_what_it_had(conn* c) {
  if (!c->item_malloced) c->item = NULL;
  for (mc_resp* reply = c->resp_head; reply != NULL; reply = reply->next) reply->item = NULL;
  for (size_t i = 0; i < request.had_count; ++i) item_remove(request.had[i]);
}

// A user that was taken out of the middle of something has left that as it was: its replies, and
// what its thread gives out to all its connections, are not looked at any more. They are lost.
static void forget_what_was_cut(conn* c) {
  c->resp = c->resp_head = NULL;
  c->thread->open_bundle = NULL;
  c->thread->rbuf_cache = cache_create("rbuf", READ_BUFFER_SIZE, sizeof(char*));
  c->thread->io_cache = cache_create("io", sizeof(io_pending_t), sizeof(char*));
  if (c->thread->rbuf_cache == NULL || c->thread->io_cache == NULL) errx(EX_OSERR, "no memory");
}

static void tell(const conn* c) {
  static const char kFailed[] = "SERVER_ERROR the request failed, nothing was changed\r\n";
  if (c->protocol == ascii_prot && !IS_UDP(c->transport) && c->resp_head == NULL)
    send(c->sfd, kFailed, sizeof kFailed - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// What memcached did at its end, as the crashed user, and what was held back of that.
static void finish_closing(conn* c) {
  if (request.del_waits) event_del(&c->event);
  if (request.close_waits) close(c->sfd);
  STATS_LOCK();
  vmsrs_store_u64(&stats_state.curr_conns, stats_state.curr_conns - 1);  // no hook is in here
  STATS_UNLOCK();
}

typedef void Callback(evutil_socket_t file, short which, void* argument);
static Callback* event_handler;  // memcached's own

static void handle(void* argument) {
  const Event* const event = argument;
  // The rest of a value is read to its item: a store to the region like any other.
  if (event->c->state == conn_nread) enter_gate();
  event_handler(event->file, event->which, event->c);
  count_fetched();
}

static int run(void (*body)(void*), Event* event) {
  request.open = true;
  request.locks = 0;
  request.reply_bytes = 0;
  request.fetches = false;
  request.fetched_count = 0;
  request.del_waits = request.close_waits = false;
  note_what_it_has(event->c);
  const int outcome = vmsrs_run_user((uint64_t)event->file, body, event, NULL, NULL);
  request.open = false;
  if (outcome < 0) warnx("connection %d: %s", event->file, vmsrs_error_message());
  if (outcome == VMSRS_UNWOUND) request.at_work = false;  // the library has let go of it
  if (request.at_work) leave_gate();
  request.locks = 0;
  if (outcome != VMSRS_FINISHED) return outcome;
  if (request.reply_bytes != 0) send_all(event->file, request.reply, request.reply_bytes);
  if (request.close_waits) close(event->file);
  return outcome;
}

static __thread conn nobody;  // of the thread, for hits: they are no request's any more
static __thread bool timer_runs;

static void make_up_hits(void) {
  Event of_no_request = {-1, 0, &nobody};
  if (hit_count != 0) run(bump_hits, &of_no_request);
  hit_count = 0;
}

static void on_timer(evutil_socket_t file, short which, void* argument) {
  timer_runs = false;
  make_up_hits();
}

static void see_to_hits(LIBEVENT_THREAD* thread) {
  static const struct timeval kSoon = {.tv_sec = 0, .tv_usec = 100000};
  nobody.thread = thread;
  if (hit_count == kHits) make_up_hits();
  if (hit_count != 0 && !timer_runs)
    timer_runs = event_base_once(thread->base, -1, EV_TIMEOUT, on_timer, NULL, &kSoon) == 0;
}

static void on_event(evutil_socket_t file, short which, void* argument) {
  Event event = {file, which, argument};
  conn* const c = event.c;
  if (!attached || c->state == conn_listening) return handle(&event);
  const int outcome = run(handle, &event);
  if (outcome == VMSRS_FINISHED) return see_to_hits(c->thread);
  if (outcome == VMSRS_UNWOUND) forget_what_was_cut(c);
  tell(c);
  give_back_what_it_had(c);
  if (c->state == conn_closed) return finish_closing(c);
  if (request.del_waits) event_del(&c->event);
  conn_set_state(c, conn_closing);
  if (run(handle, &event) == VMSRS_FINISHED) return;
  warnx("connection %d: its end failed too", c->sfd);
  finish_closing(c);
}

void __real_event_set(struct event* event, evutil_socket_t file, short which, Callback* callback,
                      void* argument);
void __wrap_event_set(struct event* event, evutil_socket_t file, short which, Callback* callback,
                      void* argument) {
  const conn* const c = argument;
  const bool is_connection = c != NULL && event == &c->event;
  if (is_connection) event_handler = callback;
  __real_event_set(event, file, which, is_connection ? on_event : callback, argument);
}
