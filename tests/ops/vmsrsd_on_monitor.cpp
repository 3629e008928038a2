// SPDX-License-Identifier: Apache-2.0
#include "daemon/run.hpp"
#include "monitor_machine.hpp"

// vmsrsd as it is, but above the monitor in its own process instead of the machine's.
int main(int argc, char** argv) {
  vmsrs::test::MonitorMachine machine;
  return vmsrs::daemon::run(argc, argv, [&](const vmsrs::config::Config&) {
    return vmsrs::channel::Probe{std::make_unique<vmsrs::test::MonitorHypercall>(machine), ""};
  });
}
