// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::boot {

// The hypervisor's command line: words `name=value`.
//   hidden=SIZE          recovery storage, bytes or with K, M, G; default 64M, at least 4M
//   secret_sha256=HEX    SHA-256 of the management secret; without it management is closed
//   debug_exit=PORT      an isa-debug-exit device to end with, for QEMU
struct Options {
  std::uint64_t hidden_bytes = std::uint64_t{64} << 20;
  std::uint8_t secret_hash[32] = {};
  bool has_secret = false;
  std::uint16_t debug_exit_port = 0;
};

struct OptionError {
  const char* what = nullptr;  // nullptr: no error
  char word[48] = {};          // where it was
};

OptionError parse_options(const char* text, Options& options);

}  // namespace vmsrs::boot
