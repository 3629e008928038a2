// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vmsrs::ops {

// A document (nlohmann::basic_json) on one line. Labels of users may be any bytes: what is no UTF-8
// becomes U+FFFD.
template <typename Json>
[[nodiscard]] std::string json_text(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vmsrs::ops
