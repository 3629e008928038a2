// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

// The load on a book shop: clients that each do one user after another and wait for every reply,
// all on one thread.
namespace vmsrs::bench {

struct Mix {
  unsigned read_percent;  // of the normal clients' users; the others buy one book
  bool troublemaker;      // a further client that only buys, as user kTroublemaker
};
constexpr unsigned kTroublemaker = 7;  // whom the shop can be told to let crash, each time

class Clients {
 public:
  Clients(std::uint16_t port, unsigned count, Mix mix);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  struct Done {
    std::uint64_t users;   // that the normal clients completed
    std::uint64_t failed;  // the troublemaker's, told FAILED
    double seconds;
  };
  Done run(std::chrono::milliseconds time);

 private:
  enum class Step { idle, read, begun, added, checkout };
  struct One {
    int socket;
    bool troublemaker;
    Step step = Step::idle;
    std::string received = {};
  };

  void say(One& one, const std::string& line, Step next);
  void begin_user(One& one);
  void hear(One& one, const std::string& line, Done& done);
  void receive(One& one, Done& done);

  Mix mix_;
  std::minstd_rand random_{1};
  std::vector<One> clients_;
};

}  // namespace vmsrs::bench
