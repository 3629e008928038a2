// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "daemon/run.hpp"
#include "monitor_machine.hpp"

namespace vmsrs::test {
namespace {

// With VMSRS_TEST_USER in the environment a server "shop" attaches, whose secret is 32 times 0x11,
// as soon as the daemon has defined it, and has a user that has stored something and does not end.
class HypercallWithUser final : public channel::Hypercall {
 public:
  explicit HypercallWithUser(MonitorMachine& machine)
      : machine_(machine), server_(machine, 0x2000) {}
  void call(channel::Registers& registers) override {
    MonitorHypercall(machine_).call(registers);
    if (attached_ || server_.attach("shop", MonitorMachine::management_secret(),
                                    static_cast<std::uint32_t>(getpid())) != VMSRS_OK)
      return;
    attached_ = true;
    server_.profile();
    server_.call(VMSRS_CALL_USER_BEGIN, {7});
    server_.call(VMSRS_CALL_STORE, {reinterpret_cast<std::uintptr_t>(server_.region), 55, 8});
  }

 private:
  MonitorMachine& machine_;
  MonitorServer server_;
  bool attached_ = false;
};

}  // namespace
}  // namespace vmsrs::test

// vmsrsd as it is, but above the monitor in its own process instead of the machine's.
int main(int argc, char** argv) {
  using namespace vmsrs;
  test::MonitorMachine machine;
  const auto probe = [&](const config::Config&) {
    if (std::getenv("VMSRS_TEST_USER") != nullptr)
      return channel::Probe{std::make_unique<test::HypercallWithUser>(machine), ""};
    return channel::Probe{std::make_unique<test::MonitorHypercall>(machine), ""};
  };
  const int code = daemon::run(argc, argv, probe);
  if (machine.platform.reset_is_announced()) std::puts("machine: a reset is announced");
  return code;
}
