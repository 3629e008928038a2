// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "accesses.hpp"
#include "event_model.hpp"
#include "history.hpp"
#include "model.hpp"

namespace vmsrs::test {

// A machine with servers, and the model beside it. Every operation is done by both.
class World {
 public:
  using Wrong = std::optional<std::string>;

  World(const History& history, const Accesses::Factory& accesses, Exercise& exercise);
  Wrong perform(const Operation& operation);
  // Ends or collects everybody; then memory, mirror and model are the same, all invariants hold and
  // the storage is as empty as at first.
  Wrong finish();

 private:
  struct UserState {
    bool open = false, crashed = false;
    std::uint32_t depth = 0;
    std::uint64_t slot = 0;
    std::vector<Model::UserId> ids;                  // in the model of each region
    std::vector<std::set<Model::UserId>> read_from;  // whose unfinished bytes it read, sampled
    EventModel::User name{};
    bool stuck = false;
    std::uint64_t dropped = 0;  // stores, since it crashed
  };
  struct ServerState {
    std::uint32_t index;
    std::unique_ptr<Accesses> accesses;
    std::vector<std::uint8_t*> memory;  // of its regions, as the first process has them
    std::vector<Model> models;
    std::vector<UserState> users;
    std::vector<std::vector<Model::UserId>> orphans;  // whose process has died, not yet collected
    EventModel events;
    std::uint32_t attached = 0;  // processes
    std::uint64_t restored[VMSRS_RESTORE_CAUSE_COUNT] = {};  // as events have told
    bool sweep_due = false;  // somebody has crashed since the service thread was done
  };

  Wrong dispatch(ServerState& server, const Operation& operation);
  Wrong begin(ServerState& server, const Operation& operation);
  Wrong end(ServerState& server, std::uint32_t user);
  Wrong crash(ServerState& server, std::uint32_t user);
  Wrong stuck(ServerState& server, std::uint32_t user);
  Wrong collect(ServerState& server, std::uint32_t user);
  Wrong move(ServerState& server, std::uint32_t user);
  Wrong die(ServerState& server, std::uint32_t process);
  Wrong attach(ServerState& server, std::uint32_t process);
  Wrong forced_collection(ServerState& server);
  Wrong store(ServerState& server, const Operation& operation);
  Wrong load(ServerState& server, const Operation& operation);
  Wrong load_committed(ServerState& server, const Operation& operation);
  Wrong scrub(ServerState& server);
  Wrong check_everything();
  Wrong check_engine();
  void store_wildly(ServerState& server, const Operation& operation);
  void serve(ServerState& server);  // all that is asked of the service threads
  Wrong compare(const ServerState& server) const;
  Wrong compare_exposed(ServerState& server);
  Wrong compare_events();
  Wrong compare_maps(const ServerState& server);
  Wrong compare_records(const ServerState& server);
  Wrong compare_restored(const ServerState& server);
  Wrong compare_mirror(const ServerState& server) const;
  Wrong detach(ServerState& server);
  static std::uint8_t byte_of(const Operation& operation, std::uint32_t i);

  Machine& machine_;
  const std::uint32_t processes_;  // of each server
  Exercise& exercise_;
  std::uint32_t deaths_ = 0;
  Client manager_;
  std::uint64_t token_ = 0;
  std::uint64_t empty_bytes_ = 0;
  std::vector<ServerState> servers_;
};

}  // namespace vmsrs::test
