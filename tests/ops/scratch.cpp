// SPDX-License-Identifier: Apache-2.0
#include "scratch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace vmsrs::test {

Scratch::Scratch() {
  char name[] = "/tmp/vmsrs-ops-XXXXXX";
  if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
  folder_ = name;
}

Scratch::~Scratch() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

std::string Scratch::write(const std::string& name, const std::string& content) const {
  std::ofstream(path(name)) << content;
  return path(name);
}

std::string read_file(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

Program::Program(std::vector<std::string> words, std::vector<std::string> environment) {
  const std::string out = scratch_.write("out", "");
  const std::string err = scratch_.write("err", "");
  process_id_ = ::fork();
  if (process_id_ < 0) throw std::runtime_error("fork");
  if (process_id_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nothing running
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  ::dup2(::open(out.c_str(), O_WRONLY), 1);
  ::dup2(::open(err.c_str(), O_WRONLY | O_APPEND), 2);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  for (std::string& variable : environment) ::putenv(variable.data());
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

Program::~Program() {
  if (process_id_ < 0) return;
  ::kill(process_id_, SIGKILL);
  ::waitpid(process_id_, nullptr, 0);
}

void Program::signal(int number) const { ::kill(process_id_, number); }

Finished Program::wait() {
  int status = 0;
  const auto ended = [&] { return ::waitpid(process_id_, &status, WNOHANG) == process_id_; };
  if (!eventually(ended)) {
    ::kill(process_id_, SIGKILL);
    ::waitpid(process_id_, &status, 0);
  }
  process_id_ = -1;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, read_file(scratch_.path("out")), read_file(scratch_.path("err"))};
}

Finished run(std::vector<std::string> words, std::vector<std::string> environment) {
  return Program(std::move(words), std::move(environment)).wait();
}

std::size_t count_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace vmsrs::test
