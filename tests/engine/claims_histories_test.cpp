// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "model.hpp"
#include "probe.hpp"
#include "support/claim_server.hpp"
#include "support/views.hpp"

// Random histories in regions with claims: the library's stores and loads, the engine's traps, and
// the reference model agree byte for byte. The users' threads live in one to three processes, each
// of which has the regions at its own addresses, and which die and come back; of that the model
// knows nothing but that users crash. Nor does it know of users that are held in the middle of a
// store until they are stuck: what these store late counts no more, what others must not store
// meanwhile is refused. VMSRS_CLAIM_HISTORIES=N for more, VMSRS_SEED=N for one of them.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

constexpr std::size_t kBytes[] = {512, 256};
constexpr unsigned kGranules[] = {64, 32, 16, 8};
constexpr unsigned kThreads = 4;
constexpr unsigned kMostProcesses = 3;

struct Exercise {
  std::uint64_t operations, traps, drains, suppressed, restores, contended, crashes, repaired, kept,
      committed, older;
  std::uint64_t declared, seen, late, waits, heard_by_fault, rounds;
  std::uint64_t deaths, orphans, orphan_loads;
  std::uint64_t restored_at_crash, plain_looks, exposed, missed;
  std::uint64_t exchanged, unequal;
  std::uint64_t held, stuck, came_back, landed, refused, lost_stuck, collected_ahead, all_collected,
      checked, mapped;
  std::uint64_t moved, moved_crashed, lost_suspended;
};

class History {
 public:
  History(std::uint64_t seed, Exercise& exercise)
      : random_(seed),
        exercise_(exercise),
        pieces_(random_() % 4 == 0),
        processes_(1 + static_cast<unsigned>(random_() % kMostProcesses)),
        eager_{random_() % 3 == 0, random_() % 3 == 0},
        server_({{kBytes[0], kGranules[random_() % 4], true, eager_[0]},
                 {kBytes[1], kGranules[random_() % 4], true, eager_[1]}},
                1024, processes_) {
    for (std::size_t i = 0; i < 2; ++i)
      models_.emplace_back(
          std::vector<std::uint8_t>(server_.region(i), server_.region(i) + kBytes[i]),
          std::size_t{1} << server_.regions[i].shift, eager_[i]);
    for (unsigned i = 0; i < kThreads; ++i) {
      // Threads of different processes have the same FS base.
      const unsigned process = i % processes_;
      users_.push_back({ClaimThread(server_, 0xa000 + 0x1000 * (i / processes_), process), {}, {}});
      if (pieces_) users_[i].thread.client.memory.set_mapped_pages(8);
    }
    server_.while_waiting = [this] { serve(); };
    server_.patience = 3;
    server_.barrier = [] {};  // all of it is one thread
  }

  std::string run(unsigned operations) {
    std::string wrong;
    for (unsigned i = 0; i < operations && wrong.empty(); ++i) {
      ++exercise_.operations;
      wrong = step(users_[below(kThreads)]);
      if (wrong.empty()) wrong = compare_eager_regions();
      if (wrong.empty()) wrong = compare_exposed();
    }
    while (std::any_of(users_.begin(), users_.end(), [](const User& user) { return user.held(); }))
      if (User& user = users_[below(kThreads)]; user.held()) go_on(user);
    for (User& user : users_) {
      if (wrong.empty() && user.thread.suspended) wrong = resume(user);
      if (!wrong.empty()) return wrong;
      if (user.thread.open) wrong = user.crashed ? bury(user) : end(user, false);
    }
    server_.serve();  // what is left of users whose process has died
    if (wrong.empty()) wrong = compare();
    const vmsrs_server_info info = server_.info();
    exercise_.restores += info.demand_restore_count + info.collect_restore_count;
    for (std::uint64_t slot = 0; slot < 2 * kThreads; ++slot)
      exercise_.rounds += server_.generation(slot) > VMSRS_TAG_GENERATION_MASK;
    exercise_.restored_at_crash += info.crash_restore_count;
    exercise_.repaired += recovery::EngineProbe::counters(0).repaired_tags;
    if (wrong.empty() && (info.mode & VMSRS_MODE_SUPPRESSION) != 0) wrong = "still suppressing";
    if (wrong.empty() && info.record_count != 0) wrong = "records are left";
    if (wrong.empty() && !recovery::EngineProbe::every_restore_was_timed(0))
      wrong = "restores and their times differ";
    if (wrong.empty() && !server_.sound()) wrong = "an invariant is violated";
    for (const User& user : users_) {
      exercise_.traps += user.thread.traps;
      exercise_.drains += user.thread.drains;
      exercise_.waits += user.thread.waits;
    }
    return wrong;
  }

 private:
  struct User {
    ClaimThread thread;
    std::set<Model::UserId> read_from[2];  // whose unfinished bytes it has read
    Model::UserId ids[2] = {};
    bool crashed = false;
    bool unheard = false;     // declared crashed by somebody else: its thread does not know yet
    bool late = false;        // and may be in the middle of a store
    bool overlooked = false;  // it has read while an owner was within a store
    struct {                  // the store that it is held in
      std::size_t region, at;
      std::uint64_t value;
    } store = {};
    bool held() const { return thread.held(); }
  };

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  void take_ids(User& user) {
    for (std::size_t i = 0; i < 2; ++i) user.ids[i] = models_[i].begin();
    user.crashed = user.unheard = user.late = user.overlooked = false;
    for (auto& writers : user.read_from) writers.clear();
  }

  std::string step(User& user) {
    if (!user.thread.open) {
      if (below(8) == 0) come_round();
      user.thread.sampled = below(2) == 0;
      if (user.thread.begin() != VMSRS_OK) return "begin refused";
      take_ids(user);
      return {};
    }
    if (user.held()) {
      if (below(16) == 0) return crash(user);
      if (below(3) == 0) go_on(user);
      return {};
    }
    if (user.thread.suspended) {
      if (below(8) == 0) return declare(user);
      return below(3) == 0 ? resume(user) : "";
    }
    switch (below(31)) {
      case 0:
        return user.crashed ? bury(user) : end(user, false);
      case 1:
        return user.crashed ? bury(user) : end(user, true);
      case 2:
        return crash(user);
      case 3:
        return damage();
      case 4:
        return declare(user);
      case 5:
      case 6:
        return store_late();
      case 7:
        return serve();
      case 8:
        return lose(user.thread.process());
      case 9:
        return hold(user);
      case 10:
        return below(4) == 0 ? check() : collect_ahead();
      case 11:
      case 12:
        return suspend(user);
      case 13:
        return below(4) == 0 ? see_fault(user) : "";
      default:
        if (below(2) == 0) return below(4) == 0 ? exchange(user) : store(user);
        return below(3) == 0 ? load_committed(user) : load(user);
    }
  }

  // Free slots come near the end of their generations, or to one that a tag may still say.
  void come_round() {
    for (std::uint64_t i = 0; i < 2 * kThreads; ++i) {
      const auto slot = static_cast<recovery::Slot>(i);
      recovery::UserTable& users = recovery::EngineProbe::ledger(0).users;
      recovery::User& user = users[slot];
      constexpr std::uint64_t kLast = VMSRS_TAG_GENERATION_MASK;
      if (user.state != VMSRS_USER_FREE || (user.generation & kLast) > kLast / 2) continue;
      if (user.generation > kLast)
        user.generation += below(4);
      else
        user.generation = kLast - 1 - below(3);
    }
    recovery::EngineProbe::publish(0);
  }

  std::string end(User& user, bool keep) {
    if (const vmsrs_status status = user.thread.end(keep); status != VMSRS_OK)
      return "end refused, status " + std::to_string(status);
    for (std::size_t i = 0; i < 2; ++i) models_[i].finish(user.ids[i]);
    if (keep) take_ids(user);
    exercise_.kept += keep;
    return {};
  }

  std::string crash(User& user) {
    if (user.crashed && !user.unheard) return {};
    const bool by_fault = !user.unheard || user.held() || below(2) == 0;
    if ((by_fault ? user.thread.crash() : user.thread.hear()) != VMSRS_OK) return "crash refused";
    user.late = false;
    exercise_.heard_by_fault += by_fault && user.unheard;
    if (std::exchange(user.unheard, false)) return {};
    user.crashed = true;
    ++exercise_.crashes;
    for (std::size_t i = 0; i < 2; ++i) models_[i].crash(user.ids[i]);
    return {};
  }

  std::string suspend(User& user) {
    const vmsrs_status wanted = user.crashed ? VMSRS_CRASHED : VMSRS_OK;
    return user.thread.suspend() == wanted ? "" : "suspending refused";
  }

  std::string resume(User& user) {
    bool crashed = false;
    if (user.thread.resume(crashed) != VMSRS_OK) return "resuming refused";
    if (crashed != user.crashed) return "a resumed user is not what it was";
    ++exercise_.moved;
    exercise_.moved_crashed += crashed;
    return {};
  }

  // By an operator or another thread. A store of the user's may be under way.
  std::string declare(User& user) {
    if (user.crashed) return {};
    const std::uint64_t slot = user.thread.slot;
    const std::uint64_t generation = server_.generation(slot);
    User& other = users_[below(kThreads)];
    const bool by_operator = below(2) == 0 || other.held();
    const std::uint64_t status = by_operator ? std::uint64_t{server_.suppress(slot, generation)}
                                             : other.thread.declare(slot, generation).status;
    if (status != VMSRS_OK) return "declaration refused";
    user.crashed = user.unheard = true;
    user.late = !user.held() && !user.thread.suspended;
    ++exercise_.declared;
    for (std::size_t i = 0; i < 2; ++i) models_[i].crash(user.ids[i]);
    return {};
  }

  // By a fault that the processor has seen, between two stores of its thread.
  std::string see_fault(User& user) {
    if (user.crashed) return {};
    if (user.thread.client.call(VMSRS_CALL_WATCH_FAULTS, 1).status != VMSRS_OK)
      return "watching refused";
    server_.area(user.thread.slot, user.thread.process()).depth = 1;
    user.thread.client.see_fault(VMSRS_FAULT_ARITHMETIC);
    if ((server_.window().users[user.thread.slot] & 3) != VMSRS_USER_CRASHED)
      return "a fault that was seen is no crash";
    user.crashed = user.unheard = true;
    ++exercise_.seen;
    for (std::size_t i = 0; i < 2; ++i) models_[i].crash(user.ids[i]);
    return {};
  }

  std::string store_late() {
    const std::size_t region = below(2);
    for (User& user : users_)
      if (user.late)
        exercise_.late += user.thread.store_late(region, 8 * below(kBytes[region] / 8), random_());
    return {};
  }

  std::string serve() {
    server_.serve();
    nobody_is_late();
    note_stuck();
    orphans_ = false;
    return {};
  }

  // Its thread stands still in the middle of a store.
  std::string hold(User& user) {
    if (user.crashed) return {};
    const std::size_t region = below(2);
    user.store = {region, 8 * below(kBytes[region] / 8), random_()};
    exercise_.held += user.thread.hold(region, user.store.at, user.store.value);
    return {};
  }

  void go_on(User& user) {
    const bool stuck = is_stuck(user);
    const ClaimThread::Went went = user.thread.go_on();
    exercise_.came_back += stuck && !user.held();
    if (went != ClaimThread::Went::kStored) return;
    exercise_.landed += stuck;
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&user.store.value);
    const std::size_t region = user.store.region;
    for (std::size_t i = 0; i < sizeof user.store.value && !user.crashed; ++i)
      models_[region].store(user.ids[region], user.store.at + i, bytes[i]);
  }

  bool is_stuck(const User& user) {
    return (server_.window().users[user.thread.slot] & 3) == VMSRS_USER_STUCK;
  }

  // Others were tired of waiting for who is held.
  void note_stuck() {
    for (User& user : users_) {
      if (!user.held() || user.crashed || !is_stuck(user)) continue;
      user.crashed = user.unheard = true;
      ++exercise_.stuck;
      for (std::size_t i = 0; i < 2; ++i) models_[i].crash(user.ids[i]);
    }
  }

  // Whose the granule may be that is held in the middle of a store, and crashed. `damaged`: if
  // the tag does not say it.
  bool waits_for_held(std::size_t region, std::size_t granule, bool damaged) {
    const recovery::Claimant claimant =
        recovery::claimant_of(server_.claim(region, granule).tag, granule);
    const bool owned = claimant.kind == VMSRS_TAG_OWN || claimant.kind == VMSRS_TAG_FROZEN;
    const bool unknown = claimant.kind == VMSRS_TAG_DAMAGED || claimant.kind == VMSRS_TAG_REPAIRING;
    return std::any_of(users_.begin(), users_.end(), [&](const User& user) {
      if (!user.held() || !user.crashed) return false;
      const std::uint64_t generation =
          server_.generation(user.thread.slot) & VMSRS_TAG_GENERATION_MASK;
      return owned ? claimant.slot == user.thread.slot && claimant.generation == generation
                   : unknown && damaged;
    });
  }

  // By an operator, who does not wait for end points. Once it is done, nothing of a crashed user is
  // left in memory.
  std::string collect_ahead() {
    const vmsrs_status status =
        server_.manager.call(VMSRS_CALL_MGMT_COLLECT, server_.token, 0, ~0ull).status;
    exercise_.collected_ahead += status == VMSRS_AGAIN;
    if (status != VMSRS_OK) return status == VMSRS_AGAIN ? "" : "collection refused";
    for (std::size_t region = 0; region < 2; ++region)
      for (std::size_t at = 0; at < kBytes[region]; ++at)
        if (server_.region(region)[at] != models_[region].value(at))
          return "collection left byte " + std::to_string(at) + " of region " +
                 std::to_string(region);
    ++exercise_.all_collected;
    return {};
  }

  std::string check() {
    const bool sound = server_.sound();
    nobody_is_late();
    note_stuck();
    orphans_ = false;
    ++exercise_.checked;
    return sound ? compare_maps() : "an invariant is violated meanwhile";
  }

  // Each granule is a bucket. Whose it is the tag says, or a record; whoever has something pending
  // has it, unless the tag was damaged.
  std::string compare_maps() {
    serve();  // so that nothing changes after the look
    for (std::size_t i = 0; i < 2; ++i) {
      const unsigned shift = server_.regions[i].shift;
      const vmsrs_region_map map =
          map_of(server_.manager, server_.token, 0, i, [this] { serve(); });
      const auto records = list_records(server_.manager, server_.token, 0, i);
      if (map.flags != 0) return "a map says that it is not whole";
      for (std::size_t granule = 0; granule < kBytes[i] >> shift; ++granule) {
        const std::size_t bucket = granule / map.bucket_granules;
        if (granule % map.bucket_granules != 0) continue;
        std::size_t owned = 0, recorded = 0, active = 0;
        const std::size_t end =
            std::min<std::size_t>(granule + map.bucket_granules, kBytes[i] >> shift);
        for (std::size_t one = granule; one < end; ++one) {
          const bool has_record =
              std::any_of(records.begin(), records.end(),
                          [&](const auto& record) { return record.granule == one; });
          recorded += has_record;
          owned += has_record || is_claimed(i, one);
          active += models_[i].owners(one).active > 0;
        }
        const vmsrs_map_bucket& found = map.buckets[bucket];
        if (found.owned != owned || found.recorded != recorded)
          return "map of region " + std::to_string(i) + ", bucket " + std::to_string(bucket) +
                 ": " + std::to_string(found.owned) + " owned, tags and records say " +
                 std::to_string(owned);
        if (found.owned < active && damages_ == 0)
          return "map of region " + std::to_string(i) + ", bucket " + std::to_string(bucket) +
                 ": fewer granules than the model's users have";
        exercise_.mapped += owned;
      }
    }
    return {};
  }

  bool is_claimed(std::size_t region, std::size_t granule) {
    const recovery::Claimant claimant =
        recovery::claimant_of(server_.claim(region, granule).tag, granule);
    if (claimant.kind != VMSRS_TAG_OWN && claimant.kind != VMSRS_TAG_FROZEN) return false;
    const recovery::User& user = recovery::EngineProbe::ledger(0).users[claimant.slot];
    return user.state != VMSRS_USER_FREE &&
           (user.generation & VMSRS_TAG_GENERATION_MASK) == claimant.generation;
  }

  // The process dies, in the middle of whatever its threads are doing, and a new one comes in its
  // place, before or after the others have seen to what it left.
  std::string lose(unsigned process) {
    if (processes_ == 1) return {};
    for (User& user : users_) {  // some die in the middle of a store
      if (user.thread.process() != process || !user.thread.open) continue;
      exercise_.lost_suspended += user.thread.suspended;
      if (user.thread.suspended) continue;
      exercise_.lost_stuck += user.held() && is_stuck(user);
      while (user.held() && below(2) == 0) go_on(user);
      if (!user.held() && below(2) == 0) {
        server_.area(user.thread.slot).window = 1;
        if (!user.crashed) (void)user.thread.store_late(0, 8 * below(kBytes[0] / 8), random_());
      }
    }
    if (server_.lose(process) != VMSRS_OK) return "reaping refused";
    ++exercise_.deaths;
    for (User& user : users_) {
      if (user.thread.process() != process || !user.thread.open) continue;
      ++exercise_.orphans;
      orphans_ = true;
      for (std::size_t i = 0; i < 2 && !user.crashed; ++i) models_[i].crash(user.ids[i]);
      user.thread.lose();
      user.crashed = user.unheard = user.late = false;
    }
    if (below(2) == 0) serve();
    return server_.join(process) == VMSRS_OK ? "" : "joining refused";
  }

  void nobody_is_late() {
    for (User& user : users_) user.late = false;
  }

  std::string bury(User& user) {
    user.late = false;
    if (user.thread.end() != VMSRS_CRASHED) return "end of a crashed user refused";
    return user.thread.collect() == VMSRS_OK ? "" : "collection refused";
  }

  // Tags can be repaired from what users confirmed and what is hidden, whatever was put there.
  std::string damage() {
    const std::size_t region = below(2);
    const std::size_t granules = kBytes[region] >> server_.regions[region].shift;
    const std::size_t index = below(granules);
    const std::uint64_t garbage = below(2) * random_();
    // One word in 4,096 passes for a tag; the user whose granule that was is told at its end.
    if (recovery::claimant_of(garbage, index).kind == VMSRS_TAG_DAMAGED)
      server_.claim(region, index).tag = garbage, ++damages_;
    return {};
  }

  // Anywhere, and often where somebody is held.
  std::size_t place(std::size_t region, std::size_t bytes) {
    const User& other = users_[below(kThreads)];
    const std::size_t last = kBytes[region] - bytes;
    if (other.held() && other.store.region == region && below(2) == 0)
      return std::min(other.store.at, last);
    return below(last + 1);
  }

  // Granule by granule: what one that is refused has not stopped counts.
  std::string store(User& user) {
    const std::size_t region = below(2);
    const std::size_t bytes = 1 + below(64);
    const std::size_t at = place(region, bytes);
    const std::size_t size = std::size_t{1} << server_.regions[region].shift;
    std::uint8_t value[64];
    for (std::uint8_t& byte : value) byte = static_cast<std::uint8_t>(random_());
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t now = std::min(bytes - done, size - (at + done) % size);
      bool refused = false;
      const std::string wrong = store_piece(user, region, at + done, value + done, now, refused);
      if (!wrong.empty()) return wrong;
      if (refused) return below(2) == 0 ? crash(user) : "";
      done += now;
    }
    return {};
  }

  std::string store_piece(User& user, std::size_t region, std::size_t at, const std::uint8_t* value,
                          std::size_t bytes, bool& refused) {
    const Stored stored =
        make_store(user, region, at, [&] { return user.thread.store(region, at, value, bytes); });
    refused = stored == Stored::kRefused;
    if (stored == Stored::kWrong) return problem_;
    for (std::size_t i = 0; i < bytes && stored == Stored::kDone && !user.crashed; ++i)
      models_[region].store(user.ids[region], at + i, value[i]);
    return {};
  }

  enum class Stored { kDone, kRefused, kWrong };
  // A store by make(), or one that depends on what is there: does it end as it must?
  template <typename Make>
  Stored make_store(User& user, std::size_t region, std::size_t at, Make make) {
    const std::size_t granule = at >> server_.regions[region].shift;
    const bool must_be_refused = !user.crashed && waits_for_held(region, granule, false);
    const std::uint64_t drains = user.thread.drains, waits = user.thread.waits;
    const Access outcome = make();
    if (user.thread.drains != drains || user.thread.waits != waits)
      nobody_is_late();  // perhaps of everybody
    note_stuck();
    user.late = false;
    exercise_.suppressed += outcome == Access::kCrashed;
    exercise_.contended += server_.info().contended_granules > 0;
    problem_.clear();
    if (outcome == Access::kRefused && user.thread.status == VMSRS_OWNER_STUCK) {
      ++exercise_.refused;
      if (user.crashed || !waits_for_held(region, granule, true)) problem_ = "store: refused";
      return problem_.empty() ? Stored::kRefused : Stored::kWrong;
    }
    if (must_be_refused) problem_ = "store: not refused";
    if (outcome != (user.crashed ? Access::kCrashed : Access::kDone))
      problem_ = "store: wrong outcome, status " + std::to_string(user.thread.status);
    return problem_.empty() ? Stored::kDone : Stored::kWrong;
  }

  // Half of them expect what is there.
  std::string exchange(User& user) {
    const std::size_t region = below(2);
    const std::size_t bytes = std::size_t{1} << below(4);
    const std::size_t at = place(region, bytes) / bytes * bytes;
    std::uint64_t present = 0;
    for (std::size_t i = 0; i < bytes; ++i)
      present |= std::uint64_t{models_[region].value(at + i)} << 8 * i;
    const std::uint64_t word = bytes == 8 ? ~0ull : (1ull << 8 * bytes) - 1;
    const std::uint64_t expected = below(2) == 0 ? present : random_() & word;
    const std::uint64_t desired = random_() & word;
    std::uint64_t seen = expected;
    bool equal = false;
    const Stored stored = make_store(user, region, at, [&] {
      return user.thread.exchange(region, at, seen, desired, bytes, equal);
    });
    if (stored == Stored::kWrong) return problem_;
    if (stored == Stored::kRefused) return below(2) == 0 ? crash(user) : "";
    if (user.crashed) return {};
    ++(equal ? exercise_.exchanged : exercise_.unequal);
    if (equal != (present == expected) || seen != present)
      return "exchange of " + std::to_string(bytes) + " bytes at " + std::to_string(at) +
             " of region " + std::to_string(region) + " found " + std::to_string(seen) +
             ", the model says " + std::to_string(present);
    const auto* const value = reinterpret_cast<const std::uint8_t*>(&desired);
    for (std::size_t i = 0; i < bytes && equal; ++i)
      models_[region].store(user.ids[region], at + i, value[i]);
    return {};
  }

  std::string load(User& user) {
    const std::size_t region = below(2);
    const std::size_t bytes = 1 + below(64);
    const std::size_t at = place(region, bytes);
    std::uint8_t value[64];
    exercise_.orphan_loads += orphans_;
    const Access outcome = user.thread.load(region, at, value, bytes);
    user.late = false;
    if (user.crashed) return {};
    if (outcome != Access::kDone)
      return "load refused, status " + std::to_string(user.thread.status);
    for (const User& other : users_) user.overlooked = user.overlooked || other.held();
    for (std::size_t i = 0; i < bytes; ++i) {
      const auto writer = models_[region].unfinished_writer(at + i);
      if (writer && *writer != user.ids[region]) user.read_from[region].insert(*writer);
    }
    for (std::size_t i = 0; i < bytes; ++i)
      if (value[i] != models_[region].value(at + i))
        return "load of byte " + std::to_string(at + i) + " of region " + std::to_string(region) +
               " gave " + std::to_string(value[i]) + ", the model says " +
               std::to_string(models_[region].value(at + i));
    return {};
  }

  std::string load_committed(User& user) {
    const std::size_t region = below(2);
    const std::size_t bytes = 1 + below(64);
    const std::size_t at = place(region, bytes);
    std::uint8_t value[64];
    const Access outcome = user.thread.load_committed(region, at, value, bytes);
    if (outcome != (user.crashed ? Access::kCrashed : Access::kDone))
      return "committed load: wrong outcome, status " + std::to_string(user.thread.status);
    if (user.crashed) return {};
    ++exercise_.committed;
    for (std::size_t i = 0; i < bytes; ++i) {
      exercise_.older += value[i] != models_[region].value(at + i);
      if (value[i] != models_[region].committed(at + i))
        return "committed load of byte " + std::to_string(at + i) + " of region " +
               std::to_string(region) + " gave " + std::to_string(value[i]) + ", the model says " +
               std::to_string(models_[region].committed(at + i));
    }
    return {};
  }

  // Nobody is called exposed that is not; who is sampled, and has read from few, is missed by none.
  std::string compare_exposed() {
    for (User& user : users_) {
      if (!user.thread.open || user.crashed || user.held() || user.thread.suspended) continue;
      bool truly = false;
      std::size_t writers = 0;
      for (std::size_t i = 0; i < 2; ++i) {
        for (const Model::UserId writer : user.read_from[i])
          truly = truly || models_[i].has_crashed(writer);
        writers += user.read_from[i].size();
      }
      const bool exposed = user.thread.exposed();
      exercise_.exposed += exposed;
      exercise_.missed += truly && !exposed;
      if (exposed && !truly) return "a user is called exposed that is not";
      if (truly && !exposed && sampled(user) && !user.overlooked && writers <= 4 && damages_ == 0)
        return "an exposed user was missed";
    }
    return {};
  }
  static bool sampled(const User& user) { return user.thread.sampled; }

  // What plain loads see. A user that was declared crashed must be drained first, and of a dead
  // process's the others' service threads restore.
  std::string compare_eager_regions() {
    if (orphans_) return {};
    for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS; ++slot) {
      const recovery::User& user =
          recovery::EngineProbe::ledger(0).users[static_cast<std::uint16_t>(slot)];
      if (user.crashed() && !user.drained) return {};
      // Nothing was compared yet, and damaged tags were left alone.
      if (user.seen && !user.heard && user.eager_work != recovery::EagerWork::kNone) return {};
    }
    for (std::size_t region = 0; region < 2; ++region)
      for (std::size_t at = 0; eager_[region] && at < kBytes[region]; ++at) {
        ++exercise_.plain_looks;
        if (server_.region(region)[at] != models_[region].value(at))
          return "eager region " + std::to_string(region) + ", byte " + std::to_string(at) +
                 " in memory is " + std::to_string(server_.region(region)[at]) +
                 ", the model says " + std::to_string(models_[region].value(at));
      }
    return {};
  }

  std::string compare() const {
    for (std::size_t region = 0; region < 2; ++region) {
      const std::uint8_t* const mirror = recovery::EngineProbe::ledger(0).regions[region].mirror;
      for (std::size_t at = 0; at < kBytes[region]; ++at) {
        const std::uint8_t wanted = models_[region].value(at);
        if (server_.region(region)[at] != wanted) return "memory, byte " + std::to_string(at);
        if (mirror[at] != wanted) return "mirror, byte " + std::to_string(at);
      }
    }
    return {};
  }

  std::mt19937_64 random_;
  Exercise& exercise_;
  bool pieces_;
  bool orphans_ = false;  // not yet collected
  unsigned processes_;
  unsigned damages_ = 0;  // tags: whose the granule is cannot always be told
  bool eager_[2];
  ClaimServer server_;
  std::vector<Model> models_;
  std::vector<User> users_;
  std::string problem_;  // of the last store
};

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

}  // namespace

BOOST_AUTO_TEST_CASE(claims_and_model_agree) {
  const std::uint64_t wanted = number("VMSRS_CLAIM_HISTORIES", 3000);
  const std::uint64_t first = number("VMSRS_SEED", std::random_device{}());
  BOOST_TEST_MESSAGE("seeds from " << first);
  Exercise exercise{};
  for (std::uint64_t seed = first; seed < first + wanted; ++seed) {
    const std::string wrong = History(seed, exercise).run(80);
    BOOST_REQUIRE_MESSAGE(wrong.empty(),
                          "VMSRS_SEED=" << seed << " VMSRS_CLAIM_HISTORIES=1: " << wrong);
  }
  BOOST_TEST_MESSAGE(
      wanted << " histories, " << exercise.operations << " operations, " << exercise.traps
             << " traps, " << exercise.drains << " drains, " << exercise.crashes << " crashes, "
             << exercise.suppressed << " suppressed stores, " << exercise.restores << " restores, "
             << exercise.repaired << " repaired tags, " << exercise.kept
             << " users without a call to begin, " << exercise.declared << " declared crashed, "
             << exercise.seen << " crashed by a fault that was seen, " << exercise.late
             << " late stores, " << exercise.rounds << " slots came round, " << exercise.waits
             << " waits, " << exercise.deaths << " deaths of processes with " << exercise.orphans
             << " unfinished users, " << exercise.orphan_loads
             << " loads before those were collected, " << exercise.committed
             << " committed loads, in which " << exercise.older
             << " bytes were older than what others had stored, " << exercise.restored_at_crash
             << " restores at the crash, " << exercise.exposed << " looks at exposed users, "
             << exercise.missed << " at exposed users that were not seen, " << exercise.held
             << " users held in a store, of which " << exercise.stuck << " became stuck, "
             << exercise.came_back << " came back and " << exercise.lost_stuck
             << " were lost with their process, " << exercise.landed << " stores of stuck users, "
             << exercise.refused << " refused stores, " << exercise.collected_ahead
             << " collections that had to wait and " << exercise.all_collected
             << " that left nothing, " << exercise.checked << " checks meanwhile, "
             << exercise.mapped << " owned granules in maps, " << exercise.exchanged
             << " exchanges, " << exercise.unequal << " that found something else, "
             << exercise.moved << " users that went on in another thread, of which "
             << exercise.moved_crashed << " had crashed meanwhile, " << exercise.lost_suspended
             << " were lost with their process while no thread had them");
  for (const std::uint64_t count :
       {exercise.traps,         exercise.drains,          exercise.suppressed,
        exercise.restores,      exercise.contended,       exercise.repaired,
        exercise.kept,          exercise.declared,        exercise.late,
        exercise.waits,         exercise.heard_by_fault,  exercise.rounds,
        exercise.committed,     exercise.older,           exercise.deaths,
        exercise.orphans,       exercise.orphan_loads,    exercise.restored_at_crash,
        exercise.plain_looks,   exercise.exposed,         exercise.missed,
        exercise.held,          exercise.stuck,           exercise.came_back,
        exercise.lost_stuck,    exercise.landed,          exercise.refused,
        exercise.checked,       exercise.collected_ahead, exercise.all_collected,
        exercise.exchanged,     exercise.unequal,         exercise.moved,
        exercise.moved_crashed, exercise.lost_suspended,  exercise.seen,
        exercise.mapped})
    BOOST_TEST(count > 0u);
}
