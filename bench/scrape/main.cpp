// SPDX-License-Identifier: Apache-2.0
// What it takes to look at a busy host: vmsrsd above vmsrs-hosted, ten servers with 10,000
// unfinished users and 1 GiB of regions between them, and what looking costs a server that works.
//
// usage: bench_scrape scrape_ms | scraped_ratio
//        bench_scrape population NAME SECRET_FILE COUNTER_FILE   (a server; started by the above)
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "hosted_process.hpp"
#include "measure.hpp"

namespace {

using namespace vmsrs::bench;
using vmsrs::test::Child;
using vmsrs::test::HostedProcess;
using vmsrs::test::Manager;

// Ten: 10,000 users, and a little more than 1 GiB. Two for a quick look.
unsigned server_count() { return quick() ? 2 : 10; }
constexpr std::uint64_t kUsersOfServer = 1000;
constexpr std::size_t kRegionBytes = 104 << 20;
constexpr std::size_t kWorkBytes = 1 << 20;  // at the region's end, for the working users
constexpr unsigned kGranuleBytes = 64;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "bench_scrape: %s\n", what.c_str());
  std::exit(1);
}

// ---- A server.

std::uint64_t* counter_in(const char* file) {
  const int descriptor = open(file, O_RDWR | O_CLOEXEC);
  void* const at =
      mmap(nullptr, VMSRS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (at == MAP_FAILED) give_up(std::string("no ") + file);
  return static_cast<std::uint64_t*>(at);
}

// Its users store a granule each and stay unfinished. Then, from the counter's first change on,
// requests of eight stores, one after the other, counted.
[[noreturn]] void serve(const char* name, const char* secret_file, const char* counter_file) {
  std::uint64_t* const counter = counter_in(counter_file);
  vmsrs_options options{};
  options.server_name = name;
  options.secret_file = secret_file;
  options.signal_mask_stays = true;
  if (vmsrs_attach(&options) != 0) give_up(vmsrs_error_message());
  void* const at =
      mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memset(at, 1, kRegionBytes);
  if (profile(at, kRegionBytes, kGranuleBytes) != 0) give_up(vmsrs_error_message());
  auto* const bytes = static_cast<std::byte*>(at);
  for (std::uint64_t user = 0; user < kUsersOfServer; ++user) {
    auto* const word = reinterpret_cast<std::uint64_t*>(bytes + user * VMSRS_PAGE_BYTES);
    const int outcome = vmsrs::run_user(
        user,
        [&] {
          vmsrs::store(word, user);
          vmsrs_user_suspend();
        },
        [] {});
    if (outcome != VMSRS_SUSPENDED) give_up("a user does not stay");
  }
  auto* const work = reinterpret_cast<std::uint64_t*>(bytes + kRegionBytes - kWorkBytes);
  constexpr std::size_t kStores = 8, kWordsApart = 2 * kGranuleBytes / sizeof(std::uint64_t);
  constexpr std::size_t kPlaces = kWorkBytes / sizeof(std::uint64_t) / kWordsApart;
  std::printf("ready\n");
  std::fflush(stdout);
  while (__atomic_load_n(counter, __ATOMIC_RELAXED) == 0) usleep(10'000);
  for (std::uint64_t request = 0;; ++request) {
    const int outcome = vmsrs::run_user(
        request,
        [&] {
          for (std::size_t i = 0; i < kStores; ++i)
            vmsrs::store(&work[(request * kStores + i) % kPlaces * kWordsApart], request);
        },
        [] {});
    if (outcome != VMSRS_FINISHED) give_up("a request did not finish");
    __atomic_store_n(counter, request + 2, __ATOMIC_RELAXED);
  }
}

// ---- Who looks.

class Host {
 public:
  Host() {
    setenv(VMSRS_HOSTED_SOCKET_VARIABLE, hosted_.socket().c_str(), 1);
    write_configuration();
    const int log = open(hosted_.path("vmsrsd.log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    daemon_ = std::make_unique<Child>(
        std::vector<std::string>{VMSRS_VMSRSD, "--config", hosted_.path("vmsrs.yaml")},
        std::vector<std::string>{}, log, log);
    close(log);
    for (unsigned i = 0; i < 2000 && get(kStatus) == 0; ++i) usleep(5000);
    for (unsigned i = 0; i < server_count(); ++i) populate(i);
  }

  enum Path { kMetrics, kStatus, kUsers };

  // Bytes of the answer, from connect to the end of the connection; 0: none.
  std::size_t get(Path path) const {
    const int descriptor = path == kMetrics ? connect_to_metrics() : connect_to_api();
    if (descriptor < 0) return 0;
    const char* const name = path == kMetrics  ? "/metrics"
                             : path == kStatus ? "/v1/status"
                                               : "/v1/users?limit=10000";
    const std::string request =
        std::string("GET ") + name + " HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    std::size_t bytes = 0;
    if (write(descriptor, request.data(), request.size()) > 0) {
      static char answer[1 << 18];
      bool good = false;
      for (ssize_t got; (got = read(descriptor, answer, sizeof answer)) > 0;) {
        if (bytes == 0) good = std::strncmp(answer, "HTTP/1.1 200", 12) == 0;
        bytes += static_cast<std::size_t>(got);
      }
      if (!good) {
        std::fprintf(stderr, "bench_scrape: %s: %.200s\n", name, bytes != 0 ? answer : "no answer");
        bytes = 0;
      }
    }
    close(descriptor);
    return bytes;
  }

  // Milliseconds, sorted.
  std::vector<double> latencies(Path path, unsigned count) const {
    std::vector<double> all;
    for (unsigned i = 0; i < count; ++i) {
      const std::uint64_t begin = now_ns();
      if (get(path) == 0) give_up("vmsrsd does not answer");
      all.push_back(static_cast<double>(now_ns() - begin) / 1e6);
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  // Seconds of processors so far, of vmsrsd and of the engine.
  double cpu() const { return cpu_seconds(daemon_->id()) + cpu_seconds(hosted_.id()); }
  // The first server works from now on, the others only hold what they have.
  void start_work() const { __atomic_store_n(counter_, 1, __ATOMIC_RELAXED); }
  // Requests that it has finished.
  std::uint64_t finished() const { return __atomic_load_n(counter_, __ATOMIC_RELAXED); }
  void check_population() {
    std::uint64_t users = 0, region_bytes = 0;
    for (unsigned i = 0; i < server_count(); ++i) {
      const vmsrs_server_info info = manager_.info(servers_[i]);
      users += info.active_users;
      region_bytes += info.region_bytes;
    }
    if (users < server_count() * kUsersOfServer || region_bytes < server_count() * kRegionBytes)
      give_up("the population is not what it should be");
    report("scrape_users", static_cast<double>(users), "", "unfinished users");
    report("scrape_regions", static_cast<double>(region_bytes >> 20), "MiB", "regions");
  }

 private:
  static std::string name_of(unsigned server) { return "server" + std::to_string(server); }

  void write_configuration() {
    port_ = vmsrs::test::free_port();
    std::ofstream file(hosted_.path("vmsrs.yaml"));
    file << "platform: hosted\nhosted: {socket: " << hosted_.socket()
         << "}\nmanagement: {secret_file: " << hosted_.secret_file(Manager::secret())
         << "}\nmetrics: {listen: '127.0.0.1:" << port_
         << "'}\napi: {socket: " << hosted_.path("api")
         << ", limits: {requests_per_second: 100000, burst: 100000}}\nevents: {store: "
         << hosted_.path("events.db") << "}\nservers:\n";
    for (unsigned i = 0; i < server_count(); ++i)
      file << "  - {name: " << name_of(i) << ", attach_secret_file: "
           << hosted_.secret_file(vmsrs::test::secret_of(static_cast<std::uint8_t>(i + 1)))
           << "}\n";
  }

  void populate(unsigned server) {
    const std::string counter = hosted_.path("counter" + std::to_string(server));
    std::ofstream(counter) << std::string(VMSRS_PAGE_BYTES, '\0');
    if (server == 0) counter_ = counter_in(counter.c_str());
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
    population_.push_back(std::make_unique<Child>(
        std::vector<std::string>{
            "/proc/self/exe", "population", name_of(server),
            hosted_.secret_file(vmsrs::test::secret_of(static_cast<std::uint8_t>(server + 1))),
            counter},
        std::vector<std::string>{}, ends[1]));
    close(ends[1]);
    char word[8];
    if (read(ends[0], word, sizeof word) <= 0) give_up("a server does not come up");
    close(ends[0]);
    servers_.push_back(server);
  }

  template <typename Address>
  static int connect_to(int family, const Address& address) {
    const int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return descriptor;
    close(descriptor);
    return -1;
  }
  int connect_to_metrics() const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect_to(AF_INET, address);
  }
  int connect_to_api() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    hosted_.path("api").copy(address.sun_path, sizeof address.sun_path - 1);
    return connect_to(AF_UNIX, address);
  }

  HostedProcess hosted_{{"--storage", "2GiB", "--memory-per-account", "8GiB"}};
  Manager manager_{hosted_};
  unsigned port_ = 0;
  std::unique_ptr<Child> daemon_;
  std::vector<std::unique_ptr<Child>> population_;
  std::vector<std::uint32_t> servers_;
  std::uint64_t* counter_ = nullptr;
};

double at_share(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

// Of the processors, while no server works: what the servers' own threads do meanwhile is in it.
void measure_cost(const Host& host) {
  const unsigned count = rounds(400);
  const double before = host.cpu();
  for (unsigned i = 0; i < count; ++i)
    if (host.get(Host::kMetrics) == 0) give_up("vmsrsd does not answer");
  report("scrape_cost_ms", (host.cpu() - before) * 1e3 / count, "ms",
         "processor time of vmsrsd and the engine for /metrics");
}

void measure_latencies(Host& host) {
  host.check_population();
  measure_cost(host);
  host.start_work();
  const struct {
    Host::Path path;
    const char *key, *half, *most, *what;
  } kinds[] = {
      {Host::kMetrics, "scrape_ms", "scrape_median_ms", "scrape_largest_ms", "/metrics"},
      {Host::kStatus, "status_ms", "status_median_ms", "status_largest_ms", "/v1/status"},
      {Host::kUsers, "users_ms", "users_median_ms", "users_largest_ms", "/v1/users?limit=10000"}};
  for (const auto& kind : kinds) {
    const std::vector<double> all = host.latencies(kind.path, rounds(400));
    report(kind.key, at_share(all, 0.99), "ms", (std::string(kind.what) + ", 99th of 100").c_str());
    report(kind.half, at_share(all, 0.5), "ms", (std::string(kind.what) + ", median").c_str());
    report(kind.most, all.back(), "ms", (std::string(kind.what) + ", the largest").c_str());
  }
}

// Seconds with a scrape and without, in turns: requests of the server that works.
void measure_ratio(Host& host) {
  host.start_work();
  const auto second = [&](bool scraped) {
    const std::uint64_t begin = now_ns(), before = host.finished();
    if (scraped && host.get(Host::kMetrics) == 0) give_up("vmsrsd does not answer");
    usleep(static_cast<useconds_t>(1'000'000 -
                                   std::min<std::uint64_t>((now_ns() - begin) / 1000, 999'999)));
    return static_cast<double>(host.finished() - before) / static_cast<double>(now_ns() - begin);
  };
  const double ratio = median_ratio(
      rounds(20), [&] { return second(false); }, [&] { return second(true); });
  report("scraped_ratio", ratio, "", "requests of a server while it is scraped each second");
  report("scraped_requests", second(false) * 1e9, "/s", "requests without a scrape");
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "population" && count == 5) serve(arguments[2], arguments[3], arguments[4]);
  if (count != 2 || (what != "scrape_ms" && what != "scraped_ratio")) {
    std::fprintf(stderr, "usage: bench_scrape scrape_ms | scraped_ratio\n");
    return 2;
  }
  Host host;
  if (what == "scrape_ms")
    measure_latencies(host);
  else
    measure_ratio(host);
  return 0;
}
