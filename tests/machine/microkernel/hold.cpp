// SPDX-License-Identifier: Apache-2.0
// Plain loads of eager regions on other processors, while a user crashes: they see all that it
// wrote, or nothing. `granules=N rounds=N slice=N` on the command line; slice: after so many ticks
// of its timer a reader's turn is over, where the processors of the machine take turns.
#include <vmsrs/claims.h>

#include "microkernel.hpp"
#include "server.hpp"

namespace {

constexpr uint64_t kGranuleBytes = 64, kWordsOfGranule = kGranuleBytes / 8, kMostGranules = 1000;
constexpr uint64_t kAreaBytes = 8192;
constexpr unsigned kShops = 2;
// Memory that nothing else here uses.
constexpr uint64_t kArena = 0x8000000, kArenaOfShop = 0x1000000;

// A server: one process of its own, which stores without calls, or by calls.
struct Shop {
  uint64_t* words;      // its region
  vmsrs_claim* claims;  // nullptr: every store is a call
  uint8_t* areas;
  uint64_t region, granules;
  // Rounds: in each a user stores to all granules and crashes.
  volatile uint64_t stored, restored;
  // Of each reader: the round that it has begun to look at, and seen the end of.
  volatile uint64_t looking[kMaxCpus], seen[kMaxCpus];
};
Shop shops[kShops];
constexpr const char* kNames[kShops] = {"shop-0", "shop-1"};
alignas(4096) uint64_t address_spaces[kShops][512];
unsigned readers[kMaxCpus], reader_count;

// What readers found.
volatile uint64_t looks, unrestored, mixtures, unknown_values, late, nmis;
volatile unsigned done;

uint64_t committed(uint64_t granule, uint64_t word) {
  return 0x100000 + granule * kWordsOfGranule + word;
}
uint64_t polluted(uint64_t round) { return uint64_t{0x666} << 32 | round; }
void add(volatile uint64_t& count) { __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST); }

void prepare_shops(uint64_t granules) {
  expect(granules > 1 && granules <= kMostGranules, "granules=");
  for (unsigned i = 0; i < kShops; ++i) {
    Shop& shop = shops[i];
    const uint64_t at = kArena + i * kArenaOfShop;
    shop.words = reinterpret_cast<uint64_t*>(at);
    shop.claims = i == 0 ? reinterpret_cast<vmsrs_claim*>(at + 0x100000) : nullptr;
    shop.areas = reinterpret_cast<uint8_t*>(at + 0x200000);
    shop.granules = granules;
    for (uint64_t g = 0; g < kMostGranules; ++g)
      for (uint64_t w = 0; w < kWordsOfGranule; ++w)
        shop.words[g * kWordsOfGranule + w] = committed(g, w);
    memcpy(address_spaces[i], level4, sizeof(level4));
  }
  for (const char* name : kNames) define_server(name);
}

// The processor becomes the shop's thread.
void attach(Shop& shop, unsigned number) {
  enter_address_space(address_spaces[number]);
  attach_server(kNames[number]);
  if (shop.claims != nullptr) {
    make({.number = VMSRS_CALL_USER_AREAS, .rdi = address_of(shop.areas), .rsi = kAreaBytes},
         VMSRS_OK, "USER_AREAS");
    make({.number = VMSRS_CALL_WATCH_FAULTS, .rdi = 1}, VMSRS_OK, "WATCH_FAULTS");
  }
  const uint64_t bytes = kMostGranules * kGranuleBytes;
  Call profile{.number = VMSRS_CALL_PROFILE,
               .rdi = address_of(shop.words),
               .rsi = bytes,
               .rdx = kGranuleBytes,
               .r8 = address_of(shop.claims),
               .r9 = VMSRS_PROFILE_EAGER};
  make(profile, VMSRS_OK, "PROFILE");
  shop.region = profile.rdx;
  make({.number = VMSRS_CALL_PROFILE_FILL, .rdi = shop.region}, VMSRS_OK, "PROFILE_FILL");
}

// ---- a user that stores and crashes

// Its write set, as it tells of it.
struct Told {
  uint64_t count, sum;
};

// As the library does it for granules of nobody's.
Told store_by_claims(Shop& shop, uint64_t slot, uint64_t generation, uint64_t value) {
  auto& area = *reinterpret_cast<vmsrs_user_area*>(shop.areas + slot * kAreaBytes);
  auto* const entries = reinterpret_cast<uint64_t*>(&area + 1);
  area = vmsrs_user_area{};
  area.depth = 1;
  const uint64_t body = vmsrs_tag_body(VMSRS_TAG_OWN, slot, generation);
  uint64_t sum = body;
  for (uint64_t g = 0; g < shop.granules; ++g) {
    entries[g] = vmsrs_entry(shop.region, g, generation) | VMSRS_ENTRY_CONFIRMED;
    area.count = g + 1;
    sum = vmsrs_write_set_sum(sum, entries[g]);
    shop.claims[g] = {vmsrs_tag(body, g), ~uint64_t{0}};
    for (uint64_t w = 0; w < kWordsOfGranule; ++w) shop.words[g * kWordsOfGranule + w] = value;
  }
  return {shop.granules, sum};
}

void store_by_calls(Shop& shop, uint64_t value) {
  auto* const from = reinterpret_cast<uint64_t*>(shop.areas);
  for (uint64_t i = 0; i < shop.granules * kWordsOfGranule; ++i) from[i] = value;
  make({.number = VMSRS_CALL_STORE_RANGE,
        .rdi = address_of(shop.words),
        .rsi = address_of(from),
        .rdx = shop.granules * kGranuleBytes},
       VMSRS_OK, "STORE_RANGE");
}

Told begin_and_store(Shop& shop, uint64_t value) {
  Call begin{.number = VMSRS_CALL_USER_BEGIN};
  make(begin, VMSRS_OK, "USER_BEGIN");
  if (shop.claims == nullptr) {
    store_by_calls(shop, value);
    return {};
  }
  // Its end, by which the thread gets the next one, whose generation is told.
  Call end{.number = VMSRS_CALL_USER_END, .rsi = VMSRS_USER_KEEP};
  make(end, VMSRS_OK, "USER_END");
  return store_by_claims(shop, begin.rdx, end.rsi >> 2, value);
}

void crash(const Told& told) {
  static vmsrs_fault fault{VMSRS_FAULT_WILD, 1, 0xdead, 0x400000};
  make({.number = VMSRS_CALL_USER_CRASH,
        .rdi = address_of(&fault),
        .rdx = 1,
        .r10 = told.count,
        .r8 = told.sum},
       VMSRS_OK, "USER_CRASH");
}

void collect() {
  make({.number = VMSRS_CALL_USER_END}, VMSRS_CRASHED, "USER_END of a crashed user");
  make({.number = VMSRS_CALL_USER_COLLECT}, VMSRS_OK, "USER_COLLECT");
}

void expect_committed(const Shop& shop) {
  for (uint64_t g = 0; g < kMostGranules; ++g)
    for (uint64_t w = 0; w < kWordsOfGranule; ++w)
      expect_equal(shop.words[g * kWordsOfGranule + w], committed(g, w), "a word after the crash");
}

template <typename Holds>
void wait_until(Holds holds, const char* what) {
  for (uint64_t i = 0; !holds(); ++i) {
    if (i == 50'000'000) fail(what);
    asm volatile("pause");
  }
}

// `between` two rounds.
template <typename Between>
void play(unsigned number, uint64_t rounds, Between between) {
  Shop& shop = shops[number];
  attach(shop, number);
  for (uint64_t round = 1; round <= rounds; ++round) {
    const Told told = begin_and_store(shop, polluted(round));
    shop.stored = round;
    const auto all = [&](const volatile uint64_t* of) {
      for (unsigned i = 0; i < reader_count; ++i)
        if (of[readers[i]] != round) return false;
      return true;
    };
    wait_until([&] { return all(shop.looking); }, "a reader that looks");
    if (shop.claims != nullptr && round % 2 == 0) {
      // A fault that the processor sees: all is restored before this kernel hears of it.
      in_ring3([](uint64_t) { asm volatile("ud2"); });
      EXPECT_VECTOR(kInvalidOpcode, "UD2 in ring 3");
      expect_committed(shop);
    }
    crash(told);
    shop.restored = round;
    expect_committed(shop);
    wait_until([&] { return all(shop.seen); }, "a reader that sees the end of a round");
    collect();
    between(round);
  }
  make({.number = VMSRS_CALL_DETACH}, VMSRS_OK, "DETACH");
  enter_address_space(level4);
}

// ---- who reads

// Restored is restored: from the first restored word on no other value may be seen, in whichever
// order the words are looked at.
void look(const Shop& shop, uint64_t round, bool over) {
  constexpr uint64_t kPlaces = 8;
  bool restored = false;
  for (uint64_t i = 0; i < 2 * kPlaces; ++i) {
    const uint64_t place = i < kPlaces ? i : 2 * kPlaces - 1 - i;
    if (i == kPlaces) restored = false;
    const uint64_t granule = place * (shop.granules - 1) / (kPlaces - 1);
    const uint64_t word = place % kWordsOfGranule;
    const uint64_t value = at64(address_of(shop.words + granule * kWordsOfGranule + word));
    if (value == committed(granule, word)) {
      restored = true;
    } else if (value != polluted(round)) {
      add(unknown_values);
    } else {
      add(unrestored);
      if (restored) add(mixtures);
      if (over) add(late);
    }
  }
  add(looks);
}

void read_plainly() {
  const unsigned self = cpu_number();
  if (const uint64_t slice = option("slice=", 0); slice != 0) {
    apic(0x3e0) = 0xb;  // the timer's ticks undivided
    apic(0x320) = 0x20050;
    apic(kApicInitialCount) = static_cast<uint32_t>(slice);
  }
  for (;;) {
    for (Shop& shop : shops) {
      const uint64_t round = shop.stored;
      if (round == shop.seen[self]) continue;
      shop.looking[self] = round;
      const bool over = shop.restored == round;
      look(shop, round, over);
      if (over) shop.seen[self] = round;
    }
  }
}

void play_the_other_shop() {
  play(1, option("rounds=", 20), [](uint64_t) {});
  done = 1;
}

}  // namespace

// With two processors one reads while the other one's users crash, in one shop and then in the
// other. With four the two shops' users crash at the same time, and now and then a reader is
// started anew.
void case_hold() {
  const unsigned cpus = statistics().cpu_count;
  if (cpus < 2) skip("one processor");
  const uint64_t rounds = option("rounds=", 20);
  prepare_shops(option("granules=", 100));
  handlers[kNmi] = [](Frame&) { add(nmis); };
  const bool at_once = cpus >= 4;
  for (unsigned i = 1; i < cpus; ++i)
    if (!at_once || i != 2) readers[reader_count++] = i;
  for (unsigned i = 0; i < reader_count; ++i) start_processor(readers[i], read_plainly);
  if (at_once) {
    start_processor(2, play_the_other_shop);
    play(0, rounds, [](uint64_t round) {
      if (round % 4 == 0) start_processor(3, read_plainly);
    });
    wait_until([] { return done != 0; }, "the other shop's end");
  } else {
    play(0, rounds, [](uint64_t) {});
    play(1, rounds, [](uint64_t) {});
  }
  for (unsigned i = 0; i < reader_count; ++i) send_ipi(readers[i], kIpiInit);
  say("looks", looks);
  say("words seen before they were restored", unrestored);
  const uint64_t holds = statistics().hold_count;
  say("holds", holds);
  expect(unrestored > 0, "readers looked before the users' ends");
  expect_equal(unknown_values, 0, "values that nobody stored");
  expect_equal(mixtures, 0, "a word seen as it was before, after another that was restored");
  expect_equal(late, 0, "a word seen as it was before, after the crash's call");
  expect_equal(holds, 2 * rounds, "a hold for each crash");
  expect_equal(nmis, 0, "NMIs that the guest should not have had");
  expect(exits(1).count[VMSRS_EXIT_NMI] > 0, "a processor was brought out of the guest");
}

// For how long others are held, by a clock that counts instructions (run-guest.py --icount).
void case_hold_length() {
  if (!clock_counts_instructions()) skip("the clock counts no instructions");
  prepare_shops(kMostGranules);
  for (unsigned number = 0; number < kShops; ++number) {
    Shop& shop = shops[number];
    attach(shop, number);
    for (const uint64_t granules : {uint64_t{1}, uint64_t{100}, kMostGranules}) {
      shop.granules = granules;
      const Told told = begin_and_store(shop, polluted(granules));
      enter_address_space(level4);
      const vmsrs_stats before = statistics();
      enter_address_space(address_spaces[number]);
      crash(told);
      expect_committed(shop);
      collect();
      enter_address_space(level4);
      const vmsrs_stats after = statistics();
      enter_address_space(address_spaces[number]);
      expect_equal(after.hold_count, before.hold_count + 1, "holds");
      const uint64_t instructions = after.hold_cycles - before.hold_cycles;
      print(shop.claims != nullptr ? "by claims, granules" : "every store a call, granules");
      say("", granules);
      say("  instructions of the hold", instructions);
      expect(instructions <= 2000 + 1000 * granules, "a hold of bounded length");
    }
    make({.number = VMSRS_CALL_DETACH}, VMSRS_OK, "DETACH");
  }
  enter_address_space(level4);
}
