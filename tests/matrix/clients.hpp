// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "messages.hpp"

namespace matrix {

// The normal users: each writes to its account and reads it back, all the while, and knows exactly
// what it must read. They live as long as the server that they talk to.
class Clients {
 public:
  Clients(const std::string& address, unsigned patience_ms);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  struct Seen {
    std::uint64_t rounds = 0;  // a write and a read each
    std::uint64_t wrong = 0;   // values that nobody but a crashed user has written
    std::uint64_t told = 0;    // writes and reads that failed, and said so
    unsigned unanswered = 0;   // clients whose server is gone or says nothing
  };
  Seen seen() const;

  // Returns when each has made another round; false: one does not get on.
  bool make_a_round();
  // With everybody at rest: the accounts and the ledger, and how many values in them are wrong.
  std::uint64_t wrong_at_rest();

 private:
  struct Client {
    int connection = -1;
    std::uint64_t written = 0;  // the value that was last acknowledged
    std::uint64_t writes = 0;
    std::atomic<std::uint64_t> rounds{0}, wrong{0}, told{0};
    std::atomic<bool> unanswered{false};
    std::thread thread;
  };
  void live(unsigned number);
  bool round(unsigned number);
  bool ask(Client& client, const Request& request, Reply& reply);
  static std::uint64_t wrong_in(const Reply& reply, std::uint64_t expected);

  const unsigned patience_ms_;
  std::atomic<bool> over_{false};
  std::shared_mutex at_work_;  // held by each client for a round
  std::vector<Client> clients_;
};

}  // namespace matrix
