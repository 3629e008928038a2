// SPDX-License-Identifier: Apache-2.0
#include "clients.hpp"

#include <unistd.h>

#include <chrono>
#include <mutex>

namespace matrix {

namespace {
constexpr auto kPause = std::chrono::microseconds(300);
}

Clients::Clients(const std::string& address, unsigned patience_ms)
    : patience_ms_(patience_ms), clients_(kClients) {
  for (unsigned number = 0; number < kClients; ++number) {
    Client& client = clients_[number];
    client.connection = connect_to(address);
    set_patience(client.connection, patience_ms);
    client.thread = std::thread([this, number] { live(number); });
  }
}

Clients::~Clients() {
  over_ = true;
  for (Client& client : clients_) {
    client.thread.join();
    close(client.connection);
  }
}

void Clients::live(unsigned number) {
  while (!over_) {
    {
      const std::shared_lock at_work(at_work_);
      if (!round(number)) return;
    }
    std::this_thread::sleep_for(kPause);
  }
}

bool Clients::ask(Client& client, const Request& request, Reply& reply) {
  if (send_message(client.connection, &request, sizeof request) &&
      receive_message(client.connection, &reply, sizeof reply))
    return true;
  client.unanswered = true;
  return false;
}

std::uint64_t Clients::wrong_in(const Reply& reply, std::uint64_t expected) {
  std::uint64_t wrong = 0;
  for (const std::uint64_t value : reply.values) wrong += value != expected;
  return wrong;
}

bool Clients::round(unsigned number) {
  Client& client = clients_[number];
  Reply reply;
  const std::uint64_t next = client.written + 1;
  if (!ask(client, {Order::write, number, next}, reply)) return false;
  if (reply.outcome == VMSRS_FINISHED) {
    client.written = next;
    ++client.writes;
  } else {
    ++client.told;
  }
  if (!ask(client, {Order::read, number, 0}, reply)) return false;
  if (reply.outcome == VMSRS_FINISHED)
    client.wrong += wrong_in(reply, client.written);
  else
    ++client.told;
  ++client.rounds;
  return true;
}

Clients::Seen Clients::seen() const {
  Seen all;
  for (const Client& client : clients_) {
    all.rounds += client.rounds;
    all.wrong += client.wrong;
    all.told += client.told;
    all.unanswered += client.unanswered;
  }
  return all;
}

bool Clients::make_a_round() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms_);
  for (Client& client : clients_)
    for (const std::uint64_t before = client.rounds; client.rounds == before;) {
      if (client.unanswered || std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(kPause);
    }
  return true;
}

std::uint64_t Clients::wrong_at_rest() {
  const std::unique_lock at_rest(at_work_);
  std::uint64_t wrong = 0, writes = 0;
  Reply reply;
  for (unsigned number = 0; number < kClients; ++number) {
    Client& client = clients_[number];
    if (!ask(client, {Order::read, number, 0}, reply)) return wrong + 1;
    wrong += reply.outcome != VMSRS_FINISHED || wrong_in(reply, client.written) != 0;
    writes += client.writes;
  }
  if (!ask(clients_[0], {Order::ledger, 0, 0}, reply)) return wrong + 1;
  return wrong + (reply.values[0] != writes);
}

}  // namespace matrix
