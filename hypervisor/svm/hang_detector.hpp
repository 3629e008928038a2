// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::svm {

// What a sample shows of a CPU.
enum class CpuLife : std::uint8_t {
  // Interrupts are off and none waits: idle in an instruction that an interrupt ends all the same
  // (MWAIT, an I/O port), offline, or dead. No evidence.
  kQuiet,
  kStuck,    // interrupts are off, one waits, none was handled since the last sample
  kHandles,  // they are off, but one was handled; or its local APIC is being set up
  kAlive,    // they are on
};

constexpr CpuLife cpu_life(bool interrupts_on, bool handled_one, bool one_waits) {
  if (interrupts_on) return CpuLife::kAlive;
  if (handled_one) return CpuLife::kHandles;
  return one_waits ? CpuLife::kStuck : CpuLife::kQuiet;
}
// Of several CPUs: one that takes interrupts is enough, else one that is stuck.
constexpr CpuLife life_of_both(CpuLife one, CpuLife other) { return one > other ? one : other; }

// Decides from samples of all CPUs at equal distances whether the guest hangs: so many in a row in
// which one was stuck and none took interrupts. A guest that was never alive is still starting.
class HangDetector {
 public:
  // A guest starts, which hangs after so many samples.
  void start(std::uint32_t limit) {
    limit_ = limit;
    stuck_ = 0;
    armed_ = false;
  }
  // True: it hangs.
  bool sample(CpuLife life) {
    stuck_ = life == CpuLife::kStuck ? stuck_ + 1 : 0;
    armed_ = armed_ || life == CpuLife::kAlive;
    return armed_ && stuck_ >= limit_;
  }

 private:
  std::uint32_t limit_ = 0;
  std::uint32_t stuck_ = 0;
  bool armed_ = false;
};

}  // namespace vmsrs::svm
