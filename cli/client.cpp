// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <httplib.h>
#include <unistd.h>

#include <ops_common/exit_codes.hpp>

namespace vmsrs::cli {
namespace {

constexpr std::chrono::milliseconds kGrace{2000};

[[noreturn]] void fail_to_connect(const std::string& socket, httplib::Error error) {
  if (error == httplib::Error::Read || error == httplib::Error::Write) {
    throw Failure(ops::kExitUnreachable,
                  "vmsrsd at " + socket +
                      " did not answer in time: look at its log, or give a longer --timeout");
  }
  if (::access(socket.c_str(), F_OK) == 0 && ::access(socket.c_str(), W_OK) != 0) {
    throw Failure(ops::kExitDenied, "no permission for " + socket +
                                        ": run as root or as a member of the socket's group");
  }
  throw Failure(ops::kExitUnreachable,
                "no vmsrsd answers at " + socket +
                    ": start it (systemctl start vmsrsd), or name its socket with --socket");
}

[[noreturn]] void fail_as_answered(int http_status, const Json& body) {
  const Json error = body.value("error", Json::object());
  const std::string message = error.value("message", "HTTP status " + std::to_string(http_status));
  const std::string hint = error.value("hint", "");
  const int exit_code = http_status == 403 ? ops::kExitDenied : ops::kExitFailed;
  throw Failure(exit_code, message + (hint.empty() ? "" : ": " + hint));
}

}  // namespace

Json Client::get(const std::string& path) const { return request("GET", path, ""); }

Json Client::post(const std::string& path, const Json& body) const {
  return request("POST", path, body.dump());
}

Json Client::request(const std::string& method, const std::string& path,
                     const std::string& body) const {
  httplib::Client http(socket_);
  http.set_address_family(AF_UNIX);
  http.set_default_headers({{"Host", "vmsrsd"}});
  http.set_connection_timeout(timeout_);
  http.set_read_timeout(timeout_ + kGrace);
  http.set_write_timeout(timeout_);
  const httplib::Result result =
      method == "GET" ? http.Get(path) : http.Post(path, body, "application/json");
  if (!result) fail_to_connect(socket_, result.error());
  const Json answer = Json::parse(result->body, nullptr, false);
  if (answer.is_discarded() || !answer.is_object()) {
    throw Failure(ops::kExitFailed, "what answers at " + socket_ + " is no vmsrsd");
  }
  if (result->status != 200) fail_as_answered(result->status, answer);
  return answer;
}

}  // namespace vmsrs::cli
