// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>
#include <vmsrs/hosted.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <ops_common/exit_codes.hpp>

#include "channel/hypercall.hpp"
#include "hosted/lane_call.hpp"
#include "hosted/link.hpp"

// Calls to vmsrs-hosted over one lane. All threads of the daemon share it, one call at a time: its
// tokens belong to the connection, not to a thread.
namespace vmsrs::channel {
namespace {

constexpr std::uint64_t kThread = 1;  // any number that is not 0: the daemon has no users

class HostedHypercall final : public Hypercall {
 public:
  explicit HostedHypercall(const hosted::Link& link) : link_(link) {}
  ~HostedHypercall() override { hosted::close_link(link_); }
  HostedHypercall(const HostedHypercall&) = delete;
  HostedHypercall& operator=(const HostedHypercall&) = delete;

  bool take_lane() {
    vmsrs_hosted_message message{};
    message.type = VMSRS_HOSTED_LANE_TAKE;
    message.a = kThread;
    message.b = static_cast<std::uint64_t>(::getpid());  // the lane is the whole process's
    if (hosted::ask(link_, message) != VMSRS_OK || message.a >= link_.lane_count) return false;
    lane_ = static_cast<std::uint32_t>(message.a);
    return true;
  }

  void call(Registers& registers) override {
    const std::scoped_lock turn(turn_);
    hosted::Registers raw{registers.rax, registers.rdi, registers.rsi, registers.rdx,
                          registers.r10, registers.r8,  registers.r9};
    if (hosted::call_on_lane(link_, lane_, kThread, raw, budget_) != hosted::LaneResult::kAnswered)
      end();
    registers.rax = raw.rax;
    registers.rdx = raw.rdx;
    registers.rsi = raw.rsi;
  }

 private:
  // The token, the servers' definitions and all that was counted went with it. The service manager
  // starts both anew.
  [[noreturn]] static void end() {
    std::fputs("vmsrsd: vmsrs-hosted is gone: ending, to start anew with it\n", stderr);
    std::_Exit(ops::kExitFailed);
  }

  hosted::Link link_;
  std::mutex turn_;
  std::uint32_t lane_ = 0;
  hosted::SpinBudget budget_ = 0;
};

}  // namespace

Probe probe_hosted(const std::string& socket) {
  const std::string path = socket.empty() ? hosted::default_socket_path() : socket;
  hosted::Link link;
  char problem[256];
  if (!hosted::open_link(link, path.c_str(), 1, problem, sizeof problem))
    return {nullptr, std::string("no vmsrs-hosted (") + problem +
                         "): start it (systemctl start vmsrs-hosted.socket), then vmsrsd again"};
  auto hypercall = std::make_unique<HostedHypercall>(link);
  if (!hypercall->take_lane()) return {nullptr, "vmsrs-hosted at " + path + " gives no lane"};
  return {std::move(hypercall), ""};
}

Probe probe_platform(Platform platform, const std::string& socket) {
  if (platform == Platform::kSvm || (platform == Platform::kAuto && has_hypervisor()))
    return probe_svm();
  Probe found = probe_hosted(socket);
  if (platform == Platform::kAuto && !found.hypercall)
    found.problem = no_hypervisor() + ", and " + found.problem +
                    ", or boot this machine through its VMSRS boot entry";
  return found;
}

}  // namespace vmsrs::channel
