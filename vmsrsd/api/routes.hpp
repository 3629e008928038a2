// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "api/service.hpp"

namespace httplib {
class Server;
}

namespace vmsrs::api {

// Puts the API's paths, limits and JSON errors on an HTTP server. `service` outlives the server.
void install_routes(httplib::Server& server, Service& service);

}  // namespace vmsrs::api
