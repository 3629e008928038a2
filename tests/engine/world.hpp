// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "history.hpp"
#include "model.hpp"
#include "support/machine.hpp"

namespace vmsrs::test {

// A machine with servers, and the model beside it. Every operation is done by both.
class World {
 public:
  using Wrong = std::optional<std::string>;

  World(const History& history, Exercise& exercise);
  Wrong perform(const Operation& operation);
  // Ends or collects everybody; then memory, mirror and model are the same, all invariants hold and
  // the storage is as empty as at first.
  Wrong finish();

 private:
  struct Memory {  // of a region
    alignas(64) std::uint8_t bytes[kRegionBytes];
  };
  struct UserState {
    bool open = false, crashed = false;
    std::uint32_t depth = 0;
    std::uint64_t slot = 0;
    std::vector<Model::UserId> ids;  // in the model of each region
  };
  struct ServerState {
    std::vector<std::unique_ptr<Memory>> memory;
    std::vector<Model> models;
    std::vector<UserState> users;
    std::vector<Client> clients;  // the last one is the service thread
    std::uint64_t token = 0;
    std::uint64_t unprotected_stores = 0;
  };

  Wrong begin(const Operation& operation);
  Wrong end(const Operation& operation);
  Wrong crash(const Operation& operation);
  Wrong stuck(const Operation& operation);
  Wrong collect(ServerState& server, std::uint32_t user);
  Wrong forced_collection(ServerState& server, std::uint32_t index);
  Wrong store(const Operation& operation);
  Wrong load(const Operation& operation);
  Wrong check_everything();
  Wrong compare(const ServerState& server) const;
  Wrong compare_mirror(std::uint32_t index) const;
  // Repeats a call after each touch it asks for. With `pure`: a refused call must have left guest
  // memory alone.
  Result retry(ServerState& server, std::uint32_t client, bool pure, Wrong& wrong,
               std::uint64_t number, std::uint64_t rdi = 0, std::uint64_t rsi = 0,
               std::uint64_t rdx = 0);
  static std::uint8_t byte_of(const Operation& operation, std::uint32_t i);

  Machine& machine_;
  Exercise& exercise_;
  Client manager_;
  std::uint64_t token_ = 0;
  std::uint64_t empty_bytes_ = 0;
  std::vector<ServerState> servers_;
};

}  // namespace vmsrs::test
