// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vmsrs::hosted {

// The socket that clients connect to: systemd's (LISTEN_FDS), or one made at `path`, which is then
// removed at the end.
class Listener {
 public:
  // Check descriptor() >= 0; else problem() is one line.
  Listener(const std::string& path, unsigned mode);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int descriptor() const { return descriptor_; }
  const std::string& problem() const { return problem_; }
  std::string name() const { return made_path_.empty() ? "systemd's socket" : made_path_; }

 private:
  void inherit(int count);
  void make(const std::string& path, unsigned mode);

  int descriptor_ = -1;
  std::string made_path_;
  std::string problem_;
};

}  // namespace vmsrs::hosted
