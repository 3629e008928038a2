// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <vector>

#include "fixture.hpp"

// Every call with every kind of bad argument: a status each, and nothing changed.
using namespace vmsrs::test;

namespace {

constexpr std::uint64_t kNonCanonical = 0x0000900000000000;
constexpr std::uint64_t kKernel = 0xffff800000000000;
constexpr std::uint64_t kTop = ~0ull - 3;  // with any length it wraps
constexpr unsigned long long kHuge = 1ull << 62;

// What must not change.
struct Snapshot {
  std::vector<std::uint8_t> memory;
  std::uint64_t records, mode, used, users, service;
  bool operator==(const Snapshot&) const = default;
};

struct Fixture : OneServer<> {
  alignas(VMSRS_PAGE_BYTES) std::uint8_t forbidden[VMSRS_PAGE_BYTES];
  alignas(VMSRS_PAGE_BYTES) std::uint8_t read_only[VMSRS_PAGE_BYTES];
  alignas(VMSRS_PAGE_BYTES) std::uint8_t buffer[VMSRS_PAGE_BYTES];

  Fixture() {
    for (Client* client : {&a, &b, &manager}) {
      client->memory.set_page(forbidden, HostMemory::Page::kForbidden);
      client->memory.set_page(read_only, HostMemory::Page::kReadOnly);
    }
  }

  Snapshot snapshot() {
    return {{memory, memory + sizeof memory},
            ledger().record_count,
            mode(),
            vmsrs::recovery::EngineProbe::pool().used_bytes(),
            ledger().users.open_count(),
            window().status.service_request};
  }

  void refuse(Client& client, vmsrs_status wanted, std::uint64_t call, std::uint64_t rdi = 0,
              std::uint64_t rsi = 0, std::uint64_t rdx = 0, std::uint64_t r10 = 0,
              std::uint64_t r8 = 0, std::uint64_t r9 = 0) {
    const Snapshot before = snapshot();
    const Result result = client.call(call, rdi, rsi, rdx, r10, r8, r9);
    BOOST_TEST(result.status == wanted, "call " << call << "(" << rdi << ", " << rsi << ", " << rdx
                                                << ", " << r10 << ", " << r8 << ") gave "
                                                << result.status << ", not " << wanted);
    BOOST_TEST((snapshot() == before), "call " << call << " changed something");
    if (wanted != VMSRS_TOUCH && wanted != VMSRS_CRASHED) {
      BOOST_TEST(result.rdx == rdx);
      BOOST_TEST(result.rsi == rsi);
    }
  }
  // A pointer argument: every way in which it can be wrong. `make` turns it into a call.
  template <typename Make>
  void refuse_pointers(Client& client, bool written, Make make) {
    make(kNonCanonical, VMSRS_BAD_ADDRESS);
    make(kKernel, VMSRS_BAD_ADDRESS);
    make(kTop, VMSRS_BAD_LENGTH);
    make((1ull << 47) - 4, VMSRS_BAD_ADDRESS);
    make(address_of(forbidden), VMSRS_BAD_ADDRESS);
    client.memory.set_page(buffer, HostMemory::Page::kNotPresent);
    make(address_of(buffer), VMSRS_TOUCH);
    client.memory.set_page(buffer, HostMemory::Page::kPresent);
    if (written) make(address_of(read_only), VMSRS_TOUCH);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(arguments, Fixture)

BOOST_AUTO_TEST_CASE(unknown_calls) {
  for (const std::uint64_t call : {0x001ull,
                                   0x0ffull,
                                   0x10dull,
                                   0x10full,
                                   0x11cull,
                                   0x11full,
                                   0x127ull,
                                   0x12full,
                                   0x132ull,
                                   0x1ffull,
                                   0x202ull,
                                   0x20full,
                                   0x21full,
                                   0x21full,
                                   0x229ull,
                                   0x300ull,
                                   ~0ull,
                                   1ull << 32,
                                   (1ull << 32) | VMSRS_CALL_STORE,
                                   1ull << 63}) {
    refuse(a, VMSRS_UNKNOWN_CALL, call, token);
    refuse(manager, VMSRS_UNKNOWN_CALL, call, token);
  }
}

BOOST_AUTO_TEST_CASE(areas_and_claims) {
  const std::uint64_t at = address_of(buffer);
  const std::uint64_t call = VMSRS_CALL_USER_AREAS;
  refuse(a, VMSRS_BAD_LENGTH, call, at, VMSRS_MIN_USER_AREA_BYTES - 64);
  refuse(a, VMSRS_BAD_LENGTH, call, at, VMSRS_MAX_USER_AREA_BYTES + 64);
  refuse(a, VMSRS_UNALIGNED, call, at, VMSRS_MIN_USER_AREA_BYTES + 8);
  refuse(a, VMSRS_UNALIGNED, call, at + 8, VMSRS_MIN_USER_AREA_BYTES);
  refuse(a, VMSRS_BAD_ADDRESS, call, kNonCanonical & ~63ull, VMSRS_MIN_USER_AREA_BYTES);
  // A region cannot have claims while users have no areas; claims must be aligned and the user's
  // own.
  const std::uint64_t profile = VMSRS_CALL_PROFILE;
  const std::uint64_t other = at & ~63ull;
  refuse(a, VMSRS_BAD_ADDRESS, profile, other, 64, 64, 0, kKernel);
  refuse(a, VMSRS_BAD_LENGTH, profile, other, 64, 64, 0, ~0ull);
  refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_USER_END, 0, 4);
}

BOOST_AUTO_TEST_CASE(version_always_answers) {
  for (const std::uint8_t level : {std::uint8_t{0}, std::uint8_t{3}}) {
    Client stranger(0x777000, 1, level);
    const Result result = stranger.call(VMSRS_CALL_VERSION, ~0ull, ~0ull, ~0ull);
    BOOST_TEST(result.status == VMSRS_OK);
    BOOST_TEST(result.rdx == VMSRS_ABI_VERSION);
    BOOST_TEST(result.rsi == std::uint64_t{VMSRS_ISOLATION_NONE});
  }
}

BOOST_AUTO_TEST_CASE(library_calls_from_ring_0_or_elsewhere) {
  Client kernel(kServerSpace, 0xa000, 0);
  Client foreign(0x200000, 0xa000);
  begin(a);
  for (const std::uint64_t call :
       {VMSRS_CALL_DETACH,          VMSRS_CALL_INIT_PROFILE,   VMSRS_CALL_PROFILE,
        VMSRS_CALL_PROFILE_FILL,    VMSRS_CALL_UNPROFILE,      VMSRS_CALL_PROFILE_NAMED,
        VMSRS_CALL_UNPROFILE_NAMED, VMSRS_CALL_USER_BEGIN,     VMSRS_CALL_USER_END,
        VMSRS_CALL_USER_CRASH,      VMSRS_CALL_USER_COLLECT,   VMSRS_CALL_USER_STUCK,
        VMSRS_CALL_USER_DECLARE,    VMSRS_CALL_USER_DRAINED,   VMSRS_CALL_USER_EXPOSED,
        VMSRS_CALL_USER_ABANDON,    VMSRS_CALL_LOAD_SAMPLED,   VMSRS_CALL_STORE,
        VMSRS_CALL_STORE_RANGE,     VMSRS_CALL_FILL_RANGE,     VMSRS_CALL_LOAD,
        VMSRS_CALL_LOAD_RANGE,      VMSRS_CALL_LOAD_COMMITTED, VMSRS_CALL_SERVICE,
        VMSRS_CALL_PROFILE_FIND,    VMSRS_CALL_PROFILE_JOIN,   VMSRS_CALL_USER_AREAS_JOIN,
        VMSRS_CALL_WATCH_FAULTS,    VMSRS_CALL_USER_LABEL,     VMSRS_CALL_USER_SUSPEND,
        VMSRS_CALL_USER_RESUME,     VMSRS_CALL_REPORT_HEAPS}) {
    refuse(kernel, VMSRS_DENIED, call, address_of(memory), 8, 8);
    refuse(foreign, VMSRS_NOT_ATTACHED, call, address_of(memory), 8, 8);
  }
  refuse(kernel, VMSRS_DENIED, VMSRS_CALL_ATTACH, address_of(memory));
}

BOOST_AUTO_TEST_CASE(attach) {
  Client other(0x200000, 1);
  other.memory.set_page(forbidden, HostMemory::Page::kForbidden);
  refuse_pointers(other, false, [&](std::uint64_t pointer, vmsrs_status wanted) {
    refuse(other, wanted, VMSRS_CALL_ATTACH, pointer);
  });
  vmsrs_attach_request request{};
  std::memcpy(request.name, "shop", 4);
  for (const std::uint32_t version :
       {0u, VMSRS_ABI_VERSION + 1, VMSRS_ABI_VERSION + 0x10000, ~0u}) {
    request.abi_version = version;
    refuse(other, VMSRS_BAD_VERSION, VMSRS_CALL_ATTACH, address_of(&request));
  }
  request.abi_version = VMSRS_ABI_VERSION;
  std::memset(request.name, 'x', sizeof request.name);
  refuse(other, VMSRS_BAD_ARGUMENT, VMSRS_CALL_ATTACH, address_of(&request));
  std::memset(request.name, 0, sizeof request.name);
  refuse(other, VMSRS_BAD_ARGUMENT, VMSRS_CALL_ATTACH, address_of(&request));
}

BOOST_AUTO_TEST_CASE(profile) {
  const std::uint64_t at = address_of(buffer);
  for (const std::uint64_t granule : {0ull, 1ull, 4ull, 12ull, 128ull, (1ull << 32) + 8, ~0ull})
    refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_PROFILE, at, 64, granule);
  refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_PROFILE, at, 0, 8);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE, at, 64, 8, 0, 0, 2).status == VMSRS_BAD_ARGUMENT);
  refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_PROFILE, at, ~0ull - 63, 8);
  refuse(a, VMSRS_BAD_ADDRESS, VMSRS_CALL_PROFILE, at, kHuge, 8);
  refuse(a, VMSRS_UNALIGNED, VMSRS_CALL_PROFILE, at + 8, 64, 8);
  refuse(a, VMSRS_UNALIGNED, VMSRS_CALL_PROFILE, at, 96, 8);
  refuse(a, VMSRS_OVERLAP, VMSRS_CALL_PROFILE, address_of(memory), 64, 8);
  refuse(a, VMSRS_OVERLAP, VMSRS_CALL_PROFILE, address_of(memory) - 64, 128, 8);
  refuse(a, VMSRS_OVERLAP, VMSRS_CALL_PROFILE, address_of(memory + sizeof memory) - 64, 128, 8);
  refuse(a, VMSRS_OVERLAP, VMSRS_CALL_PROFILE, address_of(memory) - 64, sizeof memory + 128, 8);
  refuse(a, VMSRS_BAD_ADDRESS, VMSRS_CALL_PROFILE, kKernel, 64, 8);
  refuse(a, VMSRS_BAD_ADDRESS, VMSRS_CALL_PROFILE, kNonCanonical, 64, 8);
  refuse(a, VMSRS_BAD_ADDRESS, VMSRS_CALL_PROFILE, address_of(forbidden), 64, 8);
  // More than the machine has, in the user half.
  refuse(a, VMSRS_NO_STORAGE, VMSRS_CALL_PROFILE, 1ull << 32, 1ull << 33, 8);
  refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_PROFILE, 1ull << 32, 1ull << 45, 8);
}

BOOST_AUTO_TEST_CASE(profile_fill_and_unprofile) {
  for (const std::uint64_t region : {1ull, 15ull, 16ull, 1ull << 32, ~0ull}) {
    refuse(a, VMSRS_NO_REGION, VMSRS_CALL_PROFILE_FILL, region, 0);
    refuse(a, VMSRS_NO_REGION, VMSRS_CALL_UNPROFILE, region);
  }
  refuse(a, VMSRS_WRONG_STATE, VMSRS_CALL_PROFILE_FILL, 0, 0);
  const std::uint64_t region = a.call(VMSRS_CALL_PROFILE, address_of(buffer), sizeof buffer, 8).rdx;
  refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_PROFILE_FILL, region, 64);
  begin(a);
  refuse(a, VMSRS_WRONG_STATE, VMSRS_CALL_STORE, address_of(buffer), 1, 8);
  store(a, 0, 1);
  refuse(a, VMSRS_BUSY, VMSRS_CALL_UNPROFILE, 0);
  refuse(a, VMSRS_BUSY, VMSRS_CALL_INIT_PROFILE);
  refuse(a, VMSRS_BUSY, VMSRS_CALL_DETACH);
}

BOOST_AUTO_TEST_CASE(names_of_regions) {
  const std::uint64_t at = address_of(buffer);
  char name[VMSRS_NAME_BYTES] = {};
  const auto refuse_name = [&](vmsrs_status wanted) {
    refuse(a, wanted, VMSRS_CALL_PROFILE_NAMED, at, 64, 8, address_of(name));
    refuse(a, wanted, VMSRS_CALL_PROFILE_JOIN, at, 64, 8, address_of(name));
    refuse(a, wanted, VMSRS_CALL_PROFILE_FIND, address_of(name));
    refuse(a, wanted, VMSRS_CALL_UNPROFILE_NAMED, address_of(name));
  };
  refuse_name(VMSRS_BAD_ARGUMENT);  // empty
  std::memset(name, 'x', sizeof name);
  refuse_name(VMSRS_BAD_ARGUMENT);  // no end
  std::memcpy(name, "a b", 4);
  refuse_name(VMSRS_BAD_ARGUMENT);
  std::memcpy(name, "abc", 4);
  refuse(a, VMSRS_NO_REGION, VMSRS_CALL_UNPROFILE_NAMED, address_of(name));
  refuse(a, VMSRS_NO_REGION, VMSRS_CALL_PROFILE_FIND, address_of(name));
  refuse(a, VMSRS_NO_REGION, VMSRS_CALL_PROFILE_JOIN, at, 64, 8, address_of(name));
  refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_PROFILE_JOIN, at, 64, 7, address_of(name));
  refuse(a, VMSRS_UNALIGNED, VMSRS_CALL_PROFILE_JOIN, at + 8, 64, 8, address_of(name));
  refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_PROFILE_NAMED, at, 64, 7, address_of(name));
  refuse(a, VMSRS_UNALIGNED, VMSRS_CALL_PROFILE_NAMED, at + 8, 64, 8, address_of(name));
  refuse(a, VMSRS_OVERLAP, VMSRS_CALL_PROFILE_NAMED, address_of(memory), 64, 8, address_of(name));
  refuse_pointers(a, false, [&](std::uint64_t pointer, vmsrs_status wanted) {
    refuse(a, wanted, VMSRS_CALL_PROFILE_NAMED, at, 64, 8, pointer);
    refuse(a, wanted, VMSRS_CALL_PROFILE_JOIN, at, 64, 8, pointer);
    refuse(a, wanted, VMSRS_CALL_PROFILE_FIND, pointer);
    refuse(a, wanted, VMSRS_CALL_UNPROFILE_NAMED, pointer);
  });
}

BOOST_AUTO_TEST_CASE(too_many_regions) {
  for (unsigned i = 1; i < VMSRS_MAX_REGIONS; ++i)
    BOOST_TEST(a.profile(buffer + std::size_t{64} * i, 64, 64).status == VMSRS_OK);
  refuse(a, VMSRS_NO_SLOT, VMSRS_CALL_PROFILE, address_of(buffer), 64, 64);
}

BOOST_AUTO_TEST_CASE(users) {
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_USER_END);
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_USER_COLLECT);
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_USER_STUCK);
  vmsrs_fault fault{VMSRS_FAULT_WILD, 0, 0, 0};
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_USER_CRASH, address_of(&fault));
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_USER_LABEL, address_of(&fault), 1);
  begin(a);
  refuse_pointers(a, false, [&](std::uint64_t pointer, vmsrs_status wanted) {
    refuse(a, wanted, VMSRS_CALL_USER_LABEL, pointer, 64);
  });
  for (const std::uint64_t bytes : {std::uint64_t{65}, std::uint64_t{1} << 32, ~std::uint64_t{0}})
    refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_USER_LABEL, address_of(&fault), bytes);
  refuse(a, VMSRS_WRONG_STATE, VMSRS_CALL_USER_COLLECT);
  refuse(a, VMSRS_WRONG_STATE, VMSRS_CALL_USER_STUCK);
  refuse_pointers(a, false, [&](std::uint64_t pointer, vmsrs_status wanted) {
    refuse(a, wanted, VMSRS_CALL_USER_CRASH, pointer);
  });
  refuse(a, VMSRS_WRONG_STATE, VMSRS_CALL_USER_DRAINED, 0, 0);
  for (const std::uint64_t slot :
       {std::uint64_t{1}, std::uint64_t{VMSRS_MAX_USERS}, ~std::uint64_t{0}}) {
    refuse(a, VMSRS_NOT_FOUND, VMSRS_CALL_USER_DECLARE, slot, 0);
    refuse(a, VMSRS_NOT_FOUND, VMSRS_CALL_USER_ABANDON, slot, 0);
    const bool known = slot == 1 || slot == VMSRS_EVERY_USER;
    refuse(a, known ? VMSRS_WRONG_STATE : VMSRS_NOT_FOUND, VMSRS_CALL_USER_DRAINED, slot, 0);
  }
  refuse(a, VMSRS_NOT_FOUND, VMSRS_CALL_USER_DECLARE, 0, ~0ull);
  fault.kind = VMSRS_FAULT_NONE;
  refuse(a, VMSRS_WRONG_STATE, VMSRS_CALL_USER_CRASH, address_of(&fault));
  for (const std::uint32_t kind : {std::uint32_t{VMSRS_FAULT_KIND_COUNT}, ~0u}) {
    fault.kind = kind;
    refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_USER_CRASH, address_of(&fault));
  }
  end(a);
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_USER_END);  // spent
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_STORE, address_of(memory), 1, 8);
}

BOOST_AUTO_TEST_CASE(stores) {
  const std::uint64_t at = address_of(memory);
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_STORE, at, 1, 8);
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_STORE_RANGE, at, at, 8);
  refuse(a, VMSRS_NO_USER, VMSRS_CALL_FILL_RANGE, at, 1, 8);
  begin(a);
  for (const std::uint64_t size : {0ull, 3ull, 5ull, 16ull, (1ull << 32) + 8, ~0ull})
    refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_STORE, at, 1, size);
  for (const std::uint64_t size : {0ull, 65537ull, 1ull << 32, kHuge, ~0ull}) {
    refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_STORE_RANGE, at, at, size);
    refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_FILL_RANGE, at, 1, size);
  }
  refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_FILL_RANGE, at, 256, 8);
  for (const std::uint64_t outside :
       {at - 1, at + sizeof memory - 7, at + sizeof memory, at - 8, std::uint64_t{0}}) {
    refuse(a, VMSRS_NO_REGION, VMSRS_CALL_STORE, outside, 1, 8);
    refuse(a, VMSRS_NO_REGION, VMSRS_CALL_STORE_RANGE, outside, at, 8);
    refuse(a, VMSRS_NO_REGION, VMSRS_CALL_FILL_RANGE, outside, 1, 8);
  }
  for (const auto& [pointer, wanted] :
       {std::pair{kNonCanonical, VMSRS_BAD_ADDRESS}, std::pair{kKernel, VMSRS_BAD_ADDRESS},
        std::pair{kTop, VMSRS_BAD_LENGTH}}) {
    refuse(a, wanted, VMSRS_CALL_STORE, pointer, 1, 8);
    refuse(a, wanted, VMSRS_CALL_STORE_RANGE, pointer, at, 8);
    refuse(a, wanted, VMSRS_CALL_FILL_RANGE, pointer, 1, 8);
  }
  refuse_pointers(a, false, [&](std::uint64_t pointer, vmsrs_status wanted) {
    refuse(a, wanted, VMSRS_CALL_STORE_RANGE, at, pointer, 8);
  });
  a.memory.set_page(memory, HostMemory::Page::kReadOnly);
  refuse(a, VMSRS_TOUCH, VMSRS_CALL_STORE, at, 1, 8);
  a.memory.set_page(memory, HostMemory::Page::kForbidden);
  refuse(a, VMSRS_BAD_ADDRESS, VMSRS_CALL_STORE, at, 1, 8);
}

BOOST_AUTO_TEST_CASE(loads) {
  const std::uint64_t at = address_of(memory);
  for (const std::uint64_t size : {0ull, 3ull, 16ull, ~0ull})
    refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_LOAD, at, size);
  for (const std::uint64_t size : {0ull, 65537ull, kHuge, ~0ull})
    refuse(a, VMSRS_BAD_LENGTH, VMSRS_CALL_LOAD_RANGE, at, size);
  for (const std::uint64_t call : {VMSRS_CALL_LOAD, VMSRS_CALL_LOAD_RANGE}) {
    refuse(a, VMSRS_NO_REGION, call, at - 1, 8);
    refuse(a, VMSRS_NO_REGION, call, at + sizeof memory - 7, 8);
    refuse(a, VMSRS_BAD_ADDRESS, call, kNonCanonical, 8);
    refuse(a, VMSRS_BAD_ADDRESS, call, kKernel, 8);
    refuse(a, VMSRS_BAD_LENGTH, call, kTop, 8);
    a.memory.set_page(memory, HostMemory::Page::kNotPresent);
    refuse(a, VMSRS_TOUCH, call, at, 8);
    a.memory.set_page(memory, HostMemory::Page::kPresent);
  }
}

BOOST_AUTO_TEST_CASE(committed_loads) {
  constexpr std::uint64_t kCall = VMSRS_CALL_LOAD_COMMITTED;
  const std::uint64_t at = address_of(memory);
  const std::uint64_t to = address_of(buffer);
  for (const std::uint64_t size : {0ull, 65537ull, kHuge, ~0ull})
    refuse(a, VMSRS_BAD_LENGTH, kCall, at, size, to);
  refuse(a, VMSRS_NO_REGION, kCall, at - 1, 8, to);
  refuse(a, VMSRS_NO_REGION, kCall, at + sizeof memory - 7, 8, to);
  refuse(a, VMSRS_BAD_ADDRESS, kCall, kNonCanonical, 8, to);
  refuse_pointers(a, true, [&](std::uint64_t pointer, vmsrs_status wanted) {
    refuse(a, wanted, kCall, at, 8, pointer);
  });
  for (const std::uint64_t flags : {2ull, 3ull, ~0ull})
    refuse(a, VMSRS_BAD_ARGUMENT, VMSRS_CALL_USER_BEGIN, 7, flags);
  // Its memory need not be there.
  a.memory.set_page(memory, HostMemory::Page::kNotPresent);
  BOOST_TEST(a.call(kCall, at, 8, to).status == VMSRS_OK);
  a.memory.set_page(memory, HostMemory::Page::kPresent);
}

// A page that a load could read but a restoration cannot write.
BOOST_AUTO_TEST_CASE(load_that_must_restore_read_only_memory) {
  begin(a);
  store(a, 0, 1);
  a.crash();
  b.memory.set_page(memory, HostMemory::Page::kReadOnly);
  refuse(b, VMSRS_TOUCH, VMSRS_CALL_LOAD, address_of(memory), 8);
  b.memory.touch(address_of(memory));
  BOOST_TEST(load(b, 0) == 0x0706050403020100u);
}

BOOST_AUTO_TEST_CASE(management_without_a_capability) {
  const std::uint64_t observe = manager.open(VMSRS_OBSERVE).rdx;
  const std::uint64_t operate = manager.open(VMSRS_OPERATE).rdx;
  for (std::uint64_t call = VMSRS_CALL_MGMT_STATS; call <= VMSRS_CALL_MGMT_WORK; ++call) {
    refuse(manager, VMSRS_DENIED, call, 0, 0, address_of(buffer), 64, 64);
    refuse(manager, VMSRS_DENIED, call, token ^ 1, 0, address_of(buffer), 64, 64);
    refuse(manager, VMSRS_DENIED, call, operate, 0, address_of(buffer), 64, 64);
    refuse(a, VMSRS_DENIED, call, token, 0, address_of(buffer), 64, 64);
  }
  for (std::uint64_t call = VMSRS_CALL_MGMT_DEFINE; call <= VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS;
       ++call) {
    refuse(manager, VMSRS_DENIED, call, 0, 0, kServerProcess);
    refuse(manager, VMSRS_DENIED, call, observe, 0, kServerProcess);
    refuse(a, VMSRS_DENIED, call, token, 0, kServerProcess);
  }
  refuse(manager, VMSRS_DENIED, VMSRS_CALL_MGMT_CLOSE, 0);
  refuse(a, VMSRS_DENIED, VMSRS_CALL_MGMT_CLOSE, token);
}

BOOST_AUTO_TEST_CASE(management_buffers) {
  const std::uint64_t at = address_of(buffer);
  refuse_pointers(manager, true, [&](std::uint64_t to, vmsrs_status wanted) {
    refuse(manager, wanted, VMSRS_CALL_MGMT_STATS, token, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_EXITS, token, 0, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_LOG, token, 0, to, sizeof(vmsrs_log_line));
    refuse(manager, wanted, VMSRS_CALL_MGMT_MEMORY, token, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_GUEST_ENDS, token, 0, to, sizeof(vmsrs_guest_end));
    refuse(manager, wanted, VMSRS_CALL_MGMT_GUEST_CPU, token, 1, 0, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_EVENTS, token, 0, to, sizeof(vmsrs_event));
    refuse(manager, wanted, VMSRS_CALL_MGMT_SERVER, token, 0, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_WORK, token, 0, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_USERS, token, 0, 0, to, sizeof(vmsrs_user_info));
    refuse(manager, wanted, VMSRS_CALL_MGMT_REGIONS, token, 0, 0, to, sizeof(vmsrs_region_info));
    refuse(manager, wanted, VMSRS_CALL_MGMT_REGION_MAP, token, 0, 0, to, 64, 1);
    refuse(manager, wanted, VMSRS_CALL_MGMT_RECORDS, token, 0, VMSRS_EVERY_REGION, 0, to,
           sizeof(vmsrs_record_info));
    refuse(manager, wanted, VMSRS_CALL_MGMT_CHECK, token, 1, to, 64);
    refuse(manager, wanted, VMSRS_CALL_MGMT_LABEL, token, 0, 0, 0, to, 64);
  });
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_STATS, token, at, 0);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_EXITS, token, 0, at, 0);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_LOG, token, 0, at, 255);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_MEMORY, token, at, 0);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_GUEST_ENDS, token, 0, at, 95);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_GUEST_CPU, token, 1, 0, at, 0);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_EVENTS, token, 0, at, 255);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_SERVER, token, 0, at, 0);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_WORK, token, 0, at, 0);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_SERVER, token, 0, at, ~0ull);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_USERS, token, 0, 0, at, 103);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_REGIONS, token, 0, 0, at, 103);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_REGION_MAP, token, 0, 0, at, 0, 1);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_RECORDS, token, 0, 0, 0, at, 175);
  refuse(manager, VMSRS_BAD_LENGTH, VMSRS_CALL_MGMT_CHECK, token, 1, at, 0);
  refuse(manager, VMSRS_BAD_ADDRESS, VMSRS_CALL_MGMT_STATS, token, at, kHuge);
}

BOOST_AUTO_TEST_CASE(management_numbers) {
  const std::uint64_t at = address_of(buffer);
  machine.platform.add_guest_end(VMSRS_GUEST_PANIC);
  for (const std::uint64_t number : {std::uint64_t{2}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_EXITS, token, number, at, 64);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_GUEST_CPU, token, 1, number, at, 64);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_GUEST_CPU, token, number, 0, at, 64);
    refuse(manager, VMSRS_BAD_ARGUMENT, VMSRS_CALL_MGMT_ANNOUNCE_RESET, token, number);
  }
  for (const std::uint64_t number :
       {std::uint64_t{1}, std::uint64_t{16}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_SERVER, token, number, at, 64);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_WORK, token, number, at, 64);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_USERS, token, number, 0, at,
           sizeof(vmsrs_user_info));
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_REGIONS, token, number, 0, at,
           sizeof(vmsrs_region_info));
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_REGION_MAP, token, number, 0, at, 64, 1);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_REGION_MAP, token, 0, number, at, 64, 1);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_RECORDS, token, number, 0, 0, at,
           sizeof(vmsrs_record_info));
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_LABEL, token, number, 0, 0, at, 64);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_COLLECT, token, number, 0);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_REAP, token, number, kServerProcess);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_SUPPRESS, token, number, 0, 0);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_CONTAINMENT, token, number, 0);
    if (number != ~std::uint64_t{0})  // that is every server
      refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_SCRUB, token, number, 0);
  }
  for (const std::uint64_t mode : {std::uint64_t{4}, std::uint64_t{1} << 32, ~std::uint64_t{0}})
    refuse(manager, VMSRS_BAD_ARGUMENT, VMSRS_CALL_MGMT_CONTAINMENT, token, 0, mode);
  for (const std::uint64_t region : {std::uint64_t{16}, std::uint64_t{1} << 32})
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_RECORDS, token, 0, region, 0, at,
           sizeof(vmsrs_record_info));
  refuse(manager, VMSRS_BAD_ARGUMENT, VMSRS_CALL_MGMT_REGION_MAP, token, 0, 0, at, 64, 2);
  refuse(manager, VMSRS_WRONG_STATE, VMSRS_CALL_MGMT_REGION_MAP, token, 0, 0, at, 64, 0);
  refuse(manager, VMSRS_BAD_ARGUMENT, VMSRS_CALL_MGMT_CHECK, token, 2, at, 64);
  refuse(manager, VMSRS_WRONG_STATE, VMSRS_CALL_MGMT_CHECK, token, 0, at, 64);
  for (const std::uint64_t slot : {std::uint64_t{0}, std::uint64_t{1024}, std::uint64_t{1} << 32}) {
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_LABEL, token, 0, slot, 0, at, 64);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_COLLECT, token, 0, slot);
    refuse(manager, VMSRS_NOT_FOUND, VMSRS_CALL_MGMT_SUPPRESS, token, 0, slot, 0);
  }
  begin(a);
  refuse(manager, VMSRS_WRONG_STATE, VMSRS_CALL_MGMT_COLLECT, token, 0, 0);
  for (const std::uint64_t process : {std::uint64_t{0}, kServerProcess + std::uint64_t{1},
                                      kServerProcess | std::uint64_t{1} << 32})
    refuse(manager, VMSRS_WRONG_STATE, VMSRS_CALL_MGMT_REAP, token, 0, process);
}

BOOST_AUTO_TEST_CASE(cursor_of_users_may_be_anything) {
  const std::uint64_t at = address_of(buffer);
  for (const std::uint64_t cursor :
       {std::uint64_t{1023}, std::uint64_t{1024}, std::uint64_t{5000}, ~std::uint64_t{0}}) {
    const Result result = manager.call(VMSRS_CALL_MGMT_USERS, token, 0, cursor, at, sizeof buffer);
    BOOST_TEST(result.status == VMSRS_OK);
    BOOST_TEST(result.rdx == 0u);
    BOOST_TEST(result.rsi == 0u);
  }
}

BOOST_AUTO_TEST_CASE(definitions) {
  refuse_pointers(manager, false, [&](std::uint64_t from, vmsrs_status wanted) {
    refuse(manager, wanted, VMSRS_CALL_MGMT_DEFINE, token, from);
    refuse(manager, wanted, VMSRS_CALL_MGMT_SECRET, token, from);
  });
  vmsrs_server_definition definition{};
  const auto refuse_it = [&] {
    refuse(manager, VMSRS_BAD_ARGUMENT, VMSRS_CALL_MGMT_DEFINE, token, address_of(&definition));
  };
  refuse_it();  // no name
  std::memset(definition.name, 'x', sizeof definition.name);
  refuse_it();  // no end
  std::memset(definition.name, 0, sizeof definition.name);
  std::memcpy(definition.name, "a\nb", 3);
  refuse_it();
  std::memcpy(definition.name, "abc", 3);
  definition.storage_policy = VMSRS_STORAGE_UNPROTECTED + 1;
  refuse_it();
  definition.storage_policy = VMSRS_STORAGE_REFUSE;
  definition.user_quota = VMSRS_MAX_USERS + 1;
  refuse_it();
}

BOOST_AUTO_TEST_CASE(refused_calls_are_counted) {
  vmsrs_stats before{}, after{};
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&before), sizeof before);
  (void)a.call(0x999);
  (void)a.call(VMSRS_CALL_LOAD, kKernel, 8);
  (void)a.call(VMSRS_CALL_LOAD, 64, 8);
  (void)a.call(VMSRS_CALL_MGMT_STATS, token, address_of(&after), sizeof after);
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&after), sizeof after);
  BOOST_TEST(after.refused_call_count - before.refused_call_count == 3u);
  BOOST_TEST(after.denied_call_count - before.denied_call_count == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
