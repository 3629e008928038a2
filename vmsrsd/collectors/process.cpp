// SPDX-License-Identifier: Apache-2.0
#include "collectors/process.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace vmsrs::collectors {
namespace {

// proc(5), stat: fields from the third on, those behind the name in parentheses.
std::vector<std::string> fields_behind_name(const std::string& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(line.substr(name_end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

std::optional<double> most_descriptors(const std::string& file) {
  const std::string name = "Max open files";
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind(name, 0) != 0) continue;
    std::istringstream rest(line.substr(name.size()));
    double soft = 0;
    if (rest >> soft) return soft;
  }
  return std::nullopt;
}

}  // namespace

bool collect_process(const std::string& folder, double start, Families& families) {
  constexpr std::size_t kUserTime = 11;
  constexpr std::size_t kSystemTime = 12;
  constexpr std::size_t kVirtualBytes = 20;
  constexpr std::size_t kResidentPages = 21;
  const std::vector<std::string> fields = fields_behind_name(folder + "/stat");
  const std::optional<double> most = most_descriptors(folder + "/limits");
  std::error_code error;
  double open = 0;
  for (std::filesystem::directory_iterator entry(folder + "/fd", error), end;
       !error && entry != end; entry.increment(error))
    ++open;
  if (error || !most || fields.size() <= kResidentPages) return false;
  const auto number = [&](std::size_t field) {
    return std::strtod(fields[field].c_str(), nullptr);
  };
  families.counter("process_cpu_seconds_total", "Processor time that vmsrsd has used.")
      .add((number(kUserTime) + number(kSystemTime)) / static_cast<double>(::sysconf(_SC_CLK_TCK)));
  families.gauge("process_resident_memory_bytes", "Memory that vmsrsd has in RAM.")
      .add(number(kResidentPages) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  families.gauge("process_virtual_memory_bytes", "Addresses that vmsrsd has mapped.")
      .add(number(kVirtualBytes));
  families.gauge("process_open_fds", "Descriptors that vmsrsd has open.").add(open);
  families.gauge("process_max_fds", "Descriptors that it may have open.").add(*most);
  families.gauge("process_start_time_seconds", "When vmsrsd was started.").add(start);
  return true;
}

}  // namespace vmsrs::collectors
