// SPDX-License-Identifier: Apache-2.0
// The book shop for a long time: one order that is carried out, one whose user crashes, and a
// reader, over and over; each answer is compared with a model, and at the end nothing may have
// grown since the first twentieth. usage: soak HOURS      of the guest's time; the shop is
// /bin/bookshop
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "guest.hpp"

namespace {

constexpr std::uint64_t kTitles = 50, kPrice = 100, kStock = 1000000;
constexpr std::uint64_t kSecondsOfACycle = 20;
constexpr std::uint16_t kPort = 7070;

double now_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// A client of the shop: a line there, a line back.
class Client {
 public:
  explicit Client(const char* user) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(kPort);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int tries = 0;; ++tries) {
      socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) break;
      EXPECT(tries < 600);
      close(socket_);
      usleep(100000);
    }
    expect(std::string("HELLO ") + user, std::string("WELCOME ") + user);
  }
  std::string ask(const std::string& request) const {
    const std::string line = request + "\n";
    EXPECT(write(socket_, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    std::string answer;
    for (char c = 0; read(socket_, &c, 1) == 1 && c != '\n';) answer += c;
    return answer;
  }
  void expect(const std::string& request, const std::string& beginning) const {
    const std::string answer = ask(request);
    if (!answer.starts_with(beginning))
      guest::fail(request + ": expected '" + beginning + "', got '" + answer + "'");
  }

 private:
  int socket_ = -1;
};

// What the orders that were carried out have made of the shop.
struct Model {
  struct Title {
    std::uint64_t stock = kStock, sold = 0, version = 0;
  };
  std::vector<Title> titles = std::vector<Title>(kTitles + 1);
  std::uint64_t orders = 0;

  void buy(std::uint64_t title, std::uint64_t count) {
    titles[title].stock -= count;
    titles[title].sold += count;
    ++titles[title].version;
  }
  std::string row(std::uint64_t title) const {
    const Title& t = titles[title];
    char text[160];
    std::snprintf(text, sizeof text,
                  "ROW %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, title,
                  kPrice, t.stock, t.sold, t.version, t.sold * kPrice);
    return text;
  }
};

std::string add(std::uint64_t title, std::uint64_t count) {
  return "ADD " + std::to_string(title) + " " + std::to_string(count);
}

// One order that is carried out, beside one whose second purchase crashes. What that one bought is
// shown to nobody, neither before the end of its scope nor after it.
void cycle(const Client& buyer, const Client& crasher, const Client& reader, Model& model,
           std::uint64_t number) {
  const std::uint64_t first = 1 + number * 7 % (kTitles - 2), second = first + 1, third = first + 2;
  const std::uint64_t count = 1 + number % 3;
  crasher.expect("BEGIN", "BEGUN");
  crasher.expect(add(first, 5), "ADDED");
  crasher.ask(add(second, 5));  // it crashes here, and is told so at the end of its order
  reader.expect("READ " + std::to_string(first), model.row(first));
  buyer.expect("BEGIN", "BEGUN");
  buyer.expect(add(first, count), "ADDED");
  buyer.expect(add(third, count), "ADDED");
  buyer.expect("CHECKOUT", "ORDER " + std::to_string(model.orders + 1) + " ");
  ++model.orders;
  model.buy(first, count);
  model.buy(third, count);
  reader.expect("READ " + std::to_string(third), model.row(third));
  crasher.expect("CHECKOUT", "FAILED");
  for (const std::uint64_t title : {first, second, third})
    reader.expect("READ " + std::to_string(title), model.row(title));
}

std::uint64_t number_in(const std::string& file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10);
  guest::fail(file + " has no " + key);
}

std::uint64_t open_files(pid_t process) {
  const std::string name = "/proc/" + std::to_string(process) + "/fd";
  DIR* const folder = opendir(name.c_str());
  EXPECT(folder != nullptr);
  std::uint64_t count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

vmsrs_server_info server_info(std::uint64_t token, std::uint64_t server) {
  vmsrs_server_info info{};
  guest::Call call{.number = VMSRS_CALL_MGMT_SERVER,
                   .rdi = token,
                   .rsi = server,
                   .rdx = reinterpret_cast<std::uint64_t>(&info),
                   .r10 = sizeof info};
  EXPECT_EQUAL(guest::hypercall(call), std::uint64_t{VMSRS_OK});
  return info;
}

// All that could grow.
struct Sizes {
  std::uint64_t storage, records, kib, threads, files, free_kib;
};
Sizes sizes(std::uint64_t token, std::uint64_t server, pid_t shop) {
  const std::string status = "/proc/" + std::to_string(shop) + "/status";
  Sizes now{};
  now.storage = guest::stats(token).storage_used_bytes;
  now.records = server_info(token, server).record_count;
  now.kib = number_in(status, "VmRSS:");
  now.threads = number_in(status, "Threads:");
  now.files = open_files(shop);
  now.free_kib = number_in("/proc/meminfo", "MemAvailable:");
  std::printf("%8.0f s: storage %" PRIu64 " bytes, records %" PRIu64 ", the shop %" PRIu64
              " KiB, %" PRIu64 " threads, %" PRIu64 " files; Linux has %" PRIu64 " KiB\n",
              now_seconds(), now.storage, now.records, now.kib, now.threads, now.files,
              now.free_kib);
  std::fflush(stdout);
  return now;
}

void check_all(std::uint64_t token) {
  vmsrs_check_report report{};
  std::uint64_t status = VMSRS_AGAIN;
  for (int round = 0; round < 2000 && status == VMSRS_AGAIN; ++round) {
    guest::Call call{.number = VMSRS_CALL_MGMT_CHECK,
                     .rdi = token,
                     .rsi = round == 0,
                     .rdx = reinterpret_cast<std::uint64_t>(&report),
                     .r10 = sizeof report};
    status = guest::hypercall(call);
    usleep(5000);
  }
  EXPECT_EQUAL(status, std::uint64_t{VMSRS_OK});
  for (const vmsrs_check_result& result : report.results)
    EXPECT_EQUAL(result.verdict, std::uint32_t{VMSRS_VERDICT_OK});
}

pid_t start_shop(std::uint64_t orders) {
  {
    std::ofstream catalogue("/run/catalogue.csv");
    catalogue << "title,price_cents,stock\n";
    for (std::uint64_t i = 0; i < kTitles; ++i)
      catalogue << "Title " << i << ',' << kPrice << ',' << kStock << '\n';
    std::ofstream secret("/run/secret");
    for (const char c : std::string(guest::kSecret)) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
      secret << digits;
    }
    secret << '\n';
  }
  EXPECT(chmod("/run/secret", 0400) == 0);
  const std::string room = std::to_string(orders);
  const pid_t shop = fork();
  if (shop == 0) {
    execl("/bin/bookshop", "bookshop", "--catalogue", "/run/catalogue.csv", "--server-name", "shop",
          "--secret-file", "/run/secret", "--orders", room.c_str(), "--inject-always", "2:wild:2",
          nullptr);
    _exit(127);
  }
  return shop;
}

}  // namespace

int main(int argc, char** argv) {
  EXPECT(argc == 2);
  const double seconds = std::strtod(argv[1], nullptr) * 3600;
  const auto cycles = static_cast<std::uint64_t>(seconds / kSecondsOfACycle);
  EXPECT(cycles >= 10);
  const std::uint64_t token = guest::open_management();
  const std::uint64_t server = guest::define_server(token, "shop");
  const pid_t shop = start_shop(cycles + 1);
  const Client buyer("1"), crasher("2"), reader("3");
  Model model;
  Sizes before{};
  for (std::uint64_t number = 0; number < cycles; ++number) {
    cycle(buyer, crasher, reader, model, number);
    if (number == cycles / 20) before = sizes(token, server, shop);
    if (number % (cycles / 10) == 0) sizes(token, server, shop);
    sleep(kSecondsOfACycle);
  }
  reader.expect("AUDIT", "AUDIT stock");
  EXPECT(reader.ask("AUDIT").ends_with("agree yes"));
  check_all(token);
  const Sizes after = sizes(token, server, shop);
  EXPECT_EQUAL(after.storage, before.storage);
  EXPECT_EQUAL(after.records, 0u);
  EXPECT_EQUAL(after.threads, before.threads);
  EXPECT_EQUAL(after.files, before.files);
  // Orders are written to memory that was not touched before, some of it in pages that are new.
  constexpr std::uint64_t kSlackKib = 4096;
  EXPECT(after.kib < before.kib + kSlackKib);
  EXPECT(after.free_kib + 4 * kSlackKib > before.free_kib);
  const vmsrs_server_info info = server_info(token, server);
  EXPECT(info.faults[VMSRS_FAULT_WILD] == cycles);
  const std::uint64_t restored =
      info.demand_restore_count + info.collect_restore_count + info.crash_restore_count;
  EXPECT(restored >= cycles);
  std::printf("%" PRIu64 " cycles: %" PRIu64 " orders, %" PRIu64 " crashes, %" PRIu64
              " restores, %" PRIu64 " suppressed stores\n",
              cycles, model.orders, cycles, restored,
              static_cast<std::uint64_t>(info.suppressed_store_count));
  std::printf("RESULT: SUCCESS\n");
}
