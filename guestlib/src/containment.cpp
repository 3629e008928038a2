// SPDX-License-Identifier: Apache-2.0
#include "containment.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "control.hpp"
#include "default_action.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "interpose.hpp"
#include "line.hpp"
#include "sealed_page.hpp"
#include "suppression.hpp"
#include "system_calls.hpp"
#include "thread.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint32_t kDefaultSiteLimit = 100;
constexpr std::uint32_t kDefaultServerLimit = 1000;
constexpr std::uint32_t kDefaultWindowS = 60;
constexpr std::size_t kMostSites = 24;
constexpr std::size_t kMostRefused = 64;

// Crashes since the window began; the next one after its end begins another.
struct Window {
  std::uint64_t began_ns;
  std::uint32_t count;
};

struct Site {
  vmsrs_crash_site known;  // crashes == 0: the place is free
  std::uint64_t began_ns;
};

struct RefusedLabel {
  std::uint64_t label, until_ns;
};

struct Containment {
  vmsrs_containment_status status;
  std::uint32_t site_limit, server_limit;
  std::uint64_t window_ns;
  bool refuses;
  Window window;
  std::uint32_t refused_count;
  Site sites[kMostSites];
  RefusedLabel refused[kMostRefused];
};
static_assert(sizeof(Containment) <= VMSRS_PAGE_BYTES);

alignas(VMSRS_PAGE_BYTES) constinit SealedPage<Containment> page{};
constinit std::atomic<std::uint32_t> page_lock{0};
// What a scope that is opened looks at; refusals are there while it is not 0.
std::uint32_t refused_count() {
  return __atomic_load_n(&page.value.refused_count, __ATOMIC_RELAXED);
}

// Module and offset: the same in every run, wherever the loader has put it.
void name_site(std::uint64_t instruction, vmsrs_crash_site& site) {
  site.instruction = site.offset = instruction;
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(instruction), &found) != 0) return;
  site.offset = instruction - found.dlfo_link_map->l_addr;
  const char* const path = found.dlfo_link_map->l_name;
  const char* const slash = strrchr(path, '/');
  const char* const name = *path == '\0'      ? program_invocation_short_name
                           : slash != nullptr ? slash + 1
                                              : path;
  strncpy(site.module, name, sizeof site.module - 1);
}

void tell_site(Line& line, const vmsrs_crash_site& site) {
  line.text(site.module[0] != '\0' ? site.module : "an unknown module").text("+").hex(site.offset);
}

std::uint32_t count_in_window(std::uint64_t& began_ns, std::uint32_t& count, std::uint64_t now,
                              std::uint64_t window_ns) {
  if (count == 0 || now - began_ns > window_ns) {
    began_ns = now;
    count = 0;
  }
  return ++count;
}

// The site's place, or that of the one whose window began first.
Site& site_of(Containment& all, std::uint64_t instruction) {
  Site* oldest = all.sites;
  for (Site& site : all.sites) {
    if (site.known.crashes != 0 && site.known.instruction == instruction) return site;
    if (site.known.crashes == 0 || site.began_ns < oldest->began_ns) oldest = &site;
    if (site.known.crashes == 0) break;
  }
  *oldest = {};
  name_site(instruction, oldest->known);
  return *oldest;
}

// False: there is no place left.
bool refuse(Containment& all, std::uint64_t label, std::uint64_t now) {
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < all.refused_count; ++i)
    if (all.refused[i].until_ns > now && all.refused[i].label != label)
      all.refused[kept++] = all.refused[i];
  const bool fits = kept < kMostRefused;
  if (fits) all.refused[kept++] = {label, now + all.window_ns};
  __atomic_store_n(&all.refused_count, kept, __ATOMIC_RELAXED);
  return fits;
}

enum class Whose : std::uint8_t { kNobodys, kUsers, kCrashedUsers };

// Of a thread whose seal does not hold only the engine knows.
Whose whose_thread() {
  if (seal_holds(thread_context())) return user_is_crashed() ? Whose::kCrashedUsers : Whose::kUsers;
  const CallResult result = call(VMSRS_CALL_USER_EXPOSED);
  if (result.status == VMSRS_NO_USER) return Whose::kNobodys;
  return result.status == VMSRS_OK && result.second != 0 ? Whose::kCrashedUsers : Whose::kUsers;
}

// No handler of the program's gets between: it might go on.
[[noreturn]] void fail_stop(const vmsrs_crash_site& site, std::uint32_t count, const char* whose) {
  Line line;
  line.text("vmsrs: ").number(count).text(" users have crashed within the window, ").text(whose);
  line.text(", the last one at ");
  tell_site(line, site);
  line.text(": that is past the limit (site_crash_limit, crash_limit): ending.\n");
  line.write_to(STDERR_FILENO);
  set_default(SIGABRT);
  sigset_t abort_signal;
  sigemptyset(&abort_signal);
  sigaddset(&abort_signal, SIGABRT);
  pthread_sigmask(SIG_UNBLOCK, &abort_signal, nullptr);
  for (;;) send_to_self(SIGABRT);
}

// Where a hypervisor sees faults, it counts those of this process's users as crashes from their
// instruction on. One that is older does not know the call, and then the signal is the first word.
void tell_platform(std::uint32_t mode) {
  (void)call(VMSRS_CALL_WATCH_FAULTS, {.rdi = mode == VMSRS_CONTAINMENT_ON});
}

// The operator's word counts before the process's own. It lies in the window, where no user can
// write.
std::uint32_t mode_in_force() {
  const vmsrs_window* const window = attached_window();
  const std::uint32_t wanted =
      window != nullptr ? __atomic_load_n(&window->status.containment, __ATOMIC_ACQUIRE) : 0;
  switch (wanted) {
    case VMSRS_SERVER_CONTAIN:
      return VMSRS_CONTAINMENT_ON;
    case VMSRS_SERVER_OBSERVE:
      return VMSRS_CONTAINMENT_OBSERVE;
    case VMSRS_SERVER_OFF:
      return VMSRS_CONTAINMENT_OFF;
    default:
      return __atomic_load_n(&page.value.status.mode, __ATOMIC_RELAXED);
  }
}

std::uint32_t value_or(std::uint32_t value, std::uint32_t otherwise) {
  return value != 0 ? value : otherwise;
}

}  // namespace

void set_up_containment(const vmsrs_options& options) {
  Writing writing(page, page_lock);
  *writing = {};
  writing->status.mode = options.containment;
  writing->site_limit = value_or(options.site_crash_limit, kDefaultSiteLimit);
  writing->server_limit = value_or(options.crash_limit, kDefaultServerLimit);
  writing->window_ns =
      std::uint64_t{value_or(options.crash_window_s, kDefaultWindowS)} * 1'000'000'000u;
  writing->refuses = options.site_limit_refuses;
  tell_platform(options.containment);
}

bool contains_fault(int signal, std::uint64_t instruction) {
  const std::uint32_t mode = mode_in_force();
  if (mode != VMSRS_CONTAINMENT_OBSERVE && mode != VMSRS_CONTAINMENT_OFF) return true;
  const Whose whose = whose_thread();
  if (whose == Whose::kCrashedUsers) return true;  // to its end
  if (mode == VMSRS_CONTAINMENT_OFF || whose == Whose::kNobodys) return false;
  {
    Writing writing(page, page_lock);
    ++writing->status.observed_count;
  }
  vmsrs_crash_site site{};
  name_site(instruction, site);
  Line line;
  line.text("vmsrs: observing: SIG").text(sigabbrev_np(signal)).text(" of a user at ");
  tell_site(line, site);
  line.text(" would have been contained\n").write_to(STDERR_FILENO);
  return false;
}

void count_crash(vmsrs_fault_kind kind, std::uint64_t instruction, std::uint64_t label,
                 bool label_is_known) {
  const std::uint64_t now = now_ns();
  vmsrs_crash_site site{};
  std::uint32_t in_server = 0;
  bool past_site = false;
  {
    Writing writing(page, page_lock);
    Containment& all = *writing;
    ++all.status.crash_count;
    in_server = count_in_window(all.window.began_ns, all.window.count, now, all.window_ns);
    Site& place = site_of(all, instruction);
    ++place.known.crashes;
    place.known.fault = kind;
    count_in_window(place.began_ns, place.known.crashes_in_window, now, all.window_ns);
    site = place.known;
    past_site = site.crashes_in_window > all.site_limit;
    if (past_site && all.refuses && label_is_known) past_site = !refuse(all, label, now);
  }
  if (past_site) fail_stop(site, site.crashes_in_window, "all at one site");
  if (in_server > page.value.server_limit) fail_stop(site, in_server, "all of this process");
}

int check_label(std::uint64_t label) {
  const std::uint32_t count = refused_count();
  if (count == 0) [[likely]]
    return 0;
  const std::uint64_t now = now_ns();
  for (std::uint32_t i = 0; i < count && i < kMostRefused; ++i) {
    const RefusedLabel& refused = page.value.refused[i];
    if (refused.label != label || refused.until_ns <= now) continue;
    {
      Writing writing(page, page_lock);
      ++writing->status.refused_count;
    }
    return fail(
        VMSRS_ERROR_REFUSED,
        "opening a user scope: users labelled %llu have crashed at one site more often than "
        "site_crash_limit allows: refused for %llu s",
        static_cast<unsigned long long>(label),
        static_cast<unsigned long long>((refused.until_ns - now) / 1'000'000'000u + 1));
  }
  return 0;
}

const void* containment_page(std::size_t& bytes) {
  bytes = sizeof page;
  return &page;
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_set_containment(enum vmsrs_containment_mode mode) {
  if (attached_window() == nullptr) return fail_status("vmsrs_set_containment", VMSRS_NOT_ATTACHED);
  if (mode < VMSRS_CONTAINMENT_ON || mode > VMSRS_CONTAINMENT_OFF)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_set_containment: %d is no vmsrs_containment_mode",
                static_cast<int>(mode));
  if (in_suppression() && user_is_crashed())
    return fail_status("vmsrs_set_containment", VMSRS_CRASHED);
  Writing writing(page, page_lock);
  writing->status.mode = mode;
  tell_platform(mode);
  return 0;
}

int vmsrs_get_containment(vmsrs_containment_status* status) {
  if (attached_window() == nullptr) return fail_status("vmsrs_get_containment", VMSRS_NOT_ATTACHED);
  *status = page.value.status;
  status->mode = mode_in_force();
  status->polices_calls = control().polices_calls;
  status->refused_call_count = refused_call_count();
  return 0;
}

size_t vmsrs_crash_sites(vmsrs_crash_site* sites, size_t capacity) {
  size_t count = 0;
  for (const Site& site : page.value.sites) {
    if (site.known.crashes == 0) continue;
    if (count < capacity) sites[count] = site.known;
    ++count;
  }
  return count;
}
