// SPDX-License-Identifier: Apache-2.0
#include "daemon/run.hpp"
#include "ops/monitor_machine.hpp"

// vmsrsd as it is, above the monitor in its own process, on a machine whose operating system has
// panicked once and whose devices nothing confines: for the metrics that vmsrs-hosted does not
// have.
int main(int argc, char** argv) {
  vmsrs::test::MonitorMachine machine;
  machine.platform.add_guest_end(VMSRS_GUEST_PANIC);
  machine.platform.set_devices(VMSRS_DEVICES_FREE);
  return vmsrs::daemon::run(argc, argv, [&](const vmsrs::config::Config&) {
    return vmsrs::channel::Probe{std::make_unique<vmsrs::test::MonitorHypercall>(machine), ""};
  });
}
