// SPDX-License-Identifier: Apache-2.0
#include "monitor/instance.hpp"
#include "monitor/sha256.hpp"
#include "recovery/bytes.hpp"

// The calls of a server's guest library. Each decodes its arguments and hands over to the engine.
namespace vmsrs::monitor {
namespace {

using recovery::Reply;
using recovery::Server;
using recovery::Thread;

Reply attach(const Context& c) {
  Throttle& throttle = c.monitor.attach_throttle;
  const std::uint64_t space = c.caller.address_space;
  if (throttle.waits(space, c.monitor.platform)) return VMSRS_THROTTLED;
  vmsrs_attach_request request;
  if (const Reply reply = copy_in(*c.caller.memory, c.registers.rdi, request); !reply.ok())
    return reply;
  if (const vmsrs_status status = check(request); status != VMSRS_OK) return status;
  std::uint8_t hash[kSha256Bytes];
  sha256(request.secret, sizeof request.secret, hash);
  recovery::clear_bytes(request.secret, sizeof request.secret);
  const Reply reply = c.monitor.engine.attach(request, hash, space);
  if (reply.status == VMSRS_DENIED)
    throttle.failed(space, c.monitor.platform);
  else
    throttle.succeeded(space, c.monitor.platform);
  return reply;
}

// The decoded call, or the status for what is wrong with it.
template <typename Call, typename Operation>
Reply decoded(const CallRegisters& registers, Operation operation) {
  Call call;
  const vmsrs_status status = decode(registers, call);
  return status == VMSRS_OK ? operation(call) : Reply{status};
}

Reply user_crash(const Context& c, Server& server, Thread thread) {
  const CallRegisters& in = c.registers;
  const bool traced = (in.r9 & VMSRS_CRASH_TRACED) != 0;
  vmsrs_crash crash{};
  if (const Reply reply = traced ? copy_in(thread.memory, in.rdi, crash)
                                 : copy_in(thread.memory, in.rdi, crash.fault);
      !reply.ok())
    return reply;
  if (const vmsrs_status status = check(crash); status != VMSRS_OK) return status;
  constexpr std::uint64_t kFlags = VMSRS_CRASH_UNRESTORED | VMSRS_CRASH_TRACED;
  if ((in.r9 & ~kFlags) != 0) return VMSRS_BAD_ARGUMENT;
  const bool restores = (in.r9 & VMSRS_CRASH_UNRESTORED) == 0;
  return server.user_crash(crash, in.rsi, in.rdx, {in.r10, 0, in.r8}, restores, thread);
}

Reply user_label(const Context& c, Server& server, Thread thread) {
  std::uint8_t text[VMSRS_LABEL_BYTES];
  const std::uint64_t from = c.registers.rdi, bytes = c.registers.rsi;
  if (bytes > sizeof text) return VMSRS_BAD_LENGTH;
  if (bytes != 0) {
    if (const vmsrs_status status = check_range(from, bytes); status != VMSRS_OK) return status;
    const auto outcome = thread.memory.read(recovery::GuestVirtual{from}, text, bytes);
    if (!outcome) return recovery::reply_for(outcome);
  }
  return server.user_label(text, static_cast<std::uint32_t>(bytes), thread);
}

recovery::WantedRegion wanted_region(const ProfileCall& call) {
  return {call.address, call.bytes, call.granule, call.claims, call.eager};
}

Reply user_end(const Context& c, Server& server, Thread thread) {
  const CallRegisters& in = c.registers;
  const auto flags = static_cast<std::uint32_t>(in.rsi);
  if ((flags & ~(VMSRS_USER_KEEP | VMSRS_USER_UNWOUND)) != 0) return VMSRS_BAD_ARGUMENT;
  return server.user_end((flags & VMSRS_USER_KEEP) != 0, (flags & VMSRS_USER_UNWOUND) != 0,
                         {in.r10, in.rdx, in.r8},
                         {in.rdi, in.rsi >> VMSRS_HANDED_OVER_SHIFT, in.r9}, thread);
}

// Hands the name at `from` to the operation.
template <typename Operation>
Reply named(std::uint64_t from, Thread thread, Operation operation) {
  RegionNameBuffer name;
  if (const Reply reply = copy_in(thread.memory, from, name); !reply.ok()) return reply;
  const vmsrs_status status = check(name);
  return status == VMSRS_OK ? operation(name.text) : Reply{status};
}

Reply region_call(const Context& c, Server& server, Thread thread) {
  const CallRegisters& in = c.registers;
  switch (in.rax) {
    case VMSRS_CALL_INIT_PROFILE:
      return server.init_profile();
    case VMSRS_CALL_PROFILE:
      return decoded<ProfileCall>(
          in, [&](const ProfileCall& call) { return server.profile(wanted_region(call), thread); });
    case VMSRS_CALL_PROFILE_FILL:
      return server.profile_fill(in.rdi, in.rsi, thread);
    case VMSRS_CALL_UNPROFILE:
      return server.unprofile(in.rdi);
    case VMSRS_CALL_USER_AREAS:
      return decoded<UserAreasCall>(in, [&](const UserAreasCall& call) {
        return server.user_areas(call.address, call.bytes, thread);
      });
    case VMSRS_CALL_PROFILE_NAMED:
      return decoded<ProfileCall>(in, [&](const ProfileCall& call) {
        return named(in.r10, thread, [&](const Server::RegionName& name) {
          return server.profile_named(wanted_region(call), name, thread);
        });
      });
    case VMSRS_CALL_USER_AREAS_JOIN:
      return decoded<UserAreasCall>(in, [&](const UserAreasCall& call) {
        return server.user_areas_join(call.address, call.bytes, thread);
      });
    case VMSRS_CALL_WATCH_FAULTS:
      if (in.rdi > 1) return VMSRS_BAD_ARGUMENT;
      return server.watch_faults(in.rdi != 0, thread);
    case VMSRS_CALL_PROFILE_FIND:
      return named(in.rdi, thread,
                   [&](const Server::RegionName& name) { return server.profile_find(name); });
    case VMSRS_CALL_PROFILE_JOIN:
      return decoded<ProfileCall>(in, [&](const ProfileCall& call) {
        return named(in.r10, thread, [&](const Server::RegionName& name) {
          return server.profile_join(call.address, call.bytes, call.granule, call.claims, name,
                                     thread);
        });
      });
    case VMSRS_CALL_UNPROFILE_NAMED:
      return named(in.rdi, thread,
                   [&](const Server::RegionName& name) { return server.unprofile_named(name); });
    default:
      return VMSRS_UNKNOWN_CALL;
  }
}

Reply user_call(const Context& c, Server& server, Thread thread) {
  switch (c.registers.rax) {
    case VMSRS_CALL_USER_BEGIN:
      if ((c.registers.rsi & ~std::uint64_t{VMSRS_USER_READER}) != 0) return VMSRS_BAD_ARGUMENT;
      return server.user_begin(c.registers.rdi, c.registers.rsi != 0, thread);
    case VMSRS_CALL_USER_END:
      return user_end(c, server, thread);
    case VMSRS_CALL_USER_CRASH:
      return user_crash(c, server, thread);
    case VMSRS_CALL_USER_COLLECT:
      return server.user_collect(thread);
    case VMSRS_CALL_USER_STUCK:
      return server.user_stuck(thread);
    case VMSRS_CALL_USER_DECLARE:
      return server.user_suppress(c.registers.rdi, c.registers.rsi, VMSRS_FAULT_CHECK);
    case VMSRS_CALL_USER_DRAINED:
      return server.user_drained(c.registers.rdi, c.registers.rsi, thread);
    case VMSRS_CALL_USER_EXPOSED:
      return server.user_exposed(thread);
    case VMSRS_CALL_USER_ABANDON:
      return server.user_abandon(c.registers.rdi, c.registers.rsi);
    case VMSRS_CALL_USER_LABEL:
      return user_label(c, server, thread);
    case VMSRS_CALL_USER_SUSPEND:
      return server.user_suspend(c.registers.rdi, thread);
    case VMSRS_CALL_USER_RESUME:
      return server.user_resume(c.registers.rdi, c.registers.rsi, thread);
    case VMSRS_CALL_SERVICE:
      if (c.registers.rdi > VMSRS_MAX_RANGE_BYTES) return VMSRS_BAD_LENGTH;
      return server.service(c.registers.rdi, thread);
    case VMSRS_CALL_REPORT_HEAPS:
      if (c.registers.rdi > UINT32_MAX) return VMSRS_BAD_ARGUMENT;
      return server.report_heaps(c.registers.rdi);
    default:
      return region_call(c, server, thread);
  }
}

recovery::StoreHints hints_of(const CallRegisters& in) {
  const bool if_equal = in.rax == VMSRS_CALL_STORE && (in.r8 & VMSRS_STORE_IF_EQUAL) != 0;
  return {in.r10, (in.r8 & VMSRS_STORE_WRITE_SET_FULL) != 0, if_equal, in.r9};
}

Reply memory_call(const Context& c, Server& server, Thread thread) {
  const CallRegisters& in = c.registers;
  switch (in.rax) {
    case VMSRS_CALL_STORE:
      return decoded<StoreCall>(in, [&](const StoreCall& call) {
        return server.store(call.address, call.value, call.bytes, hints_of(in), thread);
      });
    case VMSRS_CALL_STORE_RANGE:
      return decoded<StoreRangeCall>(in, [&](const StoreRangeCall& call) {
        return server.store_range(call.to, call.from, call.bytes, hints_of(in), thread);
      });
    case VMSRS_CALL_FILL_RANGE:
      return decoded<FillRangeCall>(in, [&](const FillRangeCall& call) {
        return server.fill_range(call.to, call.value, call.bytes, hints_of(in), thread);
      });
    case VMSRS_CALL_LOAD:
      return decoded<LoadCall>(
          in, [&](const LoadCall& call) { return server.load(call.address, call.bytes, thread); });
    case VMSRS_CALL_LOAD_SAMPLED:
      return decoded<LoadCall>(in, [&](const LoadCall& call) {
        return server.load_sampled(call.address, call.bytes, thread);
      });
    case VMSRS_CALL_LOAD_RANGE:
      return decoded<LoadRangeCall>(in, [&](const LoadRangeCall& call) {
        return server.load_range(call.address, call.bytes, thread);
      });
    case VMSRS_CALL_LOAD_COMMITTED:
      return decoded<LoadCommittedCall>(in, [&](const LoadCommittedCall& call) {
        return server.load_committed(call.from, call.to, call.bytes, thread);
      });
    default:
      return user_call(c, server, thread);
  }
}

bool known(std::uint64_t call) {
  return (call >= VMSRS_CALL_ATTACH && call <= VMSRS_CALL_WATCH_FAULTS) ||
         (call >= VMSRS_CALL_USER_BEGIN && call <= VMSRS_CALL_USER_RESUME) ||
         (call >= VMSRS_CALL_STORE && call <= VMSRS_CALL_LOAD_SAMPLED) ||
         call == VMSRS_CALL_SERVICE || call == VMSRS_CALL_REPORT_HEAPS;
}

}  // namespace

Reply library_call(const Context& c) {
  const std::uint64_t call = c.registers.rax;
  if (!known(call)) return VMSRS_UNKNOWN_CALL;
  if (c.caller.privilege_level != 3) return VMSRS_DENIED;
  if (call == VMSRS_CALL_ATTACH) return attach(c);
  if (call == VMSRS_CALL_DETACH) return c.monitor.engine.detach(c.caller.address_space);
  const recovery::Engine::Entry server = c.monitor.engine.enter(c.caller.address_space);
  if (!server) return VMSRS_NOT_ATTACHED;
  server->count_call(call - VMSRS_CALL_ATTACH);
  return memory_call(c, *server.operator->(), server->thread(c.caller.thread, *c.caller.memory));
}

}  // namespace vmsrs::monitor
