// SPDX-License-Identifier: Apache-2.0
#include "confirm.hpp"

#include <unistd.h>

#include <iostream>
#include <ops_common/exit_codes.hpp>

#include "client.hpp"
#include "recording.hpp"

namespace vmsrs::cli {

void confirm(const std::function<std::string()>& question, const std::string& instead) {
  if (Recording::current() != nullptr) return;  // asked once, of all hosts
  if (::isatty(STDIN_FILENO) != 1) throw Failure(ops::kExitUsage, instead);
  std::cerr << question() << " [y/N] ";
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "y" && answer != "Y" && answer != "yes") {
    throw Failure(ops::kExitFailed, "nothing was done");
  }
}

}  // namespace vmsrs::cli
