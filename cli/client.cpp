// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <httplib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ops_common/exit_codes.hpp>

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
  const std::size_t colon = text.rfind(':');
  const std::string digits = colon == std::string::npos ? "" : text.substr(colon + 1);
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const bool good = !host.empty() && !digits.empty() && digits.size() <= 5 &&
                    digits.find_first_not_of("0123456789") == std::string::npos &&
                    std::stoi(digits) <= 65535;
  if (!good)
    throw Failure(ops::kExitUsage,
                  "\"" + text + "\" is no HOST:PORT such as shop1.example.org:9471");
  return {host, std::stoi(digits)};
}

void need_file(const std::string& file, const std::string& option, const std::string& what) {
  if (file.empty())
    throw Failure(ops::kExitUsage, "--host needs " + option + ": " + what +
                                       " (or give it in ~/.config/vmsrs/client.yaml)");
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

}  // namespace

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
                    "TLS with " + place_ + " failed: look at --cert, --key and --ca");
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

Json Client::request(const std::string& method, const std::string& path,
                     const std::string& body) const {
  const auto send = [&](auto& http) {
    http.set_connection_timeout(timeout_);
    http.set_read_timeout(timeout_ + kGrace);
    http.set_write_timeout(timeout_);
    return method == "GET" ? http.Get(path) : http.Post(path, body, "application/json");
  };
  const auto over_socket = [&] {
    httplib::Client http(place_);
    http.set_address_family(AF_UNIX);
    http.set_default_headers({{"Host", "vmsrsd"}});
    return send(http);
  };
  const auto over_tls = [&] {
    const auto [host, port] = host_and_port(daemon_.host);
    httplib::SSLClient http(host, port, daemon_.certificate, daemon_.key);
    http.set_ca_cert_path(daemon_.ca);
    http.enable_server_certificate_verification(true);
    return send(http);
  };
  const httplib::Result result = daemon_.host.empty() ? over_socket() : over_tls();
  if (!result) fail_to_connect(static_cast<int>(result.error()));
  const Json answer = Json::parse(result->body, nullptr, false);
  if (answer.is_discarded() || !answer.is_object()) {
    throw Failure(ops::kExitFailed, "what answers at " + place_ + " is no vmsrsd");
  }
  if (result->status != 200) fail_as_answered(result->status, answer);
  return answer;
}

}  // namespace vmsrs::cli
