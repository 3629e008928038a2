// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "hosted/accounts.hpp"
#include "hosted/call_server.hpp"
#include "hosted/peer.hpp"

namespace vmsrs::hosted {

// One client and the thread that serves it: its calls, its messages and its death. It has nothing
// in common with other connections but the engine, the accounts and the memory of its own server.
class Connection {
 public:
  // `number` is never used again; `stop` is readable when everything shall end;
  // `ended` is an eventfd that is rung when this connection is over.
  Connection(int socket, std::uint64_t number, HostedPlatform& platform, Accounts& accounts,
             RegionPlaces& places, int stop, int ended);
  ~Connection();  // waits for the thread

  const Peer& peer() const { return peer_; }
  void start() { thread_ = std::thread(&Connection::run, this); }
  bool over() const { return over_.load(std::memory_order_acquire); }

 private:
  void run();
  bool greet();
  void serve();
  void sleep();
  void look_around();  // messages, death, threads that have ended: never waits
  void read_messages();
  void bury_ended_threads();
  void cut_off(const std::string& why);

  void handle(vmsrs_hosted_message& message);
  bool reply(const vmsrs_hosted_message& message, int first = -1, int second = -1);
  vmsrs_status hello(vmsrs_hosted_message& message);
  vmsrs_status mapped(const vmsrs_hosted_message& message);
  vmsrs_status take_lane(vmsrs_hosted_message& message);
  vmsrs_status take_memory(vmsrs_hosted_message& message);
  vmsrs_status find_memory(vmsrs_hosted_message& message, int& descriptor);
  vmsrs_status join_memory(vmsrs_hosted_message& message);

  Peer peer_;
  const std::uint64_t number_;
  HostedPlatform& platform_;
  Accounts& accounts_;
  RegionPlaces& places_;
  const int stop_;
  const int ended_bell_;
  int doorbell_ = -1;
  CallServer calls_;
  RegionPlaces::Place found_;      // while its descriptor is on its way
  std::uint64_t area_bytes_ = 0;   // of the call area: taken from the account
  bool same_process_ids_ = false;  // the client's thread ids mean the same here
  bool ended_ = false;
  std::uint64_t spin_ns_;
  std::uint64_t looked_ns_ = 0;
  std::uint64_t buried_ns_ = 0;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace vmsrs::hosted
