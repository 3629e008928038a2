// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "claim_access.hpp"
#include "support/machine.hpp"

namespace vmsrs::test {

// Memory of whole pages, zeroed.
class Pages {
 public:
  explicit Pages(std::size_t bytes)
      : bytes_(bytes),
        at_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Pages() { munmap(at_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(at_); }

 private:
  std::size_t bytes_;
  void* at_;
};

// A machine with one server, "shop", whose regions have claims, as its library would lay them out.
class ClaimServer {
 public:
  static constexpr std::uint64_t kSpace = 0x100000;
  struct Part {
    std::size_t bytes;
    unsigned granule;
    bool eager = false;
  };

  ClaimServer(std::vector<Part> parts, std::size_t area_bytes = 4096);

  Machine machine;
  Client manager{0x900000, 0x9000, 0};
  Client service{kSpace, 0xd000};
  std::uint64_t token = 0;
  std::vector<fast::Region> regions;
  std::size_t area_bytes;
  Pages areas;
  std::vector<std::unique_ptr<Pages>> memory, claims;

  std::uint8_t* region(std::size_t i) const { return memory[i]->data(); }
  vmsrs_claim& claim(std::size_t i, std::size_t granule) const {
    return regions[i].claims[granule];
  }
  vmsrs_user_area& area(std::uint64_t slot) const {
    return *reinterpret_cast<vmsrs_user_area*>(areas.data() + slot * area_bytes);
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
  // All that the service thread is asked for.
  void serve();
  // Until no store of these users that began before is under way. False: that of `stuck` still was
  // when the patience was over.
  bool see_windows_closed(std::uint64_t slot, std::uint64_t& stuck);
  std::atomic<std::uint64_t> patience{~0ull};  // looks at an open window
  // What a thread does that is told to wait; nothing: lets others run.
  std::function<void()> while_waiting;
};

// A thread of that server: its users, with the library's own way of loading and storing.
class ClaimThread {
 public:
  ClaimThread(ClaimServer& server, std::uint64_t id)
      : client(ClaimServer::kSpace, id), server_(server) {
    fast_.mode = &server.window().status.mode;
    fast_.seen = fast_.seen_any = fast::kNever;
  }

  vmsrs_status begin();
  // The user's end; with `keep`, its thread has the next one at once, without a call.
  vmsrs_status end(bool keep = false);
  vmsrs_status crash(vmsrs_fault_kind kind = VMSRS_FAULT_WILD);
  vmsrs_status collect();
  // Takes note that somebody else declared its user crashed, `depth` scopes deep.
  vmsrs_status hear(std::uint64_t depth = 0);
  // Declares another user crashed; its epoch in the result.
  guest::CallResult declare(std::uint64_t slot, std::uint64_t generation);
  vmsrs_status report_drained(std::uint64_t slot, std::uint64_t epoch);
  // A store of a word that had looked at the mode before its user was declared crashed: the rest of
  // it, in a granule that the user owns or nobody does. False: it is another's.
  bool store_late(std::size_t region, std::size_t at, std::uint64_t value);
  // Bytes at an offset of a region, any length and alignment.
  guest::Access store(std::size_t region, std::size_t at, const void* from, std::size_t bytes);
  guest::Access load(std::size_t region, std::size_t at, void* to, std::size_t bytes);
  guest::Access load_committed(std::size_t region, std::size_t at, void* to, std::size_t bytes);
  guest::Access store_word(std::size_t region, std::size_t at, std::uint64_t value) {
    return store(region, at, &value, 8);
  }
  std::uint64_t load_word(std::size_t region, std::size_t at) {
    std::uint64_t value = 0;
    (void)load(region, at, &value, 8);
    return value;
  }

  // Calls of ClaimAccess.
  guest::CallResult store(std::uint64_t to, const void* from, std::size_t bytes,
                          std::uint64_t ticket, bool full);
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
  bool hands_over = true;            // what it wrote, at its end
  std::function<void()> before_end;  // once: after that, before USER_END
  std::vector<std::byte> buffer{VMSRS_MAX_RANGE_BYTES};
  bool open = false;
  std::uint64_t slot = 0;
  std::uint64_t status = VMSRS_OK;  // of the last refused access
  std::uint64_t drains = 0, traps = 0, waits = 0, abandoned = 0;

 private:
  void take_user();
  guest::CallResult repeat(std::uint64_t number, std::uint64_t rdi, std::uint64_t rsi,
                           std::uint64_t rdx, std::uint64_t r10 = 0, std::uint64_t r8 = 0,
                           std::uint64_t r9 = 0);

  ClaimServer& server_;
  fast::Thread fast_{};
};

}  // namespace vmsrs::test
