// SPDX-License-Identifier: Apache-2.0
#include "machine_bench.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vmsrs/vmsrs.hpp>

#include "guest.hpp"
#include "hosted_bench.hpp"
#include "measure.hpp"

namespace vmsrs::bench {
namespace {

// As many instructions as it says, but for one or two around them.
void execute(std::uint64_t instructions) {
  std::uint64_t left = instructions / 2;
  asm volatile(
      "0: dec %0\n\t"
      "jnz 0b"
      : "+r"(left)
      :
      : "cc");
}

// Nanoseconds of the clock for an instruction: of a loop twice as long as another, so that the way
// into and out of it and the clock's own instructions are in neither. The least of a few, as the
// kernel's ticks are not the loop's.
double nanoseconds_of_an_instruction() {
  constexpr std::uint64_t kInstructions = 200'000;
  const auto least = [](std::uint64_t count) {
    double nanoseconds = INFINITY;
    for (int i = 0; i < 9; ++i)
      nanoseconds = std::min(nanoseconds, time_each(1, [&] { execute(count); }));
    return nanoseconds;
  };
  return (least(2 * kInstructions) - least(kInstructions)) / double{kInstructions};
}

}  // namespace

bool MachineBench::is_here() { return guest::has_signature(); }

MachineBench::MachineBench() : token_(guest::open_management()) {
  constexpr double kMostOff = 0.001;
  const double each = nanoseconds_of_an_instruction();
  report("calibration", each, "ns", "of the machine's clock for an instruction");
  if (std::abs(each - 1) > kMostOff)
    give_up("the machine's clock does not count instructions: it was not started with -icount");
  guest::define_server(token_, kServer);
  char name[] = "/tmp/vmsrs-bench-XXXXXX";
  const int file = mkstemp(name);
  if (file < 0) give_up("no file for the server's secret");
  close(file);
  secret_file_ = name;
  std::ofstream stream(secret_file_);
  for (std::size_t i = 0; i < VMSRS_SECRET_BYTES; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(guest::kSecret[i]));
    stream << digits;
  }
  stream << "\n";
  chmod(secret_file_.c_str(), 0400);
  const vmsrs_exits before = look();
  own_ = difference(look(), before, {});
}

// The next program is another process of the same server.
MachineBench::~MachineBench() {
  if (vmsrs_detach() != 0) std::fprintf(stderr, "bench: %s\n", vmsrs_error_message());
  unlink(secret_file_.c_str());
}

void MachineBench::attach() { attach_server(secret_file_); }

vmsrs_exits MachineBench::look() const { return guest::exits(token_, 0); }

vmsrs_exits MachineBench::difference(vmsrs_exits after, const vmsrs_exits& before,
                                     const vmsrs_exits& own) {
  for (int i = 0; i < VMSRS_EXIT_REASON_COUNT; ++i) {
    after.count[i] -= before.count[i] + own.count[i];
    // A look does not always take quite the same: without another exit it has taken it all.
    const std::uint64_t taken = before.cycles[i] + own.cycles[i];
    after.cycles[i] = after.count[i] == 0 ? 0 : after.cycles[i] - std::min(after.cycles[i], taken);
  }
  return after;
}

}  // namespace vmsrs::bench
