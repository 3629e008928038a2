// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../error.hpp"
#include "../platform.hpp"
#include "hosted/lane_call.hpp"
#include "hosted/link.hpp"

// The seam on vmsrs-hosted: calls on lanes of the shared call area. The thread's number of its lane
// is a hint only: the other side knows whose lane it is, and says so when the hint is wrong.
//
// A signal may interrupt a call, and its handler may call: so a thread has a lane for each level of
// calls within calls.
namespace vmsrs::guest::hosted {
namespace {

namespace transport = vmsrs::hosted;
using transport::LaneResult;
using transport::Link;

// The connection, in a page that is read-only once it is made, and that is all zeroes in a child
// after fork: a child is not attached, until it attaches itself.
struct alignas(VMSRS_PAGE_BYTES) LinkPage {
  bool connected;
  Link link;
  pthread_key_t thread_key;  // its destructor gives a thread's lanes back
};
static_assert(sizeof(LinkPage) == VMSRS_PAGE_BYTES);

const LinkPage* link_page_ = nullptr;

struct ThreadLanes {
  std::uint32_t level;
  std::uint32_t lane_plus_one[VMSRS_LANE_LEVELS];  // 0: none yet
  transport::SpinBudget budget;
};
constinit thread_local ThreadLanes lanes_of_thread{};

const Link* connected_link() {
  const LinkPage* const page = __atomic_load_n(&link_page_, __ATOMIC_RELAXED);
  return page != nullptr && page->connected ? &page->link : nullptr;
}

std::uint64_t this_thread() {
  std::uint64_t base;
  asm("mov %%fs:0, %0" : "=r"(base));
  return base;
}

void give_lanes(void*) {
  lanes_of_thread = {};
  const Link* const link = connected_link();
  if (link == nullptr) return;
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_LANE_GIVE;
  message.a = this_thread();
  transport::ask(*link, message);
}

vmsrs_status take_lane(const Link& link, std::uint32_t level) {
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_LANE_TAKE;
  message.a = this_thread();
  message.b = static_cast<std::uint64_t>(syscall(SYS_gettid));
  message.c = level;
  const vmsrs_status status = transport::ask(link, message);
  if (status != VMSRS_OK || message.a >= link.lane_count)
    return status != VMSRS_OK ? status : VMSRS_NOT_ATTACHED;
  lanes_of_thread.lane_plus_one[level] = static_cast<std::uint32_t>(message.a) + 1;
  pthread_setspecific(link_page_->thread_key, &lanes_of_thread);
  return VMSRS_OK;
}

CallResult call_at_level(const Link& link, std::uint32_t level, transport::Registers registers) {
  constexpr unsigned kAttempts = 4;
  const transport::Registers asked = registers;
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint32_t lane = lanes_of_thread.lane_plus_one[level] - 1;
    if (lane >= link.lane_count) {
      if (const vmsrs_status status = take_lane(link, level); status != VMSRS_OK)
        return {status, 0, 0};
      continue;
    }
    registers = asked;
    switch (transport::call_on_lane(link, lane, this_thread(), registers, lanes_of_thread.budget)) {
      case LaneResult::kAnswered:
        return {registers.rax, registers.rdx, registers.rsi};
      case LaneResult::kNotYours:
        lanes_of_thread.lane_plus_one[level] = 0;
        break;
      case LaneResult::kGone:
        return {VMSRS_NOT_ATTACHED, 0, 0};
    }
  }
  return {VMSRS_NO_SLOT, 0, 0};
}

int no_memory(const char* what) {
  return fail(VMSRS_ERROR_SYSTEM, "%s: %s", what, strerrordesc_np(errno));
}

constexpr bool serves(std::uint64_t callee, std::uint64_t major, std::uint64_t minor) {
  return callee >> 16 == major && (callee & 0xffffu) >= minor;
}

// ---- Regions

// What the last two calls of prepare_region took, the newest first: a region, and before it its
// claims. 0: nothing. Under the program's own order of profile() calls.
std::uint64_t newest_memory[2] = {};

void note_memory(std::uint64_t number) {
  newest_memory[1] = newest_memory[0];
  newest_memory[0] = number;
}

void give_memory(std::uint64_t number) {
  const Link* const link = connected_link();
  if (link == nullptr || number == 0) return;
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_MEMORY_GIVE;
  message.a = number;
  transport::ask(*link, message);
}

// The new memory takes the pages' place, with their content if that matters: else it is zeroes, and
// takes no room before it is used.
int replace_pages(std::byte* pages, std::size_t bytes, int descriptor, Content content) {
  if (content == Content::kKept) {
    void* const fresh = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (fresh == MAP_FAILED) return no_memory("profile: mmap of shared memory");
    memcpy(fresh, pages, bytes);
    munmap(fresh, bytes);
  }
  if (mmap(pages, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0) ==
      MAP_FAILED)
    return no_memory("profile: mmap of shared memory in place of the program's");
  return 0;
}

int refused(vmsrs_status status, const void* pages, std::size_t bytes) {
  switch (status) {
    case VMSRS_OVERLAP:
      return fail(
          VMSRS_ERROR_ARGUMENT,
          "profile: %p, %zu bytes: shares a page with another region and reaches beyond it: "
          "give each region pages of its own",
          pages, bytes);
    case VMSRS_NO_STORAGE:
      return fail(VMSRS_ERROR_STORAGE,
                  "profile: this account has all the shared memory that vmsrs-hosted gives it: "
                  "raise --memory-per-account, or protect less memory");
    default:
      return fail_status("profile, shared memory", status);
  }
}

}  // namespace

bool connect(char* problem, std::size_t problem_bytes) {
  if (const Link* const link = connected_link(); link != nullptr && transport::link_is_up(*link))
    return true;
  // A former connection that has ended stays mapped: a thread may be in the middle of it.
  void* const memory =
      mmap(nullptr, sizeof(LinkPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  madvise(memory, sizeof(LinkPage), MADV_WIPEONFORK);
  auto* const page = static_cast<LinkPage*>(memory);
  if (!transport::open_link(page->link, transport::default_socket_path(), VMSRS_MAX_LANES, problem,
                            problem_bytes)) {
    munmap(memory, sizeof(LinkPage));
    return false;
  }
  if (link_page_ != nullptr && link_page_->connected)  // not so in a child of fork
    page->thread_key = link_page_->thread_key;
  else
    pthread_key_create(&page->thread_key, give_lanes);
  lanes_of_thread = {};
  page->connected = true;
  mprotect(memory, sizeof(LinkPage), PROT_READ);
  __atomic_store_n(&link_page_, page, __ATOMIC_RELEASE);
  return true;
}

int check_version() {
  const CallResult version = call(VMSRS_CALL_VERSION, {});
  const std::uint64_t callee = version.first;
  if (version.status == VMSRS_OK && serves(callee, VMSRS_ABI_MAJOR, VMSRS_ABI_MINOR)) return 0;
  return fail(VMSRS_ERROR_VERSION,
              "vmsrs-hosted speaks ABI %llu.%llu, this library needs %u.%u: install both of the "
              "same release",
              static_cast<unsigned long long>(callee >> 16),
              static_cast<unsigned long long>(callee & 0xffffu), VMSRS_ABI_MAJOR, VMSRS_ABI_MINOR);
}

CallResult call(vmsrs_call number, const CallArguments& a) {
  const Link* const link = connected_link();
  if (link == nullptr) return {VMSRS_NOT_ATTACHED, 0, 0};
  ThreadLanes& mine = lanes_of_thread;
  const std::uint32_t level = mine.level < VMSRS_LANE_LEVELS ? mine.level : VMSRS_LANE_LEVELS - 1;
  __atomic_store_n(&mine.level, level + 1, __ATOMIC_RELAXED);
  asm volatile("" : : : "memory");  // a handler that interrupts from here on takes the next lane
  const CallResult result =
      call_at_level(*link, level, {number, a.rdi, a.rsi, a.rdx, a.r10, a.r8, a.r9});
  asm volatile("" : : : "memory");
  __atomic_store_n(&mine.level, level, __ATOMIC_RELAXED);
  return result;
}

void abandon_calls() { __atomic_store_n(&lanes_of_thread.level, 0u, __ATOMIC_RELAXED); }

const vmsrs_window* map_window(std::uint32_t server) {
  const Link* const link = connected_link();
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_WINDOW;
  int descriptor = -1;
  const vmsrs_status status =
      link != nullptr ? transport::ask(*link, message, &descriptor) : VMSRS_NOT_ATTACHED;
  if (status != VMSRS_OK || descriptor < 0 || message.a != server) {
    if (descriptor >= 0) close(descriptor);
    fail_status("the window of the server", status);
    return nullptr;
  }
  void* const address = mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) no_memory("the window of the server: mmap");
  close(descriptor);
  return address != MAP_FAILED ? static_cast<const vmsrs_window*>(address) : nullptr;
}

int prepare_region(void* address, std::size_t bytes, Content content) {
  note_memory(0);
  const Link* const link = connected_link();
  if (link == nullptr) return fail_status("profile", VMSRS_NOT_ATTACHED);
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t begin = first & ~std::uintptr_t{VMSRS_PAGE_BYTES - 1};
  const std::uintptr_t end =
      (first + bytes + VMSRS_PAGE_BYTES - 1) & ~std::uintptr_t{VMSRS_PAGE_BYTES - 1};
  auto* const pages = reinterpret_cast<std::byte*>(begin);
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_MEMORY_TAKE;
  message.a = begin;
  message.b = end - begin;
  int descriptor = -1;
  const vmsrs_status status = transport::ask(*link, message, &descriptor);
  if (status != VMSRS_OK) return refused(status, pages, end - begin);
  if (descriptor < 0) return 0;  // the pages are shared already
  const int error = replace_pages(pages, end - begin, descriptor, content);
  close(descriptor);
  if (error != 0)
    give_memory(message.a);
  else
    newest_memory[0] = message.a;
  return error;
}

void forget_region() {
  give_memory(newest_memory[0]);
  newest_memory[0] = newest_memory[1];
  newest_memory[1] = 0;
}

namespace {

Joined not_joined(const char* what, vmsrs_status status) {
  fail_status(what, status);
  return Joined::kFailed;
}

}  // namespace

Joined join_memory(std::uint64_t region, Part part, std::byte* wanted, std::byte*& at) {
  note_memory(0);
  const Link* const link = connected_link();
  if (link == nullptr) return not_joined("joining", VMSRS_NOT_ATTACHED);
  vmsrs_hosted_message found{};
  found.type = VMSRS_HOSTED_MEMORY_FIND;
  found.a = region;
  found.b = static_cast<std::uint64_t>(part);
  int descriptor = -1;
  vmsrs_status status = transport::ask(*link, found, &descriptor);
  if (status == VMSRS_NOT_FOUND) return Joined::kNone;
  if (status != VMSRS_OK || descriptor < 0) return not_joined("joining, shared memory", status);
  const std::size_t bytes = found.a, offset = found.c;
  auto* place = reinterpret_cast<std::byte*>(found.b);  // it is mapped there
  if (place == nullptr) {
    auto* const hint = wanted != nullptr ? wanted - offset : nullptr;
    const int fixed = wanted != nullptr ? MAP_FIXED : 0;
    const bool aligned = reinterpret_cast<std::uintptr_t>(hint) % VMSRS_PAGE_BYTES == 0;
    void* const mapped =
        aligned ? mmap(hint, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, descriptor, 0)
                : MAP_FAILED;
    if (!aligned)
      fail(VMSRS_ERROR_ARGUMENT,
           "joining: the region begins %zu bytes into its page, so it must here",
           offset % VMSRS_PAGE_BYTES);
    else if (mapped == MAP_FAILED)
      no_memory("joining: mmap of shared memory");
    close(descriptor);
    if (mapped == MAP_FAILED) return Joined::kFailed;
    place = static_cast<std::byte*>(mapped);
    vmsrs_hosted_message join{};
    join.type = VMSRS_HOSTED_MEMORY_JOIN;
    join.a = region;
    join.b = static_cast<std::uint64_t>(part);
    join.c = reinterpret_cast<std::uint64_t>(place);
    status = transport::ask(*link, join);
    if (status != VMSRS_OK) {
      if (wanted == nullptr) munmap(place, bytes);
      return not_joined("joining, shared memory", status);
    }
    newest_memory[0] = join.a;
  } else {
    close(descriptor);
  }
  at = place + offset;
  if (wanted == nullptr || at == wanted) return Joined::kDone;
  fail(VMSRS_ERROR_ARGUMENT, "joining: this process has the region's pages at %p already",
       static_cast<void*>(at));
  return Joined::kFailed;
}

std::byte* call_buffer(std::size_t& bytes) {
  const Link* const link = connected_link();
  const std::uint32_t level = lanes_of_thread.level;
  if (link == nullptr || level >= VMSRS_LANE_LEVELS) return nullptr;
  const std::uint32_t lane = lanes_of_thread.lane_plus_one[level] - 1;
  if (lane >= link->lane_count) return nullptr;
  bytes = VMSRS_MAX_RANGE_BYTES;
  return link->payload(lane);
}

// The head and all lanes, and the payloads of the first ones: each payload is like any other.
PlatformMemory platform_memory() {
  const Link* const link = connected_link();
  if (link == nullptr) return {};
  const std::size_t bytes =
      VMSRS_AREA_PAYLOADS_OFFSET(link->lane_count) + 4 * VMSRS_LANE_PAYLOAD_BYTES;
  return {link->head,
          bytes,
          link_page_,
          sizeof(LinkPage),
          {link->socket, link->turn, link->turn_back, link->doorbell}};
}

}  // namespace vmsrs::guest::hosted
