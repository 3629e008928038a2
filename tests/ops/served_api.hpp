// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <httplib.h>

#include "api/listener.hpp"
#include "api/routes.hpp"
#include "channel/serial_channel.hpp"
#include "fake_channel.hpp"
#include "scratch.hpp"

namespace vmsrs::test {

// The daemon's API on a real unix socket, above a fake channel.
struct ServedApi {
  Scratch scratch;
  std::string socket = scratch.path("run/api.sock");
  FakeChannel fake;
  channel::SerialChannel channel{fake};
  daemon::CheckLedger ledger;
  api::Service service{channel, ledger, daemon::Clock{.unix_time = fixed_clock().unix_time},
                       std::chrono::milliseconds(400), daemon::Processes(scratch.path("proc"))};
  std::unique_ptr<api::Listener> listener = api::Listener::on_socket(
      socket, 0640, "", [this](httplib::Server& server) { api::install_routes(server, service); });
};

}  // namespace vmsrs::test
