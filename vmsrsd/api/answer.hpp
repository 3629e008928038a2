// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <nlohmann/json.hpp>
#include <string>

namespace httplib {
struct Response;
}

namespace vmsrs::api {

using Json = nlohmann::ordered_json;

// What a request is answered with: HTTP's status and a JSON document. Errors have the form
// {"error": {"code", "message", "hint"}}; the codes are listed in docs/api.md.
struct Answer {
  int http_status = 200;
  Json body;
};

[[nodiscard]] Answer error_answer(int http_status, const std::string& code,
                                  const std::string& message, const std::string& hint);
[[nodiscard]] Answer bad_request(const std::string& message, const std::string& hint);
// For a status of the hypervisor that is not VMSRS_OK. `doing`: "reading the list of servers".
[[nodiscard]] Answer status_answer(vmsrs_status status, const std::string& doing);
void reply_with(httplib::Response& response, const Answer& answer);
// What came from a peer, for a line of the log: methods, paths and names may hold any bytes, of
// which none is to break the line. At most 256 of them.
[[nodiscard]] std::string printable(const std::string& text);

}  // namespace vmsrs::api
