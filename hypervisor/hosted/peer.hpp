// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <vmsrs/hosted.h>

#include <cstdint>
#include <string>

namespace vmsrs::hosted {

// A client's process, as the kernel knows it (SO_PEERCRED), and the socket to it.
class Peer {
 public:
  explicit Peer(int socket);  // owns it from now on
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  pid_t process_id() const { return process_id_; }
  uid_t account() const { return account_; }
  int socket() const { return socket_; }
  int process() const { return process_; }  // a pidfd: readable when the process has ended; or -1
  std::string name() const {
    return "pid " + std::to_string(process_id_) + " uid " + std::to_string(account_);
  }

  enum class Receipt { kMessage, kNothing, kEnd, kGarbage };
  // Never waits. kGarbage: `why` says what is wrong with it.
  Receipt receive(vmsrs_hosted_message& message, std::string& why) const;
  // Never waits. False: the client takes no answers.
  [[nodiscard]] bool answer(const vmsrs_hosted_message& message, int first = -1,
                            int second = -1) const;

  bool has_ended() const;
  // Has this thread of the process ended? Only where its ids mean the same here and there.
  bool thread_has_ended(std::uint32_t thread_id) const;

 private:
  int socket_;
  int process_ = -1;
  pid_t process_id_ = 0;
  uid_t account_ = 0;
};

}  // namespace vmsrs::hosted
