// SPDX-License-Identifier: Apache-2.0
#include "several_hosts.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ops_common/exit_codes.hpp>
#include <optional>

#include "recording.hpp"

namespace vmsrs::cli {
namespace {

using Moment = std::chrono::steady_clock;

// What the verb came to on one host.
struct Outcome {
  int exit_code = ops::kExitOk;
  std::string message;  // why it failed; may be empty
  Json document, blocks = Json::array();
};

// A host's process, with the end of the pipe on which it tells.
struct Worker {
  std::size_t host;
  pid_t process;
  int pipe;
  Moment::time_point deadline;
  std::string told;
};

void write_all(int file, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = write(file, text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR) return;
    if (count > 0) done += static_cast<std::size_t>(count);
  }
}

// Runs the verb, which throws or returns.
void finish(const std::function<int()>& work, Outcome& outcome) {
  try {
    outcome.exit_code = work();
  } catch (const Failure& failure) {
    outcome.exit_code = failure.exit_code();
    outcome.message = failure.what();
  } catch (const std::exception& error) {
    outcome.exit_code = ops::kExitFailed;
    outcome.message = error.what();
  }
}

// In a process of its own, which tells what `task` says and ends. Call with an empty stdout buffer.
template <typename Task>
Worker start(std::size_t host, const Task& task) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw Failure(ops::kExitFailed, std::string("no pipe: ") + std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process < 0)
    throw Failure(ops::kExitFailed, std::string("no process: ") + std::strerror(errno));
  if (process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(ends[0]);
    task(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  return {host, process, ends[0], Moment::time_point::max(), ""};
}

// At the end of its pipe, or to end it.
void end(const Worker& worker, bool kill_it) {
  if (kill_it) kill(worker.process, SIGKILL);
  close(worker.pipe);
  while (waitpid(worker.process, nullptr, 0) < 0 && errno == EINTR) continue;
}

void use_host(Context& context, const FleetHost& host) {
  context.daemon.host = host.address;
  context.several = true;
  context.watch_seconds = 0;
  context.watch_count = 1;
}

Worker start_worker(Context& context, const std::function<int()>& work, const FleetHost& host,
                    std::size_t number) {
  Worker worker = start(number, [&](int pipe) {
    use_host(context, host);
    Recording recording;
    Outcome outcome;
    finish(work, outcome);
    Json told = recording.take();
    told["exit_code"] = outcome.exit_code;
    told["message"] = outcome.message;
    write_all(pipe, told.dump(-1, ' ', false, Json::error_handler_t::replace));
  });
  // The requests have time limits of their own; this is for what they do not see, such as a name
  // that is not resolved, or an answer that comes byte by byte.
  constexpr std::chrono::seconds kGrace{3};
  constexpr std::chrono::minutes kLongest{10};
  if (context.across == Across::kEach)
    worker.deadline =
        Moment::now() + kGrace + (context.timeout_given ? context.timeout() : kLongest);
  return worker;
}

Outcome outcome_of(const Worker& worker) {
  Json told = Json::parse(worker.told, nullptr, false);
  if (!told.is_object())
    return {ops::kExitFailed, "the process that asked this host has ended before its time", {}, {}};
  return {told.at("exit_code"), told.at("message"), std::move(told["document"]),
          std::move(told["blocks"])};
}

// On a terminal, once it lasts longer than a second.
class Progress {
 public:
  explicit Progress(std::size_t hosts) : hosts_(hosts), wanted_(isatty(STDERR_FILENO) == 1) {}
  ~Progress() {
    if (told_) std::fputs("\r\x1b[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void tell(std::size_t done) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(Moment::now() - begin_).count();
    if (!wanted_ || seconds < 1) return;
    std::fprintf(stderr, "\r%zu of %zu hosts are done, %lld s ...", done, hosts_,
                 static_cast<long long>(seconds));
    told_ = true;
  }

 private:
  std::size_t hosts_;
  bool wanted_, told_ = false;
  Moment::time_point begin_ = Moment::now();
};

// Waits until one of the workers tells something or its time is up, at most `longest`.
void wait(const std::vector<Worker>& workers, std::vector<pollfd>& files,
          std::chrono::milliseconds longest) {
  files.clear();
  Moment::time_point next = Moment::now() + longest;
  for (const Worker& worker : workers) {
    files.push_back({worker.pipe, POLLIN, 0});
    next = std::min(next, worker.deadline);
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Moment::now()).count();
  poll(files.data(), files.size(), static_cast<int>(std::max<std::int64_t>(left, 0)));
}

// False at the end.
bool read_more(Worker& worker) {
  char piece[65536];
  const ssize_t count = read(worker.pipe, piece, sizeof piece);
  if (count > 0) worker.told.append(piece, static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

std::vector<Outcome> outcomes_of(Context& context, const std::function<int()>& work,
                                 const std::vector<FleetHost>& hosts) {
  std::vector<Outcome> outcomes(hosts.size());
  std::vector<Worker> workers;
  std::vector<pollfd> files;
  Progress progress(hosts.size());
  std::size_t next = 0;
  std::fflush(stdout);
  while (next < hosts.size() || !workers.empty()) {
    for (; next < hosts.size() && workers.size() < context.parallel; ++next)
      workers.push_back(start_worker(context, work, hosts[next], next));
    wait(workers, files, std::chrono::milliseconds(500));
    std::vector<Worker> going;
    for (std::size_t i = 0; i < workers.size(); ++i) {
      Worker& worker = workers[i];
      if (files[i].revents != 0 && !read_more(worker)) {
        end(worker, false);
        outcomes[worker.host] = outcome_of(worker);
      } else if (Moment::now() >= worker.deadline) {
        end(worker, true);
        outcomes[worker.host].exit_code = ops::kExitUnreachable;
        outcomes[worker.host].message = "did not answer in time (--timeout)";
      } else {
        going.push_back(std::move(worker));
      }
    }
    workers = std::move(going);
    progress.tell(next - workers.size());
  }
  return outcomes;
}

Json document_of(const std::string& host, Outcome& outcome) {
  Json document = {{"host", host}};
  if (!outcome.document.is_null()) document["result"] = std::move(outcome.document);
  if (outcome.exit_code != ops::kExitOk)
    document["error"] = {{"exit_code", outcome.exit_code}, {"message", outcome.message}};
  return document;
}

void tell_failure(const FleetHost& host, const Outcome& outcome) {
  std::fprintf(stderr, "vmsrsctl: %s: %s\n", host.name.c_str(),
               outcome.message.empty() ? "failed" : outcome.message.c_str());
}

// What the failures come to together; names them.
int exit_code_of(const std::vector<Outcome>& outcomes, const std::vector<FleetHost>& hosts) {
  std::vector<std::string> failed;
  std::optional<int> common;
  bool same = true;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    if (outcome.exit_code == ops::kExitOk) continue;
    failed.push_back(hosts[i].name);
    same = same && outcome.exit_code == common.value_or(outcome.exit_code);
    common = outcome.exit_code;
  }
  if (failed.empty()) return ops::kExitOk;
  std::fprintf(stderr, "vmsrsctl: %zu of %zu hosts failed: %s\n", failed.size(), hosts.size(),
               names_words(failed, 10).c_str());
  return failed.size() == hosts.size() && same ? *common : ops::kExitSomeFailed;
}

// A line of a verb that follows, with its host.
void print_line(Format format, const std::string& host, std::size_t width,
                const std::string& line) {
  if (format == Format::kTable) {
    std::printf("%-*s  %s\n", static_cast<int>(width), host.c_str(), line.c_str());
    return;
  }
  Json document = {{"host", host}};
  const Json event = Json::parse(line, nullptr, false);
  if (!event.is_object()) return;
  document.update(event);
  if (format == Format::kJson) {
    std::printf("%s\n", document.dump().c_str());
  } else {
    std::printf("---\n");
    print(format, document, [] {});
  }
}

}  // namespace

std::string names_words(const std::vector<std::string>& names, std::size_t most) {
  if (names.size() <= most) return joined(names, ", ");
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<std::ptrdiff_t>(most));
  return joined(first, ", ") + " and " + std::to_string(names.size() - most) + " more";
}

int run_on_hosts(Context& context, const std::function<int()>& work,
                 const std::vector<FleetHost>& hosts) {
  std::vector<Outcome> outcomes = outcomes_of(context, work, hosts);
  JoinedTables tables;
  Json documents = Json::array();
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    tables.add(hosts[i].name, outcomes[i].blocks);
    documents.push_back(document_of(hosts[i].name, outcomes[i]));
  }
  print(context.format(), Json{{"hosts", std::move(documents)}},
        [&] { tables.print(context.style()); });
  std::fflush(stdout);
  for (std::size_t i = 0; i < hosts.size(); ++i)
    if (outcomes[i].exit_code != ops::kExitOk) tell_failure(hosts[i], outcomes[i]);
  return exit_code_of(outcomes, hosts);
}

int follow_on_hosts(Context& context, const std::function<int()>& work,
                    const std::vector<FleetHost>& hosts) {
  if (hosts.size() > context.parallel)
    throw Failure(ops::kExitUsage, "to follow " + std::to_string(hosts.size()) +
                                       " hosts takes as many connections at a time: give "
                                       "--parallel " +
                                       std::to_string(hosts.size()) + ", or choose fewer");
  std::vector<Outcome> outcomes(hosts.size());
  std::vector<Worker> workers;
  std::size_t width = std::strlen("HOST");
  std::fflush(stdout);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    width = std::max(width, hosts[i].name.size());
    workers.push_back(start(i, [&](int pipe) {
      dup2(pipe, STDOUT_FILENO);
      use_host(context, hosts[i]);
      if (context.format() != Format::kTable) context.output = "json";
      Outcome outcome;
      finish(work, outcome);
      std::fflush(stdout);
      // After a byte that no line has: why it has ended.
      write_all(pipe,
                '\0' + Json{{"exit_code", outcome.exit_code}, {"message", outcome.message}}.dump());
    }));
  }
  bool header_printed = false;
  std::vector<bool> header_seen(hosts.size());
  std::vector<pollfd> files;
  while (!workers.empty()) {
    wait(workers, files, std::chrono::hours(1));
    std::vector<Worker> going;
    for (std::size_t i = 0; i < workers.size(); ++i) {
      Worker& worker = workers[i];
      const bool ended = files[i].revents != 0 && !read_more(worker);
      std::size_t begin = 0;
      for (std::size_t stop = 0; (stop = worker.told.find('\n', begin)) != std::string::npos;
           begin = stop + 1) {
        const std::string line = worker.told.substr(begin, stop - begin);
        const bool header = context.format() == Format::kTable && !header_seen[worker.host];
        header_seen[worker.host] = true;
        if (header && header_printed) continue;
        header_printed = true;
        print_line(context.format(), header ? "HOST" : hosts[worker.host].name, width, line);
      }
      worker.told.erase(0, begin);
      if (!ended) {
        going.push_back(std::move(worker));
        continue;
      }
      end(worker, false);
      if (worker.told.starts_with('\0')) worker.told.erase(0, 1);
      outcomes[worker.host] = outcome_of(worker);
      std::fflush(stdout);
      tell_failure(hosts[worker.host], outcomes[worker.host]);
    }
    workers = std::move(going);
    std::fflush(stdout);
  }
  return exit_code_of(outcomes, hosts);
}

}  // namespace vmsrs::cli
