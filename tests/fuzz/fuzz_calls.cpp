// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fuzz_claims.hpp"
#include "fuzz_memory.hpp"
#include "monitor/sha256.hpp"
#include "support/machine.hpp"

// libFuzzer over the decoder of hypercalls and the engine behind it. An input is a program: calls
// with any number and any arguments, from threads of two servers and a manager, with plain stores,
// stores to claimed granules and pages that come and go between them. After each call: who was
// refused has changed nothing. After each input: all invariants hold.
namespace vmsrs::fuzz {
namespace {

using test::Machine;
using test::secret_of;

constexpr std::uint64_t kSpaces = 4;  // two servers', the manager's, the other server's second one
constexpr std::uint64_t kManager = 2;
constexpr std::uint64_t kSecond = 3;
constexpr std::uint64_t kEverything = ~0ull;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "not kept: %s\n", what);
  std::abort();
}

// Takes the input apart; zeroes after its end.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t bytes) : data_(data), left_(bytes) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::uint64_t number(unsigned bytes) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < bytes; ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// No call: the processor has seen a fault of the thread.
constexpr std::uint16_t kSeenFault = 0xffff;

// Not MGMT_SECRET: nobody could open a channel any more.
constexpr std::uint16_t kCalls[] = {VMSRS_CALL_VERSION,
                                    VMSRS_CALL_ATTACH,
                                    VMSRS_CALL_DETACH,
                                    VMSRS_CALL_INIT_PROFILE,
                                    VMSRS_CALL_PROFILE,
                                    VMSRS_CALL_PROFILE_FILL,
                                    VMSRS_CALL_UNPROFILE,
                                    VMSRS_CALL_USER_BEGIN,
                                    VMSRS_CALL_USER_END,
                                    VMSRS_CALL_USER_CRASH,
                                    VMSRS_CALL_USER_COLLECT,
                                    VMSRS_CALL_USER_STUCK,
                                    VMSRS_CALL_USER_DECLARE,
                                    VMSRS_CALL_USER_DRAINED,
                                    VMSRS_CALL_STORE,
                                    VMSRS_CALL_STORE_RANGE,
                                    VMSRS_CALL_FILL_RANGE,
                                    VMSRS_CALL_LOAD,
                                    VMSRS_CALL_LOAD_RANGE,
                                    VMSRS_CALL_LOAD_COMMITTED,
                                    VMSRS_CALL_SERVICE,
                                    VMSRS_CALL_MGMT_OPEN,
                                    VMSRS_CALL_MGMT_CLOSE,
                                    VMSRS_CALL_MGMT_STATS,
                                    VMSRS_CALL_MGMT_EXITS,
                                    VMSRS_CALL_MGMT_SERVER,
                                    VMSRS_CALL_MGMT_USERS,
                                    VMSRS_CALL_MGMT_CHECK,
                                    VMSRS_CALL_MGMT_DEFINE,
                                    VMSRS_CALL_MGMT_COLLECT,
                                    VMSRS_CALL_MGMT_REAP,
                                    VMSRS_CALL_MGMT_SCRUB,
                                    VMSRS_CALL_MGMT_SUPPRESS,
                                    VMSRS_CALL_USER_EXPOSED,
                                    VMSRS_CALL_USER_ABANDON,
                                    VMSRS_CALL_LOAD_SAMPLED,
                                    VMSRS_CALL_PROFILE_NAMED,
                                    VMSRS_CALL_UNPROFILE_NAMED,
                                    VMSRS_CALL_USER_AREAS,
                                    VMSRS_CALL_PROFILE_FIND,
                                    VMSRS_CALL_PROFILE_JOIN,
                                    VMSRS_CALL_USER_AREAS_JOIN,
                                    VMSRS_CALL_USER_LABEL,
                                    VMSRS_CALL_MGMT_LABEL,
                                    VMSRS_CALL_MGMT_CONTAINMENT,
                                    VMSRS_CALL_USER_SUSPEND,
                                    VMSRS_CALL_USER_RESUME,
                                    VMSRS_CALL_WATCH_FAULTS,
                                    VMSRS_CALL_MGMT_LOG,
                                    VMSRS_CALL_MGMT_MEMORY,
                                    VMSRS_CALL_MGMT_GUEST_ENDS,
                                    VMSRS_CALL_MGMT_GUEST_CPU,
                                    VMSRS_CALL_MGMT_ANNOUNCE_RESET,
                                    kSeenFault,
                                    VMSRS_CALL_MGMT_EVENTS,
                                    VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS,
                                    VMSRS_CALL_MGMT_REGIONS,
                                    VMSRS_CALL_MGMT_REGION_MAP,
                                    VMSRS_CALL_MGMT_RECORDS,
                                    VMSRS_CALL_MGMT_WORK,
                                    VMSRS_CALL_REPORT_HEAPS};

// Only processes that share their memory are of the same server.
std::uint8_t server_of(std::uint64_t space) {
  return space == kSecond ? 1 : static_cast<std::uint8_t>(space);
}

// These keep what they have done when they ask for a page.
bool works_in_pieces(std::uint64_t call) {
  return call == VMSRS_CALL_USER_COLLECT || call == VMSRS_CALL_SERVICE;
}

std::array<FuzzMemory, kSpaces> make_memory() {
  std::array<FuzzMemory, kSpaces> memory;
  memory[kSecond] = memory[server_of(kSecond)];
  return memory;
}

// Of memory that two processes share no part may be in two regions, or at two places of one: no
// engine can see that, and no content would be right. There is one region there, which they join.
bool shares_memory(std::uint64_t space) { return space == kSecond || space == server_of(kSecond); }

bool profiles(std::uint64_t call) {
  return call == VMSRS_CALL_PROFILE || call == VMSRS_CALL_PROFILE_NAMED ||
         call == VMSRS_CALL_PROFILE_JOIN;
}

class Program {
 public:
  Program(Machine& machine, std::array<FuzzMemory, kSpaces>& memory)
      : machine_(machine), memory_(memory) {
    machine_.restart();
    for (FuzzMemory& one : memory_) one.clear();
    const test::Secret secret = Machine::management_secret();
    memory_[kManager].store(0, secret.data(), secret.size());
    token_ = call(kManager, 0, 0, {VMSRS_CALL_MGMT_OPEN, FuzzMemory::kBase, 3}).rdx;
    for (std::uint8_t server = 0; server < kManager; ++server) {
      put_definition(server, 0);
      (void)call(kManager, 0, 0, {VMSRS_CALL_MGMT_DEFINE, token_, FuzzMemory::kBase});
    }
  }

  void run(Input input) {
    while (!input.empty()) step(input);
    finish();
  }

 private:
  static std::uint64_t address_space(std::uint64_t space) { return 0x1000 * (space + 1); }

  void step(Input& input) {
    const std::uint8_t what = input.byte();
    const std::uint64_t space = what % kSpaces;
    switch (what / kSpaces % 8) {
      case 0:  // a plain store
        store_plainly(input, space);
        break;
      case 1:
        memory_[space].set(input.byte(), static_cast<FuzzMemory::State>(input.byte() % 4));
        break;
      case 2:
        put_structure(input, space);
        break;
      case 3:
        if (input.byte() < 8) (void)monitor::end_address_space(address_space(space));
        break;
      case 4:
        act_as_library(input, space);
        break;
      default:
        make_call(input, space);
    }
  }

  void store_plainly(Input& input, std::uint64_t space) {
    const std::uint64_t at = input.number(2);
    const std::uint64_t value = input.number(2) * 0x0001000100010001;
    memory_[space].store(at, &value, 1 + input.byte() % 8);
  }

  // Something that a call may be given: sound, but for what comes next in the input.
  void put_structure(Input& input, std::uint64_t space) {
    const std::uint8_t kind = input.byte();
    const std::uint64_t at = input.byte() * 16;
    switch (kind % 3) {
      case 0:
        put_attach_request(space, at);
        break;
      case 1: {
        const vmsrs_fault fault{kind / 3u % VMSRS_FAULT_KIND_COUNT, 1, 2, 3};
        memory_[space].store(at, &fault, sizeof fault);
        break;
      }
      default:
        put_definition(kind / 3 % 3, at);
    }
  }

  void put_attach_request(std::uint64_t space, std::uint64_t at) {
    vmsrs_attach_request request{};
    request.name[0] = static_cast<char>('a' + server_of(space));
    const test::Secret secret = secret_of(server_of(space));
    std::memcpy(request.secret, secret.data(), secret.size());
    request.abi_version = VMSRS_ABI_VERSION;
    request.process_id = static_cast<std::uint32_t>(1 + space);
    memory_[space].store(at, &request, sizeof request);
  }

  void put_definition(std::uint8_t server, std::uint64_t at) {
    vmsrs_server_definition definition{};
    definition.name[0] = static_cast<char>('a' + server);
    const test::Secret secret = secret_of(server);
    monitor::sha256(secret.data(), secret.size(), definition.secret_hash);
    memory_[kManager].store(at, &definition, sizeof definition);
  }

  // What a library with claims does: profiles, stores, is within a store, ends its user.
  void act_as_library(Input& input, std::uint64_t space) {
    const std::uint8_t kind = input.byte();
    const std::uint8_t variant = kind / 8;
    const std::uint64_t granule_bytes = 8ull << variant % 4;
    const std::uint64_t slot = input.byte() % FuzzClaims::kUsers;
    const vmsrs_window* const window = machine_.platform.window(server_of(space));
    FuzzMemory& memory = memory_[space];
    FuzzClaims::User& user =
        claims_[server_of(space)].user(slot, window == nullptr ? 0 : window->users[slot] >> 2);
    switch (kind % 8) {
      case 0:
        profile_with_claims(space, variant, granule_bytes);
        break;
      case 1:
        memory.put(FuzzClaims::area_of(slot),
                   vmsrs_user_area{variant % 2u, user.set.count, variant / 2u % 2u, space, {}});
        break;
      case 2: {  // damage
        const std::uint64_t value = input.number(2) * 0x0001000100010001;
        memory.put(FuzzClaims::kClaims + slot * 16 + variant % 2 * 8, value);
        break;
      }
      case 3:
        end_user(space, user, variant, granule_bytes);
        break;
      case 4: {
        const vmsrs_fault fault{VMSRS_FAULT_WILD, 1, 2, 3};
        memory.put(FuzzClaims::kHandedOver, fault);
        (void)call(
            space, 1 + variant % 3, 3,
            {VMSRS_CALL_USER_CRASH, FuzzClaims::kHandedOver, 0, 1, user.set.count, user.set.sum});
        break;
      }
      default:
        claims_[server_of(space)].store(memory, user, granule_bytes, input.byte() % 32,
                                        input.number(2), [&](auto owner, auto generation) {
                                          return window == nullptr ||
                                                 window->users[owner] >> 2 != generation;
                                        });
    }
  }

  void end_user(std::uint64_t space, const FuzzClaims::User& user, std::uint8_t variant,
                std::uint64_t granule_bytes) {
    monitor::CallRegisters registers{
        VMSRS_CALL_USER_END, 0, variant / 3 % 2u, user.set.masked, user.set.count, user.set.sum};
    if (variant >= 16) {
      const auto over = claims_[server_of(space)].hand_over(memory_[space], user, granule_bytes);
      registers.rdi = FuzzClaims::kHandedOver;
      registers.rsi |= over.bytes << VMSRS_HANDED_OVER_SHIFT;
      registers.r9 = over.sum;
    }
    (void)call(space, 1 + variant % 3, 3, registers);
  }

  void profile_with_claims(std::uint64_t space, std::uint8_t variant, std::uint64_t granule_bytes) {
    constexpr std::uint64_t kName = FuzzClaims::kHandedOver;
    const bool joins = variant / 4 % 2 != 0;
    const bool eager = variant / 8 % 2 != 0;
    const bool is_named = joins || variant >= 16 || shares_memory(space);
    memory_[space].store(kName - FuzzMemory::kBase, "name", sizeof "name");
    (void)call(space, 1, 3,
               {joins ? VMSRS_CALL_USER_AREAS_JOIN : VMSRS_CALL_USER_AREAS, FuzzClaims::kAreas,
                FuzzClaims::kAreaBytes});
    const std::uint64_t number = joins      ? VMSRS_CALL_PROFILE_JOIN
                                 : is_named ? VMSRS_CALL_PROFILE_NAMED
                                            : VMSRS_CALL_PROFILE;
    const monitor::CallRegisters region =
        call(space, 1, 3,
             {number, FuzzClaims::kRegion, FuzzClaims::kRegionBytes, granule_bytes,
              is_named ? kName : 0, FuzzClaims::kClaims, eager ? VMSRS_PROFILE_EAGER : 0});
    if (region.rax != VMSRS_OK || joins) return;
    monitor::CallRegisters fill{};
    do fill = call(space, 1, 3, {VMSRS_CALL_PROFILE_FILL, region.rdx, fill.rdx});
    while (fill.rax == VMSRS_AGAIN);
  }

  std::uint64_t argument(Input& input) {
    const std::uint8_t kind = input.byte();
    switch (kind % 8) {
      case 0:
        return kind / 8;
      case 1:
        return 1ull << (kind / 8);
      case 2:
        return FuzzMemory::kBase + kind / 8 * 64ull;
      case 3:
        return FuzzMemory::kBase + input.number(2);
      case 4:
        return token_;
      case 5:
        return ~std::uint64_t{kind / 8u};
      case 6:
        return input.number(2);
      default:
        return input.number(8);
    }
  }

  void make_call(Input& input, std::uint64_t space) {
    const std::uint8_t number = input.byte();
    const std::uint8_t who = input.byte();
    monitor::CallRegisters registers{};
    registers.rax = number < 0xf0 ? kCalls[number % std::size(kCalls)] : input.number(2);
    for (std::uint64_t* const argument_register : {&registers.rdi, &registers.rsi, &registers.rdx,
                                                   &registers.r10, &registers.r8, &registers.r9})
      *argument_register = argument(input);
    if (!shares_memory(space) || !profiles(registers.rax))
      (void)call(space, 1 + who % 3, who >= 0xf0 ? 0 : 3, registers);
  }

  monitor::CallRegisters call(std::uint64_t space, std::uint64_t thread, std::uint8_t level,
                              monitor::CallRegisters registers) {
    const std::uint64_t number = registers.rax;
    memory_[space].begin_call();
    const monitor::Caller caller{address_space(space), thread * 0x1000, level, &memory_[space]};
    if (number == kSeenFault) {
      monitor::see_fault(caller, {VMSRS_FAULT_ARITHMETIC, 0, 0, registers.rdi});
      return registers;
    }
    monitor::dispatch(caller, registers);
    const std::uint64_t status = registers.rax;
    if (std::getenv("VMSRS_FUZZ_TRACE") != nullptr)
      std::fprintf(stderr, "space %lu thread %lu: call %#lx -> %lu, %#lx, %#lx\n", space, thread,
                   number, status, registers.rdx, registers.rsi);
    require(status < VMSRS_STATUS_COUNT, "a status of the ABI");
    const bool done =
        status == VMSRS_OK || status == VMSRS_AGAIN ||
        status == VMSRS_REPEAT ||  // the granule is restored, so that it can be claimed
        (works_in_pieces(number) &&
         (status == VMSRS_TOUCH || status == VMSRS_BAD_ADDRESS));  // half-way
    require(done || !memory_[space].changed(), "who is refused has changed nothing");
    return registers;
  }

  // Repeats a call as the guest library does.
  monitor::CallRegisters call_to_end(std::uint64_t space, const monitor::CallRegisters& registers) {
    for (;;) {
      const monitor::CallRegisters result = call(space, 7, 3, registers);
      if (result.rax == VMSRS_TOUCH)
        memory_[space].touch(result.rdx);
      else if (result.rax != VMSRS_AGAIN)
        return result;
    }
  }

  // All that may be wrong now was changed behind the library's back: a scrub restores it.
  void finish() {
    for (FuzzMemory& memory : memory_) memory.make_all_present();
    const test::Secret secret = Machine::management_secret();
    memory_[kManager].store(0, secret.data(), secret.size());
    machine_.platform.advance_ns(60'000'000'000);  // whoever guessed secrets may open again
    token_ = call(kManager, 0, 0, {VMSRS_CALL_MGMT_OPEN, FuzzMemory::kBase, 3}).rdx;
    serve_until({VMSRS_CALL_MGMT_SCRUB, token_, kEverything, kEverything},
                {VMSRS_CALL_MGMT_SCRUB, token_, kEverything, 0});
    serve_until({VMSRS_CALL_MGMT_CHECK, token_, 1, FuzzMemory::kBase, sizeof(vmsrs_check_report)},
                {VMSRS_CALL_MGMT_CHECK, token_, 0, FuzzMemory::kBase, sizeof(vmsrs_check_report)});
    vmsrs_check_report report;
    for (std::size_t i = 0; i < sizeof report; ++i)
      reinterpret_cast<std::uint8_t*>(&report)[i] = memory_[kManager].byte(i);
    for (std::size_t i = 0; i < VMSRS_CHECK_COUNT; ++i) {
      const vmsrs_check_result& result = report.results[i];
      if (result.verdict == VMSRS_VERDICT_OK) continue;
      std::fprintf(stderr, "invariant %zu: verdict %u, server %u, detail %#lx\n", i, result.verdict,
                   result.server, result.detail);
      require(false, "an invariant");
    }
  }

  // Asks, lets all service threads work, asks again.
  void serve_until(const monitor::CallRegisters& first, const monitor::CallRegisters& next) {
    monitor::CallRegisters registers = first;
    while (call(kManager, 0, 3, registers).rax == VMSRS_AGAIN) {
      for (std::uint64_t space = 0; space < kSpaces; ++space) serve(space);
      registers = next;
    }
  }

  void serve(std::uint64_t space) {
    for (;;) {
      const monitor::CallRegisters result = call_to_end(space, {VMSRS_CALL_SERVICE});
      if (result.rax != VMSRS_DRAIN) return;
      (void)call(space, 7, 3, {VMSRS_CALL_USER_DRAINED, result.rdx, result.rsi});
    }
  }

  Machine& machine_;
  std::array<FuzzMemory, kSpaces>& memory_;
  std::array<FuzzClaims, kSpaces> claims_;  // by server
  std::uint64_t token_ = 0;
};

}  // namespace
}  // namespace vmsrs::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  static vmsrs::test::Machine machine(5 << 18);
  static auto memory = vmsrs::fuzz::make_memory();
  vmsrs::fuzz::Program(machine, memory).run({data, bytes});
  return 0;
}
