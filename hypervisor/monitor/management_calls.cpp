// SPDX-License-Identifier: Apache-2.0
#include "monitor/instance.hpp"
#include "monitor/sha256.hpp"
#include "recovery/bytes.hpp"

// The management calls: from any privilege level, with a capability.
namespace vmsrs::monitor {
namespace {

using recovery::Reply;

// As many as there are; how many fit was looked at before.
template <typename Record>
Reply write_records(const Context& c, const OutBuffer& to, const Record* records,
                    std::uint64_t count) {
  if (count == 0) return VMSRS_OK;
  return to.write(*c.caller.memory, records, count * sizeof(Record));
}

bool is_secret(Monitor& monitor, const std::uint8_t (&hash)[kSha256Bytes]) {
  const recovery::LockGuard guard(monitor.secret_lock, monitor.platform);
  const bool right = recovery::equal_secret(hash, monitor.config.secret_hash, sizeof hash);
  return right && monitor.config.has_secret;
}

// Whoever asks has opened a channel, so there is a secret.
Reply change_secret(const Context& c) {
  struct {
    std::uint8_t bytes[kSha256Bytes];
  } hash;
  if (const Reply reply = copy_in(*c.caller.memory, c.registers.rsi, hash); !reply.ok())
    return reply;
  const recovery::LockGuard guard(c.monitor.secret_lock, c.monitor.platform);
  recovery::copy_bytes(c.monitor.config.secret_hash, hash.bytes, sizeof hash.bytes);
  return VMSRS_OK;
}

Reply open(const Context& c) {
  Throttle& throttle = c.monitor.management_throttle;
  const std::uint64_t space = c.caller.address_space;
  if (throttle.waits(space, c.monitor.platform)) return VMSRS_THROTTLED;
  const std::uint64_t wanted = c.registers.rsi;
  if (wanted == 0 || (wanted & ~std::uint64_t{VMSRS_OBSERVE | VMSRS_OPERATE}) != 0)
    return VMSRS_BAD_ARGUMENT;
  struct {
    std::uint8_t bytes[VMSRS_SECRET_BYTES];
  } secret;
  if (const Reply reply = copy_in(*c.caller.memory, c.registers.rdi, secret); !reply.ok())
    return reply;
  std::uint8_t hash[kSha256Bytes];
  sha256(secret.bytes, sizeof secret.bytes, hash);
  recovery::clear_bytes(&secret, sizeof secret);
  if (!is_secret(c.monitor, hash)) {
    throttle.failed(space, c.monitor.platform);
    return VMSRS_DENIED;
  }
  throttle.succeeded(space, c.monitor.platform);
  return {VMSRS_OK,
          c.monitor.tokens.open(space, static_cast<std::uint32_t>(wanted), c.monitor.platform)};
}

Reply close(const Context& c) {
  return c.monitor.tokens.close(c.registers.rdi, c.caller.address_space, c.monitor.platform)
             ? VMSRS_OK
             : VMSRS_DENIED;
}

Reply stats(const Context& c) {
  const OutBuffer to{c.registers.rsi, c.registers.rdx};
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof(vmsrs_stats)); !reply.ok())
    return reply;
  vmsrs_stats out;
  c.monitor.engine.stats(out, c.has_engine);
  out.denied_call_count = c.monitor.denied_calls.load(std::memory_order_relaxed);
  out.refused_call_count = c.monitor.refused_calls.load(std::memory_order_relaxed);
  return to.write(*c.caller.memory, &out, sizeof out);
}

Reply exits(const Context& c) {
  const OutBuffer to{c.registers.rdx, c.registers.r10};
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof(vmsrs_exits)); !reply.ok())
    return reply;
  if (c.registers.rsi >= c.monitor.platform.cpu_count()) return VMSRS_NOT_FOUND;
  vmsrs_exits out{};
  if (!c.monitor.platform.exits(static_cast<std::uint32_t>(c.registers.rsi), out))
    return VMSRS_NOT_FOUND;
  return to.write(*c.caller.memory, &out, sizeof out);
}

Reply log(const Context& c) {
  constexpr std::uint32_t kRoom = 16;  // of one call: what fits on the hypervisor's stack
  const OutBuffer to{c.registers.rdx, c.registers.r10};
  vmsrs_log_line out[kRoom];
  if (to.length < sizeof out[0]) return VMSRS_BAD_LENGTH;
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof out); !reply.ok()) return reply;
  const std::uint64_t fit = to.length / sizeof out[0];
  std::uint64_t cursor = c.registers.rsi;
  const std::uint32_t count = c.monitor.platform.log_lines(
      cursor, out, fit < kRoom ? static_cast<std::uint32_t>(fit) : kRoom);
  if (const Reply reply = write_records(c, to, out, count); !reply.ok()) return reply;
  return {VMSRS_OK, count, cursor};
}

Reply memory(const Context& c) {
  const OutBuffer to{c.registers.rsi, c.registers.rdx};
  vmsrs_memory_range out[VMSRS_MAX_MEMORY_RANGES];
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof out); !reply.ok()) return reply;
  const std::uint64_t fit = to.length / sizeof out[0];
  std::uint64_t count = c.monitor.platform.memory_ranges(out);
  if (count > fit) count = fit;
  if (const Reply reply = write_records(c, to, out, count); !reply.ok()) return reply;
  return {VMSRS_OK, count};
}

Reply guest_ends(const Context& c) {
  const OutBuffer to{c.registers.rdx, c.registers.r10};
  vmsrs_guest_end out[VMSRS_GUEST_ENDS_KEPT];
  if (to.length < sizeof out[0]) return VMSRS_BAD_LENGTH;
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof out); !reply.ok()) return reply;
  const std::uint64_t fit = to.length / sizeof out[0];
  std::uint64_t cursor = c.registers.rsi;
  const std::uint32_t count = c.monitor.platform.guest_ends(
      cursor, out,
      fit < VMSRS_GUEST_ENDS_KEPT ? static_cast<std::uint32_t>(fit) : VMSRS_GUEST_ENDS_KEPT);
  for (std::uint32_t i = 0; i < count; ++i) out[i].boot = c.monitor.engine.events().boot();
  if (const Reply reply = write_records(c, to, out, count); !reply.ok()) return reply;
  return {VMSRS_OK, count, cursor};
}

Reply events(const Context& c) {
  constexpr std::uint32_t kRoom = 16;  // of one call: what fits on the hypervisor's stack
  const OutBuffer to{c.registers.rdx, c.registers.r10};
  vmsrs_event out[kRoom];
  if (to.length < sizeof out[0]) return VMSRS_BAD_LENGTH;
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof out); !reply.ok()) return reply;
  const std::uint64_t fit = to.length / sizeof out[0];
  std::uint64_t cursor = c.registers.rsi;
  const std::uint32_t count = c.monitor.engine.events().read(
      cursor, out, fit < kRoom ? static_cast<std::uint32_t>(fit) : kRoom);
  if (const Reply reply = write_records(c, to, out, count); !reply.ok()) return reply;
  return {VMSRS_OK, count, cursor};
}

Reply acknowledge_events(const Context& c) {
  std::uint64_t left = 0;
  if (!c.monitor.engine.events().acknowledge(c.registers.rsi, left)) return VMSRS_BAD_ARGUMENT;
  return {VMSRS_OK, left};
}

Reply guest_cpu(const Context& c) {
  const OutBuffer to{c.registers.r10, c.registers.r8};
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof(vmsrs_guest_cpu)); !reply.ok())
    return reply;
  vmsrs_guest_cpu out{};
  const std::uint64_t cpu = c.registers.rdx;
  if (cpu >= c.monitor.platform.cpu_count() ||
      !c.monitor.platform.guest_end_cpu(c.registers.rsi, static_cast<std::uint32_t>(cpu), out))
    return VMSRS_NOT_FOUND;
  return to.write(*c.caller.memory, &out, sizeof out);
}

Reply announce_reset(const Context& c) {
  if (c.registers.rsi > 1) return VMSRS_BAD_ARGUMENT;
  return c.monitor.platform.announce_reset(c.registers.rsi == 1) ? VMSRS_OK : VMSRS_NOT_FOUND;
}

// One structure that tells of a server: tell(server, out) fills it.
template <typename Out, typename Tell>
Reply of_server(const Context& c, Tell tell) {
  const OutBuffer to{c.registers.rdx, c.registers.r10};
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof(Out)); !reply.ok()) return reply;
  Out out;
  {
    const recovery::Engine::Entry server = c.monitor.engine.enter_index(c.registers.rsi);
    if (!server) return VMSRS_NOT_FOUND;
    tell(*server.operator->(), out);
  }
  return to.write(*c.caller.memory, &out, sizeof out);
}

Reply server_info(const Context& c) {
  return of_server<vmsrs_server_info>(c, [](const auto& server, auto& out) { server.info(out); });
}

Reply work(const Context& c) {
  return of_server<vmsrs_server_work>(c, [](const auto& server, auto& out) { server.work(out); });
}

// Asks a server for a list whose buffer is at `to`; list(server, cursor, out, room) fills it.
template <typename Record, typename List>
Reply list_of_server(const Context& c, const OutBuffer& to, std::uint64_t cursor, List list) {
  constexpr std::uint32_t kRoom = 16;  // of one call: what fits on the hypervisor's stack
  Record out[kRoom];
  if (to.length < sizeof out[0]) return VMSRS_BAD_LENGTH;
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof out); !reply.ok()) return reply;
  const std::uint64_t fit = to.length / sizeof out[0];
  std::uint32_t count = 0;
  {
    const recovery::Engine::Entry server = c.monitor.engine.enter_index(c.registers.rsi);
    if (!server) return VMSRS_NOT_FOUND;
    count = list(*server.operator->(), cursor, out,
                 fit < kRoom ? static_cast<std::uint32_t>(fit) : kRoom);
  }
  if (const Reply reply = write_records(c, to, out, count); !reply.ok()) return reply;
  return {VMSRS_OK, count, cursor};
}

Reply users(const Context& c) {
  const CallRegisters& in = c.registers;
  return list_of_server<vmsrs_user_info>(
      c, {in.r10, in.r8}, in.rdx,
      [](recovery::Server& server, std::uint64_t& cursor, auto* out, std::uint32_t room) {
        return server.users(cursor, out, room);
      });
}

Reply regions(const Context& c) {
  const CallRegisters& in = c.registers;
  return list_of_server<vmsrs_region_info>(
      c, {in.r10, in.r8}, in.rdx,
      [](recovery::Server& server, std::uint64_t& cursor, auto* out, std::uint32_t room) {
        return server.regions(cursor, out, room);
      });
}

Reply region_map(const Context& c) {
  const CallRegisters& in = c.registers;
  if (in.r9 > 1) return VMSRS_BAD_ARGUMENT;
  const OutBuffer to{in.r10, in.r8};
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof(vmsrs_region_map)); !reply.ok())
    return reply;
  vmsrs_region_map out;
  vmsrs_status status;
  {
    const recovery::Engine::Entry server = c.monitor.engine.enter_index(in.rsi);
    if (!server) return VMSRS_NOT_FOUND;
    status = server->region_map(in.rdx, in.r9 == 1, out).status;
  }
  if (status != VMSRS_OK && status != VMSRS_AGAIN) return status;
  const Reply reply = to.write(*c.caller.memory, &out, sizeof out);
  return reply.ok() ? Reply{status, reply.first} : reply;
}

// What users have stored only who may operate sees.
Reply records(const Context& c, std::uint32_t capabilities) {
  const CallRegisters& in = c.registers;
  if (in.rdx >= VMSRS_MAX_REGIONS && in.rdx != VMSRS_EVERY_REGION) return VMSRS_NOT_FOUND;
  const bool values = (capabilities & VMSRS_OPERATE) != 0;
  return list_of_server<vmsrs_record_info>(
      c, {in.r8, in.r9}, in.r10,
      [&](recovery::Server& server, std::uint64_t& cursor, auto* out, std::uint32_t room) {
        return server.records(in.rdx, cursor, values, out, room);
      });
}

Reply label(const Context& c) {
  const CallRegisters& in = c.registers;
  const OutBuffer to{in.r8, in.r9};
  if (const Reply reply = to.prepare(*c.caller.memory, VMSRS_LABEL_BYTES); !reply.ok())
    return reply;
  recovery::UserLabel found;
  {
    const recovery::Engine::Entry server = c.monitor.engine.enter_index(in.rsi);
    if (!server) return VMSRS_NOT_FOUND;
    if (const Reply reply = server->label_of(in.rdx, in.r10, found); !reply.ok()) return reply;
  }
  return found.bytes == 0 ? Reply{VMSRS_OK, 0}
                          : to.write(*c.caller.memory, found.text, found.bytes);
}

Reply check_invariants(const Context& c) {
  if (c.registers.rsi > 1) return VMSRS_BAD_ARGUMENT;
  const OutBuffer to{c.registers.rdx, c.registers.r10};
  if (const Reply reply = to.prepare(*c.caller.memory, sizeof(vmsrs_check_report)); !reply.ok())
    return reply;
  vmsrs_check_report report;
  const vmsrs_status status = c.monitor.engine.check(c.registers.rsi == 1, report);
  if (status != VMSRS_OK && status != VMSRS_AGAIN) return status;
  const Reply reply = to.write(*c.caller.memory, &report, sizeof report);
  return reply.ok() ? Reply{status, reply.first} : reply;
}

Reply define(const Context& c) {
  vmsrs_server_definition definition;
  if (const Reply reply = copy_in(*c.caller.memory, c.registers.rsi, definition); !reply.ok())
    return reply;
  if (const vmsrs_status status = check(definition); status != VMSRS_OK) return status;
  return c.monitor.engine.define(definition);
}

Reply collect(const Context& c) {
  const recovery::Engine::Entry server = c.monitor.engine.enter_index(c.registers.rsi);
  return server ? server->request_collection(c.registers.rdx) : VMSRS_NOT_FOUND;
}

Reply suppress(const Context& c) {
  const CallRegisters& in = c.registers;
  const recovery::Engine::Entry server = c.monitor.engine.enter_index(in.rsi);
  if (!server) return VMSRS_NOT_FOUND;
  return server->user_suppress(in.rdx, in.r10, VMSRS_FAULT_OPERATOR).status;
}

Reply containment(const Context& c) {
  if (c.registers.rdx > VMSRS_SERVER_OFF) return VMSRS_BAD_ARGUMENT;
  const recovery::Engine::Entry server = c.monitor.engine.enter_index(c.registers.rsi);
  if (!server) return VMSRS_NOT_FOUND;
  server->set_containment(static_cast<vmsrs_server_containment>(c.registers.rdx));
  return VMSRS_OK;
}

Reply allowed_call(const Context& c, std::uint32_t capabilities) {
  switch (c.registers.rax) {
    case VMSRS_CALL_MGMT_STATS:
      return stats(c);
    case VMSRS_CALL_MGMT_EXITS:
      return exits(c);
    case VMSRS_CALL_MGMT_SERVER:
      return server_info(c);
    case VMSRS_CALL_MGMT_USERS:
      return users(c);
    case VMSRS_CALL_MGMT_CHECK:
      return check_invariants(c);
    case VMSRS_CALL_MGMT_LABEL:
      return label(c);
    case VMSRS_CALL_MGMT_LOG:
      return log(c);
    case VMSRS_CALL_MGMT_MEMORY:
      return memory(c);
    case VMSRS_CALL_MGMT_GUEST_ENDS:
      return guest_ends(c);
    case VMSRS_CALL_MGMT_GUEST_CPU:
      return guest_cpu(c);
    case VMSRS_CALL_MGMT_EVENTS:
      return events(c);
    case VMSRS_CALL_MGMT_REGIONS:
      return regions(c);
    case VMSRS_CALL_MGMT_REGION_MAP:
      return region_map(c);
    case VMSRS_CALL_MGMT_RECORDS:
      return records(c, capabilities);
    case VMSRS_CALL_MGMT_WORK:
      return work(c);
    case VMSRS_CALL_MGMT_DEFINE:
      return define(c);
    case VMSRS_CALL_MGMT_COLLECT:
      return collect(c);
    case VMSRS_CALL_MGMT_SCRUB:
      return c.monitor.engine.scrub(c.registers.rsi, c.registers.rdx);
    case VMSRS_CALL_MGMT_SUPPRESS:
      return suppress(c);
    case VMSRS_CALL_MGMT_CONTAINMENT:
      return containment(c);
    case VMSRS_CALL_MGMT_SECRET:
      return change_secret(c);
    case VMSRS_CALL_MGMT_ANNOUNCE_RESET:
      return announce_reset(c);
    case VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS:
      return acknowledge_events(c);
    default:  // the last one that needed_capability names
      return c.monitor.engine.reap(c.registers.rsi, c.registers.rdx);
  }
}

// 0: no such call.
std::uint32_t needed_capability(std::uint64_t call) {
  if (call >= VMSRS_CALL_MGMT_STATS && call <= VMSRS_CALL_MGMT_WORK) return VMSRS_OBSERVE;
  if (call >= VMSRS_CALL_MGMT_DEFINE && call <= VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS)
    return VMSRS_OPERATE;
  return 0;
}

}  // namespace

// Of the calls that need a capability: those that ask the platform alone.
bool needs_engine(std::uint64_t call) {
  switch (call) {
    case VMSRS_CALL_MGMT_STATS:
    case VMSRS_CALL_MGMT_EXITS:
    case VMSRS_CALL_MGMT_LOG:
    case VMSRS_CALL_MGMT_MEMORY:
    case VMSRS_CALL_MGMT_GUEST_ENDS:
    case VMSRS_CALL_MGMT_GUEST_CPU:
    case VMSRS_CALL_MGMT_ANNOUNCE_RESET:
      return false;
    default:
      return true;
  }
}

Reply management_call(const Context& c) {
  if (!c.has_engine && needs_engine(c.registers.rax)) return VMSRS_NO_ENGINE;
  if (c.registers.rax == VMSRS_CALL_MGMT_OPEN) return open(c);
  if (c.registers.rax == VMSRS_CALL_MGMT_CLOSE) return close(c);
  const std::uint32_t needed = needed_capability(c.registers.rax);
  if (needed == 0) return VMSRS_UNKNOWN_CALL;
  const std::uint64_t token = c.registers.rdi, space = c.caller.address_space;
  const std::uint32_t held = c.has_engine
                                 ? c.monitor.tokens.capabilities(token, space, c.monitor.platform)
                                 : c.monitor.tokens.last_capabilities(token, space);
  return (held & needed) != 0 ? allowed_call(c, held) : VMSRS_DENIED;
}

}  // namespace vmsrs::monitor
