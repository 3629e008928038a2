// SPDX-License-Identifier: Apache-2.0
#include "daemon/run.hpp"

#include <httplib.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <ops_common/exit_codes.hpp>
#include <ops_common/json_text.hpp>

#include "api/config_service.hpp"
#include "api/event_routes.hpp"
#include "api/listener.hpp"
#include "api/routes.hpp"
#include "api/service.hpp"
#include "api/tls.hpp"
#include "channel/hypercall_channel.hpp"
#include "channel/names.hpp"
#include "channel/serial_channel.hpp"
#include "collectors/exposition.hpp"
#include "config/config.hpp"
#include "config/keys.hpp"
#include "config/secrets.hpp"
#include "daemon/check_ledger.hpp"
#include "daemon/event_recorder.hpp"
#include "daemon/journal.hpp"
#include "daemon/notify.hpp"
#include "daemon/reaper.hpp"
#include "daemon/scrubber.hpp"
#include "daemon/servers.hpp"
#include "daemon/storage_watch.hpp"
#include "daemon/version.hpp"
#include "page/page.hpp"

namespace vmsrs::daemon {
namespace {

constexpr const char* kDefaultFile = "/etc/vmsrs/vmsrs.yaml";
constexpr std::uint32_t kLookMs = 1000;  // without an interval of the reaper's

struct Options {
  std::string file = kDefaultFile;
  bool file_given = false;
  bool check_config = false;
  bool config_schema = false;
  bool announce_reset = false;
};

int fail(int code, const std::string& message) {
  std::fprintf(stderr, "vmsrsd: %s\n", message.c_str());
  return code;
}

// A host without a configuration file gets the defaults; a file that was asked for must be there.
config::Config load_config(const Options& options) {
  std::error_code error;
  const bool missing = !std::filesystem::exists(options.file, error);
  return missing && !options.file_given ? config::load_without_file() : config::load(options.file);
}

void check_secrets(const config::Config& config) {
  (void)config::management_secret(config);
  if (!config.api_tls_certificate.empty()) (void)api::Tls(config);
  for (const config::Server& server : config.servers) (void)config::attach_hash(server);
}

config::Config load_with_secrets(const Options& options) {
  config::Config config = load_config(options);
  check_secrets(config);
  return config;
}

void set_up_log(const config::Config& config) {
  auto logger = spdlog::stderr_logger_mt("vmsrsd");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l: %v");
  logger->set_level(spdlog::level::from_str(config.log_level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  // One JSON document a line, for each event; the rest of the log is for people.
  auto journal = spdlog::stderr_logger_mt("events");
  journal->set_pattern("%v");
  journal->set_level(spdlog::level::from_str(config.log_level));
  journal->flush_on(spdlog::level::trace);
}

// Where stderr is systemd's journal, an event goes there with its fields; else, or where journald
// does not take it, as a line.
void write_journal(const Json& event) {
  const auto lines = spdlog::get("events");
  if (!lines->should_log(spdlog::level::info)) return;
  static const bool in_journal = is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
  static const Journal journal;
  if (!in_journal || !journal.send(event)) lines->info(ops::json_text(event));
}

sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

// Something to be done again and again; 0 ms = never.
class Recurring {
 public:
  explicit Recurring(std::uint32_t interval_ms)
      : interval_(interval_ms), next_(now() + interval_) {}

  // Is it time? Then the next time is an interval from now.
  bool due() {
    if (interval_.count() == 0 || now() < next_) return false;
    next_ = now() + interval_;
    return true;
  }
  std::chrono::nanoseconds wait() const {
    return interval_.count() == 0 ? std::chrono::hours(24) : next_ - now();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static Clock::time_point now() { return Clock::now(); }
  std::chrono::milliseconds interval_;
  Clock::time_point next_;
};

// A handled signal, or 0 when the time is over.
int wait_for_signal(const sigset_t& signals, std::chrono::nanoseconds time) {
  constexpr std::int64_t kSecond = 1000000000;
  const std::int64_t count = std::max<std::int64_t>(time.count(), 0);
  const timespec timeout{count / kSecond, count % kSecond};
  const int signal = ::sigtimedwait(&signals, nullptr, &timeout);
  return signal < 0 ? 0 : signal;  // EAGAIN, EINTR
}

void install_metrics(httplib::Server& server, const collectors::Exposition& exposition) {
  server.Get("/metrics", [&](const httplib::Request&, httplib::Response& response) {
    response.set_content(exposition.text(), "text/plain; version=0.0.4; charset=utf-8");
  });
}

// What clients talk to.
class Front {
 public:
  Front(channel::Channel& channel, const Options& options, const config::Config& config)
      : tls_(make_tls(config)),
        config_(
            options.file, [options] { return load_with_secrets(options); }, config),
        service_(channel, ledger_, clock_, std::chrono::milliseconds(config.check_timeout_ms)),
        recorder_(channel, clock_,
                  {config.event_store, config.event_keep_days, config.event_keep_bytes,
                   config.event_dumps},
                  event_ledger_, feed_, write_journal),
        events_(config.event_store, feed_),
        exposition_(channel, ledger_, event_ledger_, clock_, certificate_expiry()) {
    service_.on_check([this](const auto& report, const auto& servers) {
      recorder_.record_check(report, servers);
    });
    const std::map<std::string, int> inherited =
        inherited_sockets({"api", "api-read-only", "api-tls", "metrics"});
    const auto socket_of = [&](const char* name) {
      const auto found = inherited.find(name);
      return found == inherited.end() ? -1 : found->second;
    };
    const auto install_api = [&](httplib::Server& server) {
      api::install_routes(server, service_);
      api::install_event_routes(server, events_);
      api::install_config_routes(server, config_);
    };
    const auto install_exposition = [&](httplib::Server& server) {
      install_metrics(server, exposition_);
      page::install(server, channel, ledger_, history_, clock_);
    };
    if (!config.metrics.host.empty() || inherited.contains("metrics"))
      add(api::Listener::on_port("metrics.listen", config.metrics.host, config.metrics.port,
                                 config.metrics_tls ? tls_ : nullptr, install_exposition,
                                 config.api_limits, socket_of("metrics")));
    add(api::Listener::on_socket(config.api_socket, config.api_socket_mode, config.api_socket_group,
                                 install_api, config.api_limits, api::Listener::Access::kReadWrite,
                                 "", socket_of("api")));
    if (!config.api_read_only_socket.empty() || inherited.contains("api-read-only"))
      add(api::Listener::on_socket(
          config.api_read_only_socket, config.api_read_only_socket_mode, config.api_socket_group,
          install_api, config.api_limits, api::Listener::Access::kReadOnly,
          "other requests are taken at " + config.api_socket +
              " from root and members of the group " +
              (config.api_socket_group.empty() ? "vmsrs" : config.api_socket_group),
          socket_of("api-read-only")));
    if (!config.api_tls.host.empty() || inherited.contains("api-tls")) {
      if (!tls_)
        throw config::Error("api.tls: a socket is handed over, but no certificate is given");
      add(api::Listener::on_port("api.tls.listen", config.api_tls.host, config.api_tls.port, tls_,
                                 install_api, config.api_limits, socket_of("api-tls")));
    }
    recorder_.start();
  }
  ~Front() {
    service_.stop();
    feed_.stop();
  }

  // What the status page draws; to be stepped now and then.
  page::History& history() { return history_; }

  // At a reload. Throws std::runtime_error before anything has changed.
  void use(const config::Config& config, const std::vector<std::string>& refused) {
    if (tls_) tls_->reread(config);
    service_.tell_waiting_keys(refused);
    config_.use(config, refused);
    service_.change_check_timeout(std::chrono::milliseconds(config.check_timeout_ms));
    recorder_.change_limits(config.event_keep_days, config.event_keep_bytes);
    for (const auto& listener : listeners_) listener->change_limits(config.api_limits);
    spdlog::set_level(spdlog::level::from_str(config.log_level));
  }

 private:
  static std::shared_ptr<api::Tls> make_tls(const config::Config& config) {
    const bool given = !config.api_tls_certificate.empty();
    return given ? std::make_shared<api::Tls>(config) : nullptr;
  }
  collectors::Exposition::CertificateExpiry certificate_expiry() const {
    if (!tls_) return {};
    return [tls = tls_] { return tls->expiry(); };
  }
  void add(std::unique_ptr<api::Listener> listener) { listeners_.push_back(std::move(listener)); }

  const Clock clock_;
  CheckLedger ledger_;
  page::History history_;
  std::shared_ptr<api::Tls> tls_;
  api::ConfigService config_;
  api::Service service_;
  EventLedger event_ledger_;
  store::EventFeed feed_;
  EventRecorder recorder_;
  api::EventService events_;
  const collectors::Exposition exposition_;
  std::vector<std::unique_ptr<api::Listener>> listeners_;  // the last, so that they end first
};

// What is done again and again, as the configuration says.
struct Chores {
  Chores(channel::Channel& channel, const config::Config& config)
      : scrubber(channel, config.scrub_rate_bytes),
        reaping(config.reap_interval_ms),
        scrubbing(config.scrub_rate_bytes == 0 ? 0 : Scrubber::kIntervalMs) {}
  Scrubber scrubber;
  Recurring reaping;
  Recurring scrubbing;
};

// Not pinged, the service manager starts the daemon anew: when this thread hangs, or its calls of
// the hypervisor do, or they fail.
void ping_watchdog(channel::Channel& channel) {
  vmsrs_stats stats;
  if (channel.stats(stats) == VMSRS_OK) notify_service_manager("WATCHDOG=1");
}

void run_until_stopped(channel::Channel& channel, Front& front, const Options& options,
                       config::Config& config) {
  const sigset_t signals = handled_signals();
  Reaper reaper(channel, Processes());
  StorageWatch storage(channel);
  Recurring looking(kLookMs);
  Recurring stepping(page::History::kStepMs);
  front.history().pass(channel);
  Recurring watchdog(static_cast<std::uint32_t>(watchdog_interval().count() / 2));
  Chores chores(channel, config);
  for (;;) {
    const int signal =
        wait_for_signal(signals, std::min({chores.reaping.wait(), chores.scrubbing.wait(),
                                           looking.wait(), stepping.wait(), watchdog.wait()}));
    if (signal == SIGTERM || signal == SIGINT) {
      spdlog::info("stopping on signal {}", signal);
      return;
    }
    if (signal == SIGHUP) {
      notify_service_manager(reloading_state());
      reload(
          channel, [&] { return load_config(options); }, config,
          [&](const config::Config& fresh, const std::vector<std::string>& refused) {
            front.use(fresh, refused);
          });
      chores = Chores(channel, config);
      notify_service_manager("READY=1");
    }
    if (chores.reaping.due()) reaper.pass();
    if (chores.scrubbing.due()) chores.scrubber.pass();
    if (looking.due()) storage.pass();
    if (stepping.due()) front.history().pass(channel);
    if (watchdog.due()) ping_watchdog(channel);
  }
}

int serve(channel::Channel& channel, const Options& options, config::Config& config) {
  push_servers(channel, config);
  Front front(channel, options, config);
  spdlog::info("vmsrsd {} serves {} and {}://{}:{}/metrics", kVersion, config.api_socket,
               config.metrics_tls ? "https" : "http", config.metrics.host, config.metrics.port);
  notify_service_manager("READY=1");
  run_until_stopped(channel, front, options, config);
  notify_service_manager("STOPPING=1");
  return ops::kExitOk;
}

// With the management secret. Anything but kExitOk: it is not open, and has said why.
int open_channel(channel::HypercallChannel& channel, config::Config& config) {
  config::Digest secret = config::management_secret(config);
  const vmsrs_status status = channel.open(secret, VMSRS_OBSERVE | VMSRS_OPERATE);
  config.management_hash = config::sha256(secret);
  explicit_bzero(secret.data(), secret.size());
  if (status == VMSRS_DENIED) {
    return fail(ops::kExitDenied,
                "the hypervisor denies the secret in " + config.management_secret_file +
                    ": put there the secret whose hash this machine was booted with");
  }
  if (status == VMSRS_THROTTLED) {
    return fail(ops::kExitDenied,
                "the hypervisor takes no secret now, after too many wrong ones: wait a minute, "
                "then start vmsrsd again");
  }
  if (status == VMSRS_NO_ENGINE) {
    return fail(
        ops::kExitUnreachable,
        "the hypervisor has contradicted itself: NOTHING IS PROTECTED any more, and no channel "
        "can be opened: boot the machine anew");
  }
  if (status != VMSRS_OK) {
    return fail(ops::kExitFailed,
                "cannot open the management channel: " + channel::status_name(status));
  }
  return ops::kExitOk;
}

int open_and_serve(channel::Hypercall& hypercall, const Options& options, config::Config& config) {
  channel::HypercallChannel channel(hypercall);
  if (const int code = open_channel(channel, config); code != ops::kExitOk) return code;
  channel::SerialChannel serial(channel);
  return serve(serial, options, config);
}

// The daemon may be dead because of its configuration: a restart must be possible even so.
config::Config load_config_or_defaults(const Options& options) {
  try {
    return load_config(options);
  } catch (const config::Error& error) {
    std::fprintf(stderr, "vmsrsd: %s; the defaults are used\n", error.what());
    return config::load_without_file();
  }
}

int announce_reset(const Options& options, const ProbeFunction& probe) {
  config::Config config = load_config_or_defaults(options);
  const channel::Probe found = probe(config);
  if (!found.hypercall) return fail(ops::kExitUnreachable, found.problem);
  channel::HypercallChannel channel(*found.hypercall);
  if (const int code = open_channel(channel, config); code != ops::kExitOk) return code;
  const vmsrs_status status = channel.announce_reset(true);
  if (status == VMSRS_NOT_FOUND)
    return fail(ops::kExitFailed, "resets need not be announced on this platform");
  if (status != VMSRS_OK)
    return fail(ops::kExitFailed, "cannot announce a reset: " + channel::status_name(status));
  std::puts("The next reset is let through to the machine.");
  return ops::kExitOk;
}

int run_with(const Options& options, const ProbeFunction& probe) {
  if (options.config_schema) {
    std::printf("%s\n", config::schema().dump(2).c_str());
    return ops::kExitOk;
  }
  if (options.announce_reset) return announce_reset(options, probe);
  config::Config config = load_config(options);
  if (options.check_config) {
    check_secrets(config);
    std::printf("%s: good, %zu servers\n", options.file.c_str(), config.servers.size());
    return ops::kExitOk;
  }
  const channel::Probe found = probe(config);
  if (!found.hypercall) return fail(ops::kExitUnreachable, found.problem);
  const sigset_t signals = handled_signals();  // before the first thread: all inherit it
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  set_up_log(config);
  return open_and_serve(*found.hypercall, options, config);
}

}  // namespace

int run(int argc, char** argv, const ProbeFunction& probe) {
  Options options;
  CLI::App app("vmsrsd: metrics and API of the VMSRS hypervisor below this Linux", "vmsrsd");
  app.add_option("--config", options.file, std::string("Configuration, default ") + kDefaultFile);
  app.add_flag("--check-config", options.check_config, "Check the configuration and its secrets");
  app.add_flag("--config-schema", options.config_schema,
               "Print the JSON schema of the configuration");
  app.add_flag(
      "--announce-reset", options.announce_reset,
      "Tell the hypervisor that the next reset of the machine is wanted, and end: for root, "
      "where no vmsrsd answers vmsrsctl");
  app.set_version_flag("--version", std::string("vmsrsd ") + kVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return fail(ops::kExitUsage, std::string(error.what()) + " (vmsrsd --help shows the options)");
  }
  options.file_given = app.count("--config") > 0 || options.check_config;
  try {
    return run_with(options, probe);
  } catch (const config::Error& error) {
    return fail(ops::kExitUsage, error.what());
  } catch (const std::exception& error) {
    return fail(ops::kExitFailed, error.what());
  }
}

}  // namespace vmsrs::daemon
