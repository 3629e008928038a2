// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model.hpp"
#include "support/claim_server.hpp"
#include "support/scheduler.hpp"

namespace vmsrs::test {

// What a thread of a play does next. Words are those of one region, eight bytes each.
struct Act {
  enum class Kind {
    kBegin,
    kStore,
    kFaultyStore,  // of two words, with a fault before the second
    kLoad,
    kLoadCommitted,
    kEnd,         // an end that commits; of a crashed user: its end and collection
    kKeep,        // an end that gives the thread its next user
    kCrash,       // its own
    kDeclare,     // thread `what` is declared crashed
    kDrain,       // its window is seen closed by this thread
    kReport,      // and that is reported
    kKnock,       // a store that traps and is told to drain
    kComeAgain,   // and its next trap, with the ticket of that
    kComeToLast,  // the next user of its slot, which is free, is the last before tags come round
    kComeBack,    // they have, and its next user gets the tags of the last one before kComeToLast
    kFill,        // stores until the write set is full; the words from `what` on
    kHidePage,    // the region's page is not present when the engine comes next
    kServe,       // the service thread's part
    kScrub,       // and a scrub of everything before it
    kDamage,      // the tag of granule `what` is scribbled over
    kStaleTag,    // granule `what` gets the frozen tag of a user long gone
    kWild,        // a store behind the library's back
  } kind;
  std::size_t what = 0;
};

// Some threads with what they do, one after another before the play begins and all at once in it.
struct Play {
  const char* name;
  std::vector<std::vector<Act>> before = {}, acts = {}, after = {};
  unsigned preemptions = 2;
  bool claimed = true;           // false: every store is a call
  bool buffers_windows = false;  // stores that open a window stay in the processor for a while
  bool hands_over = true;        // users hand over what they wrote at their ends
  std::size_t granule = 64;
  std::size_t bytes = 128;
};

// What was done, so that a play that exercised nothing is seen.
struct Exercise {
  std::uint64_t schedules = 0, loads = 0, commits = 0, crashes = 0, suppressed = 0, drains = 0,
                traps = 0, waits = 0;
  std::set<std::uint64_t> values;  // that loads gave
};

// Plays one schedule after another and compares each load, each answer and what is left with the
// contract (model.hpp). Stores take place where their data is stored, crashes where the mode is.
class Stage {
 public:
  explicit Stage(const Play& play);
  ~Stage();

  // One run of the play. Empty: it went as the contract says. Otherwise what went wrong; the stage
  // can be used no more.
  std::string run(Choices& choices);
  // Expensive, so not after each run.
  std::string check_invariants();
  Exercise exercise() const;
  // Called at each step of a thread; for showing a schedule.
  std::function<void(std::size_t thread, hooks::Step)> watch;

 private:
  struct Fault {};
  struct Actor {
    explicit Actor(ClaimServer& server, std::uint64_t id) : thread(server, id) {}
    ClaimThread thread;
    std::optional<Model::UserId> user;
    std::uint64_t generation = 0;  // of its slot
    bool crashed = false;          // by the one store that decides it
    bool told = false;             // its own thread knows
    bool buffered = false;         // its window is open, and only its processor knows
    bool in_end = false;
    std::vector<std::uint8_t> before_commit;  // while it commits: what was committed until then
    std::uint64_t ticket = 0;
    std::uint64_t old_generation = 0;
    std::uint64_t crash_epoch = 0;        // of whom it declared crashed
    std::optional<std::size_t> crashing;  // whom it is about to crash
    std::optional<std::size_t> storing;   // a word
    std::uint64_t value = 0;
    unsigned stores_left_before_fault = 0;
    std::optional<std::size_t> reading;
    bool reads_committed = false;
    std::vector<std::uint64_t> allowed;  // what the load may give
  };

  // One after another; of more lists than threads the threads have several each, in turn.
  void perform_alone(const std::vector<std::vector<Act>>& acts);
  void perform(std::size_t number, const std::vector<Act>& acts);
  void perform(Actor& actor, const Act& act);
  void store(Actor& actor, std::size_t word, bool faulty);
  void load(Actor& actor, std::size_t word, bool committed);
  void take_user(Actor& actor);
  void end(Actor& actor, bool keep);
  void observe(hooks::Step step);
  void note_crash(Actor& actor);
  void note_readers();
  void note_reader(Actor& actor);
  void flush(Actor& actor);
  void wrong(const std::string& what);
  void rewind();
  std::uint64_t truth(std::size_t word, bool committed) const;
  std::uint64_t memory(std::size_t word) const;
  std::uint64_t mirror(std::size_t word) const;

  const Play& play_;
  ClaimServer server_;
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Actor>> actors_;
  std::vector<std::size_t> cast_;  // which actor each of the scheduler's threads is
  std::optional<Model> model_;
  std::vector<std::uint8_t> initial_;
  std::uint64_t next_value_ = 1;
  std::uint64_t repaired_tags_ = 0;
  bool damaging_ = false;  // the play damages tags
  std::string wrong_;
  Exercise exercise_;
};

}  // namespace vmsrs::test
