// SPDX-License-Identifier: Apache-2.0
#include "hosted/hosted_platform.hpp"

#include <sched.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace vmsrs::hosted {
namespace {

std::uint64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// Of the TSC, by the clock of CLOCK_MONOTONIC; once for the process, 10 ms.
std::uint64_t measure_tsc() {
  const std::uint64_t begin_ns = read_clock(CLOCK_MONOTONIC), begin = __builtin_ia32_rdtsc();
  const timespec pause{0, 10'000'000};
  nanosleep(&pause, nullptr);
  const std::uint64_t ns = read_clock(CLOCK_MONOTONIC) - begin_ns;
  return (__builtin_ia32_rdtsc() - begin) * 1'000'000 / (ns / 1000);
}

}  // namespace

HostedPlatform::HostedPlatform(const void* storage, std::size_t storage_bytes)
    : storage_(storage), storage_bytes_(storage_bytes) {
  const long cpus = sysconf(_SC_NPROCESSORS_CONF);
  cpu_count_ = cpus > 0 ? static_cast<std::uint32_t>(cpus) : 1;
  static const std::uint64_t measured = measure_tsc();
  cycles_per_second_ = measured;
  calls_ = std::make_unique<CallCount[]>(cpu_count_);
  for (SharedMemory& window : windows_)
    window = SharedMemory::create("vmsrs-window", VMSRS_WINDOW_BYTES, ClientMay::kRead);
}

bool HostedPlatform::valid() const {
  for (const SharedMemory& window : windows_)
    if (!window.valid()) return false;
  return true;
}

std::uint64_t HostedPlatform::now_ns() const { return read_clock(CLOCK_MONOTONIC); }
std::uint64_t HostedPlatform::recent_ns() const { return read_clock(CLOCK_MONOTONIC_COARSE); }

std::uint64_t HostedPlatform::random() {
  std::uint64_t number = 0;
  // Tokens rest on it: without randomness there is nothing to go on with.
  if (getrandom(&number, sizeof number, 0) != sizeof number) std::abort();
  return number;
}

// Whoever holds the lock may have been preempted: let it run.
void HostedPlatform::relax() const {
  thread_local unsigned turns = 0;
  if (++turns % 64 == 0)
    sched_yield();
  else
    __builtin_ia32_pause();
}

vmsrs_window* HostedPlatform::window(std::uint32_t server) {
  return server < VMSRS_MAX_SERVERS ? reinterpret_cast<vmsrs_window*>(windows_[server].data())
                                    : nullptr;
}

bool HostedPlatform::exits(std::uint32_t cpu, vmsrs_exits& out) const {
  if (cpu >= cpu_count_) return false;
  out = vmsrs_exits{};
  out.cpu = cpu;
  out.count[VMSRS_EXIT_VMMCALL] = calls_[cpu].count.load(std::memory_order_relaxed);
  out.cycles[VMSRS_EXIT_VMMCALL] = calls_[cpu].cycles.load(std::memory_order_relaxed);
  return true;
}

void HostedPlatform::count_calls(std::uint64_t count, std::uint64_t cycles) {
  const int cpu = sched_getcpu();
  CallCount& calls = calls_[cpu >= 0 ? static_cast<std::uint32_t>(cpu) % cpu_count_ : 0];
  calls.count.fetch_add(count, std::memory_order_relaxed);
  calls.cycles.fetch_add(cycles, std::memory_order_relaxed);
}

// What can be seen of the walls from inside: the storage is this process's own memory and nobody
// may debug the process, every piece of memory that clients hold has its seals. At once.
bool HostedPlatform::check_hidden(std::uint64_t&, vmsrs_check_result& result) const {
  const SharedMemory::Census census = SharedMemory::census();
  result.examined_count = census.count + 1;
  result.violation_count = census.unsealed + !is_hidden(storage_, storage_bytes_);
  if (result.violation_count > 0) result.verdict = VMSRS_VERDICT_VIOLATED;
  return false;
}

}  // namespace vmsrs::hosted
