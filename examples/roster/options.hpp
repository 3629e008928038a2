// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "fault.hpp"
#include "memory.hpp"

namespace roster {

struct Options {
  std::string scenario;
  Fault fault = Fault::pointer;
  unsigned rounds = 300;  // of the races
  bool wait = false;      // at the end, for the end of standard input
  memory::Options memory;
};

enum class Parsed { run, help, wrong };
// `wrong`: `error` is one line for people.
Parsed parse_options(int count, char** arguments, Options& options, std::string& error);

extern const char* const kUsage;

}  // namespace roster
