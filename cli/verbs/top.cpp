// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <ops_common/exit_codes.hpp>
#include <optional>
#include <thread>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

// What is known at one moment.
struct Sample {
  SteadyClock::time_point time;
  Json status, servers, users, exits;
};

Sample take_sample(const Client& client) {
  const SteadyClock::time_point now = SteadyClock::now();
  Json stats = client.get("/v1/stats");
  return {now, client.get("/v1/status"), std::move(stats["servers"]),
          client.get("/v1/users?state=crashed,stuck").at("users"), std::move(stats["exits"])};
}

double sum_of(const Json& counts) {
  double sum = 0;
  for (const Json& count : counts) sum += count.get<double>();
  return sum;
}

double exits_of(const Sample& sample, const char* what) {
  double sum = 0;
  for (const Json& cpu : sample.exits)
    for (const Json& reason : cpu.at("reasons")) sum += reason.at(what).get<double>();
  return sum;
}

// A counter's rise in a second between two samples; null at the first one, and when it was reset.
Json rate(double before, double now, double seconds) {
  if (seconds <= 0 || now < before) return nullptr;
  return (now - before) / seconds;
}

const Json* server_in(const Sample& sample, const Json& name) {
  for (const Json& server : sample.servers)
    if (server.at("name") == name) return &server;
  return nullptr;
}

// The document of a frame: what the table shows, rates included.
Json frame_document(const Sample& now, const std::optional<Sample>& before) {
  const double seconds =
      before ? std::chrono::duration<double>(now.time - before->time).count() : 0;
  const Json& status = now.status;
  const auto rate_of = [&](auto value) -> Json {
    return before ? rate(value(*before), value(now), seconds) : Json(nullptr);
  };
  Json host = {
      {"mode", status.at("mode")},
      {"isolation", status.at("isolation")},
      {"devices", status.at("devices")},
      {"uptime_seconds", status.at("uptime_seconds")},
      {"active_users", status.at("active_users")},
      {"suppressed_users", status.at("suppressed_users")},
      {"stuck_users", status.at("stuck_users")},
      {"storage_used_bytes", status.at("storage_used_bytes")},
      {"storage_bytes", status.at("storage_bytes")},
      {"faults_per_second", rate_of([](const Sample& s) { return sum_of(s.status.at("faults")); })},
      {"restores_per_second",
       rate_of([](const Sample& s) { return sum_of(s.status.at("restores")); })},
      {"dropped_stores_per_second",
       rate_of([](const Sample& s) { return s.status.at("suppressed_stores").get<double>(); })},
      {"exits_per_second", rate_of([](const Sample& s) { return exits_of(s, "count"); })}};
  const Json cycles = rate_of([](const Sample& s) { return exits_of(s, "cycles"); });
  const Json& ticks = status.at("cycles_per_second");
  host["exits_share_of_time"] = cycles.is_null() || ticks.is_null() || now.exits.empty()
                                    ? Json(nullptr)
                                    : Json(cycles.get<double>() / ticks.get<double>() /
                                           static_cast<double>(now.exits.size()));
  Json servers = Json::array();
  for (const Json& server : now.servers) {
    const Json* const old = before ? server_in(*before, server.at("name")) : nullptr;
    const auto server_rate = [&](auto value) {
      return old == nullptr ? Json(nullptr) : rate(value(*old), value(server), seconds);
    };
    servers.push_back(
        {{"name", server.at("name")},
         {"mode", server.at("mode")},
         {"attached", server.at("attached")},
         {"active_users", server.at("active_users")},
         {"suppressed_users", server.at("suppressed_users")},
         {"stuck_users", server.at("stuck_users")},
         {"oldest_suppression_seconds", server.at("oldest_suppression_seconds")},
         {"users_per_second",
          server_rate([](const Json& s) { return s.at("users_begun").get<double>(); })},
         {"faults_per_second", server_rate([](const Json& s) { return sum_of(s.at("faults")); })},
         {"restores_per_second",
          server_rate([](const Json& s) { return sum_of(s.at("restores")); })},
         {"dropped_stores_per_second",
          server_rate([](const Json& s) { return s.at("suppressed_stores").get<double>(); })},
         {"storage_used_bytes", server.at("storage_used_bytes")}});
  }
  std::vector<Json> users(now.users.begin(), now.users.end());
  std::stable_sort(users.begin(), users.end(), [](const Json& a, const Json& b) {
    return a.at("suppressed_seconds") > b.at("suppressed_seconds");
  });
  return {{"host", std::move(host)}, {"servers", std::move(servers)}, {"users", users}};
}

std::string rate_words(const Json& per_second) {
  if (per_second.is_null()) return "-";
  char text[32];
  const auto number = per_second.get<double>();
  std::snprintf(text, sizeof text, number < 100 ? "%.1f" : "%.0f", number);
  return text;
}

// How full, as a bar of `width` characters.
std::string bar(double share, std::size_t width) {
  const auto full =
      static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width) + 0.5);
  return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

std::string frame_text(const Json& frame, const TableStyle& style) {
  const Json& host = frame.at("host");
  const auto used = host.at("storage_used_bytes").get<double>();
  const auto all = host.at("storage_bytes").get<double>();
  Table head;
  head.add({"Mode", mode_cell(host.at("mode"))});
  head.add({"Up for", duration_words(host.at("uptime_seconds")) +
                          ", isolation: " + words(host.at("isolation"))});
  head.add({"Users", words(host.at("active_users")) + " active, " +
                         words(host.at("suppressed_users")) + " under suppression, " +
                         words(host.at("stuck_users")) + " stuck"});
  head.add({"In a second", rate_words(host.at("faults_per_second")) + " faults, " +
                               rate_words(host.at("restores_per_second")) + " granules restored, " +
                               rate_words(host.at("dropped_stores_per_second")) +
                               " stores dropped"});
  if (!host.at("exits_share_of_time").is_null()) {
    char share[32];
    std::snprintf(share, sizeof share, "%.3f", 100 * host.at("exits_share_of_time").get<double>());
    head.add({"Exits",
              rate_words(host.at("exits_per_second")) + " a second, " + share + " % of all time"});
  }
  head.add({"Storage", bar(all > 0 ? used / all : 0, 20) + " " +
                           size_words(host.at("storage_used_bytes")) + " of " +
                           size_words(host.at("storage_bytes"))});
  std::string text = head.text();

  Table servers({"SERVER", "MODE", "ACTIVE", "SUPPRESSED", "STUCK", "LONGEST", "USERS/S",
                 "FAULTS/S", "RESTORED/S", "DROPPED/S", "STORAGE USED"});
  for (const Json& server : frame.at("servers"))
    servers.add(
        {words(server.at("name")),
         server.at("attached").get<bool>() ? mode_cell(server.at("mode")) : Cell("not attached"),
         words(server.at("active_users")),
         count_cell(server.at("suppressed_users"), Colour::kWarning),
         count_cell(server.at("stuck_users"), Colour::kBad),
         duration_words(server.at("oldest_suppression_seconds")),
         rate_words(server.at("users_per_second")), rate_words(server.at("faults_per_second")),
         rate_words(server.at("restores_per_second")),
         rate_words(server.at("dropped_stores_per_second")),
         size_words(server.at("storage_used_bytes"))});
  text += "\n" + (frame.at("servers").empty() ? "No servers are defined.\n" : servers.text(style));

  if (frame.at("users").empty()) return text + "\nNobody is under suppression.\n";
  Table users({"USER", "STATE", "LABEL", "SUPPRESSED FOR", "FAULTS", "FIRST FAULT",
               "DROPPED STORES", "RESTORED", "RECORDS"});
  for (const Json& user : frame.at("users")) {
    const Json& fault = user.at("first_fault");
    users.add(
        {words(user.at("server")) + "/" + words(user.at("slot")), state_cell(user.at("state")),
         user.at("label_text").is_null() ? words(user.at("label")) : words(user.at("label_text")),
         duration_words(user.at("suppressed_seconds")), words(user.at("faults")),
         fault.is_null() ? "-" : words(fault.at("kind")) + " at " + words(fault.at("address")),
         words(user.at("suppressed_stores")), words(user.at("restores")),
         words(user.at("records"))});
  }
  return text + "\n" + users.text(style);
}

volatile sig_atomic_t signalled = 0;

// The terminal without echo and lines, on its other screen, as long as this lives.
class Screen {
 public:
  Screen() {
    tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    struct sigaction action {};
    action.sa_handler = [](int number) { signalled = number; };
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
    std::fputs("\x1b[?1049h\x1b[?25l", stdout);
  }
  ~Screen() {
    std::fputs("\x1b[?25h\x1b[?1049l", stdout);
    std::fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // As much of the text as the terminal has lines; the last line says how to leave.
  void draw(const std::string& text, const std::string& last_line) const {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) size = {24, 80, 0, 0};
    std::string all = "\x1b[H";
    std::size_t begin = 0;
    for (unsigned line = 1; line < size.ws_row && begin < text.size(); ++line) {
      const std::size_t end = text.find('\n', begin);
      all += cut(text.substr(begin, end - begin), size.ws_col) + "\x1b[K\r\n";
      begin = end + 1;
    }
    all += "\x1b[J\x1b[" + std::to_string(size.ws_row) + ";1H" + cut(last_line, size.ws_col);
    std::fputs(all.c_str(), stdout);
    std::fflush(stdout);
  }

  // True: the user wants to leave. Otherwise after so many seconds, or a key.
  [[nodiscard]] bool wants_to_leave(double seconds) const {
    pollfd keyboard{STDIN_FILENO, POLLIN, 0};
    if (poll(&keyboard, 1, static_cast<int>(seconds * 1000)) <= 0) return signalled != 0;
    char key = 'q';
    return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == '\x1b';
  }

 private:
  // Colours take no place.
  static std::string cut(const std::string& line, std::size_t width) {
    std::string kept;
    std::size_t place = 0;
    bool coloured = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\x1b') {
        const std::size_t end = line.find('m', i);
        kept += line.substr(i, end - i + 1);
        coloured = true;
        i = end;
      } else if (place++ < width) {
        kept += line[i];
      }
    }
    return kept + (coloured ? "\x1b[0m" : "");
  }

  termios before_{};
};

int show_on_screen(const Context& context, double seconds) {
  const Client client = context.client();
  std::optional<Sample> before;
  const Screen screen;
  for (;;) {
    Sample now = take_sample(client);
    screen.draw(frame_text(frame_document(now, before), context.style()),
                "q leaves; every " + duration_words(seconds) + "; vmsrsctl users show, gc, check");
    before = std::move(now);
    if (screen.wants_to_leave(seconds)) return ops::kExitOk;
  }
}

// One frame after another, for pipes and logs.
int show_in_lines(const Context& context, double seconds) {
  const Client client = context.client();
  std::optional<Sample> before = take_sample(client);
  for (std::uint64_t turn = 1;; ++turn) {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    Sample now = take_sample(client);
    const Json frame = frame_document(now, before);
    print(context.format(), frame,
          [&] { std::fputs((frame_text(frame, context.style()) + "\n").c_str(), stdout); });
    if (std::fflush(stdout) != 0 || turn == context.watch_count) return ops::kExitOk;
    before = std::move(now);
  }
}

}  // namespace

void add_top(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "top", "Watch servers and users under suppression, with rates, until you leave with q");
  const auto seconds = std::make_shared<double>(2);
  verb->add_option("--every", *seconds, "Seconds between two looks, default 2")
      ->check(CLI::Range(0.05, 3600.0).description(""))
      ->type_name("SECONDS");
  verb->add_option("--count", context.watch_count,
                   "End after so many looks; then, and where there is no terminal, one below the "
                   "other")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("NUMBER");
  verb->callback([&context, seconds] {
    context.across = Across::kFrames;
    context.work = [&context, seconds] {
      const bool terminal = ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDIN_FILENO) == 1;
      const bool screen =
          terminal && context.watch_count == 0 && context.format() == Format::kTable;
      return screen ? show_on_screen(context, *seconds) : show_in_lines(context, *seconds);
    };
  });
}

}  // namespace vmsrs::cli
