// SPDX-License-Identifier: Apache-2.0
#include "shared_ring.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace vmsrs::test {

SharedRing* SharedRing::at(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 || ::ftruncate(descriptor, sizeof(SharedRing)) != 0) return nullptr;
  void* const memory =
      ::mmap(nullptr, sizeof(SharedRing), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  ::close(descriptor);
  return memory == MAP_FAILED ? nullptr : static_cast<SharedRing*>(memory);
}

bool SharedRing::add_next() {
  const std::uint64_t next = newest.load() + 1;
  if (next - acknowledged.load() > VMSRS_EVENTS_KEPT) return false;
  records[next % VMSRS_EVENTS_KEPT] = event_number(next);
  newest.store(next);
  return true;
}

vmsrs_event event_number(std::uint64_t n) {
  vmsrs_event event{};
  event.sequence = n;
  event.boot = 0x1234567890abcdef;
  event.time_ns = n * 1000003;
  event.duration_ns = n * 17;
  event.type = static_cast<std::uint16_t>(1 + n % (VMSRS_EVENT_TYPE_COUNT - 1));
  event.server = n % 5 == 0 ? VMSRS_EVENT_NO_SERVER : 0;
  event.slot = static_cast<std::uint16_t>(n % 7 == 0 ? VMSRS_EVENT_NO_USER : n % VMSRS_MAX_USERS);
  event.exposed = n % 2;
  event.generation = n * 3;
  event.label = n ^ 0x5555555555555555;
  event.label_bytes = static_cast<std::uint8_t>(
      std::snprintf(reinterpret_cast<char*>(event.label_text), sizeof event.label_text,
                    "user \x1b %llu", static_cast<unsigned long long>(n)));
  event.fault = {static_cast<std::uint32_t>(n % VMSRS_FAULT_KIND_COUNT),
                 static_cast<std::uint32_t>(n % 60000), n * 0x1000, 0x400000 + n};
  event.count = n * 5;
  event.call = static_cast<std::uint16_t>(n);
  event.status = static_cast<std::uint16_t>(n % VMSRS_STATUS_COUNT);
  event.fault_count = static_cast<std::uint32_t>(n % 9);
  event.suppressed_store_count = n * 11;
  for (std::uint32_t i = 0; i < VMSRS_RESTORE_CAUSE_COUNT; ++i)
    event.restored[i] = static_cast<std::uint32_t>(n % 1000 + i);
  event.trace_count = static_cast<std::uint8_t>(n % (VMSRS_TRACE_FRAMES + 1));
  for (std::uint32_t i = 0; i < event.trace_count; ++i) event.trace[i] = 0x500000 + n + i;
  return event;
}

void RingHypercall::call(channel::Registers& registers) {
  if (registers.rax == VMSRS_CALL_MGMT_EVENTS) {
    ++ring_.read_calls;
    std::uint64_t cursor = std::max(registers.rsi, ring_.acknowledged.load() + 1);
    auto* const out = reinterpret_cast<vmsrs_event*>(registers.rdx);
    const std::uint64_t room = registers.r10 / sizeof(vmsrs_event);
    std::uint64_t count = 0;
    for (; count < room && cursor <= ring_.newest.load(); ++cursor)
      out[count++] = ring_.records[cursor % VMSRS_EVENTS_KEPT];
    registers.rax = VMSRS_OK;
    registers.rdx = count;
    registers.rsi = cursor;
    return;
  }
  if (registers.rax == VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS) {
    if (registers.rsi > ring_.newest.load()) {
      registers.rax = VMSRS_BAD_ARGUMENT;
      return;
    }
    if (registers.rsi > ring_.acknowledged.load()) ring_.acknowledged.store(registers.rsi);
    registers.rax = VMSRS_OK;
    return;
  }
  below_.call(registers);
}

}  // namespace vmsrs::test
