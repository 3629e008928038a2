// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::svm {

// Decides from samples at equal distances whether the guest hangs: so many in a row in which no CPU
// took interrupts. A guest that has never taken any yet is still starting.
class HangDetector {
 public:
  // A guest starts, which hangs after so many samples.
  void start(std::uint32_t limit) {
    limit_ = limit;
    silent_ = 0;
    armed_ = false;
  }
  void alive() {
    armed_ = true;
    silent_ = 0;
  }
  // True: it hangs.
  bool silent() { return armed_ && ++silent_ >= limit_; }

 private:
  std::uint32_t limit_ = 0;
  std::uint32_t silent_ = 0;
  bool armed_ = false;
};

}  // namespace vmsrs::svm
