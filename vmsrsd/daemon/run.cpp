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
#include <filesystem>
#include <ops_common/exit_codes.hpp>

#include "api/listener.hpp"
#include "api/routes.hpp"
#include "api/service.hpp"
#include "channel/hypercall_channel.hpp"
#include "channel/names.hpp"
#include "channel/serial_channel.hpp"
#include "collectors/exposition.hpp"
#include "config/config.hpp"
#include "config/secrets.hpp"
#include "daemon/check_ledger.hpp"
#include "daemon/notify.hpp"
#include "daemon/reaper.hpp"
#include "daemon/scrubber.hpp"
#include "daemon/servers.hpp"
#include "daemon/storage_watch.hpp"
#include "daemon/version.hpp"

namespace vmsrs::daemon {
namespace {

constexpr const char* kDefaultFile = "/etc/vmsrs/vmsrs.yaml";
constexpr std::uint32_t kLookMs = 1000;  // without an interval of the reaper's

struct Options {
  std::string file = kDefaultFile;
  bool file_given = false;
  bool check_config = false;
};

int fail(int code, const std::string& message) {
  std::fprintf(stderr, "vmsrsd: %s\n", message.c_str());
  return code;
}

// A host without a configuration file gets the defaults; a file that was asked for must be there.
config::Config load_config(const Options& options) {
  std::error_code error;
  const bool missing = !std::filesystem::exists(options.file, error);
  return missing && !options.file_given ? config::Config() : config::load(options.file);
}

void check_secrets(const config::Config& config) {
  (void)config::management_secret(config);
  for (const config::Server& server : config.servers) (void)config::attach_hash(server);
}

void set_up_log(const config::Config& config) {
  auto logger = spdlog::stderr_logger_mt("vmsrsd");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l: %v");
  logger->set_level(spdlog::level::from_str(config.log_level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
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
  server.Get("/", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("vmsrsd: metrics are at /metrics\n", "text/plain");
  });
}

void run_until_stopped(channel::Channel& channel, const Options& options, config::Config& config) {
  const sigset_t signals = handled_signals();
  Reaper reaper(channel, Processes());
  Scrubber scrubber(channel, config.scrub_rate_bytes);
  StorageWatch storage(channel);
  Recurring looking(kLookMs);
  Recurring reaping(config.reap_interval_ms);
  Recurring scrubbing(config.scrub_rate_bytes == 0 ? 0 : Scrubber::kIntervalMs);
  for (;;) {
    const int signal =
        wait_for_signal(signals, std::min({reaping.wait(), scrubbing.wait(), looking.wait()}));
    if (signal == SIGTERM || signal == SIGINT) {
      spdlog::info("stopping on signal {}", signal);
      return;
    }
    if (signal == SIGHUP) {
      notify_service_manager(reloading_state());
      reload(channel, options.file, config);
      notify_service_manager("READY=1");
    }
    if (reaping.due()) reaper.pass();
    if (scrubbing.due()) scrubber.pass();
    if (looking.due()) storage.pass();
  }
}

int serve(channel::Channel& channel, const Options& options, config::Config& config) {
  push_servers(channel, config);
  CheckLedger ledger;
  const Clock clock;
  api::Service service(channel, ledger, clock, std::chrono::milliseconds(config.check_timeout_ms));
  const collectors::Exposition exposition(channel, ledger, clock);
  const auto metrics_listener =
      api::Listener::on_port(config.metrics_host, config.metrics_port,
                             [&](httplib::Server& server) { install_metrics(server, exposition); });
  const auto api_listener = api::Listener::on_socket(
      config.api_socket, config.api_socket_mode, config.api_socket_group,
      [&](httplib::Server& server) { api::install_routes(server, service); });
  spdlog::info("vmsrsd {} serves {} and http://{}:{}/metrics", kVersion, config.api_socket,
               config.metrics_host, config.metrics_port);
  notify_service_manager("READY=1");
  run_until_stopped(channel, options, config);
  notify_service_manager("STOPPING=1");
  service.stop();
  return ops::kExitOk;
}

int open_and_serve(channel::Hypercall& hypercall, const Options& options, config::Config& config) {
  channel::HypercallChannel channel(hypercall);
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
  channel::SerialChannel serial(channel);
  return serve(serial, options, config);
}

int run_with(const Options& options, const ProbeFunction& probe) {
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
