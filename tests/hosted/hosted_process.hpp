// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <vmsrs/abi.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hosted/lane_call.hpp"
#include "hosted/link.hpp"

// The real vmsrs-hosted as a process, and clients of it. Failures throw std::runtime_error.
namespace vmsrs::test {

using Secret = std::array<std::uint8_t, VMSRS_SECRET_BYTES>;
Secret secret_of(std::uint8_t byte);
std::string hex(const Secret& bytes);

// One of 127.0.0.1 that nobody listens on.
std::uint16_t free_port();

// A child process that dies with its parent.
class Child {
 public:
  explicit Child(const std::vector<std::string>& words,
                 const std::vector<std::string>& environment = {}, int output = -1,
                 int errors = -1);
  ~Child();  // SIGKILL
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t id() const { return id_; }
  void signal(int number) const;
  int wait();  // as waitpid's status
  bool alive() const;

 private:
  pid_t id_ = -1;
};

// A temporary folder with vmsrs-hosted in it.
class HostedProcess {
 public:
  explicit HostedProcess(const std::vector<std::string>& options = {});
  ~HostedProcess();

  const std::string& socket() const { return socket_; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  pid_t id() const { return child_->id(); }
  bool alive() const { return child_->alive(); }
  std::string log() const;
  // Waits until the log has the text.
  bool logs(const std::string& text) const;
  // A file with the secret of mode 0400.
  std::string secret_file(const Secret& secret) const;

 private:
  std::string folder_;
  std::string socket_;
  Child* child_ = nullptr;
};

struct Answer {
  std::uint64_t status, rdx, rsi;
};

// One connection with one lane, as a program without the library would use it.
class Client {
 public:
  explicit Client(const std::string& socket, std::uint32_t lanes = 1);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  hosted::Link& link() { return link_; }
  std::uint32_t take_lane(std::uint64_t thread);
  Answer call(std::uint64_t number, std::uint64_t rdi = 0, std::uint64_t rsi = 0,
              std::uint64_t rdx = 0, std::uint64_t r10 = 0, std::uint64_t r8 = 0,
              std::uint64_t r9 = 0);
  Answer attach(const std::string& name, const Secret& secret);
  // Memory for a region, mapped at the address that it returns; nullptr: refused.
  std::byte* take_memory(std::size_t bytes, vmsrs_status& status, int* descriptor = nullptr);
  // PROFILE and PROFILE_FILL.
  std::uint64_t profile(void* address, std::size_t bytes, unsigned granule = 8);
  // PROFILE_NAMED and PROFILE_FILL; the status is the last one's, RSI the first one's.
  Answer profile_named(void* address, std::size_t bytes, const std::string& name,
                       unsigned granule = 8);
  const vmsrs_window* window(int* descriptor = nullptr);

 private:
  std::uint64_t fill(std::uint64_t region);

  hosted::Link link_{};
  std::uint64_t thread_ = 0;  // of whoever made it; others may use it in turn
  std::uint32_t lane_ = 0;
  hosted::SpinBudget budget_ = 0;
};

// The management channel.
class Manager {
 public:
  static Secret secret() { return secret_of(0x5a); }
  explicit Manager(const HostedProcess& hosted);
  std::uint32_t define(const std::string& name, const Secret& secret,
                       std::uint64_t storage_quota = 0, std::uint32_t user_quota = 0,
                       vmsrs_storage_policy policy = VMSRS_STORAGE_REFUSE);
  vmsrs_server_info info(std::uint32_t server);
  vmsrs_stats stats();
  // Runs all invariants. Empty: all hold; else what does not.
  std::string violations();
  bool is_detached(std::uint32_t server);  // waits until nobody is attached
  // Waits until nobody is attached and nothing of it is left.
  bool is_reaped(std::uint32_t server);
  Client& client() { return client_; }
  std::uint64_t token() const { return token_; }

 private:
  Client client_;
  std::uint64_t token_;
};

inline std::uint64_t address_of(const void* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

}  // namespace vmsrs::test
