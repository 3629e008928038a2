// SPDX-License-Identifier: Apache-2.0
#include "recovery/engine.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint64_t kUnbound = ~0ull;  // no page frame's address

}  // namespace

Engine::Engine(Platform& platform, void* storage, std::size_t bytes)
    : platform_(platform), start_ns_(platform.now_ns()) {
  ready_ = pool_.initialise(platform, storage, bytes);
  for (std::uint32_t i = 0; i < VMSRS_MAX_SERVERS; ++i) {
    bound_[i] = kUnbound;
    servers_[i].initialise(platform, pool_, i);
  }
}

Engine::Entry::Entry(Engine&, Server* server) : server_(server) {}

Engine::Entry::~Entry() {
  if (server_ == nullptr) return;
  server_->finish_operation();
  server_->lock().release();
}

Engine::Entry Engine::enter(std::uint64_t address_space) {
  for (std::uint32_t i = 0; i < VMSRS_MAX_SERVERS; ++i) {
    if (bound_[i].load(std::memory_order_acquire) != address_space) continue;
    Server& server = servers_[i];
    server.lock().acquire(platform_);
    if (server.attached_from(address_space)) return Entry(*this, &server);
    server.lock().release();
  }
  return Entry(*this, nullptr);
}

Engine::Entry Engine::enter_index(std::uint64_t index) {
  if (index >= server_count_.load(std::memory_order_acquire)) return Entry(*this, nullptr);
  servers_[index].lock().acquire(platform_);
  return Entry(*this, &servers_[index]);
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

Server* Engine::bound_to(std::uint64_t address_space) {
  for (std::uint32_t i = 0; i < VMSRS_MAX_SERVERS; ++i)
    if (bound_[i] == address_space) return &servers_[i];
  return nullptr;
}

void Engine::bind(std::uint32_t index, std::uint64_t address_space) {
  bound_[index].store(address_space, std::memory_order_release);
}

void Engine::reap_locked(Server& server) {
  const LockGuard guard(server.lock(), platform_);
  bind(static_cast<std::uint32_t>(&server - servers_), kUnbound);
  server.reap();
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
  if (Server* const old = bound_to(address_space)) {
    if (old->process_id() == request.process_id) return VMSRS_BUSY;
    reap_locked(*old);
  }
  if (server->attached()) return VMSRS_BUSY;
  const LockGuard guard(server->lock(), platform_);
  const Reply reply = server->attach(address_space, request.process_id);
  if (reply.ok()) bind(static_cast<std::uint32_t>(server - servers_), address_space);
  return reply;
}

Reply Engine::detach(std::uint64_t address_space) {
  const LockGuard table(table_lock_, platform_);
  Server* const server = bound_to(address_space);
  if (server == nullptr) return VMSRS_NOT_ATTACHED;
  const LockGuard guard(server->lock(), platform_);
  const Reply reply = server->detach();
  if (reply.ok()) bind(static_cast<std::uint32_t>(server - servers_), kUnbound);
  return reply;
}

Reply Engine::reap(std::uint64_t index, std::uint64_t process_id) {
  const LockGuard table(table_lock_, platform_);
  if (index >= server_count_) return VMSRS_NOT_FOUND;
  Server& server = servers_[index];
  if (!server.attached() || server.process_id() != process_id) return VMSRS_WRONG_STATE;
  reap_locked(server);
  return VMSRS_OK;
}

Reply Engine::reap_address_space(std::uint64_t address_space) {
  const LockGuard table(table_lock_, platform_);
  Server* const server = bound_to(address_space);
  if (server == nullptr) return VMSRS_NOT_ATTACHED;
  reap_locked(*server);
  return VMSRS_OK;
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

void Engine::stats(vmsrs_stats& out) {
  out = vmsrs_stats{};
  out.abi_version = VMSRS_ABI_VERSION;
  out.isolation = platform_.isolation();
  out.cpu_count = platform_.cpu_count();
  out.server_count = server_count_;
  out.uptime_ns = platform_.now_ns() - start_ns_;
  out.hidden_bytes = platform_.hidden_bytes();
  out.storage_bytes = pool_.capacity_bytes();
  out.storage_used_bytes = pool_.used_bytes();
  out.hidden_access_count = platform_.hidden_access_count();
  out.window_write_count = platform_.window_write_count();
  for (std::uint32_t i = 0; i < out.server_count; ++i) {
    const LockGuard guard(servers_[i].lock(), platform_);
    for (unsigned kind = 0; kind < VMSRS_FAULT_KIND_COUNT; ++kind)
      out.faults[kind] += servers_[i].faults()[kind];
  }
}

}  // namespace vmsrs::recovery
