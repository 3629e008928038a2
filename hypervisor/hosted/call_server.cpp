// SPDX-License-Identifier: Apache-2.0
#include "hosted/call_server.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vmsrs/claims.h>

#include <cstring>

namespace vmsrs::hosted {
namespace {

// No client's address: stands for a structure of this process's own while it makes a call itself.
constexpr std::uint64_t kOwnAddress = VMSRS_PAGE_BYTES;
constexpr std::uint64_t kMostUncounted = 64;  // the counters are shared by all: not each call
// Reading the counter of cycles twice takes a tenth of a short call: one call in so many is timed.
constexpr std::uint64_t kTimedOneIn = 8;
constexpr std::uint64_t kServedBytes = 8192;  // swept at a time, so that calls need not wait long
constexpr unsigned kMostSteps = 1u << 20;     // of a burial: depth, then pieces of collection

bool is_asked(std::uint32_t state) { return state == VMSRS_LANE_REQUEST; }

template <typename T>
T read_once(const T& shared) {
  return __atomic_load_n(&shared, __ATOMIC_RELAXED);
}

template <typename T>
void write_once(T& shared, std::type_identity_t<T> value) {
  __atomic_store_n(&shared, value, __ATOMIC_RELAXED);
}

}  // namespace

struct CallServer::Request {
  std::uint64_t thread;
  monitor::CallRegisters registers;
  std::uint64_t payload_address;
  std::byte* payload;
};

bool CallServer::open(std::uint32_t lane_count) {
  area_ = SharedMemory::create("vmsrs-calls", VMSRS_AREA_BYTES(lane_count), ClientMay::kWrite);
  if (!area_.valid()) return false;
  payloads_offset_ = VMSRS_AREA_PAYLOADS_OFFSET(lane_count);
  lane_array_ = reinterpret_cast<vmsrs_lane*>(area_.data() + VMSRS_AREA_LANES_OFFSET);
  payloads_ = area_.data() + payloads_offset_;
  lanes_.initialise(lane_count);
  answered_.assign(lane_count, Answered{});
  return true;
}

unsigned CallServer::serve_all() {
  unsigned served = 0;
  for (const std::uint32_t lane : lanes_.in_use()) {
    if (!is_asked(__atomic_load_n(&lane_array_[lane].state, __ATOMIC_ACQUIRE))) continue;
    serve(lane);
    ++served;
  }
  return served;
}

bool CallServer::serve_server() {
  if (!attached_) return false;
  vmsrs_status_page& status = platform_.window(server_)->status;
  // Of several processes each reaches the regions that it has, and their own threads must see to
  // it: from here each would ask again and again for what only another one can do.
  if (read_once(status.processes) != 0) return false;
  const std::uint64_t request = read_once(status.service_request);
  if (request == service_done_) return false;
  monitor::CallRegisters call{VMSRS_CALL_SERVICE, kServedBytes, 0, 0, 0, 0, 0};
  constexpr std::uint64_t kNoThread = 0;
  monitor::dispatch({address_space_, kNoThread, 3, &memory_}, call);
  const bool taken = call.rax == VMSRS_OK || call.rax == VMSRS_AGAIN;
  write_once(status.service_taken, taken ? request : 0);
  if (call.rax != VMSRS_AGAIN) service_done_ = request;
  return true;
}

void CallServer::refuse_strays() {
  for (std::uint32_t lane = 0; lane < lanes_.count(); ++lane)
    if (lanes_.owner(lane).thread == 0 &&
        is_asked(__atomic_load_n(&lane_array_[lane].state, __ATOMIC_ACQUIRE)))
      serve(lane);
}

void CallServer::serve(std::uint32_t number) {
  vmsrs_lane& lane = lane_array_[number];
  const std::uint64_t offset = std::uint64_t{number} * VMSRS_LANE_PAYLOAD_BYTES;
  Request request{
      read_once(lane.thread),
      {read_once(lane.call), read_once(lane.rdi), read_once(lane.rsi), read_once(lane.rdx),
       read_once(lane.r10), read_once(lane.r8), read_once(lane.r9)},
      client_base_ + payloads_offset_ + offset,
      payloads_ + offset};
  // What a user hands over comes while the call finds its way to where it is read.
  if (request.registers.rax == VMSRS_CALL_USER_END) __builtin_prefetch(request.payload);
  const std::uint64_t owner = lanes_.owner(number).thread;
  Answered& last = answered_[number];
  if (owner != 0 && request.thread == owner)
    serve_in_turn(last, read_once(lane.turn), request);
  else
    request.registers.rax = VMSRS_LANE_NOT_YOURS;
  write_once(lane.call, static_cast<std::uint16_t>(request.registers.rax));
  write_once(lane.turn, last.next_turn);
  write_once(lane.rdx, request.registers.rdx);
  write_once(lane.rsi, request.registers.rsi);
  __atomic_store_n(&lane.state, VMSRS_LANE_DONE, __ATOMIC_RELEASE);
  // Plain stores and then a barrier, not an exchange of the state: that would fetch the lane's line
  // only when the lines of all stores before it are there.
  vmsrs_full_barrier();
  if (read_once(head().waits[number]) != 0) [[unlikely]]
    syscall(SYS_futex, &lane.state, FUTEX_WAKE, 1, nullptr);
}

// Each call once: a lane may be written over when its answer stands in it, and then its client asks
// again.
void CallServer::serve_in_turn(Answered& last, std::uint16_t turn, Request& request) {
  const monitor::CallRegisters asked = request.registers;
  if (turn == last.next_turn) {
    answer(request);
    last = {request.thread, static_cast<std::uint16_t>(turn + 1), asked, request.registers};
  } else if (static_cast<std::uint16_t>(turn + 1) == last.next_turn &&
             request.thread == last.thread && asked == last.asked) {
    request.registers = last.answer;
  } else {
    request.registers.rax = VMSRS_LANE_OUT_OF_TURN;
  }
}

// Where other processes of the server find what this one has made a region, or the users' areas.
void CallServer::note_places(const Request& asked, std::uint64_t region) {
  const monitor::CallRegisters& in = asked.registers;
  const auto note = [&](vmsrs_hosted_part part, std::uint64_t number, std::uint64_t address,
                        std::uint64_t bytes) {
    places_.note(server_, number, part, memory_.place_of(address, bytes));
  };
  if (in.rax == VMSRS_CALL_USER_AREAS) {
    note(VMSRS_HOSTED_AREAS, 0, in.rdi, VMSRS_MAX_USERS * in.rsi);
  } else if (in.rax == VMSRS_CALL_PROFILE || in.rax == VMSRS_CALL_PROFILE_NAMED) {
    note(VMSRS_HOSTED_BYTES, region, in.rdi, in.rsi);
    note(VMSRS_HOSTED_CLAIMS, region, in.r8, in.rsi / in.rdx * sizeof(vmsrs_claim));
  }
}

// What the transport must know of a call besides carrying it: who attaches, where regions lie, and
// when a process's regions are gone.
void CallServer::answer(Request& request) {
  memory_.set_payload(request.payload_address, request.payload, VMSRS_LANE_PAYLOAD_BYTES);
  const Request asked = request;
  const std::uint64_t number = asked.registers.rax;
  vmsrs_attach_request attach;
  if (number == VMSRS_CALL_ATTACH &&
      memory_.read(recovery::GuestVirtual{request.registers.rdi}, &attach, sizeof attach)) {
    // The process is the one that the kernel names, whatever it calls itself.
    attach.process_id = process_id_;
    memory_.set_payload(kOwnAddress, reinterpret_cast<std::byte*>(&attach), sizeof attach);
    request.registers.rdi = kOwnAddress;
  }
  call(request);
  if (number == VMSRS_CALL_ATTACH) explicit_bzero(&attach, sizeof attach);
  if (request.registers.rax != VMSRS_OK) return;
  if (number == VMSRS_CALL_ATTACH) {
    attached_ = true;
    server_ = static_cast<std::uint32_t>(request.registers.rdx);
    service_done_ = read_once(platform_.window(server_)->status.service_request);
  }
  note_places(asked, request.registers.rdx);
  if (number == VMSRS_CALL_DETACH) attached_ = false;
  if (number == VMSRS_CALL_DETACH || number == VMSRS_CALL_INIT_PROFILE) memory_.remove_all();
}

void CallServer::call(Request& request) {
  const bool timed = uncounted_ % kTimedOneIn == 0;
  const std::uint64_t begin = timed ? platform_.cycles() : 0;
  monitor::dispatch({address_space_, request.thread, 3, &memory_}, request.registers);
  if (timed) timed_cycles_ += platform_.cycles() - begin;
  if (++uncounted_ >= kMostUncounted) count_calls();
}

void CallServer::count_calls() {
  if (uncounted_ == 0) return;
  const std::uint64_t timed = (uncounted_ + kTimedOneIn - 1) / kTimedOneIn;
  platform_.count_calls(uncounted_, timed_cycles_ * uncounted_ / timed);
  uncounted_ = timed_cycles_ = 0;
}

void CallServer::bury(std::uint64_t thread) {
  if (monitor::end_thread({address_space_, thread, 3, &memory_})) return;
  vmsrs_fault fault{VMSRS_FAULT_ABORT, lanes_.thread_id_of(thread), 0, 0};
  memory_.set_payload(kOwnAddress, reinterpret_cast<std::byte*>(&fault), sizeof fault);
  const auto step = [&](vmsrs_call number, std::uint64_t rdi) {
    Request request{thread, {number, rdi, 0, 0, 0, 0, 0}, 0, nullptr};
    call(request);
    return request.registers;
  };
  std::uint64_t crash = VMSRS_AGAIN;
  for (unsigned i = 0; i < kMostSteps && crash == VMSRS_AGAIN; ++i)
    crash = step(VMSRS_CALL_USER_CRASH, kOwnAddress).rax;
  if (crash != VMSRS_OK && crash != VMSRS_CRASHED) return;
  for (unsigned i = 0; i < kMostSteps; ++i) {
    const monitor::CallRegisters end = step(VMSRS_CALL_USER_END, 0);
    if (end.rax != VMSRS_CRASHED || end.rdx == 0) break;
  }
  for (unsigned i = 0; i < kMostSteps; ++i)
    if (step(VMSRS_CALL_USER_COLLECT, 0).rax != VMSRS_AGAIN) break;
}

}  // namespace vmsrs::hosted
