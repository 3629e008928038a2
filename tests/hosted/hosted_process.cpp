// SPDX-License-Identifier: Apache-2.0
#include "hosted_process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "monitor/sha256.hpp"

namespace vmsrs::test {
namespace {

constexpr unsigned kPatienceTurns = 2000;
void pause_turn() { usleep(5000); }

std::uint64_t fs_base() {
  std::uint64_t base;
  asm("mov %%fs:0, %0" : "=r"(base));
  return base;
}

Secret hash_of(const Secret& secret) {
  std::uint8_t hash[32];
  monitor::sha256(secret.data(), secret.size(), hash);
  Secret result;
  std::memcpy(result.data(), hash, sizeof hash);
  return result;
}

}  // namespace

Secret secret_of(std::uint8_t byte) {
  Secret secret;
  secret.fill(byte);
  return secret;
}

std::string hex(const Secret& bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::uint16_t free_port() {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                     getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  close(descriptor);
  if (!bound) throw std::runtime_error("no free port on 127.0.0.1");
  return ntohs(address.sin_port);
}

Child::Child(const std::vector<std::string>& words, const std::vector<std::string>& environment,
             int output, int errors) {
  const pid_t parent = getpid();
  id_ = fork();
  if (id_ < 0) throw std::runtime_error("fork");
  if (id_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);
  if (output >= 0) dup2(output, STDOUT_FILENO);
  if (errors >= 0) dup2(errors, STDERR_FILENO);
  for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

Child::~Child() {
  if (id_ < 0) return;
  kill(id_, SIGKILL);
  waitpid(id_, nullptr, 0);
}

void Child::signal(int number) const { kill(id_, number); }

int Child::wait() {
  int status = 0;
  waitpid(id_, &status, 0);
  id_ = -1;
  return status;
}

bool Child::alive() const { return id_ > 0 && waitpid(id_, nullptr, WNOHANG) == 0; }

HostedProcess::HostedProcess(const std::vector<std::string>& options) {
  char name[] = "/tmp/vmsrs-hosted-XXXXXX";
  if (mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
  folder_ = name;
  socket_ = path("socket");
  std::ofstream(path("hash")) << hex(hash_of(Manager::secret())) << "\n";
  std::vector<std::string> words = {VMSRS_HOSTED_BINARY, "--socket",  socket_, "--secret-hash-file",
                                    path("hash"),        "--storage", "64MiB"};
  words.insert(words.end(), options.begin(), options.end());
  const int log = open(path("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  child_ = new Child(words, {}, -1, log);
  close(log);
  for (unsigned i = 0; i < kPatienceTurns && access(socket_.c_str(), F_OK) != 0; ++i) pause_turn();
}

HostedProcess::~HostedProcess() {
  child_->signal(SIGTERM);
  child_->wait();
  delete child_;
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

std::string HostedProcess::log() const {
  std::ostringstream text;
  text << std::ifstream(path("log")).rdbuf();
  return text.str();
}

bool HostedProcess::logs(const std::string& text) const {
  for (unsigned i = 0; i < kPatienceTurns; ++i, pause_turn())
    if (log().find(text) != std::string::npos) return true;
  return false;
}

std::string HostedProcess::secret_file(const Secret& secret) const {
  const std::string file = path("secret-" + hex(secret).substr(0, 4));
  std::ofstream(file) << hex(secret) << "\n";
  chmod(file.c_str(), 0400);
  return file;
}

Client::Client(const std::string& socket, std::uint32_t lanes) {
  char problem[256];
  if (!hosted::open_link(link_, socket.c_str(), lanes, problem, sizeof problem))
    throw std::runtime_error(problem);
  thread_ = fs_base();
  lane_ = take_lane(thread_);
}

Client::~Client() { hosted::close_link(link_); }

std::uint32_t Client::take_lane(std::uint64_t thread) {
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_LANE_TAKE;
  message.a = thread;
  message.b = static_cast<std::uint64_t>(gettid());
  if (hosted::ask(link_, message) != VMSRS_OK) throw std::runtime_error("no lane");
  return static_cast<std::uint32_t>(message.a);
}

Answer Client::call(std::uint64_t number, std::uint64_t rdi, std::uint64_t rsi, std::uint64_t rdx,
                    std::uint64_t r10, std::uint64_t r8, std::uint64_t r9) {
  hosted::Registers registers{number, rdi, rsi, rdx, r10, r8, r9};
  if (hosted::call_on_lane(link_, lane_, thread_, registers, budget_) !=
      hosted::LaneResult::kAnswered)
    throw std::runtime_error("the call was not answered");
  return {registers.rax, registers.rdx, registers.rsi};
}

Answer Client::attach(const std::string& name, const Secret& secret) {
  vmsrs_attach_request request{};
  name.copy(request.name, sizeof request.name);
  std::memcpy(request.secret, secret.data(), secret.size());
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = 1;  // a lie: the kernel's number is what counts
  return call(VMSRS_CALL_ATTACH, address_of(&request));
}

std::byte* Client::take_memory(std::size_t bytes, vmsrs_status& status, int* descriptor) {
  void* const place = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_MEMORY_TAKE;
  message.a = address_of(place);
  message.b = bytes;
  int memory = -1;
  status = hosted::ask(link_, message, &memory);
  if (status != VMSRS_OK || memory < 0) {
    munmap(place, bytes);
    return nullptr;
  }
  mmap(place, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, 0);
  if (descriptor != nullptr)
    *descriptor = memory;
  else
    close(memory);
  return static_cast<std::byte*>(place);
}

std::uint64_t Client::profile(void* address, std::size_t bytes, unsigned granule) {
  const Answer region = call(VMSRS_CALL_PROFILE, address_of(address), bytes, granule);
  return region.status == VMSRS_OK ? fill(region.rdx) : region.status;
}

Answer Client::profile_named(void* address, std::size_t bytes, const std::string& name,
                             unsigned granule) {
  char text[VMSRS_NAME_BYTES] = {};
  name.copy(text, sizeof text);
  Answer region =
      call(VMSRS_CALL_PROFILE_NAMED, address_of(address), bytes, granule, address_of(text));
  if (region.status == VMSRS_OK) region.status = fill(region.rdx);
  return region;
}

std::uint64_t Client::fill(std::uint64_t region) {
  Answer piece{VMSRS_AGAIN, 0, 0};
  while (piece.status == VMSRS_AGAIN) piece = call(VMSRS_CALL_PROFILE_FILL, region, piece.rdx);
  return piece.status;
}

const vmsrs_window* Client::window(int* descriptor) {
  vmsrs_hosted_message message{};
  message.type = VMSRS_HOSTED_WINDOW;
  int file = -1;
  if (hosted::ask(link_, message, &file) != VMSRS_OK) return nullptr;
  void* const address = mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ, MAP_SHARED, file, 0);
  if (descriptor != nullptr)
    *descriptor = file;
  else
    close(file);
  return address == MAP_FAILED ? nullptr : static_cast<const vmsrs_window*>(address);
}

Manager::Manager(const HostedProcess& hosted) : client_(hosted.socket()) {
  const Secret secret = Manager::secret();
  const Answer open =
      client_.call(VMSRS_CALL_MGMT_OPEN, address_of(secret.data()), VMSRS_OBSERVE | VMSRS_OPERATE);
  if (open.status != VMSRS_OK) throw std::runtime_error("management is closed");
  token_ = open.rdx;
}

std::uint32_t Manager::define(const std::string& name, const Secret& secret,
                              std::uint64_t storage_quota, std::uint32_t user_quota,
                              vmsrs_storage_policy policy) {
  vmsrs_server_definition definition{};
  name.copy(definition.name, sizeof definition.name);
  const Secret hash = hash_of(secret);
  std::memcpy(definition.secret_hash, hash.data(), hash.size());
  definition.storage_quota_bytes = storage_quota;
  definition.user_quota = user_quota;
  definition.storage_policy = policy;
  const Answer answer = client_.call(VMSRS_CALL_MGMT_DEFINE, token_, address_of(&definition));
  if (answer.status != VMSRS_OK) throw std::runtime_error("not defined");
  return static_cast<std::uint32_t>(answer.rdx);
}

vmsrs_server_info Manager::info(std::uint32_t server) {
  vmsrs_server_info info{};
  const Answer answer =
      client_.call(VMSRS_CALL_MGMT_SERVER, token_, server, address_of(&info), sizeof info);
  if (answer.status != VMSRS_OK) throw std::runtime_error("no such server");
  return info;
}

vmsrs_stats Manager::stats() {
  vmsrs_stats stats{};
  if (client_.call(VMSRS_CALL_MGMT_STATS, token_, address_of(&stats), sizeof stats).status !=
      VMSRS_OK)
    throw std::runtime_error("no statistics");
  return stats;
}

std::string Manager::violations() {
  vmsrs_check_report report{};
  Answer answer{VMSRS_AGAIN, 0, 0};
  for (unsigned i = 0; i < kPatienceTurns && answer.status == VMSRS_AGAIN; ++i) {
    const bool pieces = report.results[VMSRS_CHECK_STORAGE].verdict == VMSRS_VERDICT_PENDING;
    if (i > 0 && !pieces) pause_turn();
    answer =
        client_.call(VMSRS_CALL_MGMT_CHECK, token_, i == 0, address_of(&report), sizeof report);
  }
  if (answer.status != VMSRS_OK) return "status " + std::to_string(answer.status);
  std::string text;
  for (unsigned i = 0; i < VMSRS_CHECK_COUNT; ++i)
    if (report.results[i].verdict != VMSRS_VERDICT_OK)
      text += "invariant " + std::to_string(i) + " verdict " +
              std::to_string(report.results[i].verdict) + " detail " +
              std::to_string(report.results[i].detail) + "; ";
  return text;
}

bool Manager::is_detached(std::uint32_t server) {
  for (unsigned i = 0; i < kPatienceTurns; ++i, pause_turn())
    if (info(server).attached == 0) return true;
  return false;
}

bool Manager::is_reaped(std::uint32_t server) {
  if (!is_detached(server)) return false;
  const vmsrs_server_info now = info(server);
  return now.storage_used_bytes == 0 && now.region_count == 0 && now.record_count == 0 &&
         now.active_users == 0 && now.crashed_users == 0 &&
         (now.mode & VMSRS_MODE_SUPPRESSION) == 0;
}

}  // namespace vmsrs::test
