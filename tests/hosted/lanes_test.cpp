// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <random>
#include <thread>

#include "hosted_process.hpp"

// Servers that lie in their lanes: whatever they ask, the engine stands and others are unharmed.
using namespace vmsrs::test;

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr std::uint32_t kLanes = 64;

struct Site {
  HostedProcess hosted;
  Manager manager{hosted};
  std::uint32_t liar_number = manager.define("liar", secret_of(1), 8 << 20);
  std::uint32_t good_number = manager.define("good", secret_of(2));
  Client liar{hosted.socket(), kLanes};
  Client good{hosted.socket()};
  std::byte* liars_memory = nullptr;
  std::byte* good_memory = nullptr;
  std::mt19937_64 random{std::random_device{}()};

  Site() {
    vmsrs_status status;
    BOOST_REQUIRE_EQUAL(liar.attach("liar", secret_of(1)).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(good.attach("good", secret_of(2)).status, VMSRS_OK);
    liars_memory = liar.take_memory(kBytes, status);
    good_memory = good.take_memory(kBytes, status);
    BOOST_REQUIRE_EQUAL(liar.profile(liars_memory, kBytes), VMSRS_OK);
    BOOST_REQUIRE_EQUAL(good.profile(good_memory, kBytes), VMSRS_OK);
  }

  std::uint64_t number() {
    const std::uint64_t raw = random();
    switch (raw % 8) {
      case 0:
        return raw;
      case 1:
        return address_of(liars_memory) + (raw >> 8) % (2 * kBytes) - 64;
      case 2:
        return address_of(liar.link().payloads) + (raw >> 8) % (3 * VMSRS_LANE_PAYLOAD_BYTES);
      case 3:
        return address_of(good_memory) + (raw >> 8) % kBytes;
      case 4:
        return (raw >> 8) % 70'000;
      case 5:
        return 1ull << (raw >> 8) % 64;
      case 6:
        return ~0ull - (raw >> 8) % 4096;
      default:
        return (raw >> 8) % 16;
    }
  }

  // A call as it is, where the client's end would have put copies in place of pointers.
  std::uint32_t raw(std::uint32_t call, std::uint64_t rdi, std::uint64_t rsi, std::uint64_t rdx,
                    std::uint64_t r10 = 0, std::uint64_t r8 = 0) {
    vmsrs_lane& lane = liar.link().lanes[0];
    lane.call = static_cast<std::uint16_t>(call);  // its turn is there, from the last answer
    lane.rdi = rdi;
    lane.rsi = rsi;
    lane.rdx = rdx;
    lane.r10 = r10;
    lane.r8 = r8;
    asm("mov %%fs:0, %0" : "=r"(lane.thread));
    __atomic_exchange_n(&lane.state, std::uint32_t{VMSRS_LANE_REQUEST}, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&lane.state, __ATOMIC_ACQUIRE) != VMSRS_LANE_DONE)
      if (__atomic_load_n(&liar.link().head->asleep, __ATOMIC_ACQUIRE) != 0) {
        const std::uint64_t one = 1;
        BOOST_REQUIRE(write(liar.link().doorbell, &one, sizeof one) == sizeof one);
      }
    return lane.call;
  }

  // What a good server sees goes on as if nothing were.
  void check_good(std::uint64_t value) {
    BOOST_REQUIRE_EQUAL(good.call(VMSRS_CALL_USER_BEGIN, 1).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(good.call(VMSRS_CALL_STORE, address_of(good_memory), value, 8).status,
                        VMSRS_OK);
    BOOST_REQUIRE_EQUAL(good.call(VMSRS_CALL_USER_END).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(good.call(VMSRS_CALL_LOAD, address_of(good_memory), 8).rdx, value);
  }
};

constexpr std::uint32_t kCalls[] = {VMSRS_CALL_VERSION,
                                    VMSRS_CALL_INIT_PROFILE,
                                    VMSRS_CALL_PROFILE,
                                    VMSRS_CALL_PROFILE_FILL,
                                    VMSRS_CALL_UNPROFILE,
                                    VMSRS_CALL_USER_BEGIN,
                                    VMSRS_CALL_USER_END,
                                    VMSRS_CALL_USER_CRASH,
                                    VMSRS_CALL_USER_COLLECT,
                                    VMSRS_CALL_USER_STUCK,
                                    VMSRS_CALL_USER_DECLARE,
                                    VMSRS_CALL_USER_DRAINED,
                                    VMSRS_CALL_MGMT_SUPPRESS,
                                    VMSRS_CALL_STORE,
                                    VMSRS_CALL_STORE_RANGE,
                                    VMSRS_CALL_FILL_RANGE,
                                    VMSRS_CALL_LOAD,
                                    VMSRS_CALL_LOAD_RANGE,
                                    VMSRS_CALL_LOAD_COMMITTED,
                                    VMSRS_CALL_USER_AREAS,
                                    VMSRS_CALL_MGMT_SCRUB,
                                    VMSRS_CALL_USER_EXPOSED,
                                    VMSRS_CALL_USER_ABANDON,
                                    VMSRS_CALL_LOAD_SAMPLED,
                                    VMSRS_CALL_SERVICE,
                                    VMSRS_CALL_ATTACH,
                                    VMSRS_CALL_MGMT_OPEN,
                                    VMSRS_CALL_MGMT_STATS,
                                    VMSRS_CALL_MGMT_SERVER,
                                    VMSRS_CALL_MGMT_CHECK,
                                    VMSRS_CALL_USER_LABEL,
                                    VMSRS_CALL_MGMT_LABEL,
                                    VMSRS_CALL_MGMT_CONTAINMENT,
                                    VMSRS_CALL_MGMT_DEFINE,
                                    VMSRS_CALL_MGMT_REAP,
                                    VMSRS_CALL_USER_SUSPEND,
                                    VMSRS_CALL_USER_RESUME,
                                    VMSRS_CALL_MGMT_EVENTS,
                                    VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS,
                                    VMSRS_CALL_MGMT_REGIONS,
                                    VMSRS_CALL_MGMT_REGION_MAP,
                                    VMSRS_CALL_MGMT_RECORDS,
                                    VMSRS_CALL_MGMT_WORK,
                                    VMSRS_CALL_REPORT_HEAPS,
                                    0x7ff};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(lying_lanes, Site)

// Random calls with random arguments, pointers into what is its own, another's and nobody's.
BOOST_AUTO_TEST_CASE(a_hundred_thousand_random_calls) {
  std::uint64_t statuses[VMSRS_STATUS_COUNT] = {};
  for (unsigned i = 0; i < 100'000; ++i) {
    const std::uint32_t call = random() % 32 == 0 ? static_cast<std::uint32_t>(random())
                                                  : kCalls[random() % std::size(kCalls)];
    const std::uint32_t status = raw(call, number(), number(), number(), number(), number());
    BOOST_REQUIRE_LT(status, VMSRS_STATUS_COUNT);
    ++statuses[status];
    if (i % 5000 == 0) check_good(i);
  }
  for (unsigned i = 0; i < VMSRS_STATUS_COUNT; ++i)
    BOOST_TEST_MESSAGE("status " << i << ": " << statuses[i]);
  BOOST_CHECK_GT(statuses[VMSRS_OK], 1000u);
  BOOST_CHECK_GT(statuses[VMSRS_BAD_ADDRESS], 1000u);
  BOOST_CHECK(hosted.alive());
  BOOST_CHECK_EQUAL(manager.info(good_number).faults[VMSRS_FAULT_ABORT], 0u);
}

// The whole area is noise, again and again, while the other side reads it.
BOOST_AUTO_TEST_CASE(noise_all_over_the_call_area) {
  for (std::uint64_t thread = 1; thread < kLanes; ++thread) liar.take_lane(thread);
  auto* const area = reinterpret_cast<std::uint64_t*>(liar.link().head);
  const std::size_t words = VMSRS_AREA_PAYLOADS_OFFSET(liar.link().lane_count) / 8;
  std::uint16_t turns[kLanes] = {};
  for (unsigned round = 0; round < 200; ++round) {
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
      if (liar.link().lanes[lane].state == VMSRS_LANE_DONE)
        turns[lane] = liar.link().lanes[lane].turn;
    for (std::size_t i = 0; i < words; ++i) __atomic_store_n(&area[i], number(), __ATOMIC_RELAXED);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      vmsrs_lane& target = liar.link().lanes[lane];
      __atomic_store_n(&target.turn, turns[lane], __ATOMIC_RELAXED);
      __atomic_store_n(&target.call, kCalls[random() % std::size(kCalls)], __ATOMIC_RELAXED);
      __atomic_store_n(&target.thread, lane, __ATOMIC_RELAXED);
      __atomic_store_n(&target.state, VMSRS_LANE_REQUEST, __ATOMIC_SEQ_CST);
    }
    const std::uint64_t one = 1;
    BOOST_REQUIRE(write(liar.link().doorbell, &one, sizeof one) == sizeof one);
    if (round % 20 == 0) check_good(round);
  }
  check_good(1'000'000);
  BOOST_CHECK(hosted.alive());
}

// The answer is written over again and again before its client has read it: what was asked is done
// once all the same.
BOOST_AUTO_TEST_CASE(answers_that_are_taken_away) {
  constexpr unsigned kUsers = 2000, kMostUsers = 1'000'000;
  constexpr std::uint64_t kTaken = 10;  // on a busy machine the two seldom run at one time
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> taken{0};
  vmsrs_lane& lane = liar.link().lanes[0];
  const auto begin = [&](std::uint64_t depth) {
    const auto answer = liar.call(VMSRS_CALL_USER_BEGIN, 1);
    BOOST_CHECK(answer.status == VMSRS_OK && answer.rsi == depth);
  };
  const auto end = [&](std::uint64_t depth) {
    const auto answer = liar.call(VMSRS_CALL_USER_END);
    BOOST_CHECK(answer.status == VMSRS_OK && answer.rdx == depth);
  };
  std::thread scribbler([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      std::uint32_t done = VMSRS_LANE_DONE;
      taken += __atomic_compare_exchange_n(&lane.state, &done, 0xa5a5a5a5u, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
    }
  });
  for (unsigned i = 0; i < kUsers || (taken <= kTaken && i < kMostUsers); ++i) {
    begin(1);
    begin(2);
    end(1);
    end(0);
  }
  stop = true;
  scribbler.join();
  BOOST_TEST_MESSAGE(taken << " answers were taken away");
  BOOST_CHECK_GT(taken.load(), kTaken);
  check_good(2);
}

// A call with a turn that is not its lane's is not carried out, and hears which is.
BOOST_AUTO_TEST_CASE(call_out_of_turn) {
  vmsrs_lane& lane = liar.link().lanes[0];
  BOOST_REQUIRE_EQUAL(raw(VMSRS_CALL_USER_BEGIN, 1, 0, 0), VMSRS_OK);
  const std::uint16_t next = lane.turn;
  lane.turn = static_cast<std::uint16_t>(next + 7);
  BOOST_CHECK_EQUAL(raw(VMSRS_CALL_USER_END, 0, 0, 0), VMSRS_LANE_OUT_OF_TURN);
  BOOST_CHECK_EQUAL(lane.turn, next);
  BOOST_CHECK_EQUAL(raw(VMSRS_CALL_USER_END, 0, 0, 0), VMSRS_OK);
  // The last one's turn, but another call: it is not answered with the last one's answer.
  lane.turn = next;
  BOOST_CHECK_EQUAL(raw(VMSRS_CALL_USER_BEGIN, 2, 0, 0), VMSRS_LANE_OUT_OF_TURN);
}

// A lane answers its own thread only.
BOOST_AUTO_TEST_CASE(lane_of_another_thread) {
  const std::uint32_t other = liar.take_lane(0x1234);
  BOOST_CHECK_NE(other, 0u);
  vmsrs::hosted::Registers registers{VMSRS_CALL_VERSION, 0, 0, 0, 0, 0, 0};
  vmsrs::hosted::SpinBudget budget = 0;
  const auto call = [&](std::uint32_t lane, std::uint64_t thread) {
    return vmsrs::hosted::call_on_lane(liar.link(), lane, thread, registers, budget);
  };
  BOOST_CHECK(call(other, 0x1234) == vmsrs::hosted::LaneResult::kAnswered);
  BOOST_CHECK(call(other, 0x1235) == vmsrs::hosted::LaneResult::kNotYours);
  BOOST_CHECK(call(63, 0x1234) == vmsrs::hosted::LaneResult::kNotYours);  // nobody's
  BOOST_CHECK_EQUAL(liar.take_lane(0x1234), other);
}

// Sources whose first byte is good: up to the end of their memory, and one byte further.
BOOST_AUTO_TEST_CASE(ranges_that_reach_beyond) {
  liar.call(VMSRS_CALL_USER_BEGIN, 1);
  const std::uint64_t to = address_of(liars_memory);
  for (const std::uint64_t end : {address_of(liars_memory) + kBytes,
                                  address_of(liar.link().payload(0)) + VMSRS_LANE_PAYLOAD_BYTES})
    for (const std::uint64_t bytes : {1u, 8u, 64u, 4096u}) {
      BOOST_CHECK_EQUAL(raw(VMSRS_CALL_STORE_RANGE, to, end - bytes, bytes), VMSRS_OK);
      BOOST_CHECK_EQUAL(raw(VMSRS_CALL_STORE_RANGE, to, end - bytes + 1, bytes), VMSRS_BAD_ADDRESS);
      BOOST_CHECK_EQUAL(raw(VMSRS_CALL_STORE_RANGE, to, end, bytes), VMSRS_BAD_ADDRESS);
    }
  BOOST_CHECK_EQUAL(raw(VMSRS_CALL_STORE_RANGE, to, to - 1, 8), VMSRS_BAD_ADDRESS);
  liar.call(VMSRS_CALL_USER_END);
}

// A pointer into another server's memory, into private memory, into another lane's payload.
BOOST_AUTO_TEST_CASE(addresses_that_are_not_the_callers) {
  liar.call(VMSRS_CALL_USER_BEGIN, 1);
  std::uint64_t local = 0;
  for (const void* address :
       {static_cast<const void*>(&local), static_cast<const void*>(good_memory),
        static_cast<const void*>(liar.link().payload(1))}) {
    BOOST_CHECK_EQUAL(liar.call(VMSRS_CALL_STORE, address_of(address), 1, 8).status,
                      VMSRS_NO_REGION);
    BOOST_CHECK_EQUAL(liar.call(VMSRS_CALL_PROFILE, address_of(address) & ~63ull, 64, 8).status,
                      VMSRS_BAD_ADDRESS);
  }
  liar.call(VMSRS_CALL_USER_END);
  BOOST_CHECK_EQUAL(manager.info(liar_number).region_count, 1u);
  check_good(5);
}

BOOST_AUTO_TEST_SUITE_END()
