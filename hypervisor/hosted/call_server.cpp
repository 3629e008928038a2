// SPDX-License-Identifier: Apache-2.0
#include "hosted/call_server.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "monitor/monitor.hpp"

namespace vmsrs::hosted {
namespace {

// No client's address: stands for a structure of this process's own while it makes a call itself.
constexpr std::uint64_t kOwnAddress = VMSRS_PAGE_BYTES;
constexpr std::uint64_t kMostUncounted = 64;  // the counters are shared by all: not each call
constexpr unsigned kMostSteps = 1u << 20;     // of a burial: depth, then pieces of collection

bool is_asked(std::uint32_t state) {
  return state == VMSRS_LANE_REQUEST || state == VMSRS_LANE_WAITING;
}

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
  return true;
}

std::uint64_t CallServer::take_freed_bytes() {
  const std::uint64_t bytes = freed_bytes_;
  freed_bytes_ = 0;
  return bytes;
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
  const std::uint64_t owner = lanes_.owner(number).thread;
  if (owner != 0 && request.thread == owner)
    answer(request);
  else
    request.registers.rax = VMSRS_LANE_NOT_YOURS;
  write_once(lane.call, static_cast<std::uint32_t>(request.registers.rax));
  write_once(lane.rdx, request.registers.rdx);
  write_once(lane.rsi, request.registers.rsi);
  const std::uint32_t before =
      __atomic_exchange_n(&lane.state, std::uint32_t{VMSRS_LANE_DONE}, __ATOMIC_ACQ_REL);
  if (before == VMSRS_LANE_WAITING) syscall(SYS_futex, &lane.state, FUTEX_WAKE, 1, nullptr);
}

// What the transport must know of a call besides carrying it: who attaches, and when a server's
// regions are gone.
void CallServer::answer(Request& request) {
  memory_.set_payload(request.payload_address, request.payload, VMSRS_LANE_PAYLOAD_BYTES);
  const std::uint64_t number = request.registers.rax;
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
  }
  if (number == VMSRS_CALL_DETACH) attached_ = false;
  if (number == VMSRS_CALL_DETACH || number == VMSRS_CALL_INIT_PROFILE)
    freed_bytes_ += memory_.remove_all();
}

void CallServer::call(Request& request) {
  const std::uint64_t begin = platform_.cycles();
  monitor::dispatch({address_space_, request.thread, 3, &memory_}, request.registers);
  uncounted_cycles_ += platform_.cycles() - begin;
  if (++uncounted_ >= kMostUncounted) count_calls();
}

void CallServer::count_calls() {
  if (uncounted_ == 0) return;
  platform_.count_calls(uncounted_, uncounted_cycles_);
  uncounted_ = uncounted_cycles_ = 0;
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
