// SPDX-License-Identifier: Apache-2.0
// The engine contradicts itself in a call of processor 1, with a server locked, while processor 0
// waits for the lock, and Linux (here: this guest) is to go on: both come back with NO_ENGINE, and
// from then on memory is plain memory, while what was hidden stays hidden. Needs the tests' image
// (contradictions.cpp). `held=1`: while the other processors are held. `second=1`: the next one,
// outside of the engine, ends the machine.
#include "../contradictions.hpp"
#include "server.hpp"

namespace {

constexpr uint32_t kFsBase = 0xc0000100;
constexpr uint64_t kRegion = 0x8000000, kBytes = 4096, kGranule = 64;
constexpr uint64_t kCommitted = 0x1111, kStored = 0x2222;

volatile uint64_t other_begun, other_status, own_status, stores, last_stored;
alignas(4096) uint8_t buffer[4 * 4096];

const char* label() { return option("held=", 0) != 0 ? kFaultWhileOthersAreHeld : kFault; }

uint64_t length(const char* text) {
  uint64_t bytes = 0;
  while (text[bytes] != '\0') ++bytes;
  return bytes;
}

// A user crosses the line on processor 1.
void contradict() {
  write_msr(kFsBase, 0x2000);
  Call begin{.number = VMSRS_CALL_USER_BEGIN};
  make(begin, VMSRS_OK, "USER_BEGIN");
  make({.number = VMSRS_CALL_STORE, .rdi = kRegion + kGranule, .rsi = kStored, .rdx = 8}, VMSRS_OK,
       "STORE");
  other_begun = 1;
  while (stores < 10) asm volatile("pause");
  Call call{.number = VMSRS_CALL_USER_LABEL, .rdi = address_of(label()), .rsi = length(label())};
  const uint64_t rsi = call.rsi;
  other_status = call_from_ring3(call);
  expect_equal(call.rsi, rsi, "a register of the call that was left");
}

uint64_t status_of(uint64_t number) {
  Call call{.number = number, .rdi = kRegion, .rsi = 1, .rdx = 8};
  return call_from_ring3(call);
}

// Does a line of the log say that?
bool log_says(const char* words) {
  const auto* const lines = reinterpret_cast<const vmsrs_log_line*>(buffer);
  for (uint64_t cursor = 0;;) {
    Call call{.number = VMSRS_CALL_MGMT_LOG,
              .rdi = management(),
              .rsi = cursor,
              .rdx = address_of(buffer),
              .r10 = sizeof(buffer)};
    expect_equal(hypercall(call), VMSRS_OK, "MGMT_LOG");
    if (call.rdx == 0) return false;
    cursor = call.rsi;
    for (uint64_t i = 0; i < call.rdx; ++i)
      for (uint64_t at = 0; at + length(words) <= lines[i].length; ++at) {
        uint64_t same = 0;
        while (same < length(words) && lines[i].text[at + same] == words[same]) ++same;
        if (same == length(words)) return true;
      }
  }
}

void expect_hidden() {
  const uint64_t before = statistics().hidden_access_count;
  const Ranges& r = ranges();
  for (const uint64_t address : {r.image, r.hidden, r.hidden_end - 64}) {
    load32(address);
    EXPECT_VECTOR(kGeneralProtection, "reading hidden memory");
    store32(address, 1);
    EXPECT_VECTOR(kGeneralProtection, "writing hidden memory");
  }
  expect_equal(statistics().hidden_access_count, before + 6, "accesses that were refused");
  load32(r.windows);
  EXPECT_VECTOR(kNone, "reading a window");
  store32(r.windows, 1);
  EXPECT_VECTOR(kGeneralProtection, "writing a window");
}

void expect_no_engine() {
  expect_equal(status_of(VMSRS_CALL_VERSION), VMSRS_OK, "VERSION");
  for (const uint64_t call : {VMSRS_CALL_ATTACH, VMSRS_CALL_DETACH, VMSRS_CALL_USER_BEGIN,
                              VMSRS_CALL_STORE, VMSRS_CALL_LOAD, VMSRS_CALL_SERVICE})
    expect_equal(status_of(call), VMSRS_NO_ENGINE, "a library call");
  Call server{.number = VMSRS_CALL_MGMT_SERVER,
              .rdi = management(),
              .rdx = address_of(buffer),
              .r10 = sizeof(vmsrs_server_info)};
  expect_equal(hypercall(server), VMSRS_NO_ENGINE, "MGMT_SERVER");
  Call open{.number = VMSRS_CALL_MGMT_OPEN, .rdi = address_of(buffer), .rsi = VMSRS_OBSERVE};
  expect_equal(hypercall(open), VMSRS_NO_ENGINE, "MGMT_OPEN");
  Call denied{.number = VMSRS_CALL_MGMT_STATS,
              .rdi = management() ^ 1,
              .rsi = address_of(buffer),
              .rdx = sizeof(vmsrs_stats)};
  expect_equal(hypercall(denied), VMSRS_DENIED, "MGMT_STATS without a token");
  Call memory{.number = VMSRS_CALL_MGMT_MEMORY,
              .rdi = management(),
              .rsi = address_of(buffer),
              .rdx = sizeof(buffer)};
  expect_equal(hypercall(memory), VMSRS_OK, "MGMT_MEMORY");
  expect(memory.rdx >= 4, "ranges of memory");
  expect(exits(1).count[VMSRS_EXIT_VMMCALL] > 0, "exits of the processor that failed");
  // A fault of user code is its own again.
  in_ring3([](uint64_t) { asm volatile("ud2"); });
  EXPECT_VECTOR(kInvalidOpcode, "UD2 in ring 3");
  const vmsrs_stats stats = statistics();
  expect_equal(stats.engine_abandoned, 1, "engine_abandoned");
  expect_equal(stats.cpu_count, 2, "processors");
  expect(log_says("the hypervisor faulted: vector 14"), "the fault in the log");
  expect(log_says("NOTHING IS PROTECTED"), "what became of it in the log");
}

}  // namespace

void case_contradiction() {
  if (statistics().cpu_count != 2) skip("not two processors");
  static volatile uint64_t* const word = reinterpret_cast<volatile uint64_t*>(kRegion);
  for (uint64_t i = 0; i < kBytes / 8; ++i) word[i] = kCommitted;
  define_server("server");
  attach_server("server");
  Call profile{.number = VMSRS_CALL_PROFILE, .rdi = kRegion, .rsi = kBytes, .rdx = kGranule};
  make(profile, VMSRS_OK, "PROFILE");
  make({.number = VMSRS_CALL_PROFILE_FILL, .rdi = profile.rdx}, VMSRS_OK, "PROFILE_FILL");
  write_msr(kFsBase, 0x1000);
  make({.number = VMSRS_CALL_USER_BEGIN}, VMSRS_OK, "USER_BEGIN");
  expect_equal(statistics().engine_abandoned, 0, "engine_abandoned before");
  start_processor(1, contradict);
  for (int i = 0; i < 5000 && other_begun == 0; ++i) wait_ms(1);
  expect(other_begun != 0, "the other processor's user");
  // Until the engine is gone each of these is carried out; the last one comes while it is locked.
  uint64_t status = VMSRS_OK;
  for (uint64_t i = 1; i < 100'000 && status == VMSRS_OK; ++i) {
    Call store{.number = VMSRS_CALL_STORE, .rdi = kRegion, .rsi = i, .rdx = 8};
    const uint64_t begin = tsc();
    status = call_from_ring3(store);
    if (status == VMSRS_OK) {
      stores = stores + 1;
      expect_equal(word[0], i, "what was stored by a call");
    } else {
      own_status = status;
      last_stored = tsc() - begin;
      expect_equal(word[0], i - 1, "a store that did not happen");
    }
  }
  expect_equal(own_status, VMSRS_NO_ENGINE, "the status of who waited");
  say("ticks that the last call waited", last_stored);
  for (int i = 0; i < 5000 && other_status == 0; ++i) wait_ms(1);
  expect_equal(other_status, VMSRS_NO_ENGINE, "the status of the call that failed");
  // As it was, and plain memory.
  expect_equal(word[kGranule / 8], kStored, "what another user had stored");
  word[3] = 5;
  expect_equal(word[3], 5, "a plain store");
  expect_hidden();
  expect_no_engine();
  // Both processors live, and are stopped and started as ever.
  static volatile uint64_t again;
  start_processor(1, [] { again = cpuid(VMSRS_CPUID_SIGNATURE_LEAF).ebx; });
  for (int i = 0; i < 5000 && again == 0; ++i) wait_ms(1);
  expect_equal(again, 0x52534d56, "the other processor's next life");
  if (option("second=", 0) != 0) cpuid(kFaultingLeaf);
  print("RESULT: SUCCESS\r\n");
  halt();
}
