// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <random>
#include <set>

#include "schedules/acts.hpp"

// All schedules of small plays in which no thread is made to wait more than twice (as CHESS does
// it), and random ones of random plays. VMSRS_PLAYS=N for more of these, VMSRS_SEED=N for one.
using namespace vmsrs::test;
using namespace vmsrs::test::acts;

namespace {

Exercise play_all(const Play& play) {
  Stage stage(play);
  AllChoices choices;
  do {
    const std::string wrong = stage.run(choices);
    BOOST_REQUIRE_MESSAGE(wrong.empty(),
                          play.name << ", schedule " << choices.printed() << ": " << wrong);
  } while (choices.advance());
  BOOST_TEST(stage.check_invariants() == "");
  const Exercise exercise = stage.exercise();
  BOOST_TEST_MESSAGE(play.name << ": " << exercise.schedules << " schedules, " << exercise.traps
                               << " traps, " << exercise.drains << " drains, " << exercise.waits
                               << " waits, " << exercise.crashes << " crashes, "
                               << exercise.suppressed << " suppressed stores, " << exercise.commits
                               << " commits, " << exercise.loads << " loads of "
                               << exercise.values.size() << " values");
  return exercise;
}

// In both mechanisms; at least one load of some schedule gave each of so many different values.
void show(Play play, std::size_t values) {
  for (const bool claimed : {false, true}) {
    play.claimed = claimed;
    const Exercise exercise = play_all(play);
    BOOST_TEST(exercise.values.size() == values);
    BOOST_TEST(exercise.crashes > 0u);
    if (claimed) BOOST_TEST(exercise.traps > 0u);
  }
}

}  // namespace

// ---- the paper, 5.1.3

// Its first: a reader gets the processor while suppression is being entered, and sees the state
// from before the fault or after it, never a mixture.
BOOST_AUTO_TEST_CASE(consistency_5_1_3_reader_while_suppression_is_entered) {
  show({.name = "reader while suppression is entered",
        .before = {{begin, store(0), store(8)}, {}},
        .acts = {{crash, end}, {load(0), load(8), load(0)}}},
       4);
}

// Its second: a normal user writes over what a crashed one wrote, and a reader sees that, whatever
// is restored meanwhile.
BOOST_AUTO_TEST_CASE(consistency_5_1_3_reader_after_a_write_over_polluted_data) {
  show({.name = "reader after a write over polluted data",
        .before = {{begin, store(0)}, {begin}, {}},
        .acts = {{crash, end}, {store(0), end}, {load(0), load(0)}}},
       3);
}

// Its third: the reader comes between a normal user's write to a polluted datum and what is noted
// of it.
BOOST_AUTO_TEST_CASE(consistency_5_1_3_reader_between_data_and_metadata) {
  show({.name = "reader between data and metadata",
        .before = {{begin, store(0), crash}, {begin}, {}},
        .acts = {{end}, {store(0), end}, {load(0), load(0)}}},
       2);
}

// ---- the protocol

BOOST_AUTO_TEST_CASE(users_that_share_a_granule) {
  const Exercise exercise =
      play_all({.name = "two writers",
                .before = {{begin}, {begin}},
                .acts = {{store(0), load(1), end}, {store(1), load(0), end}}});
  BOOST_TEST(exercise.drains > 0u);
}

BOOST_AUTO_TEST_CASE(one_crashes_while_another_stores_over_it) {
  const Exercise exercise =
      play_all({.name = "crash and writer",
                .before = {{begin, store(0)}, {begin}},
                .acts = {{store(1), crash, store(0), end}, {store(0), load(1), end}}});
  BOOST_TEST(exercise.suppressed > 0u);
}

BOOST_AUTO_TEST_CASE(one_is_declared_crashed_in_its_stores) {
  const Exercise exercise =
      play_all({.name = "declared and drained",
                .before = {{begin, store(0)}, {begin}},
                .acts = {{store(0), store(8), end},
                         {declare(0), drain(0), report(0), store(8), load(0), end}}});
  BOOST_TEST(exercise.crashes > 0u);
  BOOST_TEST(exercise.suppressed > 0u);
}

BOOST_AUTO_TEST_CASE(the_service_thread_drains_whom_another_declares) {
  const Exercise exercise =
      play_all({.name = "declared, drained by the service thread",
                .before = {{begin, store(0)}, {begin}, {}},
                .acts = {{store(0), end}, {declare(0), store(1), end}, {serve}}});
  BOOST_TEST(exercise.waits > 0u);
}

BOOST_AUTO_TEST_CASE(a_sweep_among_claims) {
  const Exercise exercise = play_all({.name = "sweep",
                                      .before = {{begin, wild(1), wild(9)}, {begin}, {}},
                                      .acts = {{store(0), end}, {store(8), crash, end}, {scrub}},
                                      .after = {{scrub}}});
  BOOST_TEST(exercise.crashes > 0u);
}

BOOST_AUTO_TEST_CASE(a_damaged_tag_among_stores) {
  const Exercise exercise = play_all({.name = "damaged tag",
                                      .before = {{begin, store(0)}, {begin}},
                                      .acts = {{store(1), end}, {damage(0), store(2), end}}});
  BOOST_TEST(exercise.drains > 0u);
}

// A store finds only records of crashed users, and another claims what it frees.
BOOST_AUTO_TEST_CASE(claim_of_what_a_trap_frees) {
  const Exercise exercise = play_all(
      {.name = "contended, the last one crashed",
       .before = {{begin}, {}, {begin, store(0)}, {}, {begin, store(1), end, begin}, {crash}},
       .acts = {{store(2), end}, {store(3), end}, {}},
       .after = {{}, {}, {end}}});
  BOOST_TEST(exercise.commits > 0u);
}

// The same by a trap that then takes the granule itself, for its caller's write set is full.
BOOST_AUTO_TEST_CASE(claim_of_what_a_trap_frees_for_itself) {
  const Exercise exercise = play_all({.name = "full write set, over what a crashed user left",
                                      .before = {{begin, fill(1)}, {begin}, {begin}},
                                      .acts = {{store(0)}, {store(0), end}, {store(0), crash}},
                                      .after = {{end}, {}, {end}},
                                      .granule = 8,
                                      .bytes = 1024});
  BOOST_TEST(exercise.commits > 0u);
}

// Its owner ends before anybody comes to repair it.
BOOST_AUTO_TEST_CASE(a_damaged_tag_of_a_frozen_granule) {
  const Exercise exercise = play_all({.name = "damaged frozen tag",
                                      .before = {{begin, store(0)}, {begin, knock(1)}},
                                      .acts = {{damage(0), end}, {store(1), end}}});
  BOOST_TEST(exercise.commits > 0u);
}

BOOST_AUTO_TEST_CASE(users_one_after_another_on_one_slot) {
  const Exercise exercise = play_all({.name = "generations",
                                      .before = {{begin, store(0)}, {begin}},
                                      .acts = {{keep, store(0), end}, {store(1), end}}});
  BOOST_TEST(exercise.commits > 0u);
}

BOOST_AUTO_TEST_CASE(committed_values_while_users_end_and_crash) {
  const Exercise exercise = play_all({.name = "committed reads",
                                      .before = {{begin}, {begin}, {}},
                                      .acts = {{store(0), store(0), end},
                                               {store(1), crash, end},
                                               {load_committed(0), load_committed(1)}}});
  BOOST_TEST(exercise.values.size() > 2u);
}

// ---- random plays

namespace {

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

// Two or three users, and at times one that declares, serves or sweeps.
Play random_play(std::mt19937_64& random) {
  const auto below = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
  Play play{.name = "random", .preemptions = 1000, .granule = std::size_t{8} << below(4)};
  const std::size_t users = 2 + below(2);
  for (std::size_t user = 0; user < users; ++user) {
    std::vector<Act> acts{begin};
    for (std::size_t scopes = 1 + below(2); scopes > 0; --scopes) {
      for (std::size_t accesses = 1 + below(5); accesses > 0; --accesses) {
        const std::size_t word = below(10);
        acts.push_back(below(2) == 0   ? store(word)
                       : below(4) == 0 ? load_committed(word)
                                       : load(word));
        if (below(12) == 0) acts.push_back(crash);
      }
      acts.push_back(scopes > 1 ? keep : end);
    }
    play.before.push_back({});
    play.acts.push_back(acts);
  }
  std::vector<Act> other;
  if (below(2) == 0) {
    const std::size_t victim = below(users);
    other = {declare(victim), load(below(10)), drain(victim), report(victim)};
  }
  if (below(3) == 0) other.push_back(damage(below(2)));
  if (below(3) == 0) other.push_back(scrub);
  play.before.push_back({});
  play.acts.push_back(other);
  return play;
}

}  // namespace

BOOST_AUTO_TEST_CASE(random_plays) {
  const std::uint64_t wanted = number("VMSRS_PLAYS", 300),
                      first = number("VMSRS_SEED", std::random_device{}());
  constexpr unsigned kSchedules = 20;
  BOOST_TEST_MESSAGE("seeds from " << first);
  Exercise sum;
  for (std::uint64_t seed = first; seed < first + wanted; ++seed) {
    std::mt19937_64 random(seed);
    const Play play = random_play(random);
    Stage stage(play);
    std::string steps;
    if (wanted == 1)
      stage.watch = [&](std::size_t thread, vmsrs::hooks::Step step) {
        steps += "thread " + std::to_string(thread) + " " + name_of(step) + "\n";
      };
    for (unsigned i = 0; i < kSchedules; ++i) {
      RandomChoices choices(random());
      steps.clear();
      const std::string wrong = stage.run(choices);
      BOOST_REQUIRE_MESSAGE(wrong.empty(), "VMSRS_SEED=" << seed << " VMSRS_PLAYS=1, schedule " << i
                                                         << ": " << wrong << "\n"
                                                         << steps);
    }
    BOOST_REQUIRE_MESSAGE(stage.check_invariants() == "",
                          "VMSRS_SEED=" << seed << " VMSRS_PLAYS=1: an invariant is violated");
    const Exercise exercise = stage.exercise();
    sum.traps += exercise.traps;
    sum.drains += exercise.drains;
    sum.crashes += exercise.crashes;
    sum.commits += exercise.commits;
    sum.suppressed += exercise.suppressed;
    sum.waits += exercise.waits;
    sum.loads += exercise.loads;
  }
  BOOST_TEST_MESSAGE(wanted * kSchedules << " schedules, " << sum.traps << " traps, " << sum.drains
                                         << " drains, " << sum.waits << " waits, " << sum.crashes
                                         << " crashes, " << sum.suppressed << " suppressed stores, "
                                         << sum.commits << " commits, " << sum.loads << " loads");
  for (const std::uint64_t count :
       {sum.traps, sum.drains, sum.crashes, sum.suppressed, sum.commits, sum.waits, sum.loads})
    BOOST_TEST((count > 0u || wanted < 100));
}
