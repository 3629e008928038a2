// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "api/service.hpp"

namespace httplib {
class Server;
}

namespace vmsrs::api {

// Method and path of each request that is answered; {name} stands for one part of a path.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> served_requests();

// Puts the API's paths and JSON errors on an HTTP server. `service` outlives the server.
void install_routes(httplib::Server& server, Service& service);

}  // namespace vmsrs::api
