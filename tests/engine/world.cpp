// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

#include <cstring>
#include <random>

#include "probe.hpp"

namespace vmsrs::test {
namespace {

using Kind = Operation::Kind;
using recovery::EngineProbe;

constexpr std::uint64_t kPage = VMSRS_PAGE_BYTES;

// One machine for all histories, started anew for each: its memory is worth keeping.
Machine& fresh_machine() {
  static Machine machine(std::size_t{1} << 20);
  machine.restart();
  return machine;
}

World::Wrong unexpected(const char* what, vmsrs_status got, vmsrs_status wanted) {
  return std::string(what) + ": status " + std::to_string(got) + ", expected " +
         std::to_string(wanted);
}

}  // namespace

World::World(const History& history, Exercise& exercise)
    : machine_(fresh_machine()), exercise_(exercise), manager_(0x900000) {
  token_ = manager_.open().rdx;
  std::mt19937_64 random(history.seed ^ 0x5555);
  for (std::uint32_t i = 0; i < history.servers; ++i)
    (void)manager_.define(token_, "server" + std::to_string(i), secret_of(1),
                          history.tight ? (2 * history.regions[i].size() + 1) * kPage : 0, 0,
                          history.unprotected ? VMSRS_STORAGE_UNPROTECTED : VMSRS_STORAGE_REFUSE);
  empty_bytes_ = EngineProbe::pool().used_bytes();
  for (std::uint32_t i = 0; i < history.servers; ++i) {
    ServerState& server = servers_.emplace_back();
    for (std::uint32_t user = 0; user <= history.users; ++user)
      server.clients.emplace_back(0x100000 * (i + 1), 0x7f0000000000 + user * 0x1000);
    server.users.resize(history.users);
    (void)server.clients[0].attach("server" + std::to_string(i), secret_of(1), 100 + i);
    for (const std::uint32_t granule : history.regions[i]) {
      Memory& memory = *server.memory.emplace_back(std::make_unique<Memory>());
      for (std::uint8_t& byte : memory.bytes) byte = static_cast<std::uint8_t>(random());
      server.models.emplace_back(
          std::vector<std::uint8_t>(memory.bytes, memory.bytes + kRegionBytes));
      (void)server.clients[0].profile(memory.bytes, kRegionBytes, granule);
    }
  }
}

std::uint8_t World::byte_of(const Operation& operation, std::uint32_t i) {
  return static_cast<std::uint8_t>(operation.value >> (8 * (i % 8)));
}

Result World::retry(ServerState& server, std::uint32_t client, bool pure, Wrong& wrong,
                    std::uint64_t number, std::uint64_t rdi, std::uint64_t rsi, std::uint64_t rdx) {
  for (;;) {
    std::vector<Memory> before;
    for (const auto& memory : server.memory) before.push_back(*memory);
    const Result result = server.clients[client].call(number, rdi, rsi, rdx);
    const bool touch = result.status == VMSRS_TOUCH;
    const bool full = result.status == VMSRS_NO_STORAGE;
    exercise_.touches += touch;
    exercise_.full += full;
    for (std::size_t i = 0; pure && (touch || full) && i < before.size(); ++i)
      if (std::memcmp(before[i].bytes, server.memory[i]->bytes, kRegionBytes) != 0)
        wrong = "a refused call changed memory";
    if (!touch) return result;
    server.clients[client].memory.touch(result.rdx);
  }
}

World::Wrong World::perform(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  if (operation.fail_at > 0)
    for (Client& client : server.clients) client.memory.fail_at(operation.fail_at);
  Wrong wrong;
  switch (operation.kind) {
    case Kind::kBegin:
      wrong = begin(operation);
      break;
    case Kind::kEnd:
      wrong = end(operation);
      break;
    case Kind::kStore:
    case Kind::kStoreRange:
    case Kind::kFill:
      wrong = store(operation);
      break;
    case Kind::kLoad:
    case Kind::kLoadRange:
      wrong = load(operation);
      break;
    case Kind::kCrash:
      wrong = crash(operation);
      break;
    case Kind::kStuck:
      wrong = stuck(operation);
      break;
    case Kind::kCollect:
      wrong = collect(server, operation.user);
      break;
    case Kind::kForcedCollection:
      wrong = forced_collection(server, operation.server);
      break;
    default:
      wrong = check_everything();
      break;
  }
  exercise_.contended += EngineProbe::ledger(operation.server).contended_granules;
  return wrong ? wrong : compare(server);
}

World::Wrong World::begin(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  UserState& user = server.users[operation.user];
  const Result result = server.clients[operation.user].call(VMSRS_CALL_USER_BEGIN, operation.value);
  const bool at_end = user.open && user.depth == 0;
  const vmsrs_status wanted = at_end ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("begin", result.status, wanted);
  if (at_end) return {};
  if (!user.open) {
    user = UserState{true, false, 0, result.rdx, {}};
    for (Model& model : server.models) user.ids.push_back(model.begin());
  }
  if (result.rsi != ++user.depth) return "begin: wrong depth";
  return {};
}

World::Wrong World::end(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  UserState& user = server.users[operation.user];
  const Result result = server.clients[operation.user].call(VMSRS_CALL_USER_END);
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

World::Wrong World::crash(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  UserState& user = server.users[operation.user];
  Result result{VMSRS_TOUCH, 0, 0};
  while (result.status == VMSRS_TOUCH) result = server.clients[operation.user].crash();
  const vmsrs_status wanted = !user.open ? VMSRS_NO_USER : user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("crash", result.status, wanted);
  if (!user.open) return {};
  user.crashed = true;
  for (std::size_t i = 0; i < server.models.size(); ++i) server.models[i].crash(user.ids[i]);
  return {};
}

World::Wrong World::stuck(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  const UserState& user = server.users[operation.user];
  const Result result = server.clients[operation.user].call(VMSRS_CALL_USER_STUCK);
  const vmsrs_status wanted = !user.open      ? VMSRS_NO_USER
                              : !user.crashed ? VMSRS_WRONG_STATE
                                              : VMSRS_OK;
  if (result.status != wanted) return unexpected("stuck", result.status, wanted);
  return {};
}

World::Wrong World::collect(ServerState& server, std::uint32_t index) {
  UserState& user = server.users[index];
  Wrong wrong;
  const Result result = retry(server, index, false, wrong, VMSRS_CALL_USER_COLLECT);
  const vmsrs_status wanted = !user.open                        ? VMSRS_NO_USER
                              : !user.crashed || user.depth > 0 ? VMSRS_WRONG_STATE
                                                                : VMSRS_OK;
  if (result.status != wanted) return unexpected("collect", result.status, wanted);
  if (wanted == VMSRS_OK) user = UserState{};
  return wrong;
}

// Management asks, the service thread acts, management sees that nothing is left.
World::Wrong World::forced_collection(ServerState& server, std::uint32_t index) {
  const auto service = static_cast<std::uint32_t>(server.clients.size() - 1);
  Wrong wrong;
  for (;;) {
    const Result asked = manager_.call(VMSRS_CALL_MGMT_COLLECT, token_, index, ~0ull);
    if (asked.status == VMSRS_OK) break;
    ++exercise_.forced;
    if (asked.status != VMSRS_AGAIN) return unexpected("forced", asked.status, VMSRS_AGAIN);
    while (retry(server, service, false, wrong, VMSRS_CALL_SERVICE).status == VMSRS_AGAIN) {
    }
  }
  for (std::size_t i = 0; i < server.models.size() && !wrong; ++i)
    for (std::size_t at = 0; at < kRegionBytes; ++at)
      if (server.memory[i]->bytes[at] != server.models[i].value(at))
        return "forced collection left byte " + std::to_string(at) + " of a crashed user";
  return wrong;
}

World::Wrong World::store(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  const UserState& user = server.users[operation.user];
  const std::uint64_t to = address_of(server.memory[operation.region]->bytes + operation.at);
  std::uint8_t source[kRegionBytes];
  for (std::uint32_t i = 0; i < operation.bytes; ++i) source[i] = byte_of(operation, i);
  const bool fill = operation.kind == Kind::kFill;
  Wrong wrong;
  Result result;
  if (operation.kind == Kind::kStore)
    result = retry(server, operation.user, true, wrong, VMSRS_CALL_STORE, to, operation.value,
                   operation.bytes);
  else if (fill)
    result = retry(server, operation.user, true, wrong, VMSRS_CALL_FILL_RANGE, to, source[0],
                   operation.bytes);
  else
    result = retry(server, operation.user, true, wrong, VMSRS_CALL_STORE_RANGE, to,
                   address_of(source), operation.bytes);
  if (wrong || (user.open && !user.crashed && result.status == VMSRS_NO_STORAGE)) return wrong;
  const vmsrs_status wanted = !user.open ? VMSRS_NO_USER : user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("store", result.status, wanted);
  exercise_.suppressed += wanted == VMSRS_CRASHED;
  if (wanted != VMSRS_OK) return {};
  // An unprotected store is one of a user of its own, who finishes at once.
  Model& model = server.models[operation.region];
  const std::uint64_t unprotected = EngineProbe::counters(operation.server).unprotected_stores;
  const bool recorded = unprotected == server.unprotected_stores;
  const Model::UserId writer = recorded ? user.ids[operation.region] : model.begin();
  for (std::uint32_t i = 0; i < operation.bytes; ++i)
    model.store(writer, operation.at + i, fill ? source[0] : source[i]);
  if (!recorded) model.finish(writer);
  server.unprotected_stores = unprotected;
  return {};
}

World::Wrong World::load(const Operation& operation) {
  ServerState& server = servers_[operation.server];
  const UserState& user = server.users[operation.user];
  const std::uint8_t* const from = server.memory[operation.region]->bytes + operation.at;
  const bool word = operation.kind == Kind::kLoad;
  Wrong wrong;
  const Result result =
      retry(server, operation.user, true, wrong, word ? VMSRS_CALL_LOAD : VMSRS_CALL_LOAD_RANGE,
            address_of(from), operation.bytes);
  const vmsrs_status wanted = user.crashed ? VMSRS_CRASHED : VMSRS_OK;
  if (result.status != wanted) return unexpected("load", result.status, wanted);
  if (wrong || user.crashed) return wrong;
  const Model& model = server.models[operation.region];
  for (std::uint32_t i = 0; i < operation.bytes; ++i) {
    const std::uint8_t got = word ? static_cast<std::uint8_t>(result.rdx >> (8 * i)) : from[i];
    if (got != model.value(operation.at + i))
      return "load of byte " + std::to_string(operation.at + i) + " gave " + std::to_string(got) +
             ", the model says " + std::to_string(model.value(operation.at + i));
  }
  return {};
}

// Whatever is not waiting to be restored is in memory as the model says; in normal mode that is
// everything.
World::Wrong World::compare(const ServerState& server) const {
  for (std::size_t i = 0; i < server.models.size(); ++i)
    for (std::size_t at = 0; at < kRegionBytes; ++at)
      if (server.models[i].settled(at) && server.memory[i]->bytes[at] != server.models[i].value(at))
        return "byte " + std::to_string(at) + " of region " + std::to_string(i) + " is " +
               std::to_string(server.memory[i]->bytes[at]) + " in memory, the model says " +
               std::to_string(server.models[i].value(at));
  return {};
}

World::Wrong World::check_everything() {
  vmsrs_check_report report{};
  Result result{VMSRS_AGAIN, 0, 0};
  for (std::uint64_t anew = 1; result.status == VMSRS_AGAIN; anew = 0) {
    result = manager_.call(VMSRS_CALL_MGMT_CHECK, token_, anew, address_of(&report), sizeof report);
    Wrong wrong;
    for (ServerState& server : servers_)
      while (retry(server, static_cast<std::uint32_t>(server.clients.size() - 1), false, wrong,
                   VMSRS_CALL_SERVICE)
                 .status == VMSRS_AGAIN) {
      }
  }
  if (result.status != VMSRS_OK) return unexpected("check", result.status, VMSRS_OK);
  bool unprotected = false;
  for (const ServerState& server : servers_) unprotected |= server.unprotected_stores > 0;
  for (std::uint32_t i = 0; i < VMSRS_CHECK_COUNT; ++i)
    if (report.results[i].verdict !=
        (unprotected && i == VMSRS_CHECK_STORAGE ? VMSRS_VERDICT_UNPROTECTED : VMSRS_VERDICT_OK))
      return "invariant " + std::to_string(i) + " violated, detail " +
             std::to_string(report.results[i].detail);
  return {};
}

World::Wrong World::compare_mirror(std::uint32_t index) const {
  const ServerState& server = servers_[index];
  for (std::size_t i = 0; i < server.models.size(); ++i)
    for (std::size_t at = 0; at < kRegionBytes; ++at) {
      const std::uint8_t mirror = EngineProbe::ledger(index).regions[i].mirror[at];
      if (mirror != server.models[i].value(at) || mirror != server.memory[i]->bytes[at])
        return "after the end, byte " + std::to_string(at) + " differs in mirror or memory";
    }
  return {};
}

World::Wrong World::finish() {
  for (std::uint32_t index = 0; index < servers_.size(); ++index) {
    ServerState& server = servers_[index];
    for (std::uint32_t i = 0; i < server.users.size(); ++i) {
      while (server.users[i].open && server.users[i].depth > 0)
        if (auto wrong = end(Operation{Kind::kEnd, index, i, 0, 0, 0, 0, 0})) return wrong;
      if (server.users[i].open)
        if (auto wrong = collect(server, i)) return wrong;
    }
    if (auto wrong = compare_mirror(index)) return wrong;
    if ((EngineProbe::mode(index) & VMSRS_MODE_SUPPRESSION) != 0) return "still suppressing";
  }
  if (auto wrong = check_everything()) return wrong;
  for (std::uint32_t index = 0; index < servers_.size(); ++index) {
    const recovery::Counters& counters = EngineProbe::counters(index);
    exercise_.demand_restores += counters.demand_restores;
    exercise_.collect_restores += counters.collect_restores;
    exercise_.unprotected += counters.unprotected_stores;
    if (servers_[index].clients[0].call(VMSRS_CALL_DETACH).status != VMSRS_OK)
      return "detach refused";
  }
  if (EngineProbe::pool().used_bytes() != empty_bytes_) return "storage leaked";
  return {};
}

}  // namespace vmsrs::test
