// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/answer.hpp"
#include "api/limits.hpp"

namespace httplib {
class Stream;
}

namespace vmsrs::api {

class Tls;

// Who has sent a request.
struct Peer {
  std::string name;      // for the log: "uid 0, gid 0, pid 4711", "certificate control.example"
  std::string bucket;    // whose requests are counted together
  bool operate = false;  // may change things
  std::string refusal;   // why not, or why it may do nothing at all
  std::string hint;
  bool known = true;  // false: not even GET
};

// What httplib gives as the remote port of a request: may its peer change things?
constexpr int kPortOfObserver = 0;
constexpr int kPortOfOperator = 1;

// Takes connections and reads requests, one a connection, in one thread; hands those that are
// complete and allowed to a few workers, and sends what they answer. A slow or silent client costs
// a descriptor and what it has sent, never a worker; when there are too many connections the oldest
// that no worker is busy with is closed for the newest.
class Reception {
 public:
  struct Rules {
    // Of a new connection: who is it? Over TLS the certificate says so instead.
    std::function<Peer(int descriptor)> identify;
    std::shared_ptr<Tls> tls;  // null: none
  };
  // Carries out one request, in any of the workers: reads it from the stream, writes the answer.
  using Handler = std::function<void(httplib::Stream&)>;

  // `listener`: a listening socket, which the reception owns from now on.
  Reception(int listener, Rules rules, const Limits& limits, Handler handler);
  // Ends when the requests that are being carried out have ended.
  ~Reception();
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;

  // All but `threads`, for requests that come from now on. Any thread.
  void change_limits(const Limits& limits);

 private:
  struct Connection;
  class ConnectionStream;
  using Pointer = std::shared_ptr<Connection>;
  using Time = std::chrono::steady_clock::time_point;

  void loop();
  void take_connections();
  void take_one(int descriptor);
  void attend(const Pointer& connection, std::uint32_t events);
  void receive(const Pointer& connection);
  void look_at_request(const Pointer& connection);
  void refuse(const Pointer& connection, const Answer& answer, const std::string& headers = "");
  void identify_by_certificate(const Pointer& connection);
  bool may_come_now(const std::string& bucket, unsigned& wait_seconds);
  void send_rest(const Pointer& connection);
  void discard(const Pointer& connection);
  void finish(const Pointer& connection);
  void close(const Pointer& connection);
  bool make_room();
  void expire(Time now);
  int milliseconds_to_next(Time now);
  void take_finished();
  void wake();
  void work();
  [[nodiscard]] Limits limits();
  void watch(const Connection& connection, std::uint32_t events) const;

  const int listener_;
  const Rules rules_;
  const Handler handler_;
  const std::uint32_t threads_;
  int epoll_ = -1;
  int wake_ = -1;

  // The loop's own.
  std::map<int, Pointer> connections_;
  std::uint64_t next_number_ = 0;
  struct Bucket {
    double tokens;
    Time filled;
  };
  std::map<std::string, Bucket> buckets_;
  Time deaf_until_{};  // no descriptors left: connections are not taken until then

  std::mutex mutex_;  // of what follows
  std::condition_variable work_to_do_;
  std::deque<Pointer> readers_;  // GET
  std::deque<Pointer>
      changers_;  // may wait long for threads of servers: two workers are not theirs
  std::uint32_t changing_ = 0;
  std::vector<Pointer> finished_;
  Limits limits_;
  bool stopping_ = false;

  std::vector<std::thread> workers_;
  std::thread thread_;
};

}  // namespace vmsrs::api
