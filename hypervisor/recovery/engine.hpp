// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "recovery/event_ring.hpp"
#include "recovery/server.hpp"

namespace vmsrs::recovery {

// All servers of a machine over one recovery storage. Any CPU may call anything at any time.
class Engine {
 public:
  Engine(Platform& platform, void* storage, std::size_t bytes);
  bool ready() const { return ready_; }

  // The server that an address space is bound to, locked until this object ends; none: false.
  class Entry {
   public:
    explicit Entry(Server* server) : server_(server) {}  // takes over a lock that is held
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    explicit operator bool() const { return server_ != nullptr; }
    Server* operator->() const { return server_; }

   private:
    Server* server_;
  };
  Entry enter(std::uint64_t address_space);
  // By number, attached or not; false if not defined.
  Entry enter_index(std::uint64_t index);

  Reply define(const vmsrs_server_definition& definition);
  // `hash` is that of the presented secret. Wrong secret and unknown name: DENIED.
  Reply attach(const vmsrs_attach_request& request, const std::uint8_t* hash,
               std::uint64_t address_space);
  Reply detach(std::uint64_t address_space);
  // In pieces of so many steps: AGAIN.
  Reply reap(std::uint64_t index, std::uint64_t process_id,
             std::uint32_t steps = Server::kReapSteps);
  // The address space is no more: what REAP does to the server that is bound to it.
  Reply reap_address_space(std::uint64_t address_space);
  void reap_all_address_spaces();

  // Asks one server, or kEveryServer, to compare and mend its next `bytes` (0: asks for nothing
  // new). AGAIN while some are left; then, and with OK: bytes left, granules restored by sweeps.
  Reply scrub(std::uint64_t index, std::uint64_t bytes);
  static constexpr std::uint64_t kEveryServer = ~0ull;

  // `alive` false: the engine is abandoned, and its counts are read without its locks.
  void stats(vmsrs_stats& out, bool alive = true);

  EventRing& events() { return events_; }
  // A call from there was refused for want of secret or capability. Under no lock.
  void note_denied(std::uint64_t call, vmsrs_status status, std::uint64_t address_space);

  // The invariants (engine_checks.cpp). AGAIN while a verdict is PENDING; WRONG_STATE: never begun.
  vmsrs_status check(bool anew, vmsrs_check_report& report);

 private:
  friend struct EngineProbe;

  void begin_check();
  bool check_piece();  // true: there is more
  // A process of a server: the place in bound_.
  using Place = std::uint32_t;
  static constexpr Place kPlaces = VMSRS_MAX_SERVERS * VMSRS_MAX_PROCESSES;
  Server& server_of(Place place) { return servers_[place / VMSRS_MAX_PROCESSES]; }
  static std::uint32_t process_of(Place place) { return place % VMSRS_MAX_PROCESSES; }
  Place place_of(const Server& server, std::uint32_t process) const {
    return static_cast<Place>(&server - servers_) * VMSRS_MAX_PROCESSES + process;
  }
  Server* try_enter(Place place, std::uint64_t address_space);
  Place place_bound_to(std::uint64_t address_space) const;  // kPlaces: none
  Reply reap_place(Place place, std::uint32_t steps = Server::kReapSteps);

  Platform& platform_;
  bool ready_ = false;
  std::uint64_t start_ns_;
  EventRing events_;
  PagePool pool_;
  SpinLock table_lock_;
  std::atomic<std::uint32_t> server_count_{0};
  // A copy of the servers' address spaces to find a server without a lock, and where one was found
  // last, by its hash: hints, proved under the server's lock.
  static constexpr std::uint32_t kHints = 256;
  static std::uint32_t hint_for(std::uint64_t address_space) {
    return static_cast<std::uint32_t>((address_space * 0x9e3779b97f4a7c15ull) >> 56);
  }
  std::atomic<std::uint64_t> bound_[kPlaces] = {};
  std::atomic<Place> hints_[kHints] = {};
  Server servers_[VMSRS_MAX_SERVERS];
  bool checked_ = false;
  bool checks_hidden_ = false;  // is not through with it yet, and goes on from the cursor
  std::uint64_t hidden_cursor_ = 0;
  vmsrs_check_report report_{};  // all but the mirror's comparison, which the servers hold
};

}  // namespace vmsrs::recovery
