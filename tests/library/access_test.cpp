// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Monitored loads and stores: sizes, ranges, values under suppression, pages that come and go.
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

constexpr std::size_t kLong = 150'000;  // three calls' worth
constexpr std::size_t kOffset = 1003;

// Lets a crashed user reach its end point exactly after the n-th instruction of a load.
struct Interleaving {
  std::atomic<int> step{0}, collect_at{0};
  std::atomic<bool> crashed{false}, may_end{false}, ended{false};
  void collect() {
    may_end = true;
    while (!ended) {
    }
  }
};
Interleaving* interleaving;

void on_step(int) {
  if (++interleaving->step == interleaving->collect_at) interleaving->collect();
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(accesses, DefaultServer)

BOOST_AUTO_TEST_CASE(words_of_every_size_at_any_alignment) {
  auto* bytes = reinterpret_cast<std::uint8_t*>(words()) + 803;
  run([&] {
    vmsrs_store_u8(bytes, 0x11);
    vmsrs_store_u16(reinterpret_cast<std::uint16_t*>(bytes + 1), 0x2222);
    vmsrs_store_u32(reinterpret_cast<std::uint32_t*>(bytes + 3), 0x33333333);
    vmsrs_store_u64(reinterpret_cast<std::uint64_t*>(bytes + 7), 0x4444444444444444u);
    BOOST_CHECK_EQUAL(vmsrs_load_u8(bytes), 0x11u);
    BOOST_CHECK_EQUAL(vmsrs_load_u16(reinterpret_cast<std::uint16_t*>(bytes + 1)), 0x2222u);
    BOOST_CHECK_EQUAL(vmsrs_load_u32(reinterpret_cast<std::uint32_t*>(bytes + 3)), 0x33333333u);
    BOOST_CHECK_EQUAL(vmsrs_load_u64(reinterpret_cast<std::uint64_t*>(bytes + 7)),
                      0x4444444444444444u);
    fault(wild());
  });
  BOOST_CHECK(is_pristine());
}

BOOST_AUTO_TEST_CASE(typed) {
  struct Title {
    double price;
    std::int32_t stock;
    char name[20];
  };
  auto* title = reinterpret_cast<Title*>(words());
  run([&] {
    vmsrs::store(&title->price, 12.5);
    vmsrs::store(&title->stock, -3);
    Title copy = vmsrs::load(title);
    BOOST_CHECK_EQUAL(copy.price, 12.5);
    BOOST_CHECK_EQUAL(copy.stock, -3);
    std::strcpy(copy.name, "Faust");
    vmsrs::store(title + 1, copy);
    vmsrs::assign(title + 2, title + 1);
    vmsrs::assign(&title[3].price, &title[2].price);
  });
  BOOST_CHECK_EQUAL(title[2].name, "Faust");
  BOOST_CHECK_EQUAL(title[3].price, 12.5);
}

BOOST_AUTO_TEST_CASE(loads_in_normal_mode_make_no_call) {
  std::vector<std::byte> copy(kLong);
  const std::uint64_t before = seam.call_count;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < word_count(); ++i) sum += vmsrs::load(&words()[i]);
  vmsrs_load_range(copy.data(), words(), copy.size());
  BOOST_CHECK_EQUAL(vmsrs_user_crashed(), false);
  BOOST_CHECK_EQUAL(seam.call_count.load(), before);
  BOOST_CHECK_EQUAL(sum, word_count() * (word_count() + 1) / 2);
}

BOOST_AUTO_TEST_CASE(long_ranges) {
  auto* bytes = reinterpret_cast<std::byte*>(words());
  std::vector<std::byte> source(kLong), copy(kLong);
  for (std::size_t i = 0; i < kLong; ++i) source[i] = static_cast<std::byte>(i * 7 + i / 256);
  BOOST_CHECK_EQUAL(run([&] { vmsrs_store_range(bytes + kOffset, source.data(), kLong); }),
                    VMSRS_FINISHED);
  vmsrs_load_range(copy.data(), bytes + kOffset, kLong);
  BOOST_CHECK(copy == source);
  // Overlapping assignments in both directions are as memmove.
  std::vector<std::byte> model(bytes, bytes + kRegionBytes);
  std::memmove(model.data() + kOffset + 70'000, model.data() + kOffset, kLong);
  run([&] { vmsrs_assign(bytes + kOffset + 70'000, bytes + kOffset, kLong); });
  BOOST_CHECK(std::memcmp(model.data(), bytes, kRegionBytes) == 0);
  std::memmove(model.data() + 5, model.data() + kOffset, kLong);
  run([&] { vmsrs_assign(bytes + 5, bytes + kOffset, kLong); });
  BOOST_CHECK(std::memcmp(model.data(), bytes, kRegionBytes) == 0);
  std::memmove(model.data() + 66'000, model.data() + 5, kLong);
  run([&] { vmsrs_store_range(bytes + 66'000, bytes + 5, kLong); });
  BOOST_CHECK(std::memcmp(model.data(), bytes, kRegionBytes) == 0);
  std::memset(model.data() + 3, 0x5a, kLong);
  run([&] { vmsrs_fill_range(bytes + 3, 0x5a, kLong); });
  BOOST_CHECK(std::memcmp(model.data(), bytes, kRegionBytes) == 0);
}

BOOST_AUTO_TEST_CASE(ranges_under_suppression) {
  auto* bytes = reinterpret_cast<std::byte*>(words());
  const std::vector<std::byte> good(bytes + kOffset, bytes + kOffset + kLong);
  run([&] {
    vmsrs_fill_range(bytes + kOffset, 0xbb, kLong);
    vmsrs_fill_range(words() + 25'000, 0xbb, 800);
    fault(wild());
    std::thread([&] {
      std::vector<std::byte> copy(kLong);
      vmsrs_load_range(copy.data(), bytes + kOffset, kLong);
      BOOST_CHECK(copy == good);
      // An assignment must not carry pollution on.
      const int outcome = run([&] { vmsrs_assign(words() + 30'000, words() + 25'000, 800); });
      BOOST_CHECK_MESSAGE(outcome == VMSRS_FINISHED, outcome << " " << vmsrs_error_message());
    }).join();
  });
  BOOST_CHECK_EQUAL(words()[30'000], 25'001u);
  BOOST_CHECK_EQUAL(words()[25'000], 25'001u);
  BOOST_CHECK_EQUAL(words()[30'099], 25'100u);
}

// PROTOCOL: data read under suppression, the mode looked at when it is normal again. A reader races
// with users that pollute a word, crash and are collected; it must never take home what they wrote
// after it knew them to be crashed. Users tell (outside the region) that they are about to crash.
BOOST_AUTO_TEST_CASE(reader_races_with_crash_and_collection) {
  constexpr std::uint64_t kGood = 1000;
  run([&] { vmsrs::store(&words()[0], kGood); });
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> crash_count{0};  // users known to be crashed or gone
  std::atomic<std::uint64_t> wrong{0}, reads{0};
  std::thread reader([&] {
    while (!stop) {
      const std::uint64_t crashed = crash_count.load();
      const std::uint64_t value = vmsrs::load(&words()[0]);
      // User n stores kGood + n. Those up to `crashed` had crashed before the load began.
      if (value != kGood && value - kGood <= crashed) ++wrong;
      ++reads;
    }
  });
  for (std::uint64_t n = 1; n <= 2000; ++n)
    run(
        [&] {
          vmsrs::store(&words()[0], kGood + n);
          crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
        },
        [](void* count) { ++*static_cast<std::atomic<std::uint64_t>*>(count); }, &crash_count);
  stop = true;
  reader.join();
  BOOST_CHECK_EQUAL(wrong.load(), 0u);
  BOOST_TEST_MESSAGE(reads.load() << " reads");
  BOOST_CHECK_EQUAL(words()[0], kGood);
}

// The same without luck: the collection comes after each single instruction of the load in turn.
BOOST_AUTO_TEST_CASE(collection_after_every_instruction_of_a_load) {
  struct sigaction action {};
  struct sigaction former {};
  action.sa_handler = on_step;
  sigaction(SIGTRAP, &action, &former);
  int steps = 0, n = 0;
  do {
    Interleaving now;
    now.collect_at = ++n;
    interleaving = &now;
    std::thread crashing([&] {
      run([&] {
        vmsrs::store(&words()[0], std::uint64_t{666});
        crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
        now.crashed = true;
        while (!now.may_end) {
        }
      });
      now.ended = true;
    });
    while (!now.crashed) {
    }
    start_single_stepping();
    const std::uint64_t value = vmsrs_load_u64(&words()[0]);
    stop_single_stepping();
    steps = now.step;
    now.may_end = true;
    crashing.join();
    BOOST_CHECK_MESSAGE(value == 1, value << " when collected after instruction " << n);
  } while (n <= steps && n < 2000);
  sigaction(SIGTRAP, &former, nullptr);
  BOOST_CHECK_GT(n, 10);
  BOOST_CHECK_LT(n, 2000);
  BOOST_TEST_MESSAGE(n << " interleavings");
}

BOOST_AUTO_TEST_CASE(pages_that_are_not_there) {
  seam.touch_every = 2;
  auto* bytes = reinterpret_cast<std::byte*>(words());
  std::vector<std::byte> source(kLong, std::byte{9});
  BOOST_CHECK_EQUAL(run([&] { vmsrs_store_range(bytes + kOffset, source.data(), kLong); }),
                    VMSRS_FINISHED);
  const std::vector<std::byte> good(bytes, bytes + kRegionBytes);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_fill_range(bytes, 0xbb, kRegionBytes);
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(std::memcmp(bytes, good.data(), kRegionBytes) == 0);
  BOOST_CHECK_GT(seam.touch_count.load(), 10u);
}

// A source that may only be read must not be touched by a write.
BOOST_AUTO_TEST_CASE(read_only_source) {
  static const char kText[] = "some text in read-only memory";
  BOOST_CHECK_EQUAL(run([&] {
                      seam.touch_every = 2;
                      for (int i = 0; i < 7; ++i) vmsrs_store_range(words(), kText, sizeof kText);
                    }),
                    VMSRS_FINISHED);
  seam.touch_every = 0;
  BOOST_CHECK_EQUAL(std::memcmp(words(), kText, sizeof kText), 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(without_attachment_memory_is_just_memory) {
  std::uint64_t word = 0, copy = 0;
  vmsrs::store(&word, std::uint64_t{5});
  BOOST_CHECK_EQUAL(vmsrs::load(&word), 5u);
  vmsrs_assign(&copy, &word, 8);
  BOOST_CHECK_EQUAL(copy, 5u);
  vmsrs_fill_range(&copy, 1, 8);
  BOOST_CHECK_EQUAL(copy, 0x0101010101010101u);
  BOOST_CHECK_EQUAL(run([] {}), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(vmsrs_user_crashed(), false);
}
