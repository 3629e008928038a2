// SPDX-License-Identifier: Apache-2.0
#include "hosted/lane_call.hpp"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hosted/staging.hpp"

namespace vmsrs::hosted {
namespace {

// A pause takes 10 to 150 cycles: the shortest spin is about as long as going to sleep and being
// woken takes, so that whoever sleeps has at most doubled its wait; the longest, some ten times
// that.
constexpr SpinBudget kMostPauses = 1024;
constexpr SpinBudget kFewestPauses = 128;
constexpr int kFirstLooks = 20;  // what a peer that is awake needs
constexpr long kWaitNs = 50'000'000;

// One instruction whatever the length: a wild source is one fault of the caller's.
void copy(void* to, const void* from, std::size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

std::uint32_t state_of(const vmsrs_lane& lane) {
  return __atomic_load_n(&lane.state, __ATOMIC_ACQUIRE);
}
bool is_pending(std::uint32_t state) { return state == VMSRS_LANE_REQUEST; }

std::uint8_t& waits_of(const Link& link, const vmsrs_lane& lane) {
  return link.head->waits[&lane - link.lanes];
}

void ring(const Link& link) {
  __atomic_store_n(&link.head->asleep, 0u, __ATOMIC_RELAXED);
  const std::uint64_t one = 1;
  const int saved_errno = errno;
  if (write(link.doorbell, &one, sizeof one) < 0) errno = saved_errno;  // then it is ringing
  errno = saved_errno;
}

bool spin(const vmsrs_lane& lane, SpinBudget& budget) {
  // A pause between looks: each look takes the line away from the side that is filling it.
  for (int i = 0; i < kFirstLooks; ++i) {
    __builtin_ia32_pause();
    if (!is_pending(state_of(lane))) return true;
  }
  if (budget == 0 || budget > kMostPauses) budget = kMostPauses;
  for (SpinBudget i = 0; i < budget; ++i) {
    if (!is_pending(state_of(lane))) {
      if (budget < kMostPauses) budget *= 2;
      return true;
    }
    __builtin_ia32_pause();
  }
  if (budget > kFewestPauses) budget /= 2;
  return false;
}

// Sleeps until the answer is there. False: nobody will give one.
bool sleep_until_answered(const Link& link, vmsrs_lane& lane) {
  const int saved_errno = errno;
  bool answered = true;
  std::uint8_t& waits = waits_of(link, lane);
  // A full barrier, as on the other side between DONE and its look at this word: one of the two
  // sees the other.
  __atomic_exchange_n(&waits, std::uint8_t{1}, __ATOMIC_SEQ_CST);
  while (is_pending(state_of(lane))) {
    const timespec patience = {0, kWaitNs};
    if (syscall(SYS_futex, &lane.state, FUTEX_WAIT, VMSRS_LANE_REQUEST, &patience, nullptr, 0) ==
            0 ||
        errno != ETIMEDOUT)
      continue;
    // Late: somebody may have written over the word that says whether it must be woken.
    answered = link_is_up(link);
    if (!answered) break;
    __atomic_store_n(&waits, std::uint8_t{1}, __ATOMIC_RELAXED);
    ring(link);
  }
  __atomic_store_n(&waits, std::uint8_t{0}, __ATOMIC_RELAXED);
  errno = saved_errno;
  return answered;
}

bool await(const Link& link, vmsrs_lane& lane, SpinBudget& budget) {
  return spin(lane, budget) || sleep_until_answered(link, lane);
}

void send_request(const Link& link, vmsrs_lane& lane, std::uint64_t thread, std::uint16_t turn,
                  const Registers& registers) {
  lane.call = static_cast<std::uint16_t>(registers.rax);
  lane.turn = turn;
  lane.thread = thread;
  lane.rdi = registers.rdi;
  lane.rsi = registers.rsi;
  lane.rdx = registers.rdx;
  lane.r10 = registers.r10;
  lane.r8 = registers.r8;
  lane.r9 = registers.r9;
  __atomic_store_n(&lane.state, VMSRS_LANE_REQUEST, __ATOMIC_RELEASE);
  // A full barrier: the other side sets `asleep` and then looks at the lanes once more, this side
  // fills the lane and then looks at `asleep`. One of the two sees the other. It is not an exchange
  // of the state, which would wait for the line after the other side may have begun to answer.
  vmsrs_full_barrier();
  if (__atomic_load_n(&link.head->asleep, __ATOMIC_RELAXED) != 0) [[unlikely]]
    ring(link);
}

void copy_out(const Buffer& buffer, std::uint64_t to, const std::byte* from,
              const Registers& answer) {
  const bool filled = answer.rax == VMSRS_OK || answer.rax == VMSRS_AGAIN;
  if (buffer.kind != Buffer::Kind::kOut || !filled) return;
  const std::uint64_t most = buffer.bytes / buffer.answer_unit;
  const std::uint64_t units = answer.rdx < most ? answer.rdx : most;
  copy(reinterpret_cast<void*>(to), from, units * buffer.answer_unit);
}

}  // namespace

LaneResult call_on_lane(const Link& link, std::uint32_t lane_number, std::uint64_t thread,
                        Registers& registers, SpinBudget& budget) {
  vmsrs_lane& lane = link.lanes[lane_number];
  // A call that was abandoned (its thread was unwound out of it) may still be under way.
  if (is_pending(state_of(lane)) && !await(link, lane, budget)) return LaneResult::kGone;
  std::uint8_t& waits = waits_of(link, lane);
  if (__atomic_load_n(&waits, __ATOMIC_RELAXED) != 0) [[unlikely]]  // of an abandoned call
    __atomic_store_n(&waits, std::uint8_t{0}, __ATOMIC_RELAXED);
  const Buffer buffer = buffer_of(registers);
  Registers request = registers;
  if (buffer.kind != Buffer::Kind::kNone) {
    std::byte* const payload = link.payload(lane_number);
    const std::uint64_t address = registers.*buffer.pointer;
    if (buffer.kind == Buffer::Kind::kIn)
      copy(payload, reinterpret_cast<const void*>(address), buffer.bytes);
    request.*buffer.pointer = reinterpret_cast<std::uint64_t>(payload);
    if (request.rax == VMSRS_CALL_MGMT_USERS || request.rax == VMSRS_CALL_MGMT_GUEST_CPU ||
        request.rax == VMSRS_CALL_MGMT_REGIONS || request.rax == VMSRS_CALL_MGMT_REGION_MAP)
      request.r8 = buffer.bytes;
    else if (request.rax == VMSRS_CALL_MGMT_STATS || request.rax == VMSRS_CALL_MGMT_MEMORY)
      request.rdx = buffer.bytes;
    else if (request.rax == VMSRS_CALL_MGMT_LABEL || request.rax == VMSRS_CALL_MGMT_RECORDS)
      request.r9 = buffer.bytes;
    else if (buffer.kind == Buffer::Kind::kOut)
      request.r10 = buffer.bytes;
  }
  std::uint16_t turn = lane.turn, status;
  for (;;) {
    send_request(link, lane, thread, turn, request);
    if (!await(link, lane, budget)) return LaneResult::kGone;
    if (state_of(lane) == VMSRS_LANE_DONE) {
      status = lane.call;
      if (status != VMSRS_LANE_OUT_OF_TURN) break;
      turn = lane.turn;
    }
    // Somebody has written over the lane. Ask again, the same call unless it was none of the
    // lane's.
    if (!link_is_up(link)) return LaneResult::kGone;
  }
  if (status == VMSRS_LANE_NOT_YOURS) return LaneResult::kNotYours;
  Registers answer = request;
  answer.rax = status;
  answer.rdx = lane.rdx;
  answer.rsi = lane.rsi;
  if (buffer.kind != Buffer::Kind::kNone)
    copy_out(buffer, registers.*buffer.pointer, link.payload(lane_number), answer);
  registers.rax = answer.rax;
  // Where a call gives no result the registers keep their values, and a staged address is not one.
  registers.rdx = answer.rdx == request.rdx ? registers.rdx : answer.rdx;
  registers.rsi = answer.rsi == request.rsi ? registers.rsi : answer.rsi;
  return LaneResult::kAnswered;
}

}  // namespace vmsrs::hosted
