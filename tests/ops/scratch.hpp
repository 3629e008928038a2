// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vmsrs::test {

// A folder of its own under /tmp, gone at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] std::string path(const std::string& name) const {
    return (folder_ / name).string();
  }
  // Returns its path.
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::filesystem::path folder_;
};

[[nodiscard]] std::string read_file(const std::string& path);

struct Finished {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out, err;
};

// A program with its output in files: started at construction, killed at destruction if it runs.
class Program {
 public:
  explicit Program(std::vector<std::string> words, std::vector<std::string> environment = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const;
  // Kills what has not ended after ten seconds.
  [[nodiscard]] Finished wait();
  [[nodiscard]] std::string out() const { return read_file(scratch_.path("out")); }
  [[nodiscard]] std::string err() const { return read_file(scratch_.path("err")); }
  [[nodiscard]] int process_id() const { return process_id_; }

 private:
  Scratch scratch_;
  int process_id_ = -1;
};

[[nodiscard]] Finished run(std::vector<std::string> words,
                           std::vector<std::string> environment = {});

// Calls `condition` until it is true, at most a minute.
template <typename Condition>
bool eventually(Condition condition);

[[nodiscard]] std::size_t count_lines(const std::string& text);

}  // namespace vmsrs::test

#include <chrono>
#include <thread>

template <typename Condition>
bool vmsrs::test::eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}
