// SPDX-License-Identifier: Apache-2.0
#include "channel/hypercall.hpp"
#include "daemon/run.hpp"

int main(int argc, char** argv) {
  return vmsrs::daemon::run(argc, argv, [](const vmsrs::config::Config& config) {
    return vmsrs::channel::probe_platform(config.platform, config.hosted_socket);
  });
}
