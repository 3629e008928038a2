// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "channel/serial_channel.hpp"
#include "daemon/event_documents.hpp"
#include "daemon/event_recorder.hpp"
#include "daemon/journal.hpp"
#include "fake_channel.hpp"
#include "scratch.hpp"
#include "shared_ring.hpp"
#include "store/event_reader.hpp"
#include "store/event_store.hpp"
#include "store/symbols.hpp"

namespace vmsrs::test {
namespace {

using Json = nlohmann::json;
using store::Source;

constexpr double kNow = 1700000000;

store::Event event_at(std::uint64_t sequence, double time = kNow) {
  store::Event event;
  event.boot = "00000000000000aa";
  event.sequence = sequence;
  event.time = time;
  event.type = sequence % 2 == 0 ? "crash" : "collected";
  event.server = sequence % 3 == 0 ? "roster" : "shop";
  event.slot = static_cast<std::uint32_t>(sequence % 4);
  event.document = R"({"count":)" + std::to_string(sequence) + "}";
  return event;
}

struct StoreFixture {
  Scratch scratch;
  std::string path = scratch.path("state/events.db");
  store::EventStore store{path};
  store::EventReader reader{path};

  store::Appended append(const std::vector<store::Event>& events) {
    const store::EventStore::Advance advance = {
        "00000000000000aa", Source::kEngine, {events.back().sequence + 1, 0}};
    store::Appended appended;
    BOOST_TEST(!store.append(events, {&advance, 1}, appended));
    return appended;
  }
  void fill(std::uint64_t from, std::uint64_t to, double time = kNow, std::size_t bytes = 0) {
    std::vector<store::Event> events;
    for (std::uint64_t n = from; n <= to; ++n) {
      events.push_back(event_at(n, time));
      events.back().document += std::string(bytes, ' ');
    }
    (void)append(events);
  }
  std::vector<std::uint64_t> sequences(const store::Filter& filter, const store::Page& page) const {
    store::Found found;
    BOOST_TEST(!reader.list(filter, page, found));
    std::vector<std::uint64_t> all;
    for (const store::StoredEvent& stored : found.events) all.push_back(stored.event.sequence);
    return all;
  }
  std::vector<std::uint64_t> all() const { return sequences({}, {{}, 0, 1000}); }
};

using Numbers = std::vector<std::uint64_t>;

Numbers range(std::uint64_t from, std::uint64_t to) {
  Numbers numbers;
  for (; from <= to; ++from) numbers.push_back(from);
  return numbers;
}

// Writes `bytes` over the file from `offset` on.
void scribble(const std::string& path, long offset, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(offset);
  file << bytes;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// A disk of its own of so many bytes, seen by this process alone; nothing if that is not allowed.
class SmallDisk {
 public:
  SmallDisk(const std::string& path, const char* size) : path_(path) {
    std::filesystem::create_directories(path);
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return;
    mounted_ =
        ::mount("tmpfs", path.c_str(), "tmpfs", 0, (std::string("size=") + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool remount(unsigned long flags) const {
    return ::mount("none", path_.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0;
  }
  explicit operator bool() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

bool skipped(const SmallDisk& disk) {
  if (disk) return false;
  BOOST_TEST_MESSAGE("SKIP: a file system cannot be mounted here");
  std::puts("SKIP: a file system cannot be mounted here");
  return true;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(event_store, StoreFixture)

BOOST_AUTO_TEST_CASE(events_and_cursor_are_there_after_a_new_start) {
  BOOST_TEST(!store.open());
  const store::Appended appended = append({event_at(1), event_at(2), event_at(3)});
  BOOST_TEST(appended.ids == (std::vector<std::int64_t>{1, 2, 3}),
             boost::test_tools::per_element());
  store.close();
  BOOST_TEST(!store.open());
  store::Cursor cursor;
  BOOST_TEST(!store.cursor("00000000000000aa", Source::kEngine, cursor));
  BOOST_TEST(cursor.next == 4u);
  BOOST_TEST(!store.cursor("00000000000000aa", Source::kGuest, cursor));
  BOOST_TEST(cursor.next == 0u);
  std::optional<store::StoredEvent> stored;
  BOOST_TEST(!reader.get(2, stored));
  BOOST_REQUIRE(stored.has_value());
  BOOST_TEST((stored->event == event_at(2)));
  BOOST_TEST(!reader.get(4, stored));
  BOOST_TEST(!stored.has_value());
  struct stat status {};
  BOOST_TEST(::stat(path.c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0600u);
}

BOOST_AUTO_TEST_CASE(what_comes_twice_is_counted_and_told_apart) {
  BOOST_TEST(!store.open());
  (void)append({event_at(1), event_at(2)});
  store::Event other = event_at(2);
  other.document = "{}";
  const store::Appended appended = append({event_at(1), other, event_at(3)});
  BOOST_TEST(appended.repeated == 2u);
  BOOST_TEST(appended.contradicted == 1u);
  BOOST_TEST(all() == range(1, 3), boost::test_tools::per_element());
  std::optional<store::StoredEvent> stored;
  BOOST_TEST(!reader.get(2, stored));
  BOOST_TEST((stored->event == event_at(2)));
}

BOOST_AUTO_TEST_CASE(pages_go_both_ways_and_filters_hold) {
  BOOST_TEST(!store.open());
  for (std::uint64_t n = 1; n <= 20; ++n) fill(n, n, kNow + static_cast<double>(n));
  BOOST_TEST(sequences({}, {{}, {}, 3}) == range(18, 20), boost::test_tools::per_element());
  BOOST_TEST(sequences({}, {18, {}, 3}) == range(15, 17), boost::test_tools::per_element());
  BOOST_TEST(sequences({}, {{}, 3, 3}) == range(4, 6), boost::test_tools::per_element());
  store::Filter filter;
  filter.since = kNow + 5;
  filter.until = kNow + 8;
  BOOST_TEST(sequences(filter, {{}, {}, 100}) == range(5, 7), boost::test_tools::per_element());
  filter = {};
  filter.types = {"crash", "stuck"};
  filter.server = "roster";
  BOOST_TEST(sequences(filter, {{}, {}, 100}) == (Numbers{6, 12, 18}),
             boost::test_tools::per_element());
  filter = {};
  filter.slot = 3;
  BOOST_TEST(sequences(filter, {{}, 7, 2}) == (Numbers{11, 15}), boost::test_tools::per_element());
  store::Found found;
  BOOST_TEST(!reader.list(filter, {{}, 7, 2}, found));
  BOOST_TEST(found.more_before);
  BOOST_TEST(found.more_after);
  BOOST_TEST(!reader.list(filter, {{}, 15, 2}, found));
  BOOST_TEST(!found.more_after);
  BOOST_TEST(!reader.list(filter, {1, {}, 2}, found));
  BOOST_TEST(found.events.empty());
  BOOST_TEST(found.more_after);
}

BOOST_AUTO_TEST_CASE(old_events_go_by_age) {
  BOOST_TEST(!store.open());
  fill(1, 700, kNow - 100);
  fill(701, 710, kNow);
  std::uint64_t deleted = 0;
  bool more = false;
  BOOST_TEST(!store.retain({1 << 30, kNow - 50}, deleted, more));
  BOOST_TEST(deleted == 500u);  // a bounded piece
  BOOST_TEST(more);
  BOOST_TEST(!store.retain({1 << 30, kNow - 50}, deleted, more));
  BOOST_TEST(deleted == 200u);
  BOOST_TEST(all() == range(701, 710), boost::test_tools::per_element());
  BOOST_TEST(append({event_at(711)}).ids[0] == 711);
}

BOOST_AUTO_TEST_CASE(the_oldest_go_by_size_and_the_file_shrinks) {
  BOOST_TEST(!store.open());
  for (std::uint64_t n = 1; n < 5000; n += 500) fill(n, n + 499, kNow, 1000);
  const std::uint64_t before = store.bytes_on_disk();
  BOOST_TEST(before > 5u << 20);
  std::uint64_t deleted = 0;
  std::uint64_t all_deleted = 0;
  bool more = true;
  int rounds = 0;
  while (more && rounds < 100) {
    BOOST_TEST(!store.retain({2 << 20, std::nullopt}, deleted, more));
    all_deleted += deleted;
    ++rounds;
  }
  BOOST_TEST(rounds > 5);
  BOOST_TEST(!more);
  store.close();  // with its log
  BOOST_TEST(std::filesystem::file_size(path) < 3u << 20);
  BOOST_TEST(std::filesystem::file_size(path) > 1u << 20);
  const Numbers left = all();
  BOOST_TEST(left.front() == all_deleted + 1);
  BOOST_TEST(!store.open());
  std::uint64_t kept = 0;
  BOOST_TEST(!store.count(kept));
  BOOST_TEST(kept == 5000 - all_deleted);
}

BOOST_AUTO_TEST_CASE(damage_is_found_and_moved_aside) {
  for (const bool header : {true, false}) {
    store::EventStore other(path);  // the file is read whole at the first opening
    BOOST_TEST(!store.open());
    fill(1, 500, kNow, 200);
    store.close();
    // The first line, or pages in the middle.
    scribble(path, header ? 0 : 3 * 4096, std::string(header ? 100 : 8192, 'x'));
    const auto problem = other.open();
    BOOST_REQUIRE(problem.has_value());
    BOOST_TEST(problem->damaged);
    BOOST_TEST(problem->text.find(path) == 0u);
    const std::string aside = other.move_aside(kNow);
    BOOST_TEST(aside == path + ".damaged-20231114T221320Z" + (header ? "" : "-2"));
    BOOST_TEST(std::filesystem::exists(aside));
    BOOST_TEST(!other.open());
    other.close();
    BOOST_TEST(!store.open());
    // Never an id that the damaged one has given.
    BOOST_TEST(append({event_at(501)}).ids[0] > 500);
    store.close();
    std::filesystem::remove(path);
  }
}

BOOST_AUTO_TEST_CASE(files_of_others_are_left_alone) {
  std::filesystem::create_directories(scratch.path("state"));
  BOOST_TEST(run({"/usr/bin/sqlite3", path, "CREATE TABLE a(b)"}).exit_code == 0);
  auto problem = store.open();
  BOOST_REQUIRE(problem.has_value());
  BOOST_TEST(!problem->damaged);
  BOOST_TEST(problem->text.find("another program") != std::string::npos);
  std::filesystem::remove(path);
  BOOST_TEST(!store.open());
  store.close();
  BOOST_TEST(run({"/usr/bin/sqlite3", path, "PRAGMA user_version=2"}).exit_code == 0);
  problem = store.open();
  BOOST_REQUIRE(problem.has_value());
  BOOST_TEST(!problem->damaged);
  BOOST_TEST(problem->text.find("later release") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(settings_are_what_safety_needs) {
  BOOST_TEST(!store.open());
  fill(1, 1);
  // The log is there while it is open, and the header says how free pages are given back.
  BOOST_TEST(std::filesystem::exists(path + "-wal"));
  const Finished finished =
      run({"/usr/bin/sqlite3", path,
           "PRAGMA journal_mode; PRAGMA auto_vacuum; PRAGMA integrity_check"});
  BOOST_TEST(finished.out == "wal\n2\nok\n");
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

struct RecorderFixture {
  Scratch scratch;
  std::string path = scratch.path("state/events.db");
  FakeChannel fake;
  daemon::EventLedger ledger;
  store::EventFeed feed;
  store::EventReader reader{path};
  std::vector<std::string> journal;
  double unix_time = kNow;
  double steady_time = 5;
  std::uint32_t keep_days = 90;
  std::uint64_t keep_bytes = 256 << 20;
  std::unique_ptr<daemon::EventRecorder> recorder;

  RecorderFixture() {
    fake.guest_ends_now.clear();
    restart();
  }
  void restart() {
    recorder.reset();
    const daemon::Clock clock{[this] { return unix_time; }, [this] { return steady_time; }};
    recorder = std::make_unique<daemon::EventRecorder>(
        fake, clock, daemon::EventRecorder::Settings{path, keep_days, keep_bytes, ""}, ledger, feed,
        [this](const daemon::Json& event) { journal.push_back(event.dump()); });
  }
  void add(std::uint64_t from, std::uint64_t to) {
    for (; from <= to; ++from) fake.events_now.push_back(event_number(from));
  }
  // A pass some time after the last one.
  bool pass(double seconds = 2) {
    steady_time += seconds;
    unix_time += seconds;
    return recorder->pass();
  }
  std::vector<store::StoredEvent> stored() const {
    store::Found found;
    BOOST_TEST(!reader.list({}, {{}, 0, 100000}, found));
    return found.events;
  }
  std::vector<std::string> types() const {
    std::vector<std::string> all;
    for (const store::StoredEvent& one : stored()) all.push_back(one.event.type);
    return all;
  }
  void check_engine_events(std::uint64_t from, std::uint64_t to) const {
    std::vector<store::StoredEvent> events = stored();
    std::erase_if(events, [](const auto& one) { return one.event.source != Source::kEngine; });
    BOOST_REQUIRE(events.size() == to - from + 1);
    store::Symbols symbols;
    for (std::uint64_t n = from; n <= to; ++n) {
      const store::Event expected =
          daemon::engine_event(event_number(n), 0, fake.servers_now, symbols, "");
      const store::Event& event = events[n - from].event;
      BOOST_TEST(event.sequence == n);
      BOOST_TEST(event.document == expected.document);
      BOOST_TEST(event.type == expected.type);
      BOOST_TEST((event.server == expected.server && event.slot == expected.slot));
    }
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(event_recorder, RecorderFixture)

BOOST_AUTO_TEST_CASE(events_are_stored_then_acknowledged_then_told) {
  add(1, 700);
  BOOST_TEST(pass());
  check_engine_events(1, 700);
  BOOST_TEST(fake.events_now.empty());
  BOOST_TEST(journal.size() == 700u);
  const Json line = Json::parse(journal[2]);
  BOOST_TEST(line.at("id") == 3);
  BOOST_TEST(line.at("type") == "stuck");
  BOOST_TEST(line.at("boot") == "1234567890abcdef");
  // The hypervisor was started an hour before the pass.
  BOOST_TEST(line.at("time") == unix_time - 3600 + 3 * 1000003 / 1e9,
             boost::test_tools::tolerance(1e-12));
  const auto counts = ledger.counts();
  BOOST_TEST(counts.writable);
  BOOST_TEST(counts.kept == 700u);
  BOOST_TEST(counts.stored.at("crash") == 53u);
  BOOST_TEST(counts.last_drain == unix_time);
  BOOST_TEST(counts.repeated == 0u);
}

// What a kill between COMMIT and acknowledgement leaves: the ring has them still.
BOOST_AUTO_TEST_CASE(events_that_were_not_acknowledged_are_not_doubled) {
  add(1, 40);
  BOOST_TEST(pass());
  add(31, 50);
  fake.events_status = VMSRS_OK;
  restart();
  BOOST_TEST(pass());
  check_engine_events(1, 50);
  BOOST_TEST(ledger.counts().repeated == 0u);
  BOOST_TEST(ledger.counts().lost == 0u);
  BOOST_TEST(fake.events_now.empty());
}

BOOST_AUTO_TEST_CASE(nothing_is_acknowledged_while_the_store_cannot_be_written) {
  std::filesystem::create_directories(path);  // a folder where the file should be
  add(1, 10);
  BOOST_TEST(!pass());
  BOOST_TEST(!ledger.counts().writable);
  BOOST_TEST(fake.events_now.size() == 10u);
  BOOST_TEST(journal.empty());
  std::filesystem::remove(path);
  BOOST_TEST(!pass(0.1));  // not at once
  BOOST_TEST(pass(2));
  BOOST_TEST(ledger.counts().writable);
  check_engine_events(1, 10);
  BOOST_TEST(fake.events_now.empty());
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_waited_for) {
  const SmallDisk disk(scratch.path("state"), "256k");
  if (skipped(disk)) return;
  std::uint64_t next = 1;
  bool written = true;
  while (written && next < 5000) {
    add(next, next + 49);
    written = pass();
    next += 50;
  }
  BOOST_TEST(!written);
  BOOST_TEST(!ledger.counts().writable);
  BOOST_TEST(fake.events_now.size() == 50u);
  BOOST_TEST(!pass());
  check_engine_events(1, next - 51);  // what was stored can be read
  BOOST_REQUIRE(disk.remount(0));
  BOOST_REQUIRE(::mount("none", scratch.path("state").c_str(), nullptr, MS_REMOUNT, "size=8m") ==
                0);
  BOOST_TEST(pass());
  check_engine_events(1, next - 1);
  BOOST_TEST(ledger.counts().lost == 0u);
  BOOST_TEST(types().size() == next - 1);
}

BOOST_AUTO_TEST_CASE(a_read_only_disk_is_waited_for) {
  const SmallDisk disk(scratch.path("state"), "8m");
  if (skipped(disk)) return;
  add(1, 10);
  BOOST_TEST(pass());
  recorder.reset();
  BOOST_REQUIRE(disk.remount(MS_RDONLY));
  restart();
  add(11, 20);
  BOOST_TEST(!pass());
  BOOST_TEST(!ledger.counts().writable);
  BOOST_TEST(fake.events_now.size() == 10u);
  BOOST_REQUIRE(disk.remount(0));
  BOOST_TEST(pass());
  check_engine_events(1, 20);
}

BOOST_AUTO_TEST_CASE(a_damaged_store_is_moved_aside_and_a_new_one_begins) {
  add(1, 500);
  BOOST_TEST(pass());
  recorder.reset();
  scribble(path, 2 * 4096, std::string(20000, 'x'));
  restart();
  add(501, 510);
  BOOST_TEST(!pass());
  BOOST_TEST(fake.events_now.size() == 10u);
  BOOST_TEST(pass());
  check_engine_events(501, 510);
  const std::vector<store::StoredEvent> events = stored();
  BOOST_TEST(events[0].event.type == "store_damaged");
  BOOST_TEST(events[0].id > 500);
  const std::string aside = Json::parse(events[0].event.document).at("detail").at("moved_to");
  BOOST_TEST(aside.find(path + ".damaged-2023") == 0u);
  BOOST_TEST(std::filesystem::exists(aside));
  BOOST_TEST(ledger.counts().kept == 11u);
}

BOOST_AUTO_TEST_CASE(damage_while_it_runs_is_found) {
  fake.guest_ends_now = FakeChannel().guest_ends_now;
  add(1, 500);
  BOOST_TEST(pass());
  recorder->stop();
  fake.guest_ends_now.erase(
      fake.guest_ends_now.begin());  // the hypervisor keeps the last ones only
  BOOST_TEST(run({"/usr/bin/sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE)"}).exit_code == 0);
  BOOST_TEST(::truncate(path.c_str(), 4096) == 0);
  add(501, 510);
  for (int tries = 0; tries < 5 && !fake.events_now.empty(); ++tries) (void)pass();
  BOOST_TEST(fake.events_now.empty());
  check_engine_events(501, 510);
  BOOST_TEST(types()[0] == "store_damaged");
  BOOST_TEST(ledger.counts().lost == 0u);  // what the hypervisor has forgotten was stored before
}

BOOST_AUTO_TEST_CASE(a_removed_store_is_made_anew) {
  add(1, 10);
  BOOST_TEST(pass());
  for (const std::string& name : files_in(scratch.path("state")))
    std::filesystem::remove(scratch.path("state/" + name));
  add(11, 20);
  BOOST_TEST(pass());
  check_engine_events(11, 20);
}

BOOST_AUTO_TEST_CASE(a_gap_in_the_numbers_is_told_once) {
  add(1, 10);
  BOOST_TEST(pass());
  add(14, 20);
  BOOST_TEST(pass());
  BOOST_TEST(pass());
  const std::vector<store::StoredEvent> events = stored();
  BOOST_REQUIRE(events.size() == 18u);
  BOOST_TEST(ledger.counts().lost == 3u);
  const auto lost = std::find_if(events.begin(), events.end(), [](const auto& one) {
    return one.event.type == "events_lost" && one.event.source == Source::kDaemon;
  });
  BOOST_REQUIRE((lost != events.end()));
  BOOST_TEST(Json::parse(lost->event.document).at("detail").at("count") == 3);
}

BOOST_AUTO_TEST_CASE(a_jump_of_the_clock_deletes_nothing_for_a_day) {
  add(1, 10);
  BOOST_TEST(pass());
  constexpr double kDay = 86400;
  unix_time += 1000 * kDay;
  BOOST_TEST(pass(100));
  BOOST_TEST(types().size() == 11u);
  BOOST_TEST(types().back() == "clock_jumped");
  BOOST_TEST(pass(kDay / 2));
  BOOST_TEST(types().size() == 11u);
  BOOST_TEST(pass(kDay));  // it is right, then: they are old
  BOOST_TEST(types().size() == 1u);
  unix_time -= 1000 * kDay;
  BOOST_TEST(pass(100));
  BOOST_TEST(types().size() == 2u);  // from the future: kept
  BOOST_TEST(pass(2 * kDay));
  BOOST_TEST(types().size() == 2u);
}

BOOST_AUTO_TEST_CASE(old_events_are_deleted_while_it_runs) {
  keep_days = 1;
  restart();
  add(1, 1200);
  BOOST_TEST(pass());
  for (int i = 0; i < 3; ++i) BOOST_TEST(pass(86400));
  BOOST_TEST(pass());
  BOOST_TEST(pass());
  BOOST_TEST(types().empty());
  BOOST_TEST(ledger.counts().kept == 0u);
}

BOOST_AUTO_TEST_CASE(ends_of_the_guest_are_stored_once_with_their_cpus) {
  FakeChannel other;
  fake.guest_ends_now = other.guest_ends_now;
  BOOST_TEST(pass());
  BOOST_TEST(pass());
  restart();
  BOOST_TEST(pass());
  const std::vector<store::StoredEvent> events = stored();
  BOOST_REQUIRE(events.size() == 2u);
  const Json detail = Json::parse(events[1].event.document).at("detail");
  BOOST_TEST(detail.at("kind") == "reset");
  BOOST_TEST(detail.at("cpus").size() == 2u);
  // The ring of ends keeps the last eight: a daemon that was away for longer says so.
  vmsrs_guest_end end = fake.guest_ends_now.back();
  end.sequence = 11;
  fake.guest_ends_now = {end};
  BOOST_TEST(pass());
  BOOST_TEST(ledger.counts().lost == 8u);
  BOOST_TEST(
      types() == (std::vector<std::string>{"guest_end", "guest_end", "guest_end", "events_lost"}),
      boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(violations_are_events_and_good_checks_are_not) {
  vmsrs_check_report report{};
  recorder->record_check(report, fake.servers_now);
  report.results[VMSRS_CHECK_MIRROR] = {VMSRS_VERDICT_VIOLATED, 1, 12, 3, 64};
  report.results[VMSRS_CHECK_STORAGE] = {VMSRS_VERDICT_UNPROTECTED, 1, 12, 3, 64};
  recorder->record_check(report, fake.servers_now);
  const std::vector<store::StoredEvent> events = stored();
  BOOST_REQUIRE(events.size() == 1u);
  BOOST_TEST(events[0].event.type == "check_failed");
  BOOST_TEST(events[0].event.server.value() == "roster");
  BOOST_TEST(Json::parse(events[0].event.document).at("detail").at("invariant") == "mirror");
}

BOOST_AUTO_TEST_CASE(a_hypervisor_without_events_is_borne) {
  fake.events_status = VMSRS_UNKNOWN_CALL;
  add(1, 3);
  BOOST_TEST(pass());
  BOOST_TEST(ledger.counts().writable);
  BOOST_TEST(stored().empty());
}

// After a change that is meant: VMSRS_UPDATE_GOLDEN=1, then read the difference.
// Its numbers begin anew; the boot tells them from those before. What nobody had stored is gone
// with it.
BOOST_AUTO_TEST_CASE(a_new_start_of_the_hypervisor_is_another_boot) {
  add(1, 10);
  BOOST_TEST(pass());
  recorder.reset();
  fake.events_now.clear();
  restart();
  for (std::uint64_t n = 1; n <= 5; ++n) {
    fake.events_now.push_back(event_number(n));
    fake.events_now.back().boot = 0xabcd;
  }
  BOOST_TEST(pass());
  BOOST_TEST(fake.events_now.empty());
  const std::vector<store::StoredEvent> events = stored();
  BOOST_REQUIRE(events.size() == 15u);
  BOOST_TEST(events[9].event.boot == "1234567890abcdef");
  BOOST_TEST(events[10].event.boot == "000000000000abcd");
  BOOST_TEST(events[10].event.sequence == 1u);
  BOOST_TEST(ledger.counts().repeated == 0u);
  BOOST_TEST(ledger.counts().lost == 0u);
}

// As in a guest that was booted without it, had the daemon been left running.
BOOST_AUTO_TEST_CASE(a_hypervisor_that_is_gone_takes_nothing_with_it) {
  add(1, 10);
  BOOST_TEST(pass());
  fake.events_status = fake.stats_status = VMSRS_DENIED;
  add(11, 20);
  BOOST_TEST(pass());
  unix_time += 1000;
  BOOST_TEST(pass());
  BOOST_TEST(types().size() == 11u);
  BOOST_TEST(types().back() == "clock_jumped");  // the daemon's own go on
  fake.events_status = fake.stats_status = VMSRS_OK;
  BOOST_TEST(pass());
  BOOST_TEST(types().size() == 21u);
}

BOOST_AUTO_TEST_CASE(documents_are_the_golden_ones) {
  FakeChannel other;
  other.guest_ends_now.resize(1);
  fake.guest_ends_now = other.guest_ends_now;
  add(1, 14);
  for (vmsrs_event& event : fake.events_now) event.process_id = 0;
  BOOST_TEST(pass());
  vmsrs_check_report report{};
  report.results[VMSRS_CHECK_MIRROR] = {VMSRS_VERDICT_VIOLATED, 0, 12, 3, 64};
  recorder->record_check(report, fake.servers_now);
  unix_time += 100;
  BOOST_TEST(pass());
  std::string text;
  for (const store::StoredEvent& one : stored()) text += daemon::event_document(one).dump(1) + "\n";
  const std::string golden = VMSRS_GOLDEN_FOLDER "/events.json";
  if (std::getenv("VMSRS_UPDATE_GOLDEN") != nullptr) std::ofstream(golden) << text;
  BOOST_TEST(text == read_file(golden));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(journal)

namespace {

// Takes the datagrams that journald would.
struct FakeJournald {
  explicit FakeJournald(const std::string& path)
      : descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    BOOST_REQUIRE(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
                  0);
  }
  ~FakeJournald() { ::close(descriptor); }
  std::string take() const {
    std::string text(65536, '\0');
    const ssize_t got = ::recv(descriptor, text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }
  int descriptor;
};

daemon::Json crash_document(std::uint64_t n) {
  const FakeChannel fake;
  store::Symbols symbols;
  return daemon::event_document(
      {7, daemon::engine_event(event_number(n), 0, fake.servers_now, symbols, "")});
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_event_is_a_datagram_of_fields) {
  const Scratch scratch;
  const FakeJournald journald(scratch.path("socket"));
  const daemon::Journal journal(scratch.path("socket"));
  daemon::Json event = crash_document(13);
  BOOST_TEST(journal.send(event));
  const std::string text = "\n" + journald.take();
  for (const char* field :
       {"\nMESSAGE=crash, server shop, user 13: ", "\nPRIORITY=4\n", "\nSYSLOG_IDENTIFIER=vmsrsd\n",
        "\nVMSRS_EVENT_TYPE=crash\n", "\nVMSRS_EVENT_ID=7\n", "\nVMSRS_SERVER=shop\n",
        "\nVMSRS_SLOT=13\n", "\nVMSRS_EVENT={\"id\":7,\"type\":\"crash\","})
    BOOST_TEST(text.find(field) != std::string::npos, field << " in " << text);
  // A line's end in a value makes no field of its own.
  event["label_text"] = "a\nPRIORITY=0";
  BOOST_TEST(journal.send(event));
  const std::string forged = journald.take();
  BOOST_TEST(forged.find(std::string("VMSRS_LABEL\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n", 32)) !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(nobody_takes_it) {
  const Scratch scratch;
  const daemon::Journal journal(scratch.path("socket"));
  BOOST_TEST(!journal.send(crash_document(13)));
}

BOOST_AUTO_TEST_CASE(stderr_is_known_for_the_journal_by_device_and_inode) {
  struct stat status {};
  BOOST_REQUIRE(::fstat(STDERR_FILENO, &status) == 0);
  const std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  BOOST_TEST(daemon::is_journal(STDERR_FILENO, stream.c_str()));
  BOOST_TEST(!daemon::is_journal(STDERR_FILENO, (stream + "1").c_str()));
  BOOST_TEST(!daemon::is_journal(STDERR_FILENO, nullptr));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(symbols)

BOOST_AUTO_TEST_CASE(functions_of_living_processes_are_found) {
  store::Symbols symbols;
  const auto self = static_cast<std::uint32_t>(::getpid());
  const auto address = reinterpret_cast<std::uint64_t>(&event_number);
  const store::Place own = symbols.place(self, address + 5);
  BOOST_TEST(own.module.value() == std::filesystem::read_symlink("/proc/self/exe").string());
  BOOST_TEST(own.symbol.value() == "vmsrs::test::event_number(unsigned long)");
  BOOST_TEST(own.symbol_offset.value() == 5u);
  BOOST_TEST(own.module.value() == symbols.program(self).value());
  const Finished notes = run({"/usr/bin/readelf", "-n", own.module.value()});
  BOOST_TEST(own.build.value().size() == 16u);
  BOOST_TEST(notes.out.find("Build ID: " + own.build.value()) != std::string::npos);
  const store::Place libc = symbols.place(self, reinterpret_cast<std::uint64_t>(&::getppid));
  BOOST_TEST(libc.symbol.value() == "getppid");
  BOOST_TEST(libc.symbol_offset.value() == 0u);
}

BOOST_AUTO_TEST_CASE(a_dump_is_named_when_it_is_there) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch.path("dumps"));
  vmsrs_event event = event_number(13);
  event.process_id = static_cast<std::uint32_t>(::getpid());
  event.fault.kind = VMSRS_FAULT_NULL;
  event.fault.instruction = reinterpret_cast<std::uint64_t>(&event_number);
  store::Symbols symbols;
  const store::StoredEvent stored{
      7, daemon::engine_event(event, 0, {}, symbols, scratch.path("dumps"))};
  const auto dump_of = [&] { return daemon::event_document(stored).at("fault").at("dump"); };
  BOOST_TEST(dump_of().is_null());
  const daemon::Json promised = daemon::Json::parse(stored.event.document).at("fault").at("dump");
  const std::string file = promised.at("file");
  const store::Place place = symbols.place(event.process_id, event.fault.instruction);
  BOOST_TEST(file.find("/ops_test-" + place.build.value() + "+") != std::string::npos);
  std::ofstream(file) << "x";
  BOOST_TEST(dump_of() == promised);
  BOOST_TEST(dump_of().at("program") == *symbols.program(event.process_id));
  std::filesystem::remove(file);
  std::filesystem::create_symlink("/etc/passwd", file);
  BOOST_TEST(dump_of().is_null());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_found_is_left_out) {
  store::Symbols symbols;
  const auto self = static_cast<std::uint32_t>(::getpid());
  int local = 0;
  BOOST_TEST(!symbols.place(self, reinterpret_cast<std::uint64_t>(&local)).module.has_value());
  BOOST_TEST(!symbols.place(self, 0x10).module.has_value());
  BOOST_TEST(!symbols.place(0x7ffffff0, 0x401000).module.has_value());
  BOOST_TEST(!symbols.place(0, 0x401000).module.has_value());
}

// A pipe or a replaced file where the module should be: no waiting, and no other file's symbols.
BOOST_AUTO_TEST_CASE(only_the_file_that_is_mapped_is_read) {
  const Scratch scratch;
  const std::string folder = scratch.path("77");
  std::filesystem::create_directories(folder);
  const std::string pipe = scratch.path("pipe");
  BOOST_REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::ofstream(folder + "/maps") << "400000-500000 r-xp 00001000 08:01 4242 " << pipe << "\n"
                                  << "600000-700000 r-xp 00002000 08:01 4243 /proc/self/exe\n";
  store::Symbols symbols(scratch.path(""));
  const store::Place place = symbols.place(77, 0x400010);
  BOOST_TEST(place.module.value() == pipe);
  BOOST_TEST(place.offset.value() == 0x1010u);
  BOOST_TEST(!place.symbol.has_value());
  BOOST_TEST(!symbols.place(77, 0x600010).symbol.has_value());
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
