// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "bank.hpp"

// What is played: prints one line of `name=value` for each row of the matrix (README.md has the
// names), for whoever compares it with what should be.
namespace matrix {

struct JudgeOptions {
  ServerOptions server;
  std::string kinds;            // "," before and behind each name; empty: all
  unsigned patience_ms = 5000;  // with a server that says nothing
};

// What each kind does to a process without the library.
void judge_without_library();
// A server of options.server.style, and each kind in turn. `words`: the command line by which a
// server is started, but for its address.
void judge_style(const JudgeOptions& options, const std::vector<std::string>& words);
// The kinds themselves.
void list_kinds();

}  // namespace matrix
