// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "claim_access.hpp"
#include "support/machine.hpp"
#include "support/pages.hpp"

namespace vmsrs::test {

// A machine with one server, "shop", whose regions have claims, as its library would lay them out.
// It may have several processes, which have all of that at addresses of their own: what belongs to
// one of them takes its number, the first one's if left out.
class ClaimServer {
 public:
  static constexpr std::uint32_t kProcessId = 4711;  // of the first process
  struct Part {
    std::size_t bytes;
    unsigned granule;
    bool claimed = true;  // false: every store is a call
    bool eager = false;
  };

  ClaimServer(std::vector<Part> parts, std::size_t area_bytes = 4096, unsigned processes = 1);

  Machine machine;
  Client manager{0x900000, 0x9000, 0};
  std::uint64_t token = 0;
  std::size_t area_bytes;
  Pages areas;
  std::vector<std::unique_ptr<Pages>> memory, claims;

  static std::uint64_t space_of(unsigned process) { return 0x100000 * (process + 1); }
  // A thread of that process, which reaches no other one's addresses.
  Client client(unsigned process, std::uint64_t thread) const;
  const std::vector<fast::Region>& regions_of(unsigned process) const {
    return processes_[process].regions;
  }
  Client& service_of(unsigned process) { return processes_[process].service; }
  // Attaches a process, and joins the first regions, all if left out. The first status that is not
  // OK, if there was one.
  vmsrs_status join(unsigned process, std::size_t part_count = VMSRS_MAX_REGIONS);
  // The process dies.
  vmsrs_status lose(unsigned process);

  std::uint8_t* region(std::size_t i, unsigned process = 0) const {
    return memory[i]->data(process);
  }
  vmsrs_claim& claim(std::size_t i, std::size_t granule) const {
    return regions[i].claims[granule];
  }
  vmsrs_user_area& area(std::uint64_t slot, unsigned process = 0) const {
    return *reinterpret_cast<vmsrs_user_area*>(areas.data(process) + slot * area_bytes);
  }
  const vmsrs_window& window() { return *machine.platform.window(0); }
  vmsrs_server_info info();
  vmsrs_check_report check();
  bool sound();

  std::uint64_t generation(std::uint64_t slot) {
    return __atomic_load_n(&window().users[slot], __ATOMIC_ACQUIRE) >> 2;
  }
  // In the operator's name; the service thread has not heard of it yet.
  vmsrs_status suppress(std::uint64_t slot, std::uint64_t generation);
  vmsrs_status suppress(std::uint64_t slot) { return suppress(slot, generation(slot)); }
  // All that the service threads are asked for, or that of one process.
  void serve();
  void serve(unsigned process);
  // Until no store of these users that began before is under way. False: that of `stuck` still was
  // when the patience was over.
  bool see_windows_closed(std::uint64_t slot, std::uint64_t& stuck);
  std::atomic<std::uint64_t> patience{~0ull};  // looks at an open window
  // Lets others run, while one waits for them.
  std::function<void()> yield;
  // What a thread does that is told to wait.
  std::function<void()> while_waiting = [this] { yield(); };
  // Makes the processors agree on what was stored.
  std::function<void()> barrier;

 private:
  struct Process {
    Client service{0};
    std::vector<fast::Region> regions;
    bool attached = false;
  };
  void place(unsigned process, std::size_t part, std::uint64_t number);
  std::uint64_t claims_at(std::size_t part, unsigned process) const;  // 0: it has none

  std::vector<Part> parts_;
  std::vector<Process> processes_;

 public:
  // Of the first process.
  Client& service = processes_[0].service;
  std::vector<fast::Region>& regions = processes_[0].regions;
};

// A thread of that server: its users, with the library's own way of loading and storing.
class ClaimThread {
 public:
  ClaimThread(ClaimServer& server, std::uint64_t id, unsigned process = 0)
      : client(server.client(process, id)), process_(process), server_(server) {
    start_anew();
  }
  // A thread without a user that has not looked at anything yet.
  void start_anew() {
    fast_ = {};
    fast_.mode = &server_.window().status.mode;
    fast_.seen = fast_.seen_any = fast::kNever;
  }

  vmsrs_status begin();
  // The user's end; with `keep`, its thread has the next one at once, without a call.
  vmsrs_status end(bool keep = false);
  vmsrs_status crash(vmsrs_fault_kind kind = VMSRS_FAULT_WILD);
  vmsrs_status collect();
  // Its user is no thread's, and then another thread's of the same process: from then on this is
  // that one. `crashed`: it was declared so meanwhile.
  vmsrs_status suspend();
  vmsrs_status resume(bool& crashed);
  bool suspended = false;
  // Takes note that somebody else declared its user crashed, `depth` scopes deep.
  vmsrs_status hear(std::uint64_t depth = 0);
  // Declares another user crashed; its epoch in the result.
  guest::CallResult declare(std::uint64_t slot, std::uint64_t generation);
  vmsrs_status report_drained(std::uint64_t slot, std::uint64_t epoch);
  // Its process is no more: the user is the others' to collect.
  void lose();
  unsigned process() const { return process_; }
  // A store of a word that had looked at the mode before its user was declared crashed: the rest of
  // it, in a granule that the user owns or nobody does. False: it is another's.
  bool store_late(std::size_t region, std::size_t at, std::uint64_t value);
  // The same in pieces, with the window open: hold() does S_open to S_tag, and then its thread
  // stands there. False: the store would be a call. go_on() does the next step, the last one closes
  // the window.
  bool hold(std::size_t region, std::size_t at, std::uint64_t value);
  enum class Went { kOn, kStored, kLost };  // lost: another has the granule
  Went go_on();
  bool held() const { return held_.next != Next::kNothing; }
  // Bytes at an offset of a region, any length and alignment.
  guest::Access store(std::size_t region, std::size_t at, const void* from, std::size_t bytes);
  guest::Access load(std::size_t region, std::size_t at, void* to, std::size_t bytes);
  guest::Access load_committed(std::size_t region, std::size_t at, void* to, std::size_t bytes);
  // An aligned word becomes `desired` if it is `seen`; else `seen` becomes what it is.
  guest::Access exchange(std::size_t region, std::size_t at, std::uint64_t& seen,
                         std::uint64_t desired, std::size_t bytes, bool& equal);
  guest::Access store_word(std::size_t region, std::size_t at, std::uint64_t value) {
    return store(region, at, &value, 8);
  }
  // A word as a program stores and loads it: in line where that does, in any region.
  guest::Access store_as_compiled(std::size_t region, std::size_t at, std::uint64_t value);
  guest::Access load_as_compiled(std::size_t region, std::size_t at, std::uint64_t& value);
  std::uint64_t load_word(std::size_t region, std::size_t at) {
    std::uint64_t value = 0;
    (void)load(region, at, &value, 8);
    return value;
  }

  // Calls of ClaimAccess.
  guest::CallResult store(std::uint64_t to, const void* from, std::size_t bytes,
                          std::uint64_t ticket, bool full);
  guest::CallResult store_if(std::uint64_t to, std::uint64_t value, std::uint64_t expected,
                             std::size_t bytes, std::uint64_t ticket, bool full);
  guest::CallResult load(std::uint64_t from, std::size_t bytes);
  guest::CallResult load_committed(std::uint64_t from, void* to, std::size_t bytes);
  bool drain(std::uint64_t slot);
  void wait(std::uint64_t slot, unsigned attempt);
  bool came_out(std::uint64_t slot, std::uint64_t crash_epoch);

  // In the middle of a store to that word, which it makes when `go` says so; then it goes on as a
  // thread does after any store. False: the granule is another's.
  template <typename Go>
  bool store_held(std::size_t region, std::size_t at, std::uint64_t value, Go go) {
    fast::open_window(*fast_.area);
    go();
    const bool stored = store_late(region, at, value);
    fast::close_window(*fast_.area);
    return stored;
  }
  // From its next user on: whom it reads from is noted.
  bool sampled = false;
  bool exposed();

  Client client;
  bool hands_over = true;                     // what it wrote, at its end
  std::function<void()> before_end;           // once: after that, before USER_END
  std::function<void()> before_more = [] {};  // a call has done a piece and asks to come again
  std::vector<std::byte> buffer{VMSRS_MAX_RANGE_BYTES};
  bool open = false;
  std::uint64_t slot = 0;
  std::uint64_t status = VMSRS_OK;  // of the last refused access
  std::uint64_t drains = 0, traps = 0, waits = 0, abandoned = 0;

 private:
  enum class Next { kNothing, kClaim, kConfirm, kMask, kData };
  struct PartialStore {
    Next next = Next::kNothing;
    const fast::Region* region = nullptr;
    std::size_t at = 0;
    std::uint64_t value = 0;
    std::uint64_t tag = 0;  // as its thread saw it
  };
  bool look(std::size_t region, std::size_t at, std::uint64_t value, PartialStore& store);
  Went take_step(PartialStore& store);
  void append(std::uint64_t entry);
  std::uint64_t* entries() const { return reinterpret_cast<std::uint64_t*>(fast_.area + 1); }
  void take_user();
  static guest::Access access_for(std::uint64_t status);
  guest::CallResult repeat(std::uint64_t number, std::uint64_t rdi, std::uint64_t rsi,
                           std::uint64_t rdx, std::uint64_t r10 = 0, std::uint64_t r8 = 0,
                           std::uint64_t r9 = 0);

  unsigned process_;
  ClaimServer& server_;
  fast::Thread fast_{};
  PartialStore held_;
};

}  // namespace vmsrs::test
