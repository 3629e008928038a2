// SPDX-License-Identifier: Apache-2.0
#include "output.hpp"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <map>
#include <ops_common/closest.hpp>
#include <ops_common/exit_codes.hpp>
#include <set>
#include <utility>

#include "recording.hpp"

namespace vmsrs::cli {
namespace {

bool clear_screen_first = false;

bool colours_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDOUT_FILENO) == 1;
}

// Plain only if no YAML reader could take it for something else than a string.
bool is_plain(const std::string& text) {
  static const std::set<std::string> kTaken = {"true", "false", "yes", "no",  "on", "off",
                                               "null", "y",     "n",   "nan", "inf"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (text.empty() || kTaken.contains(lower) || lower.front() < 'a' || lower.front() > 'z') {
    return false;
  }
  return lower.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == std::string::npos;
}

void emit(YAML::Emitter& out, const Json& value) {
  if (value.is_object()) {
    out << YAML::BeginMap;
    for (const auto& [key, member] : value.items()) {
      out << YAML::Key << key << YAML::Value;
      emit(out, member);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const Json& item : value) emit(out, item);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (!is_plain(text)) out << YAML::DoubleQuoted;
    out << text;
  } else if (value.is_null()) {
    out << YAML::Null;
  } else {
    out << value.dump();  // numbers and booleans are written as in JSON
  }
}

std::string rounded(double number, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof(text), number < 10 ? "%.1f %s" : "%.0f %s", number, unit);
  return text;
}

}  // namespace

std::string painted(const Cell& cell) {
  static const bool wanted = colours_wanted();
  if (!wanted || cell.colour == Colour::kNone) return cell.text;
  const char* code = cell.colour == Colour::kGood      ? "\x1b[32m"
                     : cell.colour == Colour::kWarning ? "\x1b[33m"
                                                       : "\x1b[31m";
  return code + cell.text + "\x1b[0m";
}

std::vector<std::size_t> Table::chosen(const TableStyle& style) const {
  std::vector<std::size_t> places;
  std::vector<std::string> headers;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    headers.push_back(columns_[i].header);
    if (style.columns.empty() && (style.wide || !columns_[i].wide)) places.push_back(i);
  }
  for (std::string wanted : style.columns) {
    std::transform(wanted.begin(), wanted.end(), wanted.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    });
    const auto found = std::find(headers.begin(), headers.end(), wanted);
    if (found == headers.end()) fail_unknown("column", wanted, headers);
    places.push_back(static_cast<std::size_t>(found - headers.begin()));
  }
  return places;
}

std::string Table::text(const TableStyle& style) const {
  std::vector<std::vector<Cell>> rows;
  if (columns_.empty()) {
    rows = rows_;
  } else {
    const std::vector<std::size_t> places = chosen(style);
    if (style.headers) {
      rows.emplace_back();
      for (const std::size_t place : places) rows.back().emplace_back(columns_[place].header);
    }
    for (const auto& row : rows_) {
      rows.emplace_back();
      for (const std::size_t place : places) rows.back().push_back(row.at(place));
    }
  }
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].text.size());
  }
  std::string all;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      all += painted(row[i]);
      if (i + 1 < row.size()) all.append(widths[i] - row[i].text.size() + 2, ' ');
    }
    all += '\n';
  }
  return all;
}

void Table::print(const TableStyle& style) const {
  if (Recording* const recording = Recording::current()) {
    recording->add_table(columns_, rows_);
    return;
  }
  const std::string all = text(style);
  std::fwrite(all.data(), 1, all.size(), stdout);
}

Json with_progress(const std::string& what, const std::function<Json()>& work) {
  if (::isatty(STDERR_FILENO) != 1 || Recording::current() != nullptr) return work();
  std::future<Json> answer = std::async(std::launch::async, work);
  bool told = false;
  for (unsigned seconds = 1; answer.wait_for(std::chrono::seconds(1)) != std::future_status::ready;
       ++seconds) {
    std::fprintf(stderr, "\r%s for %u s ...", what.c_str(), seconds);
    told = true;
  }
  if (told) std::fputs("\r\x1b[K", stderr);
  return answer.get();
}

void fail_unknown(const std::string& what, const std::string& word,
                  const std::vector<std::string>& known) {
  std::string message = "no " + what + " \"" + word + "\"";
  if (const auto meant = ops::closest(word, known)) message += ", did you mean \"" + *meant + "\"?";
  throw Failure(ops::kExitUsage, message + " (there are: " + joined(known, ", ") + ")");
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

void clear_screen_before_next_table() { clear_screen_first = true; }

void print(Format format, const Json& document, const std::function<void()>& table) {
  if (Recording* const recording = Recording::current()) {
    recording->add_document(document);
    if (format == Format::kTable) table();
    return;
  }
  if (format == Format::kTable) {
    if (std::exchange(clear_screen_first, false)) std::printf("\x1b[H\x1b[2J");
    table();
  } else if (format == Format::kJson) {
    std::printf("%s\n", document.dump(2).c_str());
  } else {
    YAML::Emitter out;
    emit(out, document);
    std::printf("%s\n", out.c_str());
  }
}

std::string words(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string size_words(const Json& bytes) {
  if (!bytes.is_number()) return words(bytes);
  auto number = bytes.get<double>();
  if (number < 1024) return std::to_string(bytes.get<std::uint64_t>()) + " B";
  const char* unit = "B";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (number < 1024) break;
    number /= 1024;
    unit = next;
  }
  return rounded(number, unit);
}

std::string duration_words(const Json& seconds) {
  if (!seconds.is_number()) return words(seconds);
  const auto number = seconds.get<double>();
  if (number < 1) return rounded(number * 1000, "ms");
  if (number < 120) return rounded(number, "s");
  if (number < 2 * 3600) return rounded(number / 60, "min");
  if (number < 2 * 86400) return rounded(number / 3600, "h");
  return rounded(number / 86400, "d");
}

double seconds_in(const std::string& text) {
  static const std::map<std::string, double> kUnits = {{"", 1},   {"s", 1},    {"min", 60},
                                                       {"m", 60}, {"h", 3600}, {"d", 86400}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = kUnits.find(std::string(end, text.data() + text.size()));
  const bool good = error == std::errc() && unit != kUnits.end() && number >= 0;
  return good ? number * unit->second : -1;
}

std::string duration_problem(const std::string& text) {
  return seconds_in(text) >= 0 ? "" : "\"" + text + "\" is no time: 90s, 10min, 2h or 1d";
}

Cell mode_cell(const Json& mode) {
  const std::string text = words(mode);
  return {text, text == "normal" ? Colour::kGood : Colour::kWarning};
}

Cell containment_cell(const Json& mode) {
  const std::string text = words(mode);
  return {text, text == "observe" || text == "off" ? Colour::kWarning : Colour::kNone};
}

Cell state_cell(const Json& state) {
  const std::string text = words(state);
  if (text == "stuck") return {text, Colour::kBad};
  return {text, text == "crashed" ? Colour::kWarning : Colour::kNone};
}

Cell count_cell(const Json& count, Colour colour) {
  return {words(count), count == 0 ? Colour::kNone : colour};
}

}  // namespace vmsrs::cli
