// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <random>

#include "probe.hpp"
#include "support/events.hpp"
#include "support/views.hpp"

namespace vmsrs::test {
namespace {

using Kind = Operation::Kind;
using recovery::EngineProbe;

constexpr std::uint64_t kPage = VMSRS_PAGE_BYTES;
constexpr std::uint64_t kEverything = ~0ull;

// One machine for all histories, started anew for each: its memory is worth keeping.
Machine& fresh_machine() {
  static Machine machine(std::size_t{5} << 18);
  machine.restart();
  return machine;
}

// Likewise: of that region of that server.
const Pages& memory_of(std::size_t server, std::size_t region) {
  static const Pages pages[2][2] = {{Pages(kPage, kMostProcesses), Pages(kPage, kMostProcesses)},
                                    {Pages(kPage, kMostProcesses), Pages(kPage, kMostProcesses)}};
  return pages[server][region];
}

World::Wrong unexpected(const char* what, vmsrs_status got, vmsrs_status wanted) {
  return std::string(what) + ": status " + std::to_string(got) + ", expected " +
         std::to_string(wanted);
}

std::string place(std::size_t region, std::size_t at) {
  return "byte " + std::to_string(at) + " of region " + std::to_string(region);
}

}  // namespace

World::World(const History& history, const Accesses::Factory& accesses, Exercise& exercise)
    : machine_(fresh_machine()),
      processes_(history.processes),
      exercise_(exercise),
      manager_(0x900000) {
  token_ = manager_.open().rdx;
  std::mt19937_64 random(history.seed ^ 0x5555);
  for (std::uint32_t i = 0; i < history.servers; ++i)
    (void)manager_.define(token_, "server" + std::to_string(i), secret_of(1),
                          history.tight ? (2 * history.regions[i].size() + 1) * kPage : 0);
  empty_bytes_ = EngineProbe::pool().used_bytes();
  for (std::uint32_t i = 0; i < history.servers; ++i) {
    ServerState& server = servers_.emplace_back();
    server.index = i;
    server.accesses = accesses(i, history.users, processes_);
    server.users.resize(history.users);
    (void)attach(server, 0);
    for (const auto& [granule, eager] : history.regions[i]) {
      const Pages& pages = memory_of(i, server.memory.size());
      std::uint8_t* const memory = server.memory.emplace_back(pages.data());
      for (std::uint32_t at = 0; at < kRegionBytes; ++at)
        memory[at] = static_cast<std::uint8_t>(random());
      server.models.emplace_back(std::vector<std::uint8_t>(memory, memory + kRegionBytes), granule,
                                 eager);
      (void)server.accesses->profile(pages, kRegionBytes, granule, eager);
    }
    for (std::uint32_t process = 1; process < processes_; ++process) (void)attach(server, process);
  }
}

std::uint8_t World::byte_of(const Operation& operation, std::uint32_t i) {
  return static_cast<std::uint8_t>((operation.value >> (8 * (i % 8))) + i / 8);
}

World::Wrong World::perform(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  if (operation.fail_at > 0) server.accesses->fail_at(operation.fail_at);
  Wrong wrong = dispatch(server, operation);
  exercise_.contended += EngineProbe::ledger(operation.server).contended_granules;
  if (!wrong) wrong = server.accesses->complaint();
  if (!wrong) wrong = compare(server);
  if (!wrong) wrong = compare_events();
  if (!wrong && operation.number % 8 == 0) wrong = compare_maps(server);
  if (!wrong && operation.number % 8 == 0) wrong = compare_records(server);
  return wrong ? wrong : compare_exposed(server);
}

World::Wrong World::dispatch(ServerState& server, const Operation& operation) {
  switch (operation.kind) {
    case Kind::kBegin:
      return begin(server, operation);
    case Kind::kEnd:
      return end(server, operation.user);
    case Kind::kStore:
    case Kind::kStoreRange:
    case Kind::kFill:
      return store(server, operation);
    case Kind::kLoad:
    case Kind::kLoadRange:
      return load(server, operation);
    case Kind::kLoadCommitted:
      return load_committed(server, operation);
    case Kind::kCrash:
      return crash(server, operation.user);
    case Kind::kStuck:
      return stuck(server, operation.user);
    case Kind::kCollect:
      return collect(server, operation.user);
    case Kind::kForcedCollection:
      return forced_collection(server);
    case Kind::kWild:
      store_wildly(server, operation);
      return {};
    case Kind::kService:
      serve(server);
      return {};
    case Kind::kScrub:
      return scrub(server);
    case Kind::kMove:
      return move(server, operation.user);
    case Kind::kDeath:
      return die(server, operation.user % processes_);
    default:
      return check_everything();
  }
}

World::Wrong World::begin(ServerState& server, const Operation& operation) {
  UserState& user = server.users[operation.user];
  const Result result = server.accesses->begin(operation.user, operation.value);
  const bool at_end = user.open && user.depth == 0;
  const vmsrs_status wanted = at_end ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("begin", result.status, wanted);
  if (at_end) return {};
  if (!user.open) {
    user = UserState{};
    user.open = true;
    user.slot = result.rdx;
    user.name = {user.slot, machine_.platform.window(server.index)->users[user.slot] >> 2,
                 operation.value, 100 + operation.user % processes_};
    user.read_from.resize(server.models.size());
    for (Model& model : server.models) user.ids.push_back(model.begin());
  }
  if (result.rsi != ++user.depth) return "begin: wrong depth";
  return {};
}

World::Wrong World::end(ServerState& server, std::uint32_t index) {
  UserState& user = server.users[index];
  const Result result = server.accesses->end(index);
  const vmsrs_status wanted = !user.open ? VMSRS_NO_USER : user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("end", result.status, wanted);
  if (!user.open) return {};
  if (user.depth > 0) --user.depth;
  if (result.rdx != user.depth) return "end: wrong depth";
  if (user.depth > 0 || user.crashed) return {};
  for (std::size_t i = 0; i < server.models.size(); ++i) server.models[i].finish(user.ids[i]);
  user.open = false;
  return {};
}

World::Wrong World::crash(ServerState& server, std::uint32_t index) {
  UserState& user = server.users[index];
  const Result result = server.accesses->crash(index);
  const vmsrs_status wanted = !user.open ? VMSRS_NO_USER : user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("crash", result.status, wanted);
  if (wanted != VMSRS_OK) return {};
  user.crashed = true;
  server.events.crash(user.name, VMSRS_FAULT_WILD);
  server.sweep_due = true;
  for (std::size_t i = 0; i < server.models.size(); ++i) {
    server.models[i].crash(user.ids[i]);
    if (server.models[i].eager()) server.models[i].sweep();
  }
  return {};
}

World::Wrong World::stuck(ServerState& server, std::uint32_t index) {
  UserState& user = server.users[index];
  const Result result = server.accesses->stuck(index);
  const vmsrs_status wanted = !user.open      ? VMSRS_NO_USER
                              : !user.crashed ? VMSRS_WRONG_STATE
                                              : VMSRS_OK;
  if (result.status != wanted) return unexpected("stuck", result.status, wanted);
  if (wanted == VMSRS_OK && !user.stuck) server.events.stuck(user.name, VMSRS_FAULT_WILD);
  user.stuck = wanted == VMSRS_OK;
  return {};
}

World::Wrong World::collect(ServerState& server, std::uint32_t index) {
  UserState& user = server.users[index];
  const Result result = server.accesses->collect(index);
  const vmsrs_status wanted = !user.open                        ? VMSRS_NO_USER
                              : !user.crashed || user.depth > 0 ? VMSRS_WRONG_STATE
                                                                : VMSRS_OK;
  if (result.status != wanted) return unexpected("collect", result.status, wanted);
  if (wanted != VMSRS_OK) return {};
  for (std::size_t i = 0; i < server.models.size(); ++i) server.models[i].collect(user.ids[i]);
  server.events.collect(user.name, VMSRS_FAULT_WILD, user.dropped);
  user = UserState{};
  return {};
}

World::Wrong World::move(ServerState& server, std::uint32_t index) {
  UserState& user = server.users[index];
  const std::uint64_t word = machine_.platform.window(server.index)->users[user.slot];
  const Result result = server.accesses->change_thread(index, user.slot, word >> 2);
  const vmsrs_status wanted = !user.open        ? VMSRS_NO_USER
                              : user.crashed    ? VMSRS_CRASHED
                              : user.depth != 1 ? VMSRS_WRONG_STATE
                                                : VMSRS_OK;
  if (result.status != wanted) return unexpected("move", result.status, wanted);
  exercise_.moved += wanted == VMSRS_OK;
  if (wanted == VMSRS_OK) user.name.label = index;  // as it was suspended with
  return {};
}

World::Wrong World::attach(ServerState& server, std::uint32_t process) {
  const Result result = server.accesses->attach("server" + std::to_string(server.index),
                                                secret_of(1), process, 100 + process);
  if (result.status != VMSRS_OK) return unexpected("attach", result.status, VMSRS_OK);
  server.events.of_process(VMSRS_EVENT_ATTACHED, 100 + process, server.attached++);
  return {};
}

// With the only process the whole server would go.
World::Wrong World::die(ServerState& server, std::uint32_t process) {
  if (processes_ == 1) return {};
  // In pieces, between which the engine is sound, the process makes no calls, and nobody attaches:
  // who tries goes on with it.
  const std::uint32_t steps = 1 + deaths_++ % 3;
  for (vmsrs_status status = VMSRS_AGAIN; status == VMSRS_AGAIN;) {
    status = EngineProbe::engine().reap(server.index, 100 + process, steps).status;
    if (status == VMSRS_OK) break;
    if (status != VMSRS_AGAIN) return unexpected("reap", status, VMSRS_AGAIN);
    ++exercise_.pieces;
    if (server.accesses->service(process).status != VMSRS_NOT_ATTACHED)
      return "a process that is being reaped makes calls";
    if (auto wrong = check_engine()) return wrong;
  }
  std::vector<UserState*> dead;
  for (std::uint32_t i = process; i < server.users.size(); i += processes_)
    if (server.users[i].open) dead.push_back(&server.users[i]);
  std::sort(dead.begin(), dead.end(), [](auto* a, auto* b) { return a->slot < b->slot; });
  server.events.of_process(VMSRS_EVENT_REAPED, 100 + process, dead.size());
  for (UserState* one : dead) {
    UserState& user = *one;
    ++exercise_.orphans;
    if (!user.crashed) server.events.crash(user.name, VMSRS_FAULT_ABORT);
    server.events.orphan(user.name, user.crashed ? VMSRS_FAULT_WILD : VMSRS_FAULT_ABORT,
                         user.dropped);
    server.sweep_due = true;
    for (std::size_t region = 0; region < server.models.size() && !user.crashed; ++region)
      server.models[region].crash(user.ids[region]);
    server.orphans.push_back(user.ids);
    user = UserState{};
  }
  --server.attached;
  return attach(server, process);
}

void World::serve(ServerState& server) {
  for (std::uint32_t process = 0; process < processes_; ++process)
    while (server.accesses->service(process).status == VMSRS_AGAIN) {
    }
  for (const auto& ids : server.orphans)
    for (std::size_t region = 0; region < server.models.size(); ++region)
      server.models[region].collect(ids[region]);
  server.orphans.clear();
  if (server.sweep_due)
    for (Model& model : server.models) model.sweep();
  server.sweep_due = false;
}

// Management asks, the service thread acts, management sees that nothing is left.
World::Wrong World::forced_collection(ServerState& server) {
  for (;;) {
    const Result asked = manager_.call(VMSRS_CALL_MGMT_COLLECT, token_, server.index, kEverything);
    if (asked.status == VMSRS_OK) break;
    ++exercise_.forced;
    if (asked.status != VMSRS_AGAIN) return unexpected("forced", asked.status, VMSRS_AGAIN);
    serve(server);
  }
  for (std::size_t i = 0; i < server.models.size(); ++i)
    for (std::size_t at = 0; at < kRegionBytes; ++at)
      if (!server.models[i].readable(at, server.memory[i][at]))
        return "forced collection left " + place(i, at) + " to a crashed user";
  return {};
}

World::Wrong World::scrub(ServerState& server) {
  const Result asked = manager_.call(VMSRS_CALL_MGMT_SCRUB, token_, server.index, kEverything);
  if (asked.status != VMSRS_AGAIN) return unexpected("scrub", asked.status, VMSRS_AGAIN);
  server.sweep_due = true;
  serve(server);
  const Result done = manager_.call(VMSRS_CALL_MGMT_SCRUB, token_, server.index, 0);
  if (done.status != VMSRS_OK) return unexpected("scrub", done.status, VMSRS_OK);
  return {};
}

void World::store_wildly(ServerState& server, const Operation& operation) {
  ++exercise_.wild;
  for (std::uint32_t i = 0; i < operation.bytes; ++i) {
    const std::uint8_t byte = byte_of(operation, i);
    server.memory[operation.region][operation.at + i] = byte;
    server.models[operation.region].store_wildly(operation.at + i, byte);
  }
}

World::Wrong World::store(ServerState& server, const Operation& operation) {
  UserState& user = server.users[operation.user];
  std::uint8_t* const to = server.memory[operation.region] + operation.at;
  std::uint8_t source[kRegionBytes];
  const bool fill = operation.kind == Kind::kFill;
  for (std::uint32_t i = 0; i < operation.bytes; ++i) source[i] = byte_of(operation, fill ? 0 : i);
  Accesses& accesses = *server.accesses;
  const Result result = fill ? accesses.fill(operation.user, to, source[0], operation.bytes)
                        : operation.kind == Kind::kStore
                            ? accesses.store(operation.user, to, source, operation.bytes)
                            : accesses.store_range(operation.user, to, source, operation.bytes);
  if (user.open && !user.crashed && result.status == VMSRS_NO_STORAGE) {
    ++exercise_.full;
    server.events.no_storage();
    return {};
  }
  const vmsrs_status wanted = !user.open ? VMSRS_NO_USER : user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("store", result.status, wanted);
  if (wanted == VMSRS_CRASHED) {
    ++exercise_.suppressed;
    ++user.dropped;
    server.events.drop_store();
  }
  if (wanted != VMSRS_OK) return {};
  for (std::uint32_t i = 0; i < operation.bytes; ++i)
    server.models[operation.region].store(user.ids[operation.region], operation.at + i, source[i]);
  return {};
}

World::Wrong World::load(ServerState& server, const Operation& operation) {
  UserState& user = server.users[operation.user];
  const std::uint8_t* const from = server.memory[operation.region] + operation.at;
  std::uint8_t got[kRegionBytes];
  const bool sampled = operation.value % 2 == 0;
  Result result{};
  if (operation.kind == Kind::kLoad) {
    result = server.accesses->load(operation.user, from, got, operation.bytes, sampled);
  } else {
    result = server.accesses->load_range(operation.user, from, operation.bytes);
    std::memcpy(got, from, operation.bytes);
  }
  const vmsrs_status wanted = user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("load", result.status, wanted);
  if (user.crashed) return {};
  const Model& model = server.models[operation.region];
  if (user.open && sampled && operation.kind == Kind::kLoad)
    for (std::uint32_t i = 0; i < operation.bytes; ++i)
      if (const auto writer = model.unfinished_writer(operation.at + i);
          writer && *writer != user.ids[operation.region])
        user.read_from[operation.region].insert(*writer);
  for (std::uint32_t i = 0; i < operation.bytes; ++i)
    if (!model.readable(operation.at + i, got[i]))
      return "load of " + place(operation.region, operation.at + i) + " gave " +
             std::to_string(got[i]) + ", the model says " +
             std::to_string(model.value(operation.at + i));
  return {};
}

World::Wrong World::load_committed(ServerState& server, const Operation& operation) {
  const UserState& user = server.users[operation.user];
  const std::uint8_t* const from = server.memory[operation.region] + operation.at;
  std::uint8_t got[kRegionBytes];
  const Result result = server.accesses->load_committed(operation.user, from, got, operation.bytes);
  const vmsrs_status wanted = user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("committed load", result.status, wanted);
  if (user.crashed) return {};
  const Model& model = server.models[operation.region];
  for (std::uint32_t i = 0; i < operation.bytes; ++i) {
    const std::uint8_t committed = model.committed(operation.at + i);
    exercise_.older += committed != model.value(operation.at + i);
    if (got[i] != committed)
      return "committed load of " + place(operation.region, operation.at + i) + " gave " +
             std::to_string(got[i]) + ", the model says " + std::to_string(committed);
  }
  return {};
}

// Whatever is not waiting to be restored is in memory as the model says; in normal mode, and in
// eager regions, that is everything. (But for what a dead process's users wrote there: that is the
// others' service threads' to restore.)
World::Wrong World::compare(const ServerState& server) const {
  for (std::size_t i = 0; i < server.models.size(); ++i) {
    if (server.models[i].eager() && !server.orphans.empty()) continue;
    for (std::size_t at = 0; at < kRegionBytes; ++at)
      if (!server.models[i].holds(at, server.memory[i][at]))
        return place(i, at) + " is " + std::to_string(server.memory[i][at]) +
               " in memory, the model says " + std::to_string(server.models[i].value(at));
  }
  return {};
}

// Exactly those events that the model says; they are acknowledged at once.
World::Wrong World::compare_events() {
  for (const vmsrs_event& event : take_events(manager_, token_)) {
    ++exercise_.events;
    if (event.server >= servers_.size()) return "an event of no server";
    ServerState& server = servers_[event.server];
    if (auto wrong = server.events.compare(event)) return wrong;
    for (std::size_t i = 0; i < std::size(server.restored); ++i)
      server.restored[i] += event.restored[i];
  }
  for (const ServerState& server : servers_) {
    if (auto wrong = server.events.nothing_is_missing()) return wrong;
    if (server.orphans.empty() && server.events.has_orphans())
      return "no event of an orphan's collection";
  }
  return {};
}

// Regions are so small that each granule is a bucket.
World::Wrong World::compare_maps(const ServerState& server) {
  for (std::size_t i = 0; i < server.models.size(); ++i) {
    const vmsrs_region_map map = map_of(manager_, token_, server.index, i, [] {});
    const Model& model = server.models[i];
    for (std::size_t granule = 0; granule < map.bucket_count; ++granule) {
      const vmsrs_map_bucket& bucket = map.buckets[granule];
      const Model::Owners owners = model.owners(granule);
      const std::size_t all = owners.active + owners.crashed;
      const bool right =
          bucket.owned == bucket.recorded && (bucket.owned == 1 || owners.active == 0) &&
          (bucket.owned == 0 || all > 0) && (bucket.contended == 1 || owners.active < 2) &&
          (bucket.contended == 0 || all > 1);
      if (!right)
        return "map of region " + std::to_string(i) + ", granule " + std::to_string(granule);
      exercise_.mapped += bucket.owned;
    }
  }
  return {};
}

// The records of each user, taken together, are what is pending of it; of a crashed user's granule
// all of it or nothing.
World::Wrong World::compare_records(const ServerState& server) {
  const auto records = list_records(manager_, token_, server.index);
  for (const UserState& user : server.users) {
    if (!user.open) continue;
    for (std::size_t i = 0; i < server.models.size(); ++i) {
      const Model& model = server.models[i];
      const std::size_t size = model.granule_bytes();
      for (std::size_t granule = 0; granule < kRegionBytes / size; ++granule) {
        std::optional<std::uint8_t> found[64];
        bool any = false;
        for (const vmsrs_record_info& record : records) {
          if (record.slot != user.slot || record.region != i || record.granule != granule) continue;
          any = true;
          ++exercise_.listed;
          if (record.generation != user.name.generation || record.granule_bytes != size ||
              (record.state >= VMSRS_USER_CRASHED) != user.crashed)
            return "a record of another user, or of another state";
          for (std::size_t at = 0; at < size; ++at) {
            if (record.committed_bytes[at] != model.committed(granule * size + at))
              return "committed byte in a record of " + place(i, granule * size + at);
            if ((record.mask >> at & 1) != 0) found[at] = record.recorded_bytes[at];
          }
        }
        for (std::size_t at = 0; at < size; ++at)
          if (found[at] != model.pending(user.ids[i], granule * size + at) &&
              (any || !user.crashed))
            return "record of " + place(i, granule * size + at);
      }
    }
  }
  return {};
}

// All restorations are of some suppression, but for those of sweeps, which may come after it.
World::Wrong World::compare_restored(const ServerState& server) {
  const recovery::Counters& counters = EngineProbe::counters(server.index);
  const auto& told = server.restored;
  std::uint64_t restored = 0;
  for (std::uint32_t cause = 0; cause < VMSRS_RESTORE_CAUSE_COUNT; ++cause) {
    const std::uint64_t count = counters.restores[cause].count;
    restored += count;
    if (cause == VMSRS_RESTORED_SWEEP ? told[cause] > count : told[cause] != count)
      return "the events' restorations are not the engine's";
  }
  if (!EngineProbe::every_restore_was_timed(server.index))
    return "restorations were counted that were not timed";
  std::uint64_t mapped = 0;
  for (const vmsrs_region_info& region : list_regions(manager_, token_, server.index))
    mapped += region.restore_count;
  if (mapped != restored) return "the regions' restorations are not the server's";
  return {};
}

// Nobody is called exposed that is not.
World::Wrong World::compare_exposed(ServerState& server) {
  for (std::uint32_t i = 0; i < server.users.size(); ++i) {
    const UserState& user = server.users[i];
    if (!user.open || user.crashed) continue;
    bool truly = false;
    for (std::size_t region = 0; region < server.models.size(); ++region)
      for (const Model::UserId writer : user.read_from[region])
        truly = truly || server.models[region].has_crashed(writer);
    const bool exposed = server.accesses->exposed(i).rdx == 1;
    exercise_.exposed += exposed;
    if (exposed && !truly) return "user " + std::to_string(i) + " is called exposed, and is not";
  }
  return {};
}

// `mirror` may speak up only where something wild is about.
World::Wrong World::check_everything() {
  bool wild = false;
  for (const ServerState& server : servers_)
    for (const Model& model : server.models) wild |= model.anything_wild();
  vmsrs_check_report report{};
  const vmsrs_status status = manager_.check(token_, report, [this] {
    for (ServerState& server : servers_) serve(server);
  });
  if (status != VMSRS_OK) return unexpected("check", status, VMSRS_OK);
  for (int i = 0; i < VMSRS_CHECK_COUNT; ++i) {
    if (report.results[i].verdict == VMSRS_VERDICT_OK) continue;
    if (i == VMSRS_CHECK_MIRROR && wild) continue;
    return "invariant " + std::to_string(i) + " violated, detail " +
           std::to_string(report.results[i].detail);
  }
  return {};
}

// All but what the servers' own threads must look at.
World::Wrong World::check_engine() {
  vmsrs_check_report report{};
  vmsrs_status status = VMSRS_AGAIN;
  for (std::uint64_t anew = 1; status == VMSRS_AGAIN; anew = 0) {
    status = manager_.call(VMSRS_CALL_MGMT_CHECK, token_, anew, address_of(&report), sizeof report)
                 .status;
    if (report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING) break;
  }
  for (int i = 0; i < VMSRS_CHECK_COUNT; ++i)
    if (report.results[i].violation_count > 0)
      return "invariant " + std::to_string(i) + " violated within a death, detail " +
             std::to_string(report.results[i].detail);
  return {};
}

World::Wrong World::compare_mirror(const ServerState& server) const {
  for (std::size_t i = 0; i < server.models.size(); ++i)
    for (std::size_t at = 0; at < kRegionBytes; ++at) {
      const std::uint8_t mirror = EngineProbe::ledger(server.index).regions[i].mirror[at];
      if (mirror != server.models[i].value(at) || mirror != server.memory[i][at])
        return "after the end, " + place(i, at) + " differs in mirror or memory";
    }
  return {};
}

World::Wrong World::finish() {
  for (ServerState& server : servers_) {
    for (std::uint32_t i = 0; i < server.users.size(); ++i) {
      while (server.users[i].open && server.users[i].depth > 0)
        if (auto wrong = end(server, i)) return wrong;
      if (server.users[i].open)
        if (auto wrong = collect(server, i)) return wrong;
    }
    if (auto wrong = scrub(server)) return wrong;
    if (auto wrong = compare_mirror(server)) return wrong;
    if ((EngineProbe::mode(server.index) & VMSRS_MODE_SUPPRESSION) != 0) return "still suppressing";
  }
  if (auto wrong = check_everything()) return wrong;
  if (auto wrong = compare_events()) return wrong;
  for (ServerState& server : servers_) {
    if (auto wrong = compare_restored(server)) return wrong;
    if (auto wrong = detach(server)) return wrong;
  }
  if (auto wrong = compare_events()) return wrong;
  if (EngineProbe::pool().used_bytes() != empty_bytes_) return "storage leaked";
  return {};
}

World::Wrong World::detach(ServerState& server) {
  const recovery::Counters& counters = EngineProbe::counters(server.index);
  exercise_.demand_restores += counters.restores[VMSRS_RESTORED_DEMAND].count;
  exercise_.crash_restores += counters.restores[VMSRS_RESTORED_CRASH].count;
  exercise_.collect_restores += counters.restores[VMSRS_RESTORED_COLLECTION].count;
  exercise_.sweep_restores += counters.restores[VMSRS_RESTORED_SWEEP].count;
  exercise_.touches += server.accesses->touch_count();
  for (std::uint32_t process = 0; process < processes_; ++process) {
    if (server.accesses->detach(process).status != VMSRS_OK) return "detach refused";
    server.events.of_process(VMSRS_EVENT_DETACHED, 100 + process, 0);
  }
  return server.accesses->complaint();
}

}  // namespace vmsrs::test
