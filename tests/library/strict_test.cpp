// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vmsrs/text.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"
#include "control.hpp"
#include "fixture.hpp"
#include "kernel_paths.hpp"
#include "protection_key.hpp"
#include "protection_keys.hpp"

// Strict regions: nobody but the library stores to them. See
// protection_keys.hpp.
using namespace vmsrs::test;
namespace guest = vmsrs::guest;

namespace {

vmsrs_options policed() {
  vmsrs_options options{};
  options.suppression_limit_ms = 300'000;
  options.site_crash_limit = options.crash_limit = 1'000'000;
  return options;
}

// A second region, which is strict; the fixture's own is not.
struct Strict : AttachedServer {
  static constexpr std::size_t kBytes = 64 * 1024;
  explicit Strict(bool eager = false) : AttachedServer(policed()) {
    for (std::size_t i = 0; i < kBytes / 8; ++i) strict()[i] = value_of(i);
    vmsrs_profile_options options{};
    options.eager = eager;
    BOOST_REQUIRE_MESSAGE(vmsrs_profile(strict(), kBytes, 16, &options) == 0,
                          vmsrs_error_message());
    BOOST_REQUIRE_MESSAGE(vmsrs_make_strict(strict()) == 0, vmsrs_error_message());
  }
  ~Strict() { BOOST_CHECK_EQUAL(rights(), guest::kNoStore); }

  std::uint64_t* strict() const { return static_cast<std::uint64_t*>(page); }
  static std::uint64_t value_of(std::size_t i) { return i * 3 + 5; }
  // Is every word of it what it was, but for those that are named?
  std::size_t changed_words() const {
    std::size_t changed = 0;
    for (std::size_t i = 0; i < kBytes / 8; ++i) changed += strict()[i] != value_of(i);
    return changed;
  }
  static std::uint32_t rights() { return rights_on_strict_memory(); }

  // Behind as much that is the program's own.
  void* const page = static_cast<std::byte*>(mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) +
                     kBytes;
};
struct EagerStrict : Strict {
  EagerStrict() : Strict(true) {}
};

void plain_store(std::uint64_t* to, std::uint64_t value = 666) {
  *const_cast<volatile std::uint64_t*>(to) = value;
}

struct Told {
  int count = 0;
  std::string message;
  vmsrs_fault_kind kind = VMSRS_FAULT_NONE;
};
void tell(void* told) {
  auto& t = *static_cast<Told*>(told);
  ++t.count;
  t.message = vmsrs_error_message();
  t.kind = vmsrs_user_error();
}

}  // namespace

// Where there are none, that is what is said; and what is wrong with the region, in any case.
BOOST_FIXTURE_TEST_SUITE(strict_refused, AttachedServer)

BOOST_AUTO_TEST_CASE(without_a_region_or_with_half_pages) {
  BOOST_CHECK_EQUAL(vmsrs_make_strict(words() + 8), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "no region of this process begins there"));
  alignas(4096) static std::uint64_t half[512];
  BOOST_REQUIRE_EQUAL(profile(half, 2048, 16), 0);
  BOOST_CHECK_EQUAL(vmsrs_make_strict(half), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "multiples of 4096"));
  BOOST_CHECK(!vmsrs_is_strict(half) && !vmsrs_is_strict(words()) && !vmsrs_is_strict(&half));
}

BOOST_AUTO_TEST_CASE(while_a_user_is_unfinished) {
  if (std::getenv("VMSRS_TEST_TRAPPING") != nullptr) return;  // then nobody has to look
  BOOST_CHECK_EQUAL(run([&] { BOOST_CHECK_EQUAL(vmsrs_make_strict(words()), VMSRS_ERROR_STATE); }),
                    VMSRS_FINISHED);
}

BOOST_AUTO_TEST_CASE(without_keys) {
  if (has_keys()) return;
  BOOST_CHECK_EQUAL(vmsrs_make_strict(words()), VMSRS_ERROR_SYSTEM);
  BOOST_TEST_MESSAGE(vmsrs_error_message());
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "no protection key"));
  BOOST_CHECK(!vmsrs_is_strict(words()));
  // The program goes on without.
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[0], std::uint64_t{5}); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(words()[0], 5u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(strict, *boost::unit_test::precondition(keys_are_there))

BOOST_FIXTURE_TEST_CASE(a_plain_store_changes_nothing_and_is_named, Strict) {
  const std::uint64_t before = server_info().faults[VMSRS_FAULT_WILD];
  Told told;
  std::uint64_t seen = 0;
  const int outcome = run(
      [&] {
        vmsrs::store(&strict()[3], std::uint64_t{42});
        plain_store(&strict()[8]);
        seen = *static_cast<volatile std::uint64_t*>(&strict()[8]);
      },
      tell, &told);
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(seen, value_of(8));
  BOOST_CHECK_EQUAL(changed_words(), 0u);
  BOOST_CHECK_EQUAL(told.count, 1);
  BOOST_CHECK_EQUAL(told.kind, VMSRS_FAULT_WILD);
  char address[32];
  std::snprintf(address, sizeof address, "plain store to %p", static_cast<void*>(&strict()[8]));
  BOOST_CHECK_MESSAGE(told.message.find(address) != std::string::npos, told.message);
  BOOST_CHECK_EQUAL(server_info().faults[VMSRS_FAULT_WILD], before + 1);
  vmsrs_crash_site site{};
  BOOST_CHECK_GE(vmsrs_crash_sites(&site, 1), 1u);
  BOOST_CHECK_EQUAL(site.fault, VMSRS_FAULT_WILD);
}

// The same in the region that is not strict: it goes through, and somebody must find it.
BOOST_FIXTURE_TEST_CASE(without_strict_mode_it_goes_through, Strict) {
  std::uint64_t seen = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      plain_store(&words()[8]);
                      seen = words()[8];
                      plain_store(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(seen, 666u);
  for (unsigned i = 0; i < 5000 && !is_pristine(); ++i) usleep(1000);  // the sweep comes
  BOOST_CHECK(is_pristine());
}

BOOST_FIXTURE_TEST_CASE(whatever_the_instruction, Strict) {
  std::uint64_t* const to = strict();
  const std::function<void()> kinds[] = {
      [=] {
        asm volatile("movb $1, %0" : : "m"(*to) : "memory");
      },
      [=] {
        asm volatile("addq $1, %0" : : "m"(*to) : "memory", "cc");
      },
      [=] {
        asm volatile("lock incq %0" : : "m"(*to) : "memory", "cc");
      },
      [=] {
        asm volatile("xchgq %%rax, %0" : : "m"(*to) : "rax", "memory");
      },
      [=] {
        asm volatile("movups %%xmm0, %0" : : "m"(*to) : "memory");
      },
      [=] {
        void* at = to;
        std::uint64_t count = 256;
        asm volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(7) : "memory");
      },
      [=] {
        asm volatile("lock cmpxchgq %1, %0"
                     :
                     : "m"(*to), "r"(9ull), "a"(value_of(0))
                     : "memory", "cc");
      },
      [=] { std::memset(to, 1, kBytes); },
      [to, from = words()] { std::memcpy(to + 4, from, 64); },
  };
  for (const auto& store : kinds) {
    BOOST_CHECK_EQUAL(run([&] { store(); }), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(changed_words(), 0u);
  }
}

BOOST_FIXTURE_TEST_CASE(what_the_library_keeps_of_who_owns_what, Strict) {
  const vmsrs::fast::Region* claimed = nullptr;
  for (const auto& region : guest::control().regions)
    if (region.begin == reinterpret_cast<std::uint64_t>(strict()) && region.bytes != 0)
      claimed = &region;
  BOOST_REQUIRE(claimed != nullptr);
  if (claimed->claims == nullptr) return;  // each store is a call
  const vmsrs_claim before = claimed->claims[5];
  BOOST_CHECK_EQUAL(run([&] { plain_store(&claimed->claims[5].tag); }), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(claimed->claims[5].tag, before.tag);
}

BOOST_FIXTURE_TEST_CASE(stores_of_the_librarys, Strict) {
  char* const bytes = static_cast<char*>(page);
  std::uint64_t expected = 77;
  const int outcome = run([&] {
    for (unsigned again = 0; again < 3; ++again) {
      vmsrs::store(&strict()[0], std::uint64_t{1});
      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
      vmsrs_store_u8(reinterpret_cast<std::uint8_t*>(bytes + 64), 2);
      vmsrs_store_u16(reinterpret_cast<std::uint16_t*>(bytes + 66), 3);
      vmsrs_store_u32(reinterpret_cast<std::uint32_t*>(bytes + 79), 4);  // across granules
      vmsrs_store_u64(reinterpret_cast<std::uint64_t*>(bytes + 131), 5);
      vmsrs_store_range(bytes + 201, "0123456789012345678901234567890123456789", 40);
      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
      vmsrs_fill_range(bytes + 512, 9, 3000);
      vmsrs_assign(bytes + 8192, bytes + 201, 40);
      vmsrs_snprintf(bytes + 9000, 32, "%d bottles", 99);
      vmsrs_memmove(bytes + 9001, bytes + 9000, 16);
      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
      vmsrs::store(&strict()[2000], std::uint64_t{77});
      const std::uint64_t desired = 78;
      BOOST_CHECK(vmsrs_compare_exchange(&strict()[2000], &expected, &desired, 8));
      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
    }
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(strict()[0], 1u);
  BOOST_CHECK_EQUAL(bytes[64], 2);
  std::uint32_t four = 0;
  std::memcpy(&four, bytes + 79, 4);
  BOOST_CHECK_EQUAL(four, 4u);
  BOOST_CHECK_EQUAL(std::string(bytes + 8192, 40), "0123456789012345678901234567890123456789");
  BOOST_CHECK_EQUAL(bytes[3511], 9);
  BOOST_CHECK_EQUAL(std::string(bytes + 9000, 11), "999 bottles");
  BOOST_CHECK_EQUAL(strict()[2000], 78u);
  // Outside of scopes too: each is a user of its own.
  vmsrs::store(&strict()[1], std::uint64_t{11});
  BOOST_CHECK_EQUAL(strict()[1], 11u);
  BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
}

BOOST_FIXTURE_TEST_CASE(a_heap_in_it, Strict) {
  vmsrs_heap* const heap = vmsrs_heap_create(strict(), kBytes, false);
  BOOST_REQUIRE(heap != nullptr);
  char* text = nullptr;
  BOOST_CHECK_EQUAL(run([&] {
                      text = static_cast<char*>(vmsrs_heap_alloc(heap, 100, 0));
                      vmsrs_strcpy(text, "a text");
                      text = static_cast<char*>(vmsrs_realloc(text, 1000));
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(std::string(text), "a text");
  BOOST_CHECK_EQUAL(run([&] { text[3] = 'x'; }), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(std::string(text), "a text");
  BOOST_CHECK_EQUAL(run([&] { vmsrs_free(text); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(vmsrs_heap_destroy(heap), 0);
}

// Others read what is right when somebody crashes, who has stored by the library.
BOOST_FIXTURE_TEST_CASE(restored_for_who_reads, Strict) {
  std::atomic<int> stage{0};
  std::thread crashing([&] {
    BOOST_CHECK_EQUAL(run([&] {
                        for (std::size_t i = 0; i < 100; ++i)
                          vmsrs::store(&strict()[i], std::uint64_t{666});
                        plain_store(&strict()[500]);
                        stage = 1;
                        while (stage != 2) usleep(1000);
                      }),
                      VMSRS_SUPPRESSED);
  });
  while (stage != 1) usleep(1000);
  BOOST_CHECK_EQUAL(run([&] {
                      for (std::size_t i = 0; i < 50; ++i)
                        BOOST_CHECK_EQUAL(vmsrs::load(&strict()[i]), value_of(i));
                      // Where the crashed one is in the way.
                      vmsrs::store(&strict()[60], std::uint64_t{7});
                      BOOST_CHECK_EQUAL(vmsrs::load(&strict()[60]), 7u);
                    }),
                    VMSRS_FINISHED);
  stage = 2;
  crashing.join();
  BOOST_CHECK_EQUAL(strict()[60], 7u);
  BOOST_CHECK_EQUAL(changed_words(), 1u);
}

BOOST_FIXTURE_TEST_CASE(an_eager_region, EagerStrict) {
  BOOST_CHECK_EQUAL(run([&] {
                      for (std::size_t i = 0; i < 100; ++i)
                        vmsrs::store(&strict()[i], std::uint64_t{666});
                      plain_store(&strict()[5]);
                      BOOST_CHECK_EQUAL(strict()[5], value_of(5));
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(changed_words(), 0u);
}

// One granule, many users: their stores are calls.
BOOST_FIXTURE_TEST_CASE(contended_granules, Strict) {
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 50; ++i)
        BOOST_CHECK_EQUAL(run([&] {
                            const std::size_t at = t / 2 * 2 + t % 2;
                            vmsrs::store(&strict()[at], i);
                            if (i % 5 == 4) plain_store(&strict()[7]);
                          }),
                          i % 5 == 4 ? VMSRS_SUPPRESSED : VMSRS_FINISHED);
    });
  for (auto& thread : threads) thread.join();
  for (std::size_t t = 0; t < 4; ++t) BOOST_CHECK_EQUAL(strict()[t], 48u);
  BOOST_CHECK_EQUAL(strict()[7], value_of(7));
}

// A thread that began before there was a key may not even load, as Linux has it.
BOOST_AUTO_TEST_CASE(threads_from_before) {
  sem_t begin, done;
  sem_init(&begin, 0, 0);
  sem_init(&done, 0, 0);
  std::atomic<Strict*> server{nullptr};
  std::uint64_t before = 0, in_scope = 0;
  std::uint32_t first = 0, then = 0;
  int plain = 0, monitored = 0;
  const bool first_key = guest::strict_key() == guest::kNoKey;
  std::thread older([&] {
    for (;;) {
      sem_wait(&begin);
      Strict* const s = server;
      if (s == nullptr) return;
      // Of a key that there was before the thread it has its maker's.
      if (!first_key) guest::set_rights(guest::strict_key(), guest::kNoAccess);
      first = Strict::rights();
      before = *static_cast<volatile std::uint64_t*>(&s->strict()[4]);
      then = Strict::rights();
      // As one has it that is older than another use of the same key: until a scope begins.
      guest::set_rights(guest::strict_key(), 0);
      plain = run([&] { plain_store(&s->strict()[4]); });
      monitored = run([&] {
        vmsrs::store(&s->strict()[5], std::uint64_t{9});
        in_scope = vmsrs::load(&s->strict()[4]);
      });
      sem_post(&done);
    }
  });
  {
    Strict now;
    server = &now;
    sem_post(&begin);
    sem_wait(&done);
    BOOST_TEST_MESSAGE("rights of a thread that is older than " << (first_key ? "any" : "its")
                                                                << " key: " << first);
    BOOST_CHECK_EQUAL(first, guest::kNoAccess);
    BOOST_CHECK_EQUAL(before, Strict::value_of(4));
    BOOST_CHECK_EQUAL(then, guest::kNoStore);
    BOOST_CHECK_EQUAL(plain, VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(monitored, VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(in_scope, Strict::value_of(4));
    BOOST_CHECK_EQUAL(now.changed_words(), 1u);
    std::thread([&] {  // and one that is younger
      BOOST_CHECK_EQUAL(Strict::rights(), guest::kNoStore);
      BOOST_CHECK_EQUAL(now.strict()[6], Strict::value_of(6));
      BOOST_CHECK_EQUAL(run([&] { plain_store(&now.strict()[6]); }), VMSRS_SUPPRESSED);
    })
        .join();
  }
  server = nullptr;
  sem_post(&begin);
  older.join();
}

// The program's handlers begin with the kernel's rights: neither load nor store.
BOOST_FIXTURE_TEST_CASE(handlers_of_the_programs, Strict) {
  static Strict* test;
  static std::uint64_t plain, monitored;
  test = this;
  plain = monitored = 0;
  struct sigaction count {
  }, before{};
  count.sa_handler = [](int) {
    plain = *static_cast<volatile std::uint64_t*>(&test->strict()[2]);
    monitored = vmsrs::load(&test->strict()[3]);
    vmsrs::store(&test->strict()[9], std::uint64_t{10});
  };
  sigaction(SIGUSR1, &count, &before);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&strict()[8], std::uint64_t{1});
                      raise(SIGUSR1);
                      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
                      vmsrs::store(&strict()[8], std::uint64_t{2});
                    }),
                    VMSRS_FINISHED);
  sigaction(SIGUSR1, &before, nullptr);
  BOOST_CHECK_EQUAL(plain, value_of(2));
  BOOST_CHECK_EQUAL(monitored, value_of(3));
  BOOST_CHECK_EQUAL(strict()[8], 2u);
  BOOST_CHECK_EQUAL(strict()[9], 10u);
  // on_crash runs in the library's: it loads, and what it stores plainly is dropped too.
  BOOST_CHECK_EQUAL(run([&] { plain_store(wild()); },
                        [](void*) {
                          plain = test->strict()[8];
                          plain_store(&test->strict()[8]);
                        }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(plain, 2u);
  BOOST_CHECK_EQUAL(strict()[8], 2u);
}

// However a thread is taken out of its user's work, it may not store afterwards.
BOOST_FIXTURE_TEST_CASE(after_unwinding, Strict) {
  const auto store_and = [&](auto end) {
    return run([&] {
      vmsrs::store(&strict()[1], std::uint64_t{1});
      end();
    });
  };
  BOOST_CHECK_EQUAL(store_and([] { std::abort(); }), VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
  BOOST_CHECK_EQUAL(store_and([&] {
                      vmsrs::rescue(1, [&] {
                        plain_store(&strict()[2]);
                        return 0;
                      });
                      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
                    }),
                    VMSRS_SUPPRESSED);
  // In the middle of a store of the library's: what it stores from is not there.
  BOOST_CHECK_EQUAL(store_and([&] { vmsrs_store_range(&strict()[20], wild(), 4096); }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
  // And where the region's own page cannot be stored to; who has crashed may not change that.
  std::atomic<int> stage{0};
  std::thread other([&] {
    while (stage != 1) usleep(1000);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    stage = 2;
  });
  BOOST_CHECK_EQUAL(store_and([&] {
                      mprotect(page, 4096, PROT_READ);
                      vmsrs::store(&strict()[3], std::uint64_t{3});
                      BOOST_CHECK_EQUAL(rights(), guest::kNoStore);
                      stage = 1;
                      while (stage != 2) usleep(1000);
                    }),
                    VMSRS_SUPPRESSED);
  other.join();
  BOOST_CHECK_EQUAL(changed_words(), 0u);
}

// A thread without a user: the fault is the program's own, as any other.
BOOST_FIXTURE_TEST_CASE(without_a_user, Strict) {
  static void* address;
  static int code;
  static std::atomic<int> seen;
  seen = 0;
  struct sigaction own {
  }, before{};
  own.sa_flags = SA_SIGINFO;
  own.sa_sigaction = [](int, siginfo_t* info, void* context) {
    ++seen;
    address = info->si_addr;
    code = info->si_code;
    // Past the store, which is 3 bytes long.
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 3;
  };
  vmsrs_sigaction(SIGSEGV, &own, &before);
  asm volatile("movq %%rax, (%0)" : : "D"(strict() + 5), "a"(666ull) : "memory");
  vmsrs_sigaction(SIGSEGV, &before, nullptr);
  BOOST_CHECK_EQUAL(seen, 1);
  BOOST_CHECK_EQUAL(address, strict() + 5);
  BOOST_CHECK_EQUAL(code, SEGV_PKUERR);
  BOOST_CHECK_EQUAL(changed_words(), 0u);
}

BOOST_FIXTURE_TEST_CASE(the_kernels_stores, Strict) {
  int ends[2];
  BOOST_REQUIRE_EQUAL(pipe(ends), 0);
  BOOST_REQUIRE_EQUAL(write(ends[1], "abcdefgh", 8), 8);
  // In the name of a user that is well: the processor's answer is the kernel's too.
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(read(ends[0], strict(), 4), -1);
                      BOOST_CHECK_EQUAL(errno, EFAULT);
                      const iovec one = {strict(), 4};
                      BOOST_CHECK_EQUAL(readv(ends[0], &one, 1), -1);
                      BOOST_CHECK_EQUAL(errno, EFAULT);
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(write(ends[1], strict(), 8), 8);  // loads are free
  BOOST_CHECK_EQUAL(changed_words(), 0u);
  close(ends[0]);
  close(ends[1]);
}

// Of a thread whose user has crashed. (Without strict mode: calls/the_kernels_ways_into_a_region.)
BOOST_FIXTURE_TEST_CASE(the_kernels_ways_into_a_region, Strict) {
  try_kernel_paths(*this, strict());
}

BOOST_FIXTURE_TEST_CASE(what_is_strict, Strict) {
  BOOST_CHECK(vmsrs_is_strict(strict()));
  BOOST_CHECK(vmsrs_is_strict(strict() + kBytes / 8 - 1));
  BOOST_CHECK(!vmsrs_is_strict(strict() + kBytes / 8));
  BOOST_CHECK(!vmsrs_is_strict(words()));
  BOOST_CHECK_EQUAL(vmsrs_make_strict(strict()), 0);  // it is already
}

namespace {

struct Steps {
  unsigned instructions, changes_of_rights;
};
Steps steps;

void count_step(int, siginfo_t*, void* context) {
  constexpr unsigned char kChange[] = {0x0f, 0x01, 0xef};  // WRPKRU
  const auto* const next = reinterpret_cast<const unsigned char*>(
      static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  ++steps.instructions;
  steps.changes_of_rights += std::memcmp(next, kChange, sizeof kChange) == 0;
}

// Of a word that its user has stored to before.
Steps steps_of_store(std::uint64_t* to) {
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(to, std::uint64_t{1});
                      steps = {};
                      start_single_stepping();
                      vmsrs::store(to, std::uint64_t{2});
                      stop_single_stepping();
                    }),
                    VMSRS_FINISHED);
  return steps;
}

}  // namespace

// In instructions: under emulation nothing else can be told.
BOOST_FIXTURE_TEST_CASE(what_a_store_costs, Strict) {
  if (std::getenv("VMSRS_TEST_TRAPPING") != nullptr) return;  // each is a call
  struct sigaction count {
  }, before{};
  count.sa_flags = SA_SIGINFO;
  count.sa_sigaction = count_step;
  sigaction(SIGTRAP, &count, &before);
  const Steps usual = steps_of_store(words()), strictly = steps_of_store(strict());
  sigaction(SIGTRAP, &before, nullptr);
  BOOST_TEST_MESSAGE("a word stored: " << strictly.instructions << " instructions, "
                                       << strictly.changes_of_rights << " changes of rights; "
                                       << usual.instructions << " where nothing is strict");
  BOOST_CHECK_GT(usual.instructions, 10u);
  BOOST_CHECK_EQUAL(usual.changes_of_rights, 0u);
  BOOST_CHECK_EQUAL(strictly.changes_of_rights, 2u);
}

// Given up, it is memory as any other; and may be strict again.
BOOST_AUTO_TEST_CASE(given_up) {
  for (unsigned again = 0; again < 17; ++again) {  // more often than there are keys
    Strict server;
    BOOST_CHECK_EQUAL(Init_profile(), 0);
    BOOST_CHECK(!vmsrs_is_strict(server.strict()));
    plain_store(server.strict());
    BOOST_CHECK_EQUAL(server.strict()[0], 666u);
    BOOST_REQUIRE_EQUAL(vmsrs_profile(server.strict(), Strict::kBytes, 16,
                                      [] {
                                        static vmsrs_profile_options named{};
                                        named.name = "strict";
                                        return &named;
                                      }()),
                        VMSRS_PROFILED_NEW);
    BOOST_CHECK_EQUAL(vmsrs_make_strict(server.strict()), 0);
    BOOST_CHECK_EQUAL(run([&] { plain_store(server.strict()); }), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(unprofile_named("strict"), 0);
    plain_store(server.strict(), 667);
    BOOST_CHECK_EQUAL(server.strict()[0], 667u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
