// SPDX-License-Identifier: Apache-2.0
#include "recovery/engine.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint64_t kUnbound = ~0ull;  // no page frame's address

}  // namespace

Engine::Engine(Platform& platform, void* storage, std::size_t bytes)
    : platform_(platform), start_ns_(platform.now_ns()), events_(platform, start_ns_) {
  ready_ = pool_.initialise(platform, storage, bytes);
  for (std::atomic<std::uint64_t>& bound : bound_) bound = kUnbound;
  for (std::uint32_t i = 0; i < VMSRS_MAX_SERVERS; ++i)
    servers_[i].initialise(platform, pool_, events_, i);
}

Engine::Entry::~Entry() {
  if (server_ == nullptr) return;
  server_->finish_operation();
  server_->lock().release();
}

// The server at that place, locked, if the address space is bound there.
Server* Engine::try_enter(Place place, std::uint64_t address_space) {
  if (bound_[place].load(std::memory_order_acquire) != address_space) return nullptr;
  Server& server = server_of(place);
  server.lock().acquire(platform_);
  if (server.attached_from(address_space, process_of(place))) {
    server.enter(process_of(place));
    return &server;
  }
  server.lock().release();
  return nullptr;
}

Engine::Entry Engine::enter(std::uint64_t address_space) {
  std::atomic<Place>& hint = hints_[hint_for(address_space)];
  Server* server = try_enter(hint.load(std::memory_order_relaxed), address_space);
  for (Place place = 0; server == nullptr && place < kPlaces; ++place) {
    server = try_enter(place, address_space);
    if (server != nullptr) hint.store(place, std::memory_order_relaxed);
  }
  return Entry(server);
}

Engine::Entry Engine::enter_index(std::uint64_t index) {
  if (index >= server_count_.load(std::memory_order_acquire)) return Entry(nullptr);
  servers_[index].lock().acquire(platform_);
  return Entry(&servers_[index]);
}

Reply Engine::define(const vmsrs_server_definition& definition) {
  const LockGuard table(table_lock_, platform_);
  const std::uint32_t count = server_count_;
  std::uint32_t index = 0;
  while (index < count &&
         !equal_bytes(servers_[index].definition().name, definition.name, VMSRS_NAME_BYTES))
    ++index;
  if (index == VMSRS_MAX_SERVERS) return VMSRS_NO_SLOT;
  const LockGuard guard(servers_[index].lock(), platform_);
  const Reply reply = servers_[index].define(definition);
  if (reply.ok() && index == count) server_count_ = count + 1;
  return reply;
}

Engine::Place Engine::place_bound_to(std::uint64_t address_space) const {
  Place place = 0;
  while (place < kPlaces && bound_[place] != address_space) ++place;
  return place;
}

Reply Engine::reap_place(Place place, std::uint32_t steps) {
  Server& server = server_of(place);
  const LockGuard guard(server.lock(), platform_);
  const Reply reply = server.reap(process_of(place), steps);
  if (reply.ok()) bound_[place].store(kUnbound, std::memory_order_release);
  return reply;
}

Reply Engine::attach(const vmsrs_attach_request& request, const std::uint8_t* hash,
                     std::uint64_t address_space) {
  const LockGuard table(table_lock_, platform_);
  Server* server = nullptr;
  for (std::uint32_t i = 0; i < server_count_; ++i) {
    const vmsrs_server_definition& known = servers_[i].definition();
    const bool right = equal_secret(known.secret_hash, hash, VMSRS_HASH_BYTES);
    if (equal_bytes(known.name, request.name, VMSRS_NAME_BYTES) && right) server = &servers_[i];
  }
  if (server == nullptr) return VMSRS_DENIED;
  // A process attaches once. Another process with the same page-table root can only be there
  // because the one that was bound has died: Linux has given its root to a new one.
  if (const Place old = place_bound_to(address_space); old != kPlaces) {
    const std::uint32_t id = server_of(old).process_id(process_of(old));
    if (id == request.process_id && server_of(old).attached_from(address_space, process_of(old)))
      return VMSRS_BUSY;
    if (!reap_place(old).ok()) return VMSRS_AGAIN;
  }
  // A death that has been begun is gone on with, whoever began it.
  if (const std::uint32_t leaving = server->leaving_process(); leaving != Server::kNoProcess)
    if (!reap_place(place_of(*server, leaving)).ok()) return VMSRS_AGAIN;
  const LockGuard guard(server->lock(), platform_);
  const std::uint32_t process = server->free_process();
  if (process == Server::kNoProcess) return VMSRS_NO_SLOT;
  const Reply reply = server->attach(process, address_space, request.process_id);
  if (reply.ok())
    bound_[place_of(*server, process)].store(address_space, std::memory_order_release);
  return reply;
}

Reply Engine::detach(std::uint64_t address_space) {
  const LockGuard table(table_lock_, platform_);
  const Place place = place_bound_to(address_space);
  if (place == kPlaces) return VMSRS_NOT_ATTACHED;
  Server& server = server_of(place);
  const LockGuard guard(server.lock(), platform_);
  if (!server.attached_from(address_space, process_of(place))) return VMSRS_NOT_ATTACHED;
  const Reply reply = server.detach(process_of(place));
  if (reply.ok()) bound_[place].store(kUnbound, std::memory_order_release);
  return reply;
}

Reply Engine::reap(std::uint64_t index, std::uint64_t process_id, std::uint32_t steps) {
  const LockGuard table(table_lock_, platform_);
  if (index >= server_count_) return VMSRS_NOT_FOUND;
  const Server& server = servers_[index];
  const std::uint32_t process = process_id <= 0xffffffffu
                                    ? server.process_with_id(static_cast<std::uint32_t>(process_id))
                                    : Server::kNoProcess;
  if (process == Server::kNoProcess) return VMSRS_WRONG_STATE;
  return reap_place(place_of(server, process), steps);
}

Reply Engine::reap_address_space(std::uint64_t address_space) {
  const LockGuard table(table_lock_, platform_);
  const Place place = place_bound_to(address_space);
  if (place == kPlaces) return VMSRS_NOT_ATTACHED;
  while (!reap_place(place).ok()) {
  }
  return VMSRS_OK;
}

void Engine::reap_all_address_spaces() {
  const LockGuard table(table_lock_, platform_);
  for (Place place = 0; place < kPlaces; ++place)
    while (bound_[place] != kUnbound) (void)reap_place(place);
}

Reply Engine::scrub(std::uint64_t index, std::uint64_t bytes) {
  const std::uint32_t count = server_count_.load(std::memory_order_acquire);
  if (index != kEveryServer && index >= count) return VMSRS_NOT_FOUND;
  std::uint64_t left = 0;
  std::uint64_t restored = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (index != kEveryServer && index != i) continue;
    const LockGuard guard(servers_[i].lock(), platform_);
    servers_[i].request_scrub(bytes);
    left += servers_[i].scrub_left();
    restored += servers_[i].sweep_restores();
  }
  return {left > 0 ? VMSRS_AGAIN : VMSRS_OK, left, restored};
}

void Engine::note_denied(std::uint64_t call, vmsrs_status status, std::uint64_t address_space) {
  vmsrs_event denied{};
  denied.type = VMSRS_EVENT_DENIED;
  denied.server = VMSRS_EVENT_NO_SERVER;
  denied.slot = VMSRS_EVENT_NO_USER;
  denied.time_ns = platform_.now_ns();
  denied.call = static_cast<std::uint16_t>(call);
  denied.status = static_cast<std::uint16_t>(status);
  denied.count = 1;
  const Entry server = enter(address_space);
  if (server)
    server->tell_denied(denied);
  else
    events_.add_merged(denied);
}

void Engine::stats(vmsrs_stats& out, bool alive) {
  out = vmsrs_stats{};
  out.abi_version = VMSRS_ABI_VERSION;
  out.isolation = platform_.isolation();
  out.cpu_count = platform_.cpu_count();
  out.server_count = server_count_;
  out.uptime_ns = platform_.now_ns() - start_ns_;
  out.hidden_bytes = platform_.hidden_bytes();
  out.devices = platform_.devices();
  out.cycles_per_second = platform_.cycles_per_second();
  out.guest_start = platform_.guest_start();
  out.guest_watch = platform_.guest_watch();
  const HoldStatistics holds = platform_.holds();
  out.hold_count = holds.count;
  out.hold_cycles = holds.cycles;
  out.engine_abandoned = alive ? 0 : 1;
  out.storage_bytes = pool_.capacity_bytes();
  out.storage_used_bytes = alive ? pool_.used_bytes() : 0;
  out.hidden_access_count = platform_.hidden_access_count();
  out.window_write_count = platform_.window_write_count();
  const std::uint64_t lost = events_.lost_count();
  out.lost_event_count = lost < ~0u ? static_cast<std::uint32_t>(lost) : ~0u;
  for (std::uint32_t i = 0; i < out.server_count; ++i) {
    if (alive) servers_[i].lock().acquire(platform_);
    for (unsigned kind = 0; kind < VMSRS_FAULT_KIND_COUNT; ++kind)
      out.faults[kind] += servers_[i].faults()[kind];
    if (alive) servers_[i].lock().release();
  }
}

}  // namespace vmsrs::recovery
