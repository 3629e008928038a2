// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

namespace vmsrs::recovery {

// How often other CPUs were held, and how long in all: from the first kick to the release.
struct HoldStatistics {
  std::uint64_t count = 0;
  std::uint64_t cycles = 0;  // of Platform::cycles
};

// What the portable engine and the monitor need from the machine below them. One object a machine,
// alive as long as the engine. Every member may be called on any CPU at any time.
class Platform {
 public:
  virtual std::uint32_t isolation() const = 0;  // enum vmsrs_isolation
  virtual std::uint64_t now_ns() const = 0;     // monotonic
  // The same clock, some milliseconds behind where that is cheaper to read.
  virtual std::uint64_t recent_ns() const { return now_ns(); }
  virtual std::uint64_t cycles() const = 0;  // monotonic per CPU
  virtual std::uint64_t cycles_per_second() const = 0;
  virtual std::uint64_t random() = 0;  // unguessable where the processor can
  virtual void relax() const = 0;      // inside a spin loop

  // The window of a server as the engine writes it; nullptr if the machine has none for that
  // number.
  virtual vmsrs_window* window(std::uint32_t server) = 0;

  virtual std::uint32_t cpu_count() const = 0;
  virtual std::uint64_t hidden_bytes() const = 0;
  virtual std::uint64_t hidden_access_count() const = 0;
  virtual std::uint64_t window_write_count() const = 0;
  // False past the last CPU.
  virtual bool exits(std::uint32_t cpu, vmsrs_exits& out) const = 0;
  // Walks a bounded piece of what guards the hidden memory (nested page tables), from `cursor` on,
  // first 0, and adds to the result: entries that let a guest in are violations. True: there is
  // more.
  virtual bool check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) const = 0;
  virtual std::uint64_t devices() const { return VMSRS_DEVICES_UNKNOWN; }  // enum vmsrs_devices
  // Lines of the log from number `cursor` on, or the oldest that there are: how many were written
  // to `out`; `cursor` becomes the number of the next one.
  virtual std::uint32_t log_lines(std::uint64_t&, vmsrs_log_line*, std::uint32_t) { return 0; }
  // All ranges, at most VMSRS_MAX_MEMORY_RANGES; returns how many.
  virtual std::uint32_t memory_ranges(vmsrs_memory_range*) const { return 0; }
  // How often the guest was started; 0 and no ends where there is no guest.
  virtual std::uint32_t guest_start() const { return 0; }
  virtual std::uint32_t guest_watch() const { return 0; }  // bits of enum vmsrs_guest_watch
  // As log_lines.
  virtual std::uint32_t guest_ends(std::uint64_t&, vmsrs_guest_end*, std::uint32_t) { return 0; }
  // False: no such record, or no such CPU.
  virtual bool guest_end_cpu(std::uint64_t, std::uint32_t, vmsrs_guest_cpu&) const { return false; }
  // False: there is nothing here that could be reset.
  virtual bool announce_reset(bool) { return false; }

  // See HeldOthers. Nothing, where the platform cannot hold anybody.
  virtual void hold_others() {}
  virtual void release_others() {}
  virtual HoldStatistics holds() const { return {}; }

 protected:
  ~Platform() = default;
};

// While it lives no other CPU runs any of the guest's instructions, if the platform can hold them:
// what is stored meanwhile is one step for every plain load. Calls of others that are under way go
// on in the engine. Not within another one.
class HeldOthers {
 public:
  explicit HeldOthers(Platform& platform) : platform_(platform) { platform_.hold_others(); }
  ~HeldOthers() { platform_.release_others(); }
  HeldOthers(const HeldOthers&) = delete;
  HeldOthers& operator=(const HeldOthers&) = delete;

 private:
  Platform& platform_;
};

}  // namespace vmsrs::recovery
