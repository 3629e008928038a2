// SPDX-License-Identifier: Apache-2.0
// The book shop under load, with VMSRS and without: both servers run side by side, the load goes to
// one and then to the other, in short turns. The shops are opened anew now and then, as their
// tables of orders fill. usage: bench_shop [KEY ...]
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>

#include "client.hpp"
#include "hosted_bench.hpp"
#include "measure.hpp"
#include "peer.hpp"

namespace {

using namespace vmsrs::bench;
using vmsrs::test::Child;

constexpr unsigned kClients = 8;
constexpr unsigned kOpenings = 6;
constexpr unsigned kTurns = 4;  // of each arm in one opening
constexpr std::chrono::milliseconds kTurn{250}, kQuickTurn{50};
constexpr std::chrono::milliseconds kWarmUp{20};

struct Scenario {
  const char* key;
  const char* text;
  Mix mix;
};
constexpr Scenario kScenarios[] = {
    {"shop_read90_ratio", "throughput with VMSRS over without, 90 % reads", {90, false}},
    {"shop_read50_ratio", "the same, 50 % reads", {50, false}},
    {"shop_crashing_ratio",
     "the normal users' throughput, 90 % reads, while one user after another crashes",
     {90, true}},
};

// The demonstration's titles, with more of each than can be sold here.
std::string well_stocked_catalogue(HostedBench& hosted) {
  std::ifstream original(CATALOGUE);
  const std::string file = hosted.process().path("catalogue.csv");
  std::ofstream copy(file);
  std::string line;
  for (bool header = true; std::getline(original, line); header = false)
    copy << (header ? line : line.substr(0, line.rfind(',')) + ",1000000") << "\n";
  return file;
}

std::uint16_t free_port() {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(probe, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    give_up("no free port");
  close(probe);
  return ntohs(address.sin_port);
}

struct Figures {
  std::vector<double> rate, cpu_us, engine_waited;  // of each turn
  std::uint64_t failed = 0;
};

// A shop as a child, and its clients. What it costs is its own time and, with VMSRS, the engine's.
class Arm {
 public:
  Arm(const Scenario& scenario, HostedBench& hosted, bool protect, Figures& figures)
      : hosted_(protect ? &hosted : nullptr), figures_(figures) {
    const std::uint16_t port = free_port();
    std::vector<std::string> words = {protect ? BOOKSHOP : BOOKSHOP_PLAIN,
                                      "--catalogue",
                                      well_stocked_catalogue(hosted),
                                      "--orders",
                                      "100000",
                                      "--port",
                                      std::to_string(port)};
    if (protect) {
      words.insert(words.end(),
                   {"--server-name", kServer, "--secret-file", hosted.secret_file()});
      if (scenario.mix.troublemaker)
        words.insert(words.end(), {"--inject-always", std::to_string(kTroublemaker) + ":wild"});
    }
    int banner[2];
    if (pipe(banner) != 0) give_up("no pipe");
    shop_ = std::make_unique<Child>(words, std::vector<std::string>{}, banner[1]);
    close(banner[1]);
    char text[256];
    if (read(banner[0], text, sizeof text) <= 0) give_up("the shop does not start");
    close(banner[0]);
    clients_ = std::make_unique<Clients>(port, kClients, scenario.mix);
  }

  double turn() {  // users a second
    clients_->run(kWarmUp);
    const double before = cpu();
    const double waited = hosted_ != nullptr ? waited_seconds(hosted_->process().id()) : 0;
    const Clients::Done done = clients_->run(quick() ? kQuickTurn : kTurn);
    const auto users = static_cast<double>(done.users);
    figures_.cpu_us.push_back((cpu() - before) / users * 1e6);
    if (hosted_ != nullptr)
      figures_.engine_waited.push_back((waited_seconds(hosted_->process().id()) - waited) /
                                       done.seconds);
    figures_.rate.push_back(users / done.seconds);
    figures_.failed += done.failed;
    return figures_.rate.back();
  }

 private:
  double cpu() const {
    return cpu_seconds(shop_->id()) +
           (hosted_ != nullptr ? cpu_seconds(hosted_->process().id()) : 0);
  }

  HostedBench* hosted_;  // null: without VMSRS
  Figures& figures_;
  std::unique_ptr<Child> shop_;
  std::unique_ptr<Clients> clients_;
};

void run(const Scenario& scenario) {
  Figures plain, ours, beside_spinner;
  std::vector<double> ratios, limits;
  for (unsigned opening = 0; opening < (quick() ? 1 : kOpenings); ++opening) {
    HostedBench hosted("256MiB");
    Arm without(scenario, hosted, false, plain);
    Arm with(scenario, hosted, true, ours);
    Arm watched(scenario, hosted, false, beside_spinner);
    for (unsigned i = 0; i < kTurns; ++i) {
      const double first = (i % 2 == 0 ? without : with).turn();
      const double second = (i % 2 == 0 ? with : without).turn();
      ratios.push_back(i % 2 == 0 ? second / first : first / second);
      const Peer spinner(0, [](std::uint64_t*) {}, true);
      limits.push_back(watched.turn() / (i % 2 == 0 ? first : second));
    }
  }
  const std::string name = std::string(scenario.key).substr(0, std::strlen(scenario.key) - 6);
  const auto beside = [&](const char* what, double value, const char* unit, const char* text) {
    report((name + "_" + what).c_str(), value, unit, text);
  };
  report(scenario.key, median(ratios), "", scenario.text);
  beside("spinning_ratio", median(limits), "",
         "the same for a server without VMSRS while a program spins on the engine's processor");
  beside("plain_rate", median(plain.rate), "/s", "users a second without VMSRS");
  beside("vmsrs_rate", median(ours.rate), "/s", "users a second with VMSRS");
  beside("plain_cpu_us", median(plain.cpu_us), "us", "processor time of a user: server");
  beside("vmsrs_cpu_us", median(ours.cpu_us), "us", "processor time of a user: server and engine");
  beside("engine_waited", median(ours.engine_waited), "",
         "part of the time that the engine waited while other programs had its processor");
  if (scenario.mix.troublemaker) {
    if (ours.failed == 0) give_up("nobody crashed");
    beside("crashes", static_cast<double>(ours.failed), "", "users that crashed meanwhile");
  }
}

}  // namespace

int main(int count, char** arguments) try {
  for (const Scenario& scenario : kScenarios) {
    bool wanted = count == 1;
    for (int i = 1; i < count; ++i) wanted |= std::strcmp(arguments[i], scenario.key) == 0;
    if (wanted) run(scenario);
  }
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "bench_shop: %s\n", problem.what());
  return 1;
}
