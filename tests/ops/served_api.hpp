// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <httplib.h>

#include "api/config_service.hpp"
#include "api/event_routes.hpp"
#include "api/listener.hpp"
#include "api/routes.hpp"
#include "channel/serial_channel.hpp"
#include "daemon/event_recorder.hpp"
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
  std::string store_path = scratch.path("state/events.db");
  daemon::EventLedger event_ledger;
  store::EventFeed feed;
  daemon::EventRecorder recorder{channel,      fixed_clock(), {store_path, 90, 256 << 20, ""},
                                 event_ledger, feed,          {}};
  api::EventService events{store_path, feed, std::chrono::milliseconds(100)};
  std::string config_file = scratch.path("vmsrs.yaml");
  api::ConfigService config{config_file, [this] { return config::load(config_file); },
                            running_config()};
  std::unique_ptr<api::Listener> listener =
      api::Listener::on_socket(socket, 0640, "", [this](httplib::Server& server) {
        api::install_routes(server, service);
        api::install_event_routes(server, events);
        api::install_config_routes(server, config);
      });

  config::Config running_config() const {
    scratch.write("vmsrs.yaml",
                  "log: {level: warn}\ncheck: {timeout_ms: 400}\nservers:\n  - {name: shop, "
                  "attach_secret_file: /etc/vmsrs/shop.secret}\n");
    return config::load(config_file);
  }
  ~ServedApi() { feed.stop(); }
};

}  // namespace vmsrs::test
