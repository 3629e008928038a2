// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <httplib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ops_common/exit_codes.hpp>
#include <thread>

namespace vmsrs::cli {
namespace {

constexpr std::chrono::milliseconds kGrace{2000};

// As the daemon calls it by default: /run/vmsrs/api.sock has /run/vmsrs/api-read-only.sock beside
// it.
std::string read_only_beside(const std::string& socket) {
  const std::size_t end = socket.ends_with(".sock") ? socket.size() - 5 : socket.size();
  return socket.substr(0, end) + "-read-only" + socket.substr(end);
}

bool may_open(const std::string& socket) { return ::access(socket.c_str(), R_OK | W_OK) == 0; }

std::pair<std::string, int> host_and_port(const std::string& text) {
  if (const auto address = parse_address(text)) return *address;
  throw Failure(ops::kExitUsage, "\"" + text + "\" is no HOST:PORT such as shop1.example.org:9471");
}

void need_file(const std::string& file, const std::string& option, const std::string& what) {
  if (file.empty())
    throw Failure(ops::kExitUsage,
                  "--host needs " + option + ": " + what +
                      " (or give it in ~/.config/vmsrs/client.yaml, or in the fleet file)");
  if (::access(file.c_str(), R_OK) != 0)
    throw Failure(ops::kExitUsage, option + ": " + file + ": " + std::strerror(errno));
}

[[noreturn]] void fail_as_answered(int http_status, const Json& body) {
  const Json error = body.value("error", Json::object());
  const std::string message = error.value("message", "HTTP status " + std::to_string(http_status));
  const std::string hint = error.value("hint", "");
  const int exit_code = http_status == 403 ? ops::kExitDenied : ops::kExitFailed;
  throw Failure(exit_code, message + (hint.empty() ? "" : ": " + hint));
}

// What `work` makes of a connection to the daemon, at `place` if that is a socket.
template <typename Work>
httplib::Result with_connection(const Daemon& daemon, const std::string& place,
                                std::chrono::milliseconds timeout, const Work& work) {
  const auto prepared = [&](auto& http) {
    http.set_connection_timeout(timeout);
    http.set_write_timeout(timeout);
    return work(http);
  };
  if (daemon.host.empty()) {
    httplib::Client http(place);
    http.set_address_family(AF_UNIX);
    http.set_default_headers({{"Host", "vmsrsd"}});
    return prepared(http);
  }
  const auto [host, port] = host_and_port(daemon.host);
  httplib::SSLClient http(host, port, daemon.certificate, daemon.key);
  http.set_ca_cert_path(daemon.ca);
  http.enable_server_certificate_verification(true);
  return prepared(http);
}

}  // namespace

std::optional<std::pair<std::string, int>> parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  const std::string digits = colon == std::string::npos ? "" : text.substr(colon + 1);
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const bool good = !host.empty() && !digits.empty() && digits.size() <= 5 &&
                    digits.find_first_not_of("0123456789") == std::string::npos &&
                    std::stoi(digits) <= 65535;
  if (!good) return std::nullopt;
  return std::make_pair(host, std::stoi(digits));
}

Client::Client(Daemon daemon, std::chrono::milliseconds timeout)
    : daemon_(std::move(daemon)), timeout_(timeout) {
  if (!daemon_.host.empty()) {
    need_file(daemon_.certificate, "--cert", "the certificate of this client");
    need_file(daemon_.key, "--key", "its private key");
    need_file(daemon_.ca, "--ca", "the certificate that vouches for the daemon's");
    place_ = daemon_.host;
    return;
  }
  std::string& read_only = daemon_.read_only_socket;
  if (read_only.empty()) read_only = read_only_beside(daemon_.socket);
  const bool denied = !may_open(daemon_.socket) && errno == EACCES;
  place_ = denied && may_open(read_only) ? read_only : daemon_.socket;
}

void Client::fail_to_connect(int number) const {
  const auto error = static_cast<httplib::Error>(number);
  if (!daemon_.host.empty()) {
    if (error == httplib::Error::SSLServerVerification)
      throw Failure(ops::kExitUnreachable, "the certificate of " + place_ +
                                               " is not vouched for by " + daemon_.ca +
                                               ", or is of another host");
    if (error == httplib::Error::SSLLoadingCerts || error == httplib::Error::SSLConnection)
      throw Failure(ops::kExitUnreachable,
                    "TLS with " + place_ +
                        " failed: look at --cert, --key and --ca; or it did not answer in time "
                        "(--timeout)");
    if (error == httplib::Error::Read)
      throw Failure(ops::kExitUnreachable,
                    place_ + " closed the connection: it may not trust the certificate " +
                        daemon_.certificate + ", or did not answer in time (--timeout)");
    throw Failure(ops::kExitUnreachable, "no vmsrsd answers at " + place_ +
                                             ": is api.tls.listen set there, and is it reachable?");
  }
  if (error == httplib::Error::Read || error == httplib::Error::Write) {
    throw Failure(ops::kExitUnreachable,
                  "vmsrsd at " + place_ +
                      " did not answer in time: look at its log, or give a longer --timeout");
  }
  if (::access(place_.c_str(), F_OK) == 0 && ::access(place_.c_str(), W_OK) != 0) {
    throw Failure(ops::kExitDenied, "no permission for " + place_ +
                                        ": run as root or as a member of the socket's group");
  }
  throw Failure(ops::kExitUnreachable,
                "no vmsrsd answers at " + place_ +
                    ": start it (systemctl start vmsrsd), or name its socket with --socket");
}

Json Client::get(const std::string& path) const { return request("GET", path, ""); }

Json Client::post(const std::string& path, const Json& body) const {
  return request("POST", path, body.dump());
}

namespace {

// Takes a stream of server-sent events apart.
class EventLines {
 public:
  explicit EventLines(const std::function<void(const Json&)>& on_event) : on_event_(on_event) {}

  void add(const char* data, std::size_t length) {
    rest_.append(data, length);
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1)
      line(rest_.substr(begin, end - begin));
    rest_.erase(0, begin);
  }
  [[nodiscard]] const std::string& last_id() const { return last_id_; }
  void reconnected() { rest_.clear(); }

 private:
  void line(const std::string& text) {
    if (text.starts_with("id: ")) id_ = text.substr(4);
    if (!text.starts_with("data: ")) return;
    const Json event = Json::parse(text.substr(6), nullptr, false);
    if (event.is_discarded()) return;
    on_event_(event);
    last_id_ = id_;
  }

  const std::function<void(const Json&)>& on_event_;
  std::string rest_, id_, last_id_;
};

}  // namespace

void Client::follow(const std::string& path,
                    const std::function<void(const Json&)>& on_event) const {
  constexpr std::chrono::milliseconds kPause{200};
  constexpr std::chrono::seconds kSilence{60};  // several heartbeats
  EventLines lines(on_event);
  auto answered = std::chrono::steady_clock::now();
  bool ever_answered = false;
  for (;;) {
    httplib::Headers headers;
    if (!lines.last_id().empty()) headers.emplace("Last-Event-ID", lines.last_id());
    lines.reconnected();
    int status = 0;
    std::string refusal;
    const auto on_head = [&](const httplib::Response& response) {
      status = response.status;
      return true;
    };
    const auto on_data = [&](const char* data, std::size_t length) {
      answered = std::chrono::steady_clock::now();
      if (status == 200) {
        lines.add(data, length);
      } else if (refusal.size() < 65536) {
        refusal.append(data, length);
      }
      return true;
    };
    const httplib::Result result = with_connection(daemon_, place_, timeout_, [&](auto& http) {
      http.set_read_timeout(kSilence);
      return http.Get(path, headers, on_head, on_data);
    });
    if (status != 0 && status != 200) {
      const Json answer = Json::parse(refusal, nullptr, false);
      fail_as_answered(status, answer.is_object() ? answer : Json::object());
    }
    ever_answered = ever_answered || status == 200;
    if (!ever_answered || std::chrono::steady_clock::now() - answered > timeout_)
      fail_to_connect(static_cast<int>(result ? httplib::Error::Connection : result.error()));
    std::this_thread::sleep_for(kPause);
  }
}

Json Client::request(const std::string& method, const std::string& path,
                     const std::string& body) const {
  const httplib::Result result = with_connection(daemon_, place_, timeout_, [&](auto& http) {
    http.set_read_timeout(timeout_ + kGrace);
    return method == "GET" ? http.Get(path) : http.Post(path, body, "application/json");
  });
  if (!result) fail_to_connect(static_cast<int>(result.error()));
  const Json answer = Json::parse(result->body, nullptr, false);
  if (answer.is_discarded() || !answer.is_object()) {
    throw Failure(ops::kExitFailed, "what answers at " + place_ + " is no vmsrsd");
  }
  if (result->status != 200) fail_as_answered(result->status, answer);
  return answer;
}

}  // namespace vmsrs::cli
