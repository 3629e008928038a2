// SPDX-License-Identifier: Apache-2.0
#include "api/answer.hpp"

#include <httplib.h>

#include <ops_common/json_text.hpp>

#include "channel/names.hpp"

namespace vmsrs::api {

Answer error_answer(int http_status, const std::string& code, const std::string& message,
                    const std::string& hint) {
  return {http_status, {{"error", {{"code", code}, {"message", message}, {"hint", hint}}}}};
}

Answer bad_request(const std::string& message, const std::string& hint) {
  return error_answer(400, "bad_request", message, hint);
}

Answer status_answer(vmsrs_status status, const std::string& doing) {
  const std::string message =
      doing + ": the hypervisor answered \"" + channel::status_name(status) + "\"";
  switch (status) {
    case VMSRS_DENIED:
      return error_answer(
          403, "denied", message,
          "the daemon has lost its capability: restart vmsrsd, and look at its log");
    case VMSRS_NOT_FOUND:
      return error_answer(404, "not_found", message,
                          "look at the lists of servers and users: it may be gone by now");
    case VMSRS_WRONG_STATE:
      return error_answer(409, "wrong_state", message,
                          "look at its state: the request makes no sense in it");
    case VMSRS_NO_ENGINE:
      return error_answer(503, "unprotected",
                          doing +
                              ": the hypervisor has contradicted itself: NOTHING IS PROTECTED any "
                              "more, Linux and the servers go on without it",
                          "`vmsrsctl hypervisor log` tells where; boot the machine anew");
    default:
      return error_answer(502, "hypervisor_error", message, "look at the log of vmsrsd");
  }
}

void reply_with(httplib::Response& response, const Answer& answer) {
  response.status = answer.http_status;
  response.set_content(ops::json_text(answer.body) + "\n", "application/json");
}

std::string printable(const std::string& text) {
  const std::string beginning = text.substr(0, 256);
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(beginning.data());
  return channel::label_text({bytes, beginning.size()});
}

}  // namespace vmsrs::api
