// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <charconv>
#include <string_view>

namespace roster {

const char* const kUsage =
    R"(usage: roster SCENARIO [options]
  SCENARIO                   of the paper: 5.1.1, 5.1.2, 5.1.3-1, 5.1.3-2 or 5.1.3-3
  --fault KIND               user 0's: pointer, far out of bounds (the default), or hole, left by munmap
  --rounds N                 how often 5.1.3-1 and 5.1.3-3 are tried at least, 1 to 100000 (300)
  --server-name NAME         as vmsrs.yaml calls this server (roster)
  --secret-file FILE         64 hex digits, its attach secret (/etc/vmsrs/roster.secret)
  --windows-directory DIR    where the hypervisor's windows are mounted (the library's default)
  --trap-every-store         the simple mechanism: each store is a call
  --wait                     at the end waits until standard input ends, so that it can be looked at
  --help
)";

namespace {
bool take(std::string_view name, std::string_view value, Options& options) {
  if (name == "--fault") return parse_fault(value, options.fault);
  if (name == "--rounds") {
    const auto [end, error] =
        std::from_chars(value.data(), value.data() + value.size(), options.rounds);
    return error == std::errc{} && end == value.data() + value.size() && options.rounds >= 1 &&
           options.rounds <= 100'000;
  }
  if (value.empty()) return false;
  if (name == "--server-name") return options.memory.server_name = value, value.size() < 32;
  if (name == "--secret-file") return options.memory.secret_file = value, true;
  if (name == "--windows-directory") return options.memory.windows_directory = value, true;
  return false;
}
}  // namespace

Parsed parse_options(int count, char** arguments, Options& options, std::string& error) {
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--help") return Parsed::help;
    if (name == "--trap-every-store") {
      options.memory.trap_every_store = true;
    } else if (name == "--wait") {
      options.wait = true;
    } else if (name.starts_with("--")) {
      const char* const value = i + 1 < count ? arguments[++i] : "";
      if (!take(name, value, options)) {
        error = name + " '" + value + "': not known, or no good value; --help lists the options";
        return Parsed::wrong;
      }
    } else if (options.scenario.empty()) {
      options.scenario = name;
    } else {
      error = "one scenario at a time, got '" + name + "' too";
      return Parsed::wrong;
    }
  }
  if (!options.scenario.empty()) return Parsed::run;
  error = "a scenario is needed; --help lists them";
  return Parsed::wrong;
}

}  // namespace roster
