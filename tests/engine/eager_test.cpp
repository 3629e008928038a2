// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "claim_shop.hpp"
#include "fixture.hpp"

// Eager regions: once the call by which a crash is told has ended, plain loads find the right
// values. Both mechanisms.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

struct EagerShop : ClaimShop {
  EagerShop() : ClaimShop(true) {}
  static vmsrs_fault wild_store() { return {VMSRS_FAULT_WILD, 1, 0xdead, 0x400000}; }
  void store_wildly(std::size_t at, std::uint64_t value) const {
    std::memcpy(region(0) + at, &value, sizeof value);
  }
};

struct EagerServer : OneServer<> {
  EagerServer() : OneServer(true) {}
};
struct LargeEagerServer : OneServer<16, 16 * VMSRS_PAGE_BYTES> {
  LargeEagerServer() : OneServer(true) {}
};

// What memory is when others begin to be held, and when they are let go.
class Holds {
 public:
  Holds(HostPlatform& platform, const std::uint8_t* memory, std::size_t bytes)
      : platform_(platform) {
    platform.set_hold_observer([this, memory, bytes](bool held) {
      (held ? begun : ended).emplace_back(memory, memory + bytes);
    });
  }
  ~Holds() { platform_.set_hold_observer({}); }
  Holds(const Holds&) = delete;
  Holds& operator=(const Holds&) = delete;

  using Bytes = std::vector<std::uint8_t>;
  std::vector<Bytes> begun, ended;

 private:
  HostPlatform& platform_;
};

struct HeldShop : ClaimServer {
  static constexpr std::size_t kBytes = 32768;
  HeldShop() : ClaimServer({{kBytes, 8, true, true}}, 65536) {}
  ClaimThread a{*this, 0xa000}, b{*this, 0xb000};
  Holds holds{machine.platform, region(0), kBytes};

  Holds::Bytes bytes() const { return {region(0), region(0) + kBytes}; }
  Holds::Bytes committed() const {
    const std::uint8_t* const mirror = recovery::EngineProbe::ledger(0).regions[0].mirror;
    return {mirror, mirror + kBytes};
  }
  void store_many(ClaimThread& user, std::size_t granules) {
    for (std::size_t i = 0; i < granules; ++i)
      BOOST_REQUIRE((user.store_word(0, 8 * i, 666) == Access::kDone));
  }
  static std::size_t words_that_differ(const Holds::Bytes& one, const Holds::Bytes& other) {
    std::size_t count = 0;
    for (std::size_t at = 0; at < one.size(); at += 8)
      count += std::memcmp(one.data() + at, other.data() + at, 8) != 0;
    return count;
  }
};
constexpr std::size_t kHeld = recovery::Server::kHeldGranules;

}  // namespace

// ---- others are held while memory changes, and only then

BOOST_FIXTURE_TEST_CASE(all_that_a_user_wrote_goes_within_one_hold, HeldShop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  store_many(a, 600);
  const std::uint64_t value = 2;
  BOOST_TEST(b.store(regions[0].begin + 16, &value, 8, 0, false).status == VMSRS_DRAIN);  // frozen
  for (const std::size_t granule : {3, 5, 700}) (void)b.store_word(0, 8 * granule, 1);
  for (const std::size_t granule : {5, 700}) (void)a.store_word(0, 8 * granule, 667);  // contended
  auto right = committed();
  for (const std::size_t granule : {3, 5, 700}) right[8 * granule] = 1;
  for (const std::size_t granule : {3, 5, 700})
    std::fill_n(right.begin() + static_cast<std::ptrdiff_t>(8 * granule + 1), 7, 0);
  const auto before = bytes();
  // a's granules: 600, and 700 at last; b's store to granule 3 came later.
  BOOST_TEST(words_that_differ(before, right) == 600u);
  unsigned pieces = 1;
  a.before_more = [&] { ++pieces; };
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(pieces == 1u);
  BOOST_REQUIRE(holds.begun.size() == 1u);
  BOOST_REQUIRE(holds.ended.size() == 1u);
  BOOST_TEST((holds.begun[0] == before));
  BOOST_TEST(words_that_differ(holds.ended[0], right) == 0u);
  BOOST_TEST((bytes() == right));
  BOOST_TEST(info().crash_restore_count == 600u);
  ClaimShop::bury(a);
  BOOST_TEST(holds.begun.size() == 1u);
  BOOST_TEST(info().collect_restore_count == 0u);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(sound());
}

// Nobody is held for longer than a constant: what is more goes in pieces, others in between.
BOOST_FIXTURE_TEST_CASE(a_hold_is_bounded, HeldShop) {
  constexpr std::size_t kGranules = 2 * kHeld + 300;
  const auto right = committed();
  BOOST_TEST(a.begin() == VMSRS_OK);
  store_many(a, kGranules);
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_REQUIRE(holds.begun.size() == 3u);
  std::size_t left = kGranules;
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(words_that_differ(holds.begun[i], right) == left);
    left -= std::min(left, kHeld);
    BOOST_TEST(words_that_differ(holds.ended[i], right) == left);
  }
  BOOST_TEST((bytes() == right));
  vmsrs_stats stats{};
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), sizeof stats);
  BOOST_TEST(stats.hold_count == 3u);
  BOOST_TEST(stats.hold_cycles == 3000u);
  ClaimShop::bury(a);
  BOOST_TEST(sound());
}

// Records are in the same hold, and within the same bound.
BOOST_FIXTURE_TEST_CASE(records_are_held_too, LargeEagerServer) {
  const Holds holds(machine.platform, memory, sizeof memory);
  const Holds::Bytes right(memory, memory + sizeof memory);
  BOOST_TEST(begin(a) == VMSRS_OK);
  constexpr std::size_t kGranules = kHeld + 100;
  for (std::size_t i = 0; i < kGranules; ++i) BOOST_TEST(store(a, 16 * i, 666) == VMSRS_OK);
  BOOST_TEST(a.crash().status == VMSRS_OK);
  BOOST_REQUIRE(holds.begun.size() == 2u);
  BOOST_TEST(HeldShop::words_that_differ(holds.begun[0], right) == kGranules);
  BOOST_TEST(HeldShop::words_that_differ(holds.ended[0], right) == 100u);
  BOOST_TEST(HeldShop::words_that_differ(holds.begun[1], right) == 100u);
  BOOST_TEST((holds.ended[1] == right));
  bury(a);
}

// All or nothing, whatever is missing: the last granule's page, or its claim's.
BOOST_FIXTURE_TEST_CASE(nothing_is_restored_until_all_can_be, HeldShop) {
  const auto right = committed();
  const vmsrs_fault fault = EagerShop::wild_store();
  for (const bool of_claim : {false, true}) {
    BOOST_TEST(a.begin() == VMSRS_OK);
    store_many(a, 1000);
    const auto before = bytes();
    void* const missing =
        of_claim ? static_cast<void*>(&claim(0, 999)) : static_cast<void*>(region(0) + 8 * 999);
    a.client.memory.set_page(missing, HostMemory::Page::kNotPresent);
    holds.begun.clear();
    holds.ended.clear();
    Result crash = a.client.call(VMSRS_CALL_USER_CRASH, address_of(&fault));
    BOOST_TEST(crash.status == VMSRS_TOUCH);
    BOOST_TEST((bytes() == before));
    a.client.memory.touch(crash.rdx);
    BOOST_TEST(a.crash() == VMSRS_OK);
    BOOST_REQUIRE(!holds.begun.empty());
    BOOST_TEST((holds.begun.back() == before));
    BOOST_TEST((holds.ended.back() == right));
    ClaimShop::bury(a);
  }
  BOOST_TEST(sound());
}

// Before the thread's kernel hears of the fault; and of a user that another declares crashed, of
// whom nobody has told what it wrote.
BOOST_FIXTURE_TEST_CASE(of_whom_nobody_has_told_what_it_wrote, HeldShop) {
  BOOST_TEST(service.call(VMSRS_CALL_WATCH_FAULTS, 1).status == VMSRS_OK);
  const auto right = committed();
  for (const bool seen : {true, false}) {
    BOOST_TEST(a.begin() == VMSRS_OK);
    area(a.slot).depth = 1;
    store_many(a, 500);
    const auto before = bytes();
    holds.begun.clear();
    holds.ended.clear();
    if (seen) {
      a.client.see_fault(VMSRS_FAULT_ARITHMETIC);
    } else {
      const guest::CallResult declared = b.declare(a.slot, generation(a.slot));
      BOOST_TEST(holds.begun.empty());  // it may still be storing
      BOOST_TEST(b.report_drained(a.slot, declared.first) == VMSRS_OK);
    }
    BOOST_REQUIRE(holds.begun.size() == 1u);
    BOOST_TEST((holds.begun[0] == before));
    BOOST_TEST((holds.ended[0] == right));
    BOOST_TEST((bytes() == right));
    if (seen) BOOST_TEST(a.crash(VMSRS_FAULT_ARITHMETIC) == VMSRS_OK);
    BOOST_TEST(holds.begun.size() == 1u);
    ClaimShop::bury(a);
  }
  BOOST_TEST(sound());
}

// A damaged tag takes long to judge: nobody is held for it.
BOOST_FIXTURE_TEST_CASE(a_damaged_tag_is_left_for_later, HeldShop) {
  const auto right = committed();
  BOOST_TEST(a.begin() == VMSRS_OK);
  store_many(a, 100);
  claim(0, 50).tag = 0x1234;
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_REQUIRE(holds.ended.size() == 1u);
  BOOST_TEST(words_that_differ(holds.ended[0], right) == 1u);
  BOOST_TEST((bytes() == right));
  ClaimShop::bury(a);
  BOOST_TEST(sound());
}

// Also in a region that is not eager, which no sweep goes through.
BOOST_AUTO_TEST_CASE(a_damaged_tag_in_another_region) {
  ClaimServer server({{4096, 8, true, true}, {4096, 8}});
  ClaimThread a(server, 0xa000);
  BOOST_TEST(a.begin() == VMSRS_OK);
  std::uint64_t before = 0, after = 0;
  std::memcpy(&before, server.region(1) + 40, 8);
  (void)a.store_word(1, 40, 666);
  server.claim(1, 5).tag = 0x1234;
  BOOST_TEST(a.crash() == VMSRS_OK);
  std::memcpy(&after, server.region(1) + 40, 8);
  BOOST_TEST(after == before);
  ClaimShop::bury(a);
  BOOST_TEST(server.sound());
}

BOOST_AUTO_TEST_CASE(nobody_is_held_where_nothing_is_to_be_restored) {
  for (const bool eager : {true, false}) {
    ClaimServer server({{4096, 8, true, eager}});
    const Holds holds(server.machine.platform, server.region(0), 4096);
    ClaimThread a(server, 0xa000);
    BOOST_TEST(a.begin() == VMSRS_OK);
    if (!eager) (void)a.store_word(0, 0, 666);
    server.region(0)[64] ^= 0xff;  // swept, which holds nobody
    BOOST_TEST(a.crash() == VMSRS_OK);
    BOOST_TEST(holds.begun.empty());
    ClaimShop::bury(a);
    server.serve();
    BOOST_TEST(server.sound());
  }
}

// ---- what is restored

BOOST_FIXTURE_TEST_CASE(plain_loads_after_a_crash, EagerShop) {
  BOOST_TEST(info().eager_region_count == 2u);
  std::uint64_t before[8192 / 8];
  std::memcpy(before, region(0), sizeof before);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 666);  // its own
  (void)b.store_word(0, 128, 1);  // contended, b's beneath a's
  (void)a.store_word(0, 128, 666);
  (void)a.store_word(0, 136, 666);
  (void)a.store_word(0, 256, 666);  // contended, b's upon a's
  (void)b.store_word(0, 256, 2);
  (void)a.store_word(0, 384, 666);  // frozen
  const std::uint64_t value = 3;
  BOOST_TEST(b.store(regions[0].begin + 392, &value, 8, 0, false).status == VMSRS_DRAIN);
  (void)b.store_word(0, 512, 4);
  (void)a.store_word(1, 8, 666);
  store_wildly(640, 666);  // nobody's granule
  BOOST_TEST(a.crash() == VMSRS_OK);

  before[128 / 8] = 1;
  before[256 / 8] = 2;
  before[512 / 8] = 4;
  BOOST_TEST(std::memcmp(region(0), before, sizeof before) == 0);
  BOOST_TEST(word(8, 1) == mirror(8, 1));
  BOOST_TEST(info().crash_restore_count == 4u);
  BOOST_TEST(info().sweep_restore_count == 1u);
  BOOST_TEST(info().load_count == 0u);
  BOOST_TEST((a.store_word(0, 0, 667) == Access::kCrashed));
  BOOST_TEST(a.crash() == VMSRS_CRASHED);
  bury(a);
  BOOST_TEST(info().collect_restore_count == 0u);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(std::memcmp(region(0), before, sizeof before) == 0);
  BOOST_TEST(sound());
}

// The same fault is told again and again until all is done; it counts once.
BOOST_AUTO_TEST_CASE(in_pieces) {
  ClaimServer server({{65536, 8, true, true}});
  ClaimThread a(server, 0xa000), b(server, 0xb000);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  constexpr std::size_t kGranules = 300;
  for (std::size_t i = 0; i < kGranules; ++i) (void)a.store_word(0, 128 * i, 666);
  // Its write set is not told: its claims are looked for.
  const vmsrs_fault fault = EagerShop::wild_store();
  unsigned pieces = 0;
  Result crash{VMSRS_AGAIN, 0, 0};
  for (; crash.status == VMSRS_AGAIN; ++pieces) {
    crash = a.client.call(VMSRS_CALL_USER_CRASH, address_of(&fault));
    BOOST_TEST((server.info().mode & VMSRS_MODE_SUPPRESSION) != 0u);
    BOOST_TEST((b.store_word(0, 64, pieces) == Access::kDone));  // nobody is held up
  }
  BOOST_TEST(crash.status == VMSRS_OK);
  BOOST_TEST(crash.rdx == 1u);
  BOOST_TEST(pieces > 1u);
  const std::uint8_t* const mirror = recovery::EngineProbe::ledger(0).regions[0].mirror;
  for (std::size_t i = 0; i < kGranules; ++i)
    BOOST_TEST(std::memcmp(server.region(0) + 128 * i, mirror + 128 * i, 8) == 0);
  BOOST_TEST(server.info().faults[VMSRS_FAULT_WILD] == 1u);
  BOOST_TEST(server.info().crash_restore_count == kGranules);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_CRASH, address_of(&fault)).rdx == 2u);
  ClaimShop::bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(server.sound());
}

BOOST_FIXTURE_TEST_CASE(a_page_that_is_missing, EagerShop) {
  const vmsrs_fault fault = wild_store();
  const std::uint64_t before = word(4096);
  for (const bool comes_back : {true, false}) {
    BOOST_TEST(a.begin() == VMSRS_OK);
    (void)a.store_word(0, 4096, 666);
    a.client.memory.set_page(region(0) + 4096, HostMemory::Page::kNotPresent);
    Result crash = a.client.call(VMSRS_CALL_USER_CRASH, address_of(&fault));
    BOOST_TEST(crash.status == VMSRS_TOUCH);
    BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) != 0u);
    if (comes_back) a.client.memory.touch(crash.rdx);
    crash = a.client.call(VMSRS_CALL_USER_CRASH, address_of(&fault), 0, 0, 0, 0,
                          comes_back ? 0 : VMSRS_CRASH_UNRESTORED);
    BOOST_TEST(crash.status == VMSRS_OK);
    BOOST_TEST(crash.rdx == 1u);
    BOOST_TEST(word(4096) == (comes_back ? before : 666u));
    a.client.memory.touch(address_of(region(0) + 4096));
    bury(a);
    BOOST_TEST(word(4096) == before);
  }
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_CRASH, address_of(&fault), 0, 0, 0, 0, 2).status ==
             VMSRS_BAD_ARGUMENT);
  BOOST_TEST(sound());
}

// Memory that is gone for good does not keep a user from crashing.
BOOST_FIXTURE_TEST_CASE(a_page_that_is_gone, EagerShop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 4096, 666);
  a.client.memory.set_page(region(0) + 4096, HostMemory::Page::kForbidden);
  region(1)[64] ^= 0xff;  // in memory that is there
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(word(64, 1) == mirror(64, 1));
  a.client.memory.touch(address_of(region(0) + 4096));
  bury(a);
  BOOST_TEST(word(4096) == mirror(4096));
  BOOST_TEST(sound());
}

// By another thread: nothing is restored that may still be stored to, then everything, although
// nobody has told what the user wrote, and one tag is damaged.
BOOST_FIXTURE_TEST_CASE(of_a_user_declared_crashed, EagerShop) {
  const std::uint64_t before = word(128);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 128, 666);
  (void)a.store_word(0, 192, 666);
  claim(0, 3).tag = 0x1234;
  const guest::CallResult declared = b.declare(a.slot, generation(a.slot));
  BOOST_TEST(declared.status == VMSRS_OK);
  BOOST_TEST(word(128) == 666u);
  BOOST_TEST(a.store_late(0, 136, 667));
  BOOST_TEST(b.report_drained(a.slot, declared.first) == VMSRS_OK);
  BOOST_TEST(word(128) == before);
  BOOST_TEST(word(136) == mirror(136));
  BOOST_TEST(word(192) == mirror(192));
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(sound());
}

// Its own thread says that it stores nothing any more, and never comes back: the service thread.
BOOST_FIXTURE_TEST_CASE(of_a_user_that_is_stuck, EagerShop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 128, 666);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  const std::uint64_t requests = window().status.service_request;
  machine.platform.advance_ns(1'000'000'000);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_STUCK).status == VMSRS_OK);
  BOOST_TEST(window().status.service_request > requests);
  BOOST_TEST(word(128) == 666u);
  serve();
  BOOST_TEST(word(128) == mirror(128));
  BOOST_TEST(sound());
  bury(a);
}

// What a user wrote is one list: with an eager region in the server all of it goes at the crash.
BOOST_AUTO_TEST_CASE(beside_a_region_restored_on_demand) {
  for (const bool eager : {false, true}) {
    ClaimServer server({{4096, 64, true, eager}, {4096, 64}});
    ClaimThread a(server, 0xa000);
    BOOST_TEST(a.begin() == VMSRS_OK);
    std::uint64_t before[2];
    for (std::size_t i = 0; i < 2; ++i) {
      std::memcpy(&before[i], server.region(i), 8);
      (void)a.store_word(i, 0, 666);
    }
    BOOST_TEST(a.crash() == VMSRS_OK);
    for (std::size_t i = 0; i < 2; ++i)
      BOOST_TEST((std::memcmp(&before[i], server.region(i), 8) == 0) == eager);
    ClaimShop::bury(a);
    BOOST_TEST(server.sound());
  }
}

BOOST_FIXTURE_TEST_CASE(where_every_store_traps, EagerServer) {
  std::uint8_t before[sizeof memory];
  std::memcpy(before, memory, sizeof memory);
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(store(b, 0, 1) == VMSRS_OK);
  BOOST_TEST(store(a, 0, 666) == VMSRS_OK);
  BOOST_TEST(store(a, 64, 666) == VMSRS_OK);
  BOOST_TEST(store(b, 64, 2) == VMSRS_OK);
  BOOST_TEST(store(a, 128, 666) == VMSRS_OK);
  memory[256] ^= 0xff;
  BOOST_TEST(a.crash().status == VMSRS_OK);
  const std::uint64_t values[] = {1, 2};
  std::memcpy(before, &values[0], 8);
  std::memcpy(before + 64, &values[1], 8);
  BOOST_TEST(std::memcmp(before, memory, sizeof memory) == 0);
  BOOST_TEST(info().crash_restore_count == 2u);
  BOOST_TEST(info().sweep_restore_count == 1u);
  BOOST_TEST(store(a, 0, 667) == VMSRS_CRASHED);
  BOOST_TEST(word(0) == 1u);
  bury(a);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(many_records_in_pieces, LargeEagerServer) {
  BOOST_TEST(begin(a) == VMSRS_OK);
  constexpr std::size_t kGranules = kHeld + 400;
  for (std::size_t i = 0; i < kGranules; ++i) BOOST_TEST(store(a, 16 * i, 666) == VMSRS_OK);
  const vmsrs_fault fault{VMSRS_FAULT_NULL, 1, 0, 0};
  BOOST_TEST(a.call(VMSRS_CALL_USER_CRASH, address_of(&fault)).status == VMSRS_AGAIN);
  BOOST_TEST(std::count_if(&memory[0], &memory[sizeof memory],
                           [](std::uint8_t byte) { return byte == (666 & 0xff); }) > 0);
  BOOST_TEST(a.crash().status == VMSRS_OK);
  for (std::size_t i = 0; i < kGranules; ++i) BOOST_TEST(word(16 * i) == mirror(16 * i));
  BOOST_TEST(info().faults[VMSRS_FAULT_NULL] == 1u);
  BOOST_TEST(info().faults[VMSRS_FAULT_WILD] == 0u);
  bury(a);
  BOOST_TEST(sound());
}

// What is kept is bytes; each process says how it reads them.
BOOST_AUTO_TEST_CASE(of_a_named_region) {
  Machine machine;
  Client manager(kManagerSpace, 0x9000, 0);
  const std::uint64_t token = manager.open().rdx;
  (void)manager.define(token, "shop", secret_of(1));
  alignas(64) static std::uint64_t memory[8];
  std::uint32_t process = 1;
  for (const bool eager : {true, false, true}) {
    Client a(0x100000 * process, 0xa000);
    BOOST_TEST(a.attach("shop", secret_of(1), process).status == VMSRS_OK);
    BOOST_TEST(a.profile_named(memory, sizeof memory, 8, "stock", eager).status == VMSRS_OK);
    BOOST_TEST(a.call(VMSRS_CALL_USER_BEGIN).status == VMSRS_OK);
    BOOST_TEST(a.call(VMSRS_CALL_STORE, address_of(memory), 666, 8).status == VMSRS_OK);
    BOOST_TEST(a.crash().status == VMSRS_OK);
    BOOST_TEST((memory[0] == 666u) == !eager);
    BOOST_TEST(manager.reap(token, 0, process).status == VMSRS_OK);
    ++process;
  }
}
