// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "daemon/run.hpp"
#include "monitor_machine.hpp"
#include "shared_ring.hpp"

// vmsrsd as it is, above the monitor in its own process, but with its events in the shared ring at
// VMSRS_TEST_RING, which outlives it.
int main(int argc, char** argv) {
  const char* const path = std::getenv("VMSRS_TEST_RING");
  vmsrs::test::SharedRing* const ring =
      path == nullptr ? nullptr : vmsrs::test::SharedRing::at(path);
  if (ring == nullptr) return 1;
  vmsrs::test::MonitorMachine machine;
  return vmsrs::daemon::run(argc, argv, [&](const vmsrs::config::Config&) {
    return vmsrs::channel::Probe{std::make_unique<vmsrs::test::RingHypercall>(machine, *ring), ""};
  });
}
