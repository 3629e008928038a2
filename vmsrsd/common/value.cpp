// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>
#include <ops_common/closest.hpp>
#include <ops_common/value.hpp>
#include <set>
#include <sstream>
#include <utility>

namespace vmsrs::ops {
namespace {

bool parse_whole(std::string_view text, std::uint64_t& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

int line_of(const YAML::Node& node, int otherwise) {
  if (otherwise == 0) return 0;  // lines of a variable help nobody
  return node.IsDefined() && node.Mark().line >= 0 ? node.Mark().line + 1 : otherwise;
}

constexpr std::pair<const char*, unsigned> kUnits[] = {
    {"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}};

}  // namespace

std::string size_text(std::uint64_t bytes) {
  if (bytes == 0) return "0";
  for (const auto& [unit, shift] : kUnits)
    if (bytes % (std::uint64_t{1} << shift) == 0) return std::to_string(bytes >> shift) + unit;
  return "";  // not reached: every number is one of bytes
}

Value::Value(std::string file, int line, std::string key, YAML::Node node)
    : file_(std::move(file)), line_(line), key_(std::move(key)), node_(std::move(node)) {}

Value Value::root(std::string file, YAML::Node node) {
  const int line = line_of(node, 1);
  return {std::move(file), line, "", std::move(node)};
}

Value Value::of_file(const std::string& file) {
  std::ifstream stream(file);
  std::ostringstream content;
  if (!stream || !(content << stream.rdbuf())) {
    // An empty file sets failbit too.
    if (!stream.is_open() || stream.bad())
      throw Error(file + ":1: document: expected a readable file, found: " + std::strerror(errno));
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(content.str());
    if (documents.size() > 1) {
      throw Error(file + ":1: document: expected one YAML document, found " +
                  std::to_string(documents.size()));
    }
    return root(file, documents.empty() ? YAML::Node() : documents.front());
  } catch (const YAML::Exception& error) {
    throw Error(file + ":" + std::to_string(error.mark.line + 1) +
                ": document: expected well-formed YAML, found: " + error.msg);
  }
}

Value Value::of_environment(const std::string& variable, const std::string& key, YAML::Node node) {
  return {"environment variable " + variable, 0, key, std::move(node)};
}

std::string Value::child_key(const std::string& key) const {
  return key_.empty() ? key : key_ + "." + key;
}

std::string Value::where() const {
  const std::string file = line_ == 0 ? file_ : file_ + ":" + std::to_string(line_);
  return file + ": " + (key_.empty() ? "document" : key_);
}

std::string Value::found() const {
  if (!node_.IsDefined() || node_.IsNull()) return "nothing";
  if (node_.IsMap()) return "a mapping";
  if (node_.IsSequence()) return "a list";
  return "\"" + node_.Scalar() + "\"";
}

void Value::fail(const std::string& expected) const { fail(expected, found()); }

void Value::fail(const std::string& expected, const std::string& found) const {
  throw Error(where() + ": expected " + expected + ", found " + found);
}

bool Value::given() const { return node_.IsDefined() && !node_.IsNull(); }

void Value::expect_mapping(const std::vector<std::string>& keys) const {
  for (const auto& [key, value] : members("a mapping with " + joined(keys))) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    const auto meant = closest(key, keys);
    value.fail("one of " + joined(keys),
               "the unknown key \"" + key + "\"" +
                   (meant ? "; did you mean \"" + *meant + "\"?" : std::string()));
  }
}

std::vector<std::pair<std::string, Value>> Value::members(const std::string& expected) const {
  std::vector<std::pair<std::string, Value>> all;
  if (!given()) return all;
  if (!node_.IsMap()) fail(expected);
  std::set<std::string> seen;
  for (const auto& member : node_) {
    const int line = line_of(member.first, line_);
    if (!member.first.IsScalar())
      Value(file_, line, key_, member.first).fail(expected, "a key that is no word");
    const std::string key = member.first.Scalar();
    const Value value(file_, line, child_key(key), member.second);
    if (!seen.insert(key).second) value.fail("each key once", "\"" + key + "\" again");
    all.emplace_back(key, value);
  }
  return all;
}

Value Value::operator[](const std::string& key) const {
  const YAML::Node parent = node_;  // const access: does not create the member
  const YAML::Node child = parent.IsDefined() && parent.IsMap()
                               ? std::as_const(parent)[key]
                               : YAML::Node(YAML::NodeType::Undefined);
  return {file_, line_of(child, line_), child_key(key), child};
}

std::vector<Value> Value::items() const {
  std::vector<Value> all;
  if (!given()) return all;
  if (!node_.IsSequence()) fail("a list");
  for (std::size_t i = 0; i < node_.size(); ++i) {
    const YAML::Node item = node_[i];
    all.push_back({file_, line_of(item, line_), key_ + "[" + std::to_string(i) + "]", item});
  }
  return all;
}

std::string Value::text(const std::string& expected) const {
  if (!given() || !node_.IsScalar()) fail(expected);
  return node_.Scalar();
}

std::uint64_t Value::whole_number(std::uint64_t lowest, std::uint64_t highest) const {
  const std::string expected =
      "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
  std::uint64_t number = 0;
  if (!parse_whole(text(expected), number) || number < lowest || number > highest) fail(expected);
  return number;
}

bool Value::flag() const { return one_of({"true", "false"}) == "true"; }

std::uint64_t Value::bytes(std::uint64_t lowest, std::uint64_t highest) const {
  const std::string expected = "a size such as 64MiB (units B, KiB, MiB, GiB, TiB), or 0";
  const std::string whole = text(expected);
  if (whole == "0" && lowest == 0) return 0;
  for (const auto& [unit, shift] : kUnits) {
    if (!whole.ends_with(unit)) continue;
    std::string digits = whole.substr(0, whole.size() - std::string_view(unit).size());
    while (!digits.empty() && digits.back() == ' ') digits.pop_back();
    std::uint64_t number = 0;
    const std::uint64_t largest = std::numeric_limits<std::uint64_t>::max() >> shift;
    if (!parse_whole(digits, number) || number > largest) break;
    if ((number << shift) < lowest || (number << shift) > highest)
      fail("a size from " + size_text(lowest) + " to " + size_text(highest));
    return number << shift;
  }
  fail(expected);
}

std::uint32_t Value::file_mode() const {
  const std::string expected = "an octal file mode such as 0660";
  std::uint64_t mode = 0;
  if (!parse_whole(text(expected), mode, 8) || mode > 0777) fail(expected);
  return static_cast<std::uint32_t>(mode);
}

std::string Value::absolute_path() const {
  const std::string expected = "an absolute path of at most 4095 characters";
  const std::string path = text(expected);
  if (!path.starts_with('/') || path.size() > 4095) fail(expected);
  return path;
}

std::string Value::one_of(const std::vector<std::string>& all) const {
  const std::string expected = "one of " + joined(all);
  const std::string word = text(expected);
  if (std::find(all.begin(), all.end(), word) != all.end()) return word;
  const auto meant = closest(word, all);
  fail(expected, found() + (meant ? "; did you mean \"" + *meant + "\"?" : std::string()));
}

}  // namespace vmsrs::ops
