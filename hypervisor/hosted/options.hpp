// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace vmsrs::hosted {

// The command line of vmsrs-hosted.
struct Options {
  std::string socket;           // default: VMSRS_HOSTED_SOCKET of the ABI
  unsigned socket_mode = 0666;  // who may connect; what they may do, secrets decide
  std::uint64_t storage_bytes = 256ull << 20;
  std::string secret_hash_file;                   // empty: management is closed
  std::uint32_t max_servers = 64;                 // connections at a time, vmsrsd's included
  std::uint32_t max_per_account = 32;             // of them by one uid
  std::uint64_t memory_per_account = 4ull << 30;  // call areas and regions of one uid
};

enum class Parsed { kRun, kHelp, kWrong };

// kWrong: `problem` holds one line.
Parsed parse_options(int count, char** arguments, Options& options, std::string& problem);

extern const char kUsage[];

// 64 hexadecimal digits, white space around them does not matter. Nothing: `problem` says why.
std::optional<std::array<std::uint8_t, 32>> read_hash(const std::string& file,
                                                      std::string& problem);

}  // namespace vmsrs::hosted
