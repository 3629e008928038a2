// SPDX-License-Identifier: Apache-2.0
#include "hosted/options.hpp"

#include <vmsrs/hosted.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

namespace vmsrs::hosted {

const char kUsage[] = R"(usage: vmsrs-hosted [OPTION ...]

Runs the recovery engine in a process of its own, for servers on this machine. The isolation is that of
a process, not of a hypervisor.

  --socket PATH             where clients connect (/run/vmsrs/hosted.sock); with systemd's socket
                            activation the socket is systemd's and this is not used
  --socket-mode MODE        of the socket, octal (0666: secrets decide what a client may do)
  --storage SIZE            recovery storage, 1MiB to 1TiB (256MiB)
  --secret-hash-file FILE   SHA-256 of the management secret, 64 hexadecimal digits; without it
                            nobody can define servers
  --max-servers N           connections at a time, 1 to 1024 (64)
  --max-per-account N       connections of one account at a time, 1 to 1024 (32)
  --memory-per-account SIZE shared memory of one account, 1MiB to 16TiB (4GiB)
  --help

SIZE is a number with B, KiB, MiB, GiB or TiB.
)";

namespace {

bool parse_number(std::string_view text, std::uint64_t low, std::uint64_t high,
                  std::uint64_t& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size() && number >= low &&
         number <= high;
}

bool parse_size(std::string_view text, std::uint64_t low, std::uint64_t high,
                std::uint64_t& bytes) {
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  const std::size_t digits = text.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string_view::npos) return false;
  std::uint64_t number = 0;
  if (!parse_number(text.substr(0, digits), 0, 1ull << 40, number)) return false;
  for (std::size_t unit = 0; unit < std::size(kUnits); ++unit) {
    if (text.substr(digits) != kUnits[unit]) continue;
    if (number > high >> (10 * unit)) return false;
    bytes = number << (10 * unit);
    return bytes >= low;
  }
  return false;
}

bool parse_count(std::string_view text, std::uint32_t& count) {
  std::uint64_t number = 0;
  if (!parse_number(text, 1, 1024, number)) return false;
  count = static_cast<std::uint32_t>(number);
  return true;
}

// Takes one option's value. False: `expected` says what it should have been; empty: no such option.
bool take(std::string_view name, std::string_view value, Options& options, std::string& expected) {
  if (name == "--socket") {
    expected = "an absolute path of at most 100 characters";
    options.socket = value;
    return value.size() <= 100 && value.starts_with('/');
  }
  if (name == "--socket-mode") {
    expected = "an octal mode up to 0777";
    std::uint64_t mode = 0;
    if (!parse_number(value, 0, 0777, mode, 8)) return false;
    options.socket_mode = static_cast<unsigned>(mode);
    return true;
  }
  if (name == "--storage") {
    expected = "a size from 1MiB to 1TiB, such as 256MiB";
    return parse_size(value, 1ull << 20, 1ull << 40, options.storage_bytes);
  }
  if (name == "--memory-per-account") {
    expected = "a size from 1MiB to 16TiB, such as 4GiB";
    return parse_size(value, 1ull << 20, 1ull << 44, options.memory_per_account);
  }
  if (name == "--secret-hash-file") {
    expected = "a file";
    options.secret_hash_file = value;
    return !value.empty();
  }
  if (name == "--max-servers") {
    expected = "a number from 1 to 1024";
    return parse_count(value, options.max_servers);
  }
  if (name == "--max-per-account") {
    expected = "a number from 1 to 1024";
    return parse_count(value, options.max_per_account);
  }
  return false;
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Parsed parse_options(int count, char** arguments, Options& options, std::string& problem) {
  options.socket = VMSRS_HOSTED_SOCKET;
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i];
    if (name == "--help") return Parsed::kHelp;
    const char* const value = i + 1 < count ? arguments[i + 1] : "";
    std::string expected;
    if (take(name, value, options, expected)) continue;
    problem = expected.empty() ? name + ": unknown option; --help lists them"
                               : name + ": expected " + expected + ", got '" + value + "'";
    return Parsed::kWrong;
  }
  return Parsed::kRun;
}

std::optional<std::array<std::uint8_t, 32>> read_hash(const std::string& file,
                                                      std::string& problem) {
  std::ifstream stream(file);
  std::string digits;
  if (!(stream >> digits)) {
    problem = "--secret-hash-file " + file + ": " +
              (stream.is_open() ? "empty: expected 64 hexadecimal digits" : std::strerror(errno));
    return std::nullopt;
  }
  std::array<std::uint8_t, 32> hash{};
  std::string more;
  bool good = digits.size() == 64 && !(stream >> more);
  for (std::size_t i = 0; good && i < 64; ++i) {
    const int digit = digit_of(digits[i]);
    good = digit >= 0;
    hash[i / 2] = static_cast<std::uint8_t>(hash[i / 2] * 16 + (good ? digit : 0));
  }
  if (good) return hash;
  problem = "--secret-hash-file " + file + ": expected 64 hexadecimal digits and nothing else";
  return std::nullopt;
}

}  // namespace vmsrs::hosted
