// SPDX-License-Identifier: Apache-2.0
#include "api/reception.hpp"

#include <httplib.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <ops_common/json_text.hpp>

#include "api/event_service.hpp"
#include "api/tls.hpp"

namespace vmsrs::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint32_t kReservedForReaders = 2;  // workers
constexpr std::size_t kMostUnsent = 256 << 10;    // then a worker waits for the client
constexpr std::size_t kMostDiscarded = 1 << 20;   // of what a refused client still sends
constexpr milliseconds kDiscardTime{1000};
constexpr milliseconds kDeafTime{100};
constexpr std::size_t kMostBuckets = 4096;

constexpr const char* status_words(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Payload Too Large";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Service Unavailable";
  }
}

std::string http_text(const Answer& answer, const std::string& headers) {
  const std::string body = ops::json_text(answer.body) + "\n";
  return "HTTP/1.1 " + std::to_string(answer.http_status) + " " + status_words(answer.http_status) +
         "\r\n" + headers +
         "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

// What the reception has to know of a request's head; the rest is the HTTP library's.
struct Head {
  std::string method;
  std::optional<std::uint64_t> length;
  bool bad_length = false;
  bool chunked = false;
  bool expects = false;
};

Head parse_head(std::string_view text) {
  Head head;
  head.method = text.substr(0, text.find_first_of(" \r\n"));
  for (std::size_t line = text.find('\n'); line != std::string_view::npos;
       line = text.find('\n', line)) {
    const std::string_view rest = text.substr(++line);
    const std::size_t colon = rest.find_first_of(":\r\n");
    if (colon == std::string_view::npos || rest[colon] != ':') continue;
    std::string_view name = rest.substr(0, colon);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
    std::string_view value = rest.substr(colon + 1, rest.find_first_of("\r\n", colon) - colon - 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    if (same_word(name, "Transfer-Encoding")) head.chunked = true;
    if (same_word(name, "Expect")) head.expects = true;
    if (!same_word(name, "Content-Length")) continue;
    const bool digits = !value.empty() && value.size() <= 18 &&
                        value.find_first_not_of("0123456789") == std::string_view::npos;
    if (!digits || head.length) {
      head.bad_length = true;
      continue;
    }
    head.length = std::stoull(std::string(value));
  }
  return head;
}

Answer busy() {
  return error_answer(503, "busy", "too many connections are open", "try again in a second");
}

}  // namespace

struct Reception::Connection {
  enum class State { kHandshake, kReceiving, kWorking, kSending, kDiscarding };

  Connection(int its_descriptor, std::uint64_t its_number, Time its_deadline)
      : descriptor(its_descriptor), number(its_number), deadline(its_deadline) {}
  ~Connection() {
    if (tls != nullptr) ::SSL_free(tls);
    ::close(descriptor);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const int descriptor;
  const std::uint64_t number;  // rising: who came first

  // The loop's, and a worker's while it is kWorking.
  State state = State::kReceiving;
  Time deadline;
  Peer peer;
  std::string input;
  std::size_t wanted = 0;  // bytes of the request; 0 while its head is not complete
  std::size_t discarded = 0;
  bool changes = false;

  std::mutex mutex;  // of what follows, and of `tls`
  std::condition_variable sent;
  SSL* tls = nullptr;
  std::string output;
  bool broken = false;  // nothing more can be sent

  // Bytes received; 0: at the end or broken; -1: none now.
  ssize_t read_some(char* buffer, std::size_t size) {
    if (tls == nullptr) {
      ssize_t got;
      do got = ::recv(descriptor, buffer, size, 0);
      while (got < 0 && errno == EINTR);
      return got < 0 && errno != EAGAIN ? 0 : got;
    }
    const std::lock_guard lock(mutex);
    ::ERR_clear_error();
    const int got = ::SSL_read(tls, buffer, static_cast<int>(size));
    if (got > 0) return got;
    const int error = ::SSL_get_error(tls, got);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -1 : 0;
  }

  // With the mutex held: sends what can be sent now. False: some is left.
  bool flush() {
    std::size_t done = 0;
    while (done < output.size() && !broken) {
      const char* const data = output.data() + done;
      const std::size_t size = std::min<std::size_t>(output.size() - done, 1 << 16);
      ssize_t count;
      bool later;
      if (tls == nullptr) {
        count = ::send(descriptor, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        later = count < 0 && (errno == EAGAIN || errno == EINTR);
      } else {
        ::ERR_clear_error();
        count = ::SSL_write(tls, data, static_cast<int>(size));
        const int error =
            count > 0 ? SSL_ERROR_NONE : ::SSL_get_error(tls, static_cast<int>(count));
        later = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
      }
      if (count > 0) {
        done += static_cast<std::size_t>(count);
      } else if (later) {
        break;
      } else {
        broken = true;
      }
    }
    output.erase(0, done);
    if (broken) output.clear();
    return output.empty();
  }
};

// What the HTTP library reads the request from, and writes the answer to.
class Reception::ConnectionStream final : public httplib::Stream {
 public:
  ConnectionStream(Reception& reception, Connection& connection)
      : reception_(reception), connection_(connection) {}

  bool is_readable() const override { return place_ < connection_.wanted; }
  bool is_writable() const override {
    const std::lock_guard lock(connection_.mutex);
    return !connection_.broken;
  }
  ssize_t read(char* buffer, std::size_t size) override {
    const std::size_t count = std::min(size, connection_.wanted - place_);
    connection_.input.copy(buffer, count, place_);
    place_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* data, std::size_t size) override {
    std::unique_lock lock(connection_.mutex);
    connection_.output.append(data, size);
    if (!connection_.flush()) {
      reception_.watch(connection_, EPOLLOUT);  // the loop sends the rest
      const milliseconds time(reception_.limits().send_timeout_ms);
      const bool room = connection_.sent.wait_for(lock, time, [&] {
        return connection_.broken || connection_.output.size() < kMostUnsent;
      });
      if (!room) connection_.broken = true;
    }
    return connection_.broken ? -1 : static_cast<ssize_t>(size);
  }
  // The library's only places for who the client is, an address or its credentials, and what it
  // may.
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = connection_.peer.name;
    port = connection_.peer.operate ? kPortOfOperator : kPortOfObserver;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  socket_t socket() const override { return -1; }  // nobody else is to touch it

 private:
  Reception& reception_;
  Connection& connection_;
  std::size_t place_ = 0;
};

Reception::Reception(int listener, Rules rules, const Limits& limits, Handler handler)
    : listener_(listener),
      rules_(std::move(rules)),
      handler_(std::move(handler)),
      threads_(limits.threads),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      limits_(limits) {
  epoll_event event{};
  event.events = EPOLLIN;
  for (const int descriptor : {listener_, wake_}) {
    event.data.fd = descriptor;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
  }
  // Each of those who follow the events keeps one.
  const std::uint32_t workers = threads_ + EventService::kMostStreams;
  for (std::uint32_t i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
  thread_ = std::thread([this] { loop(); });
}

Reception::~Reception() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_to_do_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  wake();
  thread_.join();
  connections_.clear();
  for (const int descriptor : {listener_, epoll_, wake_}) ::close(descriptor);
}

void Reception::change_limits(const Limits& limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
}

Limits Reception::limits() {
  const std::lock_guard lock(mutex_);
  return limits_;
}

void Reception::wake() {
  const std::uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
}

void Reception::watch(const Connection& connection, std::uint32_t events) const {
  epoll_event event{};
  event.events = events;
  event.data.fd = connection.descriptor;
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.descriptor, &event);
}

void Reception::work() {
  for (;;) {
    Pointer connection;
    {
      std::unique_lock lock(mutex_);
      const auto may_change = [&] {
        return !changers_.empty() && changing_ + kReservedForReaders < threads_;
      };
      work_to_do_.wait(lock, [&] { return stopping_ || !readers_.empty() || may_change(); });
      if (stopping_) return;
      std::deque<Pointer>& queue = readers_.empty() ? changers_ : readers_;
      connection = std::move(queue.front());
      queue.pop_front();
      if (connection->changes) ++changing_;
    }
    ConnectionStream stream(*this, *connection);
    handler_(stream);
    {
      const std::lock_guard lock(mutex_);
      if (connection->changes) --changing_;
      finished_.push_back(std::move(connection));
    }
    work_to_do_.notify_one();  // a changer may have waited for this one's end
    wake();
  }
}

void Reception::loop() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                   milliseconds_to_next(steady_clock::now()));
    for (int i = 0; i < count; ++i) {
      const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
      if (descriptor == listener_) {
        take_connections();
      } else if (descriptor == wake_) {
        std::uint64_t ignored;
        (void)!::read(wake_, &ignored, sizeof ignored);
        take_finished();
        const std::lock_guard lock(mutex_);
        if (stopping_) break;
      } else if (const auto found = connections_.find(descriptor); found != connections_.end()) {
        const Pointer connection = found->second;
        attend(connection, events[static_cast<std::size_t>(i)].events);
      }
    }
    expire(steady_clock::now());
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
  }
}

void Reception::take_connections() {
  constexpr int kAtOnce = 64;  // then the others have their turn
  for (int i = 0; i < kAtOnce; ++i) {
    const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) {
      take_one(descriptor);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      if (make_room()) continue;
      deaf_until_ = steady_clock::now() + kDeafTime;
      epoll_event event{};
      event.data.fd = listener_;
      ::epoll_ctl(epoll_, EPOLL_CTL_MOD, listener_, &event);
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

// Closes the oldest connection whose request no worker has. False: there is none.
bool Reception::make_room() {
  Pointer oldest;
  for (const auto& [descriptor, connection] : connections_) {
    if (connection->state == Connection::State::kWorking) continue;
    if (!oldest || connection->number < oldest->number) oldest = connection;
  }
  if (!oldest) return false;
  close(oldest);
  return true;
}

void Reception::take_one(int descriptor) {
  const Limits now = limits();
  if (connections_.size() >= now.connections && !make_room()) {
    const std::string text = http_text(busy(), "Retry-After: 1\r\n");
    if (!rules_.tls) (void)::send(descriptor, text.data(), text.size(), MSG_NOSIGNAL);
    ::close(descriptor);
    return;
  }
  const auto connection = std::make_shared<Connection>(
      descriptor, next_number_++, steady_clock::now() + milliseconds(now.receive_timeout_ms));
  if (rules_.tls) {
    connection->tls = rules_.tls->accept(descriptor);
    if (connection->tls == nullptr) return;
    connection->state = Connection::State::kHandshake;
  } else {
    connection->peer = rules_.identify(descriptor);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0)
    connections_.emplace(descriptor, connection);
}

void Reception::attend(const Pointer& connection, std::uint32_t events) {
  using State = Connection::State;
  switch (connection->state) {
    case State::kHandshake: {
      int result, error;
      {
        const std::lock_guard lock(connection->mutex);
        ::ERR_clear_error();
        result = ::SSL_do_handshake(connection->tls);
        error = result == 1 ? SSL_ERROR_NONE : ::SSL_get_error(connection->tls, result);
      }
      if (error == SSL_ERROR_WANT_READ) return watch(*connection, EPOLLIN);
      if (error == SSL_ERROR_WANT_WRITE) return watch(*connection, EPOLLOUT);
      if (error != SSL_ERROR_NONE) {
        const char* reason = ::ERR_reason_error_string(::ERR_peek_error());
        spdlog::debug("TLS: a handshake failed: {}", reason == nullptr ? "closed" : reason);
        ::ERR_clear_error();
        return close(connection);
      }
      identify_by_certificate(connection);
      connection->state = State::kReceiving;
      watch(*connection, EPOLLIN);
      return receive(connection);
    }
    case State::kReceiving:
      return receive(connection);
    case State::kWorking:
      if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        const std::lock_guard lock(connection->mutex);
        connection->broken = true;
        connection->output.clear();
        connection->sent.notify_all();
        // It would be told again and again.
        ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection->descriptor, nullptr);
        return;
      }
      {
        const std::lock_guard lock(connection->mutex);
        if (connection->flush()) watch(*connection, 0);
        connection->sent.notify_all();
      }
      return;
    case State::kSending:
      return send_rest(connection);
    case State::kDiscarding:
      return discard(connection);
  }
}

void Reception::identify_by_certificate(const Pointer& connection) {
  const Tls::Client client = rules_.tls->client_of(connection->tls);
  Peer& peer = connection->peer;
  peer.name = "certificate " + (client.name.empty() ? "without a name" : printable(client.name));
  peer.bucket = peer.name;
  peer.known = client.known;
  peer.operate = client.operate;
  if (!client.known) {
    peer.refusal = "the certificate's name \"" + client.name + "\" is not among api.tls.clients";
    peer.hint = "add it there with a role, and reload vmsrsd";
  } else {
    peer.refusal = "\"" + client.name + "\" has the role observe";
    peer.hint = "give it the role operate in api.tls.clients, and reload vmsrsd";
  }
}

void Reception::receive(const Pointer& connection) {
  const Limits now = limits();
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = connection->read_some(buffer.data(), buffer.size());
    if (got < 0) return;
    if (got == 0) return close(connection);  // half a request is none
    connection->input.append(buffer.data(), static_cast<std::size_t>(got));
    look_at_request(connection);
    if (connection->state != Connection::State::kReceiving) return;
    if (connection->input.size() > now.header_bytes + now.body_bytes) return close(connection);
  }
}

void Reception::look_at_request(const Pointer& connection) {
  if (connection->wanted == 0) {
    const Limits now = limits();
    const std::size_t end = connection->input.find("\r\n\r\n");
    const std::size_t size = end == std::string::npos ? connection->input.size() : end + 4;
    if (size > now.header_bytes)
      return refuse(connection, error_answer(431, "too_large", "the request's head is too large",
                                             "at most " + std::to_string(now.header_bytes) +
                                                 " bytes (api.limits.header)"));
    if (end == std::string::npos) return;
    const Head head = parse_head(std::string_view(connection->input).substr(0, size));
    const Peer& peer = connection->peer;
    unsigned wait_seconds = 0;
    if (!may_come_now(peer.bucket, wait_seconds))
      return refuse(connection,
                    error_answer(429, "too_many_requests",
                                 "more than " + std::to_string(now.requests_per_second) +
                                     " requests a second have come from " + peer.name,
                                 "wait, or raise api.limits.requests_per_second"),
                    "Retry-After: " + std::to_string(wait_seconds) + "\r\n");
    connection->changes = head.method != "GET" && head.method != "HEAD";
    if (!peer.known || (connection->changes && !peer.operate))
      return refuse(connection, error_answer(403, "denied", peer.refusal, peer.hint));
    if (head.bad_length)
      return refuse(connection, bad_request("Content-Length is not one number",
                                            "send a well-formed HTTP/1.1 request"));
    if (head.chunked)
      return refuse(connection,
                    error_answer(411, "length_required", "the body has no length of its own",
                                 "send Content-Length in place of Transfer-Encoding"));
    if (head.expects)
      return refuse(connection, error_answer(417, "bad_request", "Expect is not taken here",
                                             "send the body at once, without it"));
    if (head.length.value_or(0) > now.body_bytes)
      return refuse(connection, error_answer(413, "too_large", "the request's body is too large",
                                             "at most " + std::to_string(now.body_bytes) +
                                                 " bytes (api.limits.body)"));
    connection->wanted = size + head.length.value_or(0);
  }
  if (connection->input.size() < connection->wanted) return;
  connection->state = Connection::State::kWorking;
  watch(*connection, 0);
  {
    const std::lock_guard lock(mutex_);
    (connection->changes ? changers_ : readers_).push_back(connection);
  }
  work_to_do_.notify_one();
}

bool Reception::may_come_now(const std::string& bucket, unsigned& wait_seconds) {
  const Limits now = limits();
  const Time time = steady_clock::now();
  const auto refilled = [&](const Bucket& old) {
    const double seconds = std::chrono::duration<double>(time - old.filled).count();
    return std::min<double>(now.burst, old.tokens + seconds * now.requests_per_second);
  };
  if (buckets_.size() >= kMostBuckets)
    std::erase_if(buckets_, [&](const auto& entry) { return refilled(entry.second) >= now.burst; });
  Bucket& mine =
      buckets_.try_emplace(bucket, Bucket{static_cast<double>(now.burst), time}).first->second;
  mine = {refilled(mine), time};
  if (mine.tokens >= 1) {
    mine.tokens -= 1;
    return true;
  }
  wait_seconds = static_cast<unsigned>(std::ceil((1 - mine.tokens) / now.requests_per_second));
  return false;
}

void Reception::refuse(const Pointer& connection, const Answer& answer,
                       const std::string& headers) {
  {
    const std::lock_guard lock(connection->mutex);
    connection->output = http_text(answer, headers);
  }
  if (answer.http_status == 403)
    spdlog::warn("refused to {}: {}", connection->peer.name,
                 printable(answer.body["error"]["message"].get<std::string>()));
  finish(connection);
}

void Reception::finish(const Pointer& connection) {
  connection->state = Connection::State::kSending;
  connection->deadline = steady_clock::now() + milliseconds(limits().send_timeout_ms);
  send_rest(connection);
}

void Reception::send_rest(const Pointer& connection) {
  {
    const std::lock_guard lock(connection->mutex);
    if (!connection->flush()) return watch(*connection, EPOLLOUT);
    if (connection->tls != nullptr && !connection->broken) ::SSL_shutdown(connection->tls);
  }
  if (connection->broken) return close(connection);
  // Closing while something is unread would take the answer away from a client that still sends.
  ::shutdown(connection->descriptor, SHUT_WR);
  connection->state = Connection::State::kDiscarding;
  connection->deadline = std::min(connection->deadline, steady_clock::now() + kDiscardTime);
  connection->input.clear();
  watch(*connection, EPOLLIN);
  discard(connection);
}

void Reception::discard(const Pointer& connection) {
  const bool complete = connection->wanted != 0;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = ::recv(connection->descriptor, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN && !complete) return;
    if (got <= 0) return close(connection);
    connection->discarded += static_cast<std::size_t>(got);
    if (connection->discarded > kMostDiscarded) return close(connection);
  }
}

void Reception::close(const Pointer& connection) {
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection->descriptor, nullptr);
  connections_.erase(connection->descriptor);
}

void Reception::take_finished() {
  std::vector<Pointer> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (const Pointer& connection : finished) finish(connection);
}

int Reception::milliseconds_to_next(Time now) {
  Time next = now + std::chrono::hours(1);
  if (deaf_until_ != Time()) next = deaf_until_;
  for (const auto& [descriptor, connection] : connections_)
    if (connection->state != Connection::State::kWorking)
      next = std::min(next, connection->deadline);
  const auto time = std::chrono::ceil<milliseconds>(next - now).count();
  return static_cast<int>(std::max<std::int64_t>(time, 0));
}

void Reception::expire(Time now) {
  if (deaf_until_ != Time() && now >= deaf_until_) {
    deaf_until_ = Time();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = listener_;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, listener_, &event);
  }
  std::vector<Pointer> late;
  for (const auto& [descriptor, connection] : connections_)
    if (connection->state != Connection::State::kWorking && connection->deadline <= now)
      late.push_back(connection);
  for (const Pointer& connection : late) {
    if (connection->state == Connection::State::kReceiving && !connection->input.empty()) {
      refuse(connection, error_answer(408, "timeout", "the request did not come in time",
                                      "send it whole, at once (api.limits.receive_timeout_ms)"));
    } else {
      close(connection);
    }
  }
}

}  // namespace vmsrs::api
