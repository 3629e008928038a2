// SPDX-License-Identifier: Apache-2.0
// How long management calls take at most, by a clock that counts instructions (run-guest.py
// --icount), on a machine whose tables are full: its servers, all users of one of them with
// records, half of the users crashed.
#include <vmsrs/claims.h>

#include "server.hpp"

namespace {

// 50 microseconds of a processor that does three in a nanosecond.
constexpr uint64_t kMostInstructions = 150'000;
constexpr uint64_t kFsBase = 0xc0000100;
constexpr uint64_t kRegion = 0x8000000, kRegionBytes = 64 << 10, kGranule = 8;
constexpr uint64_t kClaims = 0x8100000, kAreas = 0x8200000;
constexpr uint32_t kProcess = 100;

alignas(4096) uint8_t buffer[16 * 4096];
uint64_t token;

void become_thread(uint64_t user) { write_msr(kFsBase, 0x1000 * (user + 1)); }

void fill_tables() {
  char name[] = "server-a";
  for (unsigned i = 1; i < VMSRS_MAX_SERVERS; ++i, ++name[7]) define_server(name);
  attach_server("server-a", kProcess);
  Call profile{.number = VMSRS_CALL_PROFILE, .rdi = kRegion, .rsi = kRegionBytes, .rdx = kGranule};
  make(profile, VMSRS_OK, "PROFILE");
  make({.number = VMSRS_CALL_PROFILE_FILL, .rdi = profile.rdx}, VMSRS_OK, "PROFILE_FILL");
  static vmsrs_fault fault{VMSRS_FAULT_WILD, 1, 0xdead, 0x400000};
  const Call crash{.number = VMSRS_CALL_USER_CRASH, .rdi = address_of(&fault)};
  // First those that are remembered when they are gone.
  for (uint64_t i = 0; i < VMSRS_MAX_USERS + VMSRS_RECENT_USERS; ++i) {
    become_thread(i);
    make({.number = VMSRS_CALL_USER_BEGIN}, VMSRS_OK, "USER_BEGIN");
    for (const uint64_t granule : {i, uint64_t{5000}})
      make({.number = VMSRS_CALL_STORE, .rdi = kRegion + granule * kGranule, .rsi = i, .rdx = 8},
           VMSRS_OK, "STORE");
    if (i < VMSRS_RECENT_USERS) {
      make(Call{crash}, VMSRS_OK, "USER_CRASH");
      make({.number = VMSRS_CALL_USER_END}, VMSRS_CRASHED, "USER_END");
      make({.number = VMSRS_CALL_USER_COLLECT}, VMSRS_OK, "USER_COLLECT");
    } else if (i % 2 == 0) {
      make(Call{crash}, VMSRS_OK, "USER_CRASH");
    }
  }
}

void profile_region(uint64_t claims) {
  Call profile{.number = VMSRS_CALL_PROFILE,
               .rdi = kRegion,
               .rsi = kRegionBytes,
               .rdx = kGranule,
               .r8 = claims};
  make(profile, VMSRS_OK, "PROFILE");
  make({.number = VMSRS_CALL_PROFILE_FILL, .rdi = profile.rdx}, VMSRS_OK, "PROFILE_FILL");
}

// Every granule has records of two users.
void fill_with_records() {
  attach_server("server-a", kProcess);
  profile_region(0);
  for (const uint64_t user : {uint64_t{0}, uint64_t{1}}) {
    become_thread(user);
    make({.number = VMSRS_CALL_USER_BEGIN}, VMSRS_OK, "USER_BEGIN");
    make({.number = VMSRS_CALL_FILL_RANGE, .rdi = kRegion, .rsi = user, .rdx = kRegionBytes},
         VMSRS_OK, "FILL_RANGE");
  }
}

// Every granule has an owner, by its claim.
void fill_with_claims() {
  attach_server("server-a", kProcess);
  make({.number = VMSRS_CALL_USER_AREAS, .rdi = kAreas, .rsi = VMSRS_MIN_USER_AREA_BYTES}, VMSRS_OK,
       "USER_AREAS");
  profile_region(kClaims);
  become_thread(0);
  Call begin{.number = VMSRS_CALL_USER_BEGIN};
  make(begin, VMSRS_OK, "USER_BEGIN");
  const uint64_t slot = begin.rdx;
  Call end{.number = VMSRS_CALL_USER_END, .rsi = VMSRS_USER_KEEP};  // tells the next one's word
  make(end, VMSRS_OK, "USER_END");
  const uint64_t generation = end.rsi >> 2;
  auto* const claims = reinterpret_cast<vmsrs_claim*>(kClaims);
  for (uint64_t granule = 0; granule < kRegionBytes / kGranule; ++granule)
    claims[granule] = {vmsrs_tag(vmsrs_tag_body(VMSRS_TAG_OWN, slot, generation), granule), 1};
}

// One call: adds to the longest one of that name. Its status.
uint64_t measured(Call& call, uint64_t& longest) {
  const uint64_t begin = tsc();
  const uint64_t status = hypercall(call);
  const uint64_t ticks = tsc() - begin;
  if (ticks > longest) longest = ticks;
  return status;
}

void report_length(const char* name, uint64_t longest) {
  say(name, longest);
  expect(longest <= kMostInstructions, "a management call that takes long");
}

void once(const char* name, Call call, uint64_t wanted = VMSRS_OK) {
  uint64_t longest = 0;
  call.rdi = token;
  expect_equal(measured(call, longest), wanted, name);
  report_length(name, longest);
}

// A list, to its end: the cursor is in `at`, and comes back in RSI.
void list(const char* name, const Call& asked, uint64_t Call::*at, uint64_t end) {
  uint64_t longest = 0, cursor = 0, records = 0;
  for (int i = 0; i < 10'000; ++i) {
    Call call = asked;
    call.rdi = token;
    call.*at = cursor;
    expect_equal(measured(call, longest), VMSRS_OK, name);
    records += call.rdx;
    cursor = call.rsi;
    if (cursor == end || (call.rdx == 0 && end != 0)) break;
  }
  expect(records > 0, name);
  report_length(name, longest);
}

// A new look at region 0, by calls that `work` makes between two of management's.
template <typename Work>
void look_in_pieces(const char* name, Work work) {
  uint64_t longest = 0, pieces = 0;
  for (uint64_t status = VMSRS_AGAIN; status == VMSRS_AGAIN; ++pieces) {
    Call call{.number = VMSRS_CALL_MGMT_REGION_MAP,
              .rdi = token,
              .r10 = address_of(buffer),
              .r8 = sizeof(vmsrs_region_map),
              .r9 = pieces == 0};
    status = measured(call, longest);
    expect(status == VMSRS_OK || status == VMSRS_AGAIN, name);
    if (status == VMSRS_AGAIN) work();
  }
  const auto& map = *reinterpret_cast<const vmsrs_region_map*>(buffer);
  for (uint64_t i = 0; i < map.bucket_count; ++i)
    expect_equal(map.buckets[i].owned, map.buckets[i].granules, "owned granules");
  say("calls for a map", pieces);
  report_length(name, longest);
}

void reap_in_pieces(uint64_t& longest) {
  uint64_t pieces = 0;
  for (uint64_t status = VMSRS_AGAIN; status == VMSRS_AGAIN; ++pieces) {
    Call reap{.number = VMSRS_CALL_MGMT_REAP, .rdi = token, .rdx = kProcess};
    status = measured(reap, longest);
    expect(status == VMSRS_OK || status == VMSRS_AGAIN, "MGMT_REAP");
  }
  say("pieces of a death", pieces);
}

void check_in_pieces() {
  uint64_t longest = 0, pieces = 0;
  for (uint64_t status = VMSRS_AGAIN; status == VMSRS_AGAIN; ++pieces) {
    Call call{.number = VMSRS_CALL_MGMT_CHECK,
              .rdi = token,
              .rsi = pieces == 0,
              .rdx = address_of(buffer),
              .r10 = sizeof(vmsrs_check_report)};
    status = measured(call, longest);
    const auto& report = *reinterpret_cast<const vmsrs_check_report*>(buffer);
    // The mirror waits for a thread of the server.
    if (report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING) break;
  }
  say("pieces of a check", pieces);
  report_length("MGMT_CHECK", longest);
}

}  // namespace

void case_management_bounds() {
  if (!clock_counts_instructions()) skip("the clock counts no instructions");
  fill_tables();
  token = open_management(VMSRS_OBSERVE | VMSRS_OPERATE);
  const uint64_t to = address_of(buffer);
  once("MGMT_STATS", {.number = VMSRS_CALL_MGMT_STATS, .rsi = to, .rdx = sizeof(vmsrs_stats)});
  once("MGMT_EXITS", {.number = VMSRS_CALL_MGMT_EXITS, .rdx = to, .r10 = sizeof(vmsrs_exits)});
  once("MGMT_SERVER",
       {.number = VMSRS_CALL_MGMT_SERVER, .rdx = to, .r10 = sizeof(vmsrs_server_info)});
  once("MGMT_WORK", {.number = VMSRS_CALL_MGMT_WORK, .rdx = to, .r10 = sizeof(vmsrs_server_work)});
  list("MGMT_USERS", {.number = VMSRS_CALL_MGMT_USERS, .r10 = to, .r8 = sizeof(buffer)}, &Call::rdx,
       0);
  once("MGMT_LABEL",
       {.number = VMSRS_CALL_MGMT_LABEL, .rdx = 1, .r10 = ~uint64_t{0}, .r8 = to, .r9 = 64},
       VMSRS_NOT_FOUND);
  list("MGMT_LOG", {.number = VMSRS_CALL_MGMT_LOG, .rdx = to, .r10 = sizeof(buffer)}, &Call::rsi,
       ~uint64_t{0});
  once("MGMT_MEMORY", {.number = VMSRS_CALL_MGMT_MEMORY, .rsi = to, .rdx = sizeof(buffer)});
  once("MGMT_GUEST_ENDS", {.number = VMSRS_CALL_MGMT_GUEST_ENDS, .rdx = to, .r10 = sizeof(buffer)});
  once("MGMT_GUEST_CPU",
       {.number = VMSRS_CALL_MGMT_GUEST_CPU, .rsi = 1, .r10 = to, .r8 = sizeof(buffer)},
       VMSRS_NOT_FOUND);
  list("MGMT_EVENTS", {.number = VMSRS_CALL_MGMT_EVENTS, .rdx = to, .r10 = sizeof(buffer)},
       &Call::rsi, ~uint64_t{0});
  const auto& event = *reinterpret_cast<const vmsrs_event*>(buffer);
  once("MGMT_ACKNOWLEDGE_EVENTS",
       {.number = VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, .rsi = event.sequence});
  once("MGMT_ANNOUNCE_RESET", {.number = VMSRS_CALL_MGMT_ANNOUNCE_RESET, .rsi = 0});
  check_in_pieces();
  once("MGMT_COLLECT", {.number = VMSRS_CALL_MGMT_COLLECT, .rdx = ~uint64_t{0}}, VMSRS_AGAIN);
  once("MGMT_SCRUB", {.number = VMSRS_CALL_MGMT_SCRUB, .rsi = ~uint64_t{0}, .rdx = ~uint64_t{0}},
       VMSRS_AGAIN);
  auto& user = *reinterpret_cast<vmsrs_user_info*>(buffer);
  Call users{.number = VMSRS_CALL_MGMT_USERS, .rdi = token, .r10 = to, .r8 = sizeof(user)};
  do {
    users.rdi = token;
    users.rdx = user.slot + 1;
    users.r10 = to;
    expect_equal(hypercall(users), VMSRS_OK, "MGMT_USERS");
  } while (user.state != VMSRS_USER_ACTIVE);
  once("MGMT_SUPPRESS",
       {.number = VMSRS_CALL_MGMT_SUPPRESS, .rdx = user.slot, .r10 = user.generation});
  once("MGMT_CONTAINMENT", {.number = VMSRS_CALL_MGMT_CONTAINMENT, .rdx = VMSRS_SERVER_OWN});
  auto& definition = *reinterpret_cast<vmsrs_server_definition*>(buffer);
  definition = {};
  definition.name[0] = 'x';
  once("MGMT_DEFINE, a new server", {.number = VMSRS_CALL_MGMT_DEFINE, .rsi = to});
  definition.name[0] = 'y';
  once("MGMT_DEFINE, one too many", {.number = VMSRS_CALL_MGMT_DEFINE, .rsi = to}, VMSRS_NO_SLOT);
  uint64_t longest = 0;
  static char secret[VMSRS_SECRET_BYTES + 1] = "vmsrs machine tests: the secret.";
  Call open{.number = VMSRS_CALL_MGMT_OPEN, .rdi = address_of(secret), .rsi = VMSRS_OBSERVE};
  expect_equal(measured(open, longest), VMSRS_OK, "MGMT_OPEN");
  Call close{.number = VMSRS_CALL_MGMT_CLOSE, .rdi = open.rdx};
  expect_equal(measured(close, longest), VMSRS_OK, "MGMT_CLOSE");
  report_length("MGMT_OPEN, MGMT_CLOSE", longest);
  longest = 0;
  reap_in_pieces(longest);
  report_length("MGMT_REAP of a process with 2,048 records", longest);
  fill_with_records();
  list("MGMT_REGIONS", {.number = VMSRS_CALL_MGMT_REGIONS, .r10 = to, .r8 = sizeof(buffer)},
       &Call::rdx, 0);
  look_in_pieces("MGMT_REGION_MAP", [] {});
  list("MGMT_RECORDS",
       {.number = VMSRS_CALL_MGMT_RECORDS,
        .rdx = VMSRS_EVERY_REGION,
        .r8 = to,
        .r9 = sizeof(buffer)},
       &Call::r10, 0);
  longest = 0;
  reap_in_pieces(longest);
  report_length("MGMT_REAP of a process with 16,384 records", longest);
  fill_with_claims();
  uint64_t longest_service = 0;
  look_in_pieces("MGMT_REGION_MAP, with claims", [&] {
    const uint64_t begin = tsc();
    Call service{.number = VMSRS_CALL_SERVICE};
    expect_equal(call_from_ring3(service), VMSRS_AGAIN, "SERVICE");
    if (tsc() - begin > longest_service) longest_service = tsc() - begin;
  });
  report_length("SERVICE of a map", longest_service);
  reap_in_pieces(longest);  // so that no thread is waited for in the check at the end
}

// How long it takes to refuse a wrong secret does not tell how much of it is right. The hypervisor
// is given hashes that differ from the presented secret's in one byte each.
void case_secret_time() {
  if (!clock_counts_instructions()) skip("the clock counts no instructions");
  statistics();  // its channel stays open, whatever the secret is
  token = open_management(VMSRS_OPERATE);
  static const uint8_t presented[VMSRS_SECRET_BYTES] = {};
  uint64_t all = 0;
  // The first two refusals begin an event, and the sum of what follows it, which all others are
  // added to: what they differ in is measured again.
  constexpr unsigned kFirst = 2;
  for (unsigned round = 0; round < kFirst + sizeof(kHashOfZeroes); ++round) {
    const unsigned byte = round % sizeof(kHashOfZeroes);
    for (const bool right : {true, false}) {  // the right one ends the wait after a wrong one
      memcpy(buffer, kHashOfZeroes, sizeof(kHashOfZeroes));
      if (!right) buffer[byte] ^= 0x80;
      Call change{.number = VMSRS_CALL_MGMT_SECRET, .rdi = token, .rsi = address_of(buffer)};
      expect_equal(hypercall(change), VMSRS_OK, "MGMT_SECRET");
      uint64_t length = 0;
      Call open{.number = VMSRS_CALL_MGMT_OPEN, .rdi = address_of(presented), .rsi = VMSRS_OBSERVE};
      const uint64_t status = measured(open, length);
      expect_equal(status, right ? VMSRS_OK : VMSRS_DENIED, "MGMT_OPEN");
      if (right) {
        Call close{.number = VMSRS_CALL_MGMT_CLOSE, .rdi = open.rdx};
        expect_equal(hypercall(close), VMSRS_OK, "MGMT_CLOSE");
        continue;
      }
      if (round <= kFirst) all = length;
      expect_equal(length, all, "instructions until a wrong secret is refused");
    }
  }
  say("instructions until a wrong secret is refused", all);
}
