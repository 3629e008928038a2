// SPDX-License-Identifier: Apache-2.0
#include "clerks.hpp"

#include <chrono>
#include <cinttypes>

#include "memory.hpp"

namespace roster {

namespace {
constexpr auto kPause = std::chrono::microseconds(200);
constexpr std::uint64_t kFirstLabel = 100;  // of the clerks' users
}  // namespace

Clerks::Clerks(Roster& roster) : roster_(roster), clerks_(kCount) {
  for (unsigned i = 0; i < kCount; ++i) clerks_[i].thread = std::thread([this, i] { work(i); });
}

Clerks::~Clerks() {
  over_ = true;
  for (unsigned i = 0; i < kCount; ++i) {
    Clerk& clerk = clerks_[i];
    clerk.thread.join();
    say("clerk " + std::to_string(i),
        "finished %" PRIu64 ", roster %" PRIu64 ", told %" PRIu64 ", reads %" PRIu64
        ", backwards %" PRIu64,
        clerk.finished.load(), roster_.changes(kFirstEmployee + i), clerk.told, clerk.reads,
        clerk.backwards);
  }
}

void Clerks::let_work() const {
  constexpr std::uint64_t kSome = 3;
  for (const Clerk& clerk : clerks_) {
    const std::uint64_t until = clerk.finished + kSome;
    while (clerk.finished < until) std::this_thread::sleep_for(kPause);
  }
}

void Clerks::work(unsigned number) {
  using memory::Kind, memory::Outcome;
  Clerk& clerk = clerks_[number];
  const std::size_t own = kFirstEmployee + number;
  const std::size_t other = kFirstEmployee + (number + 1) % kCount;
  std::uint64_t seen = 0;
  while (!over_) {
    const Outcome changed = memory::run(
        Kind::user, kFirstLabel + number,
        [&] { roster_.set_changes(own, roster_.changes(own) + 1); }, [] {});
    if (changed == Outcome::finished)
      ++clerk.finished;
    else
      ++clerk.told;
    std::uint64_t count = 0;
    const Outcome read = memory::run(
        Kind::reader, kFirstLabel + number, [&] { count = roster_.changes(other); }, [] {});
    if (read == Outcome::finished) {
      ++clerk.reads;
      if (count < seen) ++clerk.backwards;
      seen = count;
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace roster
