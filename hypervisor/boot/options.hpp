// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::boot {

// The hypervisor's command line: words `name=value`.
//   hidden=SIZE          recovery storage, bytes or with K, M, G; default 64M, at least 4M
//   hidden=N%            the same as a share of memory
//   hidden_at=ADDRESS    where hidden memory begins, hexadecimal; default: as high as it can
//   secret_sha256=HEX    SHA-256 of the management secret; without it management is closed
//   fallback=native      on a problem at boot: Linux without the hypervisor
//   kdump=first          a crash kernel runs before the guest has ended (default)
//   kdump=skipped        the guest ends at its panic; its crash kernel does not run
//   hang_seconds=N       a guest that hangs for so long has ended; default 30, 0: not watched
//   restart=off          Linux is not started again after its end; its modules are not kept
//   give_up=halt         where Linux is not started again the machine halts (default)
//   give_up=reset        it is reset; and Linux is not started again before management was opened
//   contradiction=park   a fault of the hypervisor's own ends the machine (default)
//   contradiction=go_on  Linux goes on without protection after one in the engine
//   debug_exit=PORT      an isa-debug-exit device to end with, for QEMU
struct Options {
  std::uint64_t hidden_bytes = std::uint64_t{64} << 20;
  std::uint32_t hidden_percent = 0;  // if it is not 0, instead of bytes
  std::uint64_t hidden_place = 0;    // 0: anywhere
  std::uint8_t secret_hash[32] = {};
  bool has_secret = false;
  bool native_fallback = false;
  bool skips_crash_kernel = false;
  std::uint32_t hang_seconds = 30;
  bool restart = true;
  bool resets_when_given_up = false;
  bool goes_on = false;
  std::uint16_t debug_exit_port = 0;
};

constexpr std::uint64_t kLeastHidden = std::uint64_t{4} << 20;
constexpr std::uint64_t kMostHidden = std::uint64_t{448} << 30;  // what the engine can number

struct OptionError {
  const char* what = nullptr;  // nullptr: no error
  char word[48] = {};          // where it was
};

// All words are read, whatever is wrong with one of them; the error is the first one's.
OptionError parse_options(const char* text, Options& options);

}  // namespace vmsrs::boot
