// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <random>
#include <vector>

#include "fixture.hpp"
#include "model.hpp"

// Named regions: what was committed is there when the server comes back after its death.
using namespace vmsrs::test;

namespace {

constexpr std::size_t kBytes = VMSRS_PAGE_BYTES;
constexpr std::uint64_t kStoragePages = 2;  // a mirror and heads for granules of 8 bytes

struct alignas(VMSRS_PAGE_BYTES) Page {
  std::uint8_t bytes[kBytes];
  explicit Page(std::uint8_t value) { std::memset(bytes, value, sizeof bytes); }
  std::uint64_t word(std::size_t at) const {
    std::uint64_t word;
    std::memcpy(&word, bytes + at, sizeof word);
    return word;
  }
};

// A server whose processes come and go; each has other page tables and other addresses.
struct Fixture {
  Machine machine;
  Client manager{kManagerSpace, 0x9000, 0};
  std::uint64_t token = manager.open().rdx;
  std::uint32_t process = 0;
  Client a{0}, b{0}, service{0};

  Fixture() {
    (void)manager.define(token, "shop", secret_of(1));
    start();
  }
  void start() {
    ++process;
    const std::uint64_t space = 0x100000 * process;
    a = Client(space, 0xa000);
    b = Client(space, 0xb000);
    service = Client(space, 0xd000);
    BOOST_TEST(a.attach("shop", secret_of(1), process).status == VMSRS_OK);
  }
  void die() {
    BOOST_TEST(manager.reap(token, 0, process).status == VMSRS_OK);
  }
  void die_and_start() {
    die();
    start();
  }
  vmsrs_server_info info() {
    vmsrs_server_info out{};
    (void)manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(&out), sizeof out);
    return out;
  }
  static vmsrs_status store(Client& user, Page& page, std::size_t at, std::uint64_t value) {
    return user.call(VMSRS_CALL_STORE, address_of(page.bytes + at), value, 8).status;
  }
  void commit(Page& page, std::size_t at, std::uint64_t value) {
    (void)a.call(VMSRS_CALL_USER_BEGIN);
    BOOST_TEST(store(a, page, at, value) == VMSRS_OK);
    BOOST_TEST(a.call(VMSRS_CALL_USER_END).status == VMSRS_OK);
  }
  vmsrs_status unprofile(const char* name) {
    char text[VMSRS_NAME_BYTES] = {};
    std::strcpy(text, name);
    return a.call(VMSRS_CALL_UNPROFILE_NAMED, address_of(text)).status;
  }
  bool sound() {
    vmsrs_check_report report{};
    manager.check(token, report, [this] {
      while (service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN) {
      }
    });
    for (const vmsrs_check_result& result : report.results)
      if (result.verdict != VMSRS_VERDICT_OK) return false;
    return true;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(named_regions, Fixture)

BOOST_AUTO_TEST_CASE(what_was_committed_comes_back) {
  Page first(1);
  const Result fresh = a.profile_named(first.bytes, kBytes, 8, "stock");
  BOOST_TEST(fresh.status == VMSRS_OK);
  BOOST_TEST(fresh.rsi == 0u);
  BOOST_TEST(first.word(0) == 0x0101010101010101u);
  commit(first, 16, 1234);
  die();
  BOOST_TEST(info().kept_region_count == 1u);
  BOOST_TEST(info().kept_bytes == kBytes);
  BOOST_TEST(info().region_count == 0u);
  BOOST_TEST(info().region_bytes == 0u);
  BOOST_TEST(sound());
  start();
  Page second(2);
  const Result again = a.profile_named(second.bytes, kBytes, 8, "stock");
  BOOST_TEST(again.status == VMSRS_OK);
  BOOST_TEST(again.rsi == 1u);
  BOOST_TEST(std::memcmp(first.bytes, second.bytes, kBytes) == 0);
  BOOST_TEST(second.word(16) == 1234u);
  BOOST_TEST(info().kept_region_count == 0u);
  BOOST_TEST(info().kept_bytes == 0u);
  BOOST_TEST(info().region_count == 1u);
  BOOST_TEST(sound());
  // And it is protected as before.
  (void)b.call(VMSRS_CALL_USER_BEGIN);
  (void)store(b, second, 16, 5);
  (void)b.crash();
  BOOST_TEST(a.call(VMSRS_CALL_LOAD, address_of(second.bytes + 16), 8).rdx == 1234u);
}

BOOST_AUTO_TEST_CASE(death_in_the_middle_of_open_users) {
  Page first(1);
  (void)a.profile_named(first.bytes, kBytes, 8, "stock");
  commit(first, 0, 10);
  commit(first, 8, 11);
  (void)a.call(VMSRS_CALL_USER_BEGIN);
  (void)b.call(VMSRS_CALL_USER_BEGIN);
  (void)store(a, first, 0, 66);
  (void)store(a, first, 24, 66);
  (void)store(b, first, 8, 77);
  (void)store(b, first, 0, 77);
  (void)b.crash();
  die();
  BOOST_TEST(info().active_users == 0u);
  BOOST_TEST(info().record_count == 0u);
  BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) == 0u);
  start();
  Page second(2);
  (void)a.profile_named(second.bytes, kBytes, 8, "stock");
  BOOST_TEST(second.word(0) == 10u);
  BOOST_TEST(second.word(8) == 11u);
  BOOST_TEST(second.word(24) == 0x0101010101010101u);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(death_while_memory_is_filled) {
  const std::size_t bytes = 2 * VMSRS_MAX_RANGE_BYTES;
  std::vector<std::uint64_t> memory(bytes / 8 + 8);
  auto* const start_of =
      reinterpret_cast<std::uint64_t*>((address_of(memory.data()) + 63) & ~63ull);
  for (std::size_t i = 0; i < bytes / 8; ++i) start_of[i] = i;
  (void)a.profile_named(start_of, bytes, 64, "stock");
  die_and_start();
  std::memset(start_of, 0, bytes);
  char name[VMSRS_NAME_BYTES] = "stock";
  const auto take_up = [&] {
    return a.call(VMSRS_CALL_PROFILE_NAMED, address_of(start_of), bytes, 64, address_of(name));
  };
  const Result region = take_up();
  BOOST_TEST(region.rsi == 1u);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FILL, region.rdx, 0).status == VMSRS_AGAIN);
  BOOST_TEST(start_of[5] == 5u);
  BOOST_TEST(start_of[VMSRS_MAX_RANGE_BYTES / 8] == 0u);
  // Once more from the beginning, then again by another process.
  BOOST_TEST(take_up().rdx == region.rdx);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FILL, region.rdx, VMSRS_MAX_RANGE_BYTES).status ==
             VMSRS_BAD_ARGUMENT);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FILL, region.rdx, 0).status == VMSRS_AGAIN);
  die_and_start();
  std::memset(start_of, 0, bytes);
  const Result last = a.profile_named(start_of, bytes, 64, "stock");
  BOOST_TEST(last.rsi == 1u);
  for (std::size_t i = 0; i < bytes / 8; ++i) BOOST_TEST_REQUIRE(start_of[i] == i);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(memory_that_cannot_be_written_is_named) {
  Page first(1), second(2);
  (void)a.profile_named(first.bytes, kBytes, 8, "stock");
  die_and_start();
  a.memory.set_page(second.bytes, HostMemory::Page::kReadOnly);
  const Result touch = a.profile_named(second.bytes, kBytes, 8, "stock");
  BOOST_TEST(touch.status == VMSRS_TOUCH);
  BOOST_TEST(touch.rdx == address_of(second.bytes));
  BOOST_TEST(info().kept_region_count == 1u);
  a.memory.touch(touch.rdx);
  BOOST_TEST(a.profile_named(second.bytes, kBytes, 8, "stock").rsi == 1u);
  BOOST_TEST(second.word(0) == 0x0101010101010101u);
}

// Nothing was committed yet: the mirror is not whole.
BOOST_AUTO_TEST_CASE(death_before_the_mirror_is_filled_keeps_nothing) {
  Page first(1), second(2);
  char name[VMSRS_NAME_BYTES] = "stock";
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_NAMED, address_of(first.bytes), kBytes, 8, address_of(name))
                 .status == VMSRS_OK);
  die_and_start();
  BOOST_TEST(info().kept_region_count == 0u);
  BOOST_TEST(info().storage_used_bytes == 0u);
  BOOST_TEST(a.profile_named(second.bytes, kBytes, 8, "stock").rsi == 0u);
  BOOST_TEST(second.word(0) == 0x0202020202020202u);
}

BOOST_AUTO_TEST_CASE(regions_without_a_name_go_with_their_process) {
  Page first(1);
  (void)a.profile(first.bytes, kBytes, 8);
  die();
  BOOST_TEST(info().kept_region_count == 0u);
  BOOST_TEST(info().storage_used_bytes == 0u);
}

BOOST_AUTO_TEST_CASE(another_shape_is_refused_and_nothing_is_lost) {
  Page first(1);
  static Page large[2] = {Page(2), Page(2)};
  (void)a.profile_named(first.bytes, kBytes, 8, "stock");
  die_and_start();
  BOOST_TEST(a.profile_named(large, 2 * kBytes, 8, "stock").status == VMSRS_OTHER_SHAPE);
  BOOST_TEST(a.profile_named(large, kBytes / 2, 8, "stock").status == VMSRS_OTHER_SHAPE);
  BOOST_TEST(a.profile_named(large, kBytes, 16, "stock").status == VMSRS_OTHER_SHAPE);
  BOOST_TEST(large[0].word(0) == 0x0202020202020202u);
  BOOST_TEST(info().kept_region_count == 1u);
  BOOST_TEST(a.profile_named(large, kBytes, 8, "stock").rsi == 1u);
  BOOST_TEST(large[0].word(0) == 0x0101010101010101u);
}

BOOST_AUTO_TEST_CASE(a_name_is_profiled_once) {
  Page first(1), second(2);
  (void)a.profile_named(first.bytes, kBytes, 8, "stock");
  BOOST_TEST(a.profile_named(second.bytes, kBytes, 8, "stock").status == VMSRS_BUSY);
  BOOST_TEST(a.profile_named(second.bytes, kBytes, 8, "orders").status == VMSRS_OK);
  die_and_start();
  BOOST_TEST(info().kept_region_count == 2u);
  BOOST_TEST(a.profile_named(first.bytes, kBytes, 8, "orders").rsi == 1u);
  BOOST_TEST(first.word(0) == 0x0202020202020202u);
  BOOST_TEST(a.profile_named(first.bytes, kBytes, 8, "stock").status == VMSRS_OVERLAP);
  BOOST_TEST(a.profile_named(second.bytes, kBytes, 8, "stock").rsi == 1u);
  BOOST_TEST(second.word(0) == 0x0101010101010101u);
}

BOOST_AUTO_TEST_CASE(names_of_one_server_are_not_anothers) {
  (void)manager.define(token, "other", secret_of(2));
  Client other(0x7000000, 1);
  (void)other.attach("other", secret_of(2), 99);
  Page first(1), second(2);
  (void)a.profile_named(first.bytes, kBytes, 8, "stock");
  die();
  BOOST_TEST(other.profile_named(second.bytes, kBytes, 8, "stock").rsi == 0u);
  BOOST_TEST(second.word(0) == 0x0202020202020202u);
}

// ---- giving it up

BOOST_AUTO_TEST_CASE(detaching_gives_up_what_was_profiled) {
  Page page(1);
  (void)a.profile_named(page.bytes, kBytes, 8, "stock");
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(info().kept_region_count == 0u);
  BOOST_TEST(info().storage_used_bytes == 0u);
}

// A process that could not go on after attaching takes nothing from the next one.
BOOST_AUTO_TEST_CASE(detaching_leaves_what_was_not_taken_up) {
  Page page(1);
  (void)a.profile_named(page.bytes, kBytes, 8, "stock");
  die_and_start();
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(info().kept_region_count == 1u);
  start();
  BOOST_TEST(a.call(VMSRS_CALL_INIT_PROFILE).status == VMSRS_OK);
  BOOST_TEST(a.profile_named(page.bytes, kBytes, 8, "stock").rsi == 1u);
  BOOST_TEST(a.call(VMSRS_CALL_INIT_PROFILE).status == VMSRS_OK);
  BOOST_TEST(info().storage_used_bytes == 0u);
}

BOOST_AUTO_TEST_CASE(unprofiling_by_number_and_by_name) {
  Page page(1);
  const Result region = a.profile_named(page.bytes, kBytes, 8, "stock");
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE, region.rdx).status == VMSRS_OK);
  die_and_start();
  BOOST_TEST(info().storage_used_bytes == 0u);
  (void)a.profile_named(page.bytes, kBytes, 8, "stock");
  (void)a.call(VMSRS_CALL_USER_BEGIN);
  (void)store(a, page, 0, 1);
  BOOST_TEST(unprofile("stock") == VMSRS_BUSY);
  BOOST_TEST(unprofile("orders") == VMSRS_NO_REGION);
  die_and_start();
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE, region.rdx).status == VMSRS_NO_REGION);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FILL, region.rdx, 0).status == VMSRS_NO_REGION);
  BOOST_TEST(unprofile("stock") == VMSRS_OK);
  BOOST_TEST(unprofile("stock") == VMSRS_NO_REGION);
  BOOST_TEST(info().storage_used_bytes == 0u);
  BOOST_TEST(a.profile_named(page.bytes, kBytes, 8, "stock").rsi == 0u);
}

// ---- quota and places

BOOST_AUTO_TEST_CASE(what_is_kept_counts_in_the_quota) {
  (void)manager.define(token, "shop", secret_of(1), kStoragePages * VMSRS_PAGE_BYTES);
  Page page(1), other(2);
  BOOST_TEST(a.profile_named(page.bytes, kBytes, 8, "stock").status == VMSRS_OK);
  die_and_start();
  BOOST_TEST(info().storage_used_bytes == kStoragePages * VMSRS_PAGE_BYTES);
  BOOST_TEST(a.profile(other.bytes, kBytes, 64).status == VMSRS_NO_STORAGE);
  // To come back it needs nothing more.
  BOOST_TEST(a.profile_named(page.bytes, kBytes, 8, "stock").rsi == 1u);
  die_and_start();
  BOOST_TEST(unprofile("stock") == VMSRS_OK);
  BOOST_TEST(a.profile(other.bytes, kBytes, 64).status == VMSRS_OK);
}

// It was committed at once: it outlives its user's process like anything that was.
BOOST_AUTO_TEST_CASE(an_unprotected_store_is_kept) {
  (void)manager.define(token, "shop", secret_of(1), kStoragePages * VMSRS_PAGE_BYTES, 0,
                       VMSRS_STORAGE_UNPROTECTED);
  Page first(1), second(2);
  (void)a.profile_named(first.bytes, kBytes, 8, "stock");
  (void)a.call(VMSRS_CALL_USER_BEGIN);
  BOOST_TEST(store(a, first, 8, 9) == VMSRS_OK);
  BOOST_TEST(info().unprotected_store_count == 1u);
  die_and_start();
  BOOST_TEST(a.profile_named(second.bytes, kBytes, 8, "stock").rsi == 1u);
  BOOST_TEST(second.word(8) == 9u);
  BOOST_TEST(sound());  // of what this process does, everything is protected so far
}

BOOST_AUTO_TEST_CASE(what_is_kept_takes_a_place) {
  alignas(64) static std::uint8_t memory[VMSRS_MAX_REGIONS * 64];
  for (unsigned i = 0; i < VMSRS_MAX_REGIONS; ++i)
    BOOST_TEST(a.profile_named(memory + 64 * i, 64, 8, std::to_string(i)).status == VMSRS_OK);
  die_and_start();
  BOOST_TEST(a.profile(memory, 64, 8).status == VMSRS_NO_SLOT);
  BOOST_TEST(a.profile_named(memory, 64, 8, "new").status == VMSRS_NO_SLOT);
  BOOST_TEST(unprofile("7") == VMSRS_OK);
  BOOST_TEST(a.profile(memory, 64, 8).status == VMSRS_OK);
}

// ---- against the model: death is a crash of whoever has not finished

BOOST_AUTO_TEST_CASE(random_lives_and_the_model) {
  std::mt19937_64 random(4711);
  Page now(3);
  std::uint64_t kept_commits = 0;
  (void)a.profile_named(now.bytes, kBytes, 16, "stock");
  Model model(std::vector<std::uint8_t>(now.bytes, now.bytes + kBytes), 16);
  for (unsigned life = 0; life < 200; ++life) {
    std::vector<Client> users;
    std::vector<Model::UserId> ids;
    for (unsigned i = 0; i < 4; ++i) {
      users.emplace_back(0x100000 * process, 0x1000 * (i + 1));
      (void)users.back().call(VMSRS_CALL_USER_BEGIN);
      ids.push_back(model.begin());
    }
    for (std::uint64_t step = random() % 60; step > 0; --step) {
      const std::size_t i = random() % users.size();
      const std::size_t at = random() % 256;
      const std::uint64_t value = random();
      const vmsrs_status status = store(users[i], now, at, value);
      for (unsigned byte = 0; byte < 8 && status == VMSRS_OK; ++byte)
        model.store(ids[i], at + byte, static_cast<std::uint8_t>(value >> (8 * byte)));
      if (random() % 16 != 0 || status != VMSRS_OK) continue;
      if (random() % 2 == 0) {
        (void)users[i].crash();
        model.crash(ids[i]);
      } else {
        BOOST_TEST(users[i].call(VMSRS_CALL_USER_END).status == VMSRS_OK);
        model.finish(ids[i]);
        ++kept_commits;
        (void)users[i].call(VMSRS_CALL_USER_BEGIN);
        ids[i] = model.begin();
      }
    }
    for (const Model::UserId id : ids) model.crash(id);
    die_and_start();
    std::memset(now.bytes, static_cast<int>(life), kBytes);
    BOOST_TEST(a.profile_named(now.bytes, kBytes, 16, "stock").rsi == 1u);
    for (std::size_t at = 0; at < kBytes; ++at)
      BOOST_TEST_REQUIRE(now.bytes[at] == model.value(at), "life " << life << ", byte " << at);
    BOOST_TEST_REQUIRE(sound());
  }
  BOOST_TEST(kept_commits > 100u);
}

BOOST_AUTO_TEST_SUITE_END()
