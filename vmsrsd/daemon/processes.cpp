// SPDX-License-Identifier: Apache-2.0
#include "daemon/processes.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmsrs::daemon {
namespace {

struct Stat {
  char state = '?';
  std::uint64_t start_time = 0;
};

// proc(5): field 3 is the state, field 22 the start time; field 2, the name, may hold anything and
// ends at the last parenthesis.
std::optional<Stat> read_stat(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string line;
  if (!std::getline(stream, line)) return std::nullopt;
  const std::size_t parenthesis = line.rfind(')');
  if (parenthesis == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(parenthesis + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  if (!(fields >> stat.start_time)) return std::nullopt;
  return stat;
}

bool is_alive(const Stat& stat) { return stat.state != 'Z' && stat.state != 'X'; }

}  // namespace

bool Processes::visible() const { return read_stat(root_ + "/1/stat").has_value(); }

std::optional<std::uint64_t> Processes::start_time(std::uint32_t process_id) const {
  const std::filesystem::path folder = std::filesystem::path(root_) / std::to_string(process_id);
  const std::optional<Stat> leader = read_stat(folder / "stat");
  if (!leader) return std::nullopt;
  if (is_alive(*leader)) return leader->start_time;
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator(folder / "task", error)) {
    const std::optional<Stat> stat = read_stat(thread.path() / "stat");
    if (stat && is_alive(*stat)) return leader->start_time;
  }
  return std::nullopt;
}

}  // namespace vmsrs::daemon
