// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>
#include <string>

// What clients and server say to each other: one message of a sequenced-packet socket each way.
namespace matrix {

constexpr unsigned kClients = 4;   // normal ones, each with an account of its own
constexpr std::size_t kWords = 8;  // of an account
constexpr unsigned kWorkers = 3;   // threads of a pool, processes

enum class Order : std::uint64_t {
  write,  // every word of account `number` becomes `value`, the ledger is counted up
  read,   // account `number`
  fail,   // goes wrong as all_kinds()[number] does
  ledger  // how many writes were finished
};

struct Request {
  Order order;
  std::uint64_t number, value;
};

struct Reply {
  std::int64_t outcome;  // a vmsrs_outcome or vmsrs_error
  std::uint64_t values[kWords];
  // Of Order::fail.
  std::uint64_t went_on;   // the request's code was reached behind what went wrong
  std::uint64_t provoked;  // times, for kinds that count
  std::uint64_t crashes;   // that the library has counted meanwhile at sites of its list
  std::uint64_t fault;     // vmsrs_fault_kind of the last one
};

// A name of Linux's, in no directory, and free again when the last process has closed it.
int listen_at(const std::string& name);
int connect_to(const std::string& name);
bool send_message(int connection, const void* message, std::size_t bytes);
// False: the other side is gone, or says nothing within the time that was set.
bool receive_message(int connection, void* message, std::size_t bytes);
void set_patience(int connection, unsigned ms);

}  // namespace matrix
