// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "messages.hpp"

// What is served: accounts and a ledger in profiled memory, under locks that lie beside it. Every
// request is a user of its own.
namespace matrix {

struct ServerOptions {
  std::string style, address;
  std::string server_name = "matrix", secret_file = "/etc/vmsrs/matrix.secret";
  bool trap_every_store = false;
  unsigned fault_limit = 1000;  // of a crashed user
  unsigned limit_ms = 1000;  // of a crashed user's time, and half of it of a request's that hangs
};

class Bank {
 public:
  // `processes`: several will have it; each after the first one joins. Ends the program with a
  // message if the library refuses.
  Bank(const ServerOptions& options, unsigned processes);
  Bank(const Bank&) = delete;
  Bank& operator=(const Bank&) = delete;

  // For a child of fork: attaches it as process `number`, from 1 on.
  void join(unsigned number);
  // Starts the watchdog of this process. Others are served while a request is: it may wait for
  // them.
  void start(bool others_are_served);

  // Any number of threads.
  Reply serve(const Request& request);

 private:
  struct Account;
  struct Beside;
  class Held;

  void attach();
  void make_heap(unsigned number);
  void watch();
  Reply write(std::uint64_t number, std::uint64_t value);
  Reply read(std::uint64_t number);
  Reply ledger();
  Reply fail(std::uint64_t number);
  void pollute(std::uint64_t value);
  void wait_for_others() const;

  const ServerOptions& options_;
  const unsigned processes_;
  bool others_are_served_ = false;
  std::byte* region_;
  Account* accounts_;  // the ledger's is the last one
  Beside* beside_;
  std::atomic<std::uint64_t> suspect_{0};  // the number of a user that may hang
};

}  // namespace matrix
