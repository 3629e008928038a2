// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>
#include <string>

namespace vmsrs::bench {

// This process inside a machine of the svm platform whose clock counts instructions (run-guest.py
// --icount): a nanosecond is an instruction, of the hypervisor too. One processor.
class MachineBench {
 public:
  // Is the hypervisor below this Linux?
  static bool is_here();

  // Opens the management channel and defines the server. The program ends if the clock does not
  // count instructions.
  MachineBench();
  ~MachineBench();
  MachineBench(const MachineBench&) = delete;
  MachineBench& operator=(const MachineBench&) = delete;
  void attach();

  // The exits of this processor while body() ran, and the hypervisor's instructions ("cycles") for
  // them: not for the look itself, nor for what saves and loads the registers around an exit.
  template <typename Body>
  vmsrs_exits during(Body body) const {
    const vmsrs_exits before = look();
    body();
    return difference(look(), before, own_);
  }

 private:
  vmsrs_exits look() const;
  static vmsrs_exits difference(vmsrs_exits after, const vmsrs_exits& before,
                                const vmsrs_exits& own);

  std::uint64_t token_;
  vmsrs_exits own_{};  // what a look adds
  std::string secret_file_;
};

}  // namespace vmsrs::bench
