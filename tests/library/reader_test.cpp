// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Scopes that read committed values only.
using namespace vmsrs::test;

namespace {

template <typename Body>
int read(Body body) {
  return vmsrs::run_reader(7, body, [] {});
}

// Runs body() beside another thread's user that has stored 100, 101, ... to the first words, and
// ends that user afterwards: well, or with a crash.
enum class End { kFinish, kCrash };
template <typename Body>
void beside_a_writer(std::uint64_t* words, std::size_t count, End end, Body body) {
  std::atomic<bool> stored{false}, may_end{false};
  std::thread writer([&] {
    run([&] {
      for (std::size_t i = 0; i < count; ++i) vmsrs::store(&words[i], 100 + i);
      stored = true;
      while (!may_end) std::this_thread::yield();
      if (end == End::kCrash) crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
    });
  });
  while (!stored) std::this_thread::yield();
  body();
  may_end = true;
  writer.join();
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(readers, DefaultServer)

BOOST_AUTO_TEST_CASE(an_unfinished_users_words_do_not_show) {
  for (const End end : {End::kCrash, End::kFinish}) {
    beside_a_writer(words(), 3, end, [&] {
      BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), 101u);  // the thread takes note of the mode
      BOOST_CHECK_EQUAL(read([&] {
                          BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), 2u);
                          BOOST_CHECK_EQUAL(vmsrs::load(&words()[10]), 11u);
                          BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), 2u);
                        }),
                        VMSRS_FINISHED);
      BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), 101u);
    });
    const std::uint64_t wanted = end == End::kFinish ? 101 : 2;
    read([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), wanted); });
  }
}

BOOST_AUTO_TEST_CASE(words_of_every_size_and_ranges) {
  auto* const bytes = reinterpret_cast<std::uint8_t*>(words());
  const std::vector<std::uint8_t> before(bytes, bytes + 150'000);
  beside_a_writer(words(), 1500, End::kCrash, [&] {
    read([&] {
      std::vector<std::uint8_t> copy(before.size());
      vmsrs_load_range(copy.data(), bytes, copy.size());
      BOOST_CHECK(copy == before);
      for (std::size_t at = 0; at < 40; ++at) {
        std::uint64_t wanted = 0;
        std::memcpy(&wanted, before.data() + at, 8);
        BOOST_CHECK_EQUAL(vmsrs_load_u64(reinterpret_cast<std::uint64_t*>(bytes + at)), wanted);
        BOOST_CHECK_EQUAL(vmsrs_load_u32(reinterpret_cast<std::uint32_t*>(bytes + at)),
                          static_cast<std::uint32_t>(wanted));
        BOOST_CHECK_EQUAL(vmsrs_load_u16(reinterpret_cast<std::uint16_t*>(bytes + at)),
                          static_cast<std::uint16_t>(wanted));
        BOOST_CHECK_EQUAL(vmsrs_load_u8(bytes + at), static_cast<std::uint8_t>(wanted));
      }
    });
  });
  BOOST_CHECK(is_pristine());
}

// Every store of the other mechanism is a call, and so is every committed load.
BOOST_AUTO_TEST_CASE(calls) {
  const bool trapping = std::getenv("VMSRS_TEST_TRAPPING") != nullptr;
  run([&] { vmsrs::store(&words()[0], std::uint64_t{5}); });
  const std::uint64_t before = seam.call_count;
  read([&] {
    for (std::size_t i = 0; i < 10; ++i) vmsrs::load(&words()[i]);
    std::uint64_t copy[100];
    vmsrs_load_range(copy, words(), sizeof copy);
    BOOST_CHECK_EQUAL(copy[0], 5u);
  });
  BOOST_CHECK_EQUAL(seam.call_count.load() - before, trapping ? 13u : 0u);
}

BOOST_AUTO_TEST_CASE(a_store_is_refused) {
  const auto attempts = {+[](std::uint64_t* to) { vmsrs::store(to, std::uint64_t{666}); },
                         +[](std::uint64_t* to) { vmsrs_fill_range(to, 6, 64); },
                         +[](std::uint64_t* to) { vmsrs_store_range(to, to + 8, 64); },
                         +[](std::uint64_t* to) { vmsrs_assign(to, to + 8, 64); }};
  run([&] { vmsrs::store(&words()[100], std::uint64_t{101}); });  // the thread's own granule
  const std::uint64_t before = server_info().faults[VMSRS_FAULT_CHECK];
  for (const auto attempt : attempts) {
    BOOST_CHECK_EQUAL(
        read([&] {
          attempt(&words()[100]);
          BOOST_CHECK(vmsrs_user_crashed());
          BOOST_CHECK(std::string(vmsrs_error_message()).find("reader") != std::string::npos);
          attempt(&words()[100]);  // a crashed user's are dropped
        }),
        VMSRS_SUPPRESSED);
    BOOST_CHECK(is_pristine());
  }
  BOOST_CHECK_EQUAL(server_info().faults[VMSRS_FAULT_CHECK] - before, attempts.size());
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[100], std::uint64_t{7}); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(words()[100], 7u);
}

BOOST_AUTO_TEST_CASE(scopes_within_scopes) {
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(read([] {}), VMSRS_ERROR_STATE);
                      vmsrs::store(&words()[0], std::uint64_t{5});
                    }),
                    VMSRS_FINISHED);
  beside_a_writer(words(), 1, End::kFinish, [&] {
    BOOST_CHECK_EQUAL(
        read([&] {
          BOOST_CHECK_EQUAL(read([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 5u); }),
                            VMSRS_FINISHED);
          BOOST_CHECK_EQUAL(run([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 5u); }),
                            VMSRS_FINISHED);
          BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 5u);
        }),
        VMSRS_FINISHED);
  });
  BOOST_CHECK_EQUAL(read([&] { run([&] { vmsrs::store(&words()[0], std::uint64_t{6}); }); }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[0], 100u);
}

BOOST_AUTO_TEST_CASE(in_two_calls) {
  beside_a_writer(words(), 1, End::kFinish, [&] {
    BOOST_CHECK_EQUAL(vmsrs_reader_begin(9), 0);
    BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u);
    BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 100u);
  });
}

BOOST_AUTO_TEST_CASE(a_reader_that_faults_is_contained) {
  BOOST_CHECK_EQUAL(read([&] {
                      vmsrs::load(&words()[0]);
                      *static_cast<volatile std::uint64_t*>(wild()) = 1;
                      vmsrs::load(&words()[0]);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(read([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u); }), VMSRS_FINISHED);
}

BOOST_AUTO_TEST_SUITE_END()
