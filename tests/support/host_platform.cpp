// SPDX-License-Identifier: Apache-2.0
#include "support/host_platform.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

namespace vmsrs::test {

HostPlatform::HostPlatform() : memory_(new std::array<vmsrs_window, VMSRS_MAX_SERVERS>()) {
  for (std::uint32_t i = 0; i < VMSRS_MAX_SERVERS; ++i) windows_[i] = &(*memory_)[i];
  hidden_.examined_count = 1;
}

std::uint64_t HostPlatform::now_ns() const {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
             std::chrono::duration_cast<std::chrono::nanoseconds>(since).count()) +
         offset_ns_;
}

// SplitMix64: repeatable, which is what a test wants of its random numbers.
std::uint64_t HostPlatform::random() {
  std::uint64_t z = random_.fetch_add(0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Really lets go of the processor: on a busy host a spinning waiter would take the time of the one
// whose turn it is.
void HostPlatform::relax() const {
  if (relaxer_) return relaxer_();
  std::this_thread::sleep_for(std::chrono::microseconds(1));
}

bool HostPlatform::check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) const {
  if (++cursor < hidden_pieces_) return true;
  result = hidden_;
  return false;
}

void HostPlatform::hold_others() {
  if (hold_observer_) hold_observer_(true);
}

void HostPlatform::release_others() {
  if (hold_observer_) hold_observer_(false);
  ++hold_count_;
  hold_cycles_ += 1000;
}

vmsrs_window* HostPlatform::window(std::uint32_t server) {
  if (observer_) observer_();
  return server < VMSRS_MAX_SERVERS ? windows_[server] : nullptr;
}

bool HostPlatform::exits(std::uint32_t cpu, vmsrs_exits& out) const {
  if (cpu >= cpu_count()) return false;
  out = vmsrs_exits{};
  out.cpu = cpu;
  return true;
}

std::uint32_t HostPlatform::log_lines(std::uint64_t& cursor, vmsrs_log_line* out,
                                      std::uint32_t room) {
  if (cursor < log_first_) cursor = log_first_;
  std::uint32_t count = 0;
  for (; count < room && cursor < log_first_ + log_count_; ++count, ++cursor) {
    out[count] = {};
    out[count].sequence = cursor;
    out[count].time_ns = cursor * 1'000'000;
    out[count].cpu = static_cast<std::uint32_t>(cursor % 2);
    out[count].level = static_cast<std::uint16_t>(cursor % 3);
    const std::string text = "line " + std::to_string(cursor);
    out[count].length =
        static_cast<std::uint16_t>(text.copy(out[count].text, sizeof out[count].text));
  }
  return count;
}

std::uint32_t HostPlatform::memory_ranges(vmsrs_memory_range* out) const {
  out[0] = {0x200000, 0x400000, VMSRS_MEMORY_IMAGE, 0};
  out[1] = {0x30000000, 0x34000000, VMSRS_MEMORY_STORAGE, 0};
  return 2;
}

void HostPlatform::add_guest_end(std::uint32_t kind) {
  vmsrs_guest_end end{};
  end.sequence = end.start = static_cast<std::uint32_t>(guest_ends_.size()) + 1;
  end.time_ns = end.sequence * 1'000'000'000;
  end.kind = kind;
  end.cpu = 1;
  end.cpu_count = cpu_count();
  if (!guest_ends_.empty())
    std::copy_n(guest_ends_.back().counts, std::size(end.counts), end.counts);
  ++end.counts[kind];
  guest_ends_.push_back(end);
}

std::uint32_t HostPlatform::guest_ends(std::uint64_t& cursor, vmsrs_guest_end* out,
                                       std::uint32_t room) {
  if (cursor < 1) cursor = 1;
  std::uint32_t count = 0;
  for (; count < room && cursor <= guest_ends_.size(); ++count, ++cursor)
    out[count] = guest_ends_[cursor - 1];
  return count;
}

bool HostPlatform::guest_end_cpu(std::uint64_t sequence, std::uint32_t cpu,
                                 vmsrs_guest_cpu& out) const {
  if (sequence < 1 || sequence > guest_ends_.size() || cpu >= cpu_count()) return false;
  out = {};
  out.cpu = cpu;
  out.state = VMSRS_GUEST_CPU_HELD;
  out.rip = 0x1000 * sequence;
  return true;
}

}  // namespace vmsrs::test
