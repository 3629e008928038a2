// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "api/event_service.hpp"

namespace httplib {
class Server;
}

namespace vmsrs::api {

// As they stand in openapi.json, all of them for GET.
inline constexpr const char* kEventPaths[] = {"/v1/events", "/v1/events/{id}", "/v1/events/stream"};

// Puts /v1/events on an HTTP server. `service` outlives the server.
void install_event_routes(httplib::Server& server, EventService& service);

}  // namespace vmsrs::api
