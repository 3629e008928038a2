// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <type_traits>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// The typed C++ interface: variables, arrays and pointers that behave like plain ones.
using namespace vmsrs::test;
using vmsrs::Array;
using vmsrs::Ptr;
using vmsrs::Shared;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

struct Book {
  std::int64_t price;
  std::int32_t stock;
  char title[20];
};
static_assert(sizeof(Shared<Book>) == sizeof(Book));
static_assert(std::is_trivially_default_constructible_v<Shared<int>>);
static_assert(std::is_trivially_copyable_v<Ptr<Shared<int>>>);
static_assert(!std::is_copy_constructible_v<vmsrs::User>);
static_assert(std::is_convertible_v<Ptr<int>, Ptr<const int>>);
static_assert(!std::is_convertible_v<Ptr<const int>, Ptr<int>>);

struct ServerWithHeap : DefaultServer {
  vmsrs_heap* heap = vmsrs_heap_create(words(), kRegionBytes / 2, false);
  ServerWithHeap() { BOOST_REQUIRE(heap != nullptr); }
  // A T in the other half.
  template <typename T>
  T& place(std::size_t at = 0) {
    return *new (words() + kRegionBytes / 16 + at) T;
  }
};

// Every kind of number: what it was is there again after a crash.
template <typename T>
void check_number(ServerWithHeap& server, T value, T other) {
  auto& number = server.place<Shared<T>>();
  number = value;
  BOOST_CHECK_EQUAL(run([&] {
                      number = other;
                      BOOST_CHECK(number.get() == other);
                      fault(server.wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(number.get() == value);
  BOOST_CHECK_EQUAL(run([&] { number = other; }), VMSRS_FINISHED);
  BOOST_CHECK(number.get() == other);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(typed, ServerWithHeap)

BOOST_AUTO_TEST_CASE(numbers_of_every_size) {
  check_number<bool>(*this, true, false);
  check_number<char>(*this, 'a', 'b');
  check_number<std::int16_t>(*this, -3, 9);
  check_number<std::uint32_t>(*this, 1u << 31, 7);
  check_number<std::int64_t>(*this, -1, 1);
  check_number<float>(*this, 1.5f, -0.0f);
  check_number<double>(*this, 1e300, 3);
  check_number<long double>(*this, 1e300L, 3);
  check_number<const char*>(*this, "before", "after");
  check_number<std::array<int, 7>>(*this, {1, 2, 3, 4, 5, 6, 7}, {});
}

BOOST_AUTO_TEST_CASE(operators_of_plain_variables) {
  auto& number = place<Shared<int>>();
  int plain = 40;
  number = 40;
  const auto same = [&](int given, int expected) {
    BOOST_CHECK_EQUAL(given, expected);
    BOOST_CHECK_EQUAL(number.get(), plain);
  };
  same(number += 2, plain += 2);
  same(number -= 5, plain -= 5);
  same(number *= 3, plain *= 3);
  same(number /= 2, plain /= 2);
  same(number %= 17, plain %= 17);
  same(number <<= 4, plain <<= 4);
  same(number >>= 1, plain >>= 1);
  same(number |= 5, plain |= 5);
  same(number &= 0x7d, plain &= 0x7d);
  same(number ^= 0x11, plain ^= 0x11);
  same(++number, ++plain);
  same(number++, plain++);
  same(--number, --plain);
  same(number--, plain--);
  auto& copy = place<Shared<int>>(8);
  copy = number;
  BOOST_CHECK_EQUAL(copy, plain);
  BOOST_CHECK_EQUAL(number + copy, 2 * plain);
  auto& pointer = place<Shared<const int*>>(16);
  const int three[] = {1, 2, 3};
  pointer = three;
  BOOST_CHECK_EQUAL(*++pointer, 2);
  BOOST_CHECK_EQUAL(pointer[1], 3);
}

BOOST_AUTO_TEST_CASE(structures) {
  auto& book = place<Shared<Book>>();
  book = {100, 5, "vocabulary"};
  BOOST_CHECK_EQUAL(run([&] {
                      book.member(&Book::stock) -= 1;
                      Book changed = book;
                      BOOST_CHECK_EQUAL(changed.stock, 4);
                      std::strcpy(changed.title, "wrong");
                      book = changed;
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(book.get().title, "vocabulary");
  BOOST_CHECK_EQUAL(std::as_const(book).member(&Book::stock), 5);
}

BOOST_AUTO_TEST_CASE(arrays) {
  auto& numbers = place<Array<std::int32_t, 100>>();
  numbers.fill(1);
  std::iota(numbers.begin(), numbers.end(), 0);
  BOOST_CHECK_EQUAL(std::accumulate(numbers.begin(), numbers.end(), 0), 4950);
  BOOST_CHECK_EQUAL(numbers.size(), 100u);
  std::array<std::int32_t, 100> copy = numbers.get();
  BOOST_CHECK_EQUAL(copy[99], 99);
  copy[99] = 7;
  numbers.set(copy);
  BOOST_CHECK_EQUAL(numbers[99], 7);
  const std::uint32_t next = static_cast<std::uint32_t>(words()[kRegionBytes / 16 + 50]);
  BOOST_CHECK_EQUAL(run([&] { numbers[100] = 666; }), VMSRS_SUPPRESSED);
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "past the end") != nullptr);
  BOOST_CHECK_EQUAL(numbers[0], 0);
  BOOST_CHECK_EQUAL(static_cast<std::uint32_t>(words()[kRegionBytes / 16 + 50]), next);
}

BOOST_AUTO_TEST_CASE(pointers_keep_to_their_object) {
  auto& numbers = place<Array<int, 10>>();
  for (int i = 0; i < 10; ++i) numbers[static_cast<std::size_t>(i)] = i;
  Ptr<Shared<int>> pointer(numbers.begin(), 10);
  BOOST_CHECK_EQUAL(*pointer, 0);
  BOOST_CHECK_EQUAL(*++pointer, 1);
  BOOST_CHECK_EQUAL(*pointer++, 1);
  BOOST_CHECK_EQUAL(*pointer--, 2);
  BOOST_CHECK_EQUAL(pointer[8], 9);
  BOOST_CHECK_EQUAL(*(pointer + 3), 4);
  BOOST_CHECK_EQUAL(*(3 + pointer - 2), 2);
  BOOST_CHECK_EQUAL((pointer += 5) - Ptr<Shared<int>>(numbers.begin(), 10), 6);
  BOOST_CHECK(pointer > Ptr<Shared<int>>(numbers.begin(), 10));
  BOOST_CHECK(!Ptr<int>());
  *pointer = 66;
  BOOST_CHECK_EQUAL(numbers[6], 66);
  BOOST_CHECK_EQUAL(pointer.checked_range(4), numbers.begin() + 6);
  // Beyond either end is no error until it is used there.
  pointer += 4;
  pointer -= 11;
  pointer += 7;
  const auto crashes = [&](auto use) {
    BOOST_CHECK_EQUAL(run(use), VMSRS_SUPPRESSED);
    BOOST_CHECK(std::strstr(vmsrs_error_message(), "outside of its object") != nullptr);
  };
  crashes([&] { *(pointer + 4) = 1; });
  crashes([&] { pointer[-7] = 1; });
  crashes([&] { (void)pointer.checked_range(5); });
  crashes([&] { (void)*Ptr<int>(nullptr); });
  BOOST_CHECK_EQUAL(numbers[0], 0);
  auto& cell = place<Shared<Ptr<Shared<int>>>>(16);  // one that others share
  cell = pointer;
  BOOST_CHECK_EQUAL(*cell.get(), 66);
}

BOOST_AUTO_TEST_CASE(pointers_know_when_their_object_is_gone) {
  struct Node {
    Shared<int> value;
    Shared<Ptr<Node>> next;
  };
  const Ptr<Node> node = vmsrs::make<Node>();
  BOOST_REQUIRE(node);
  node->value = 5;
  node->next = Ptr<Node>();
  const auto dangling = [&] {
    BOOST_CHECK_EQUAL(run([&] { node->value = 6; }), VMSRS_SUPPRESSED);
    BOOST_CHECK(std::strstr(vmsrs_error_message(), "freed") != nullptr);
  };
  // In the user that frees it at once, but not if that crashes.
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::destroy(node);
                      node->value = 6;
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(node->value, 5);
  BOOST_CHECK_EQUAL(run([&] { vmsrs::destroy(node); }), VMSRS_FINISHED);
  dangling();
  const Ptr<Node> other = vmsrs::make<Node>();
  BOOST_CHECK(other.get() == node.get());  // the same block, another life
  other->value = 1;
  dangling();
  BOOST_CHECK_EQUAL(other->value, 1);
  const auto many = vmsrs::make<Shared<std::uint64_t>>(100);
  many[99] = 9;
  BOOST_CHECK_EQUAL(run([&] { many[100] = 9; }), VMSRS_SUPPRESSED);
  BOOST_CHECK(!vmsrs::make<Node>(~std::size_t{0} / 8));
  run([&] {
    vmsrs::destroy(other);
    vmsrs::destroy(many);
  });
}

BOOST_AUTO_TEST_CASE(without_a_user_misuse_ends_the_process) {
  const pid_t child = fork_between_calls();
  if (child == 0) {
    struct rlimit none {};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    const int quiet = open("/dev/null", O_WRONLY);
    dup2(quiet, STDERR_FILENO);
    (void)*Ptr<int>();
    _exit(0);
  }
  int status = 0;
  BOOST_REQUIRE_EQUAL(waitpid(child, &status, 0), child);
  BOOST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

BOOST_AUTO_TEST_CASE(users_as_objects) {
  auto& number = place<Shared<int>>();
  number = 1;
  {
    vmsrs::User user(7);
    BOOST_CHECK_EQUAL(user.error(), 0);
    number = 2;
    BOOST_CHECK_EQUAL(user.end(), VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(user.end(), VMSRS_ERROR_STATE);
  }
  {
    vmsrs::User user;
    number = 3;
    fault(wild());
    BOOST_CHECK_EQUAL(user.end(), VMSRS_SUPPRESSED);
  }
  BOOST_CHECK_EQUAL(number, 2);
  {
    const vmsrs::User user;
    number = 4;
  }
  BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
  BOOST_CHECK_EQUAL(number, 4);
}

// Nobody's store comes between the look and the store, whether the word is its own, another's or
// contended.
BOOST_AUTO_TEST_CASE(exchanges_are_one_step) {
  auto& word = place<Shared<std::uint64_t>>();
  auto& beside = place<Shared<std::uint32_t>>(1);  // in another granule
  word = 5;
  beside = 0;
  std::uint64_t expected = 4;
  BOOST_CHECK(!word.compare_exchange(expected, 6));
  BOOST_CHECK_EQUAL(expected, 5u);
  BOOST_CHECK(word.compare_exchange(expected, 6));
  BOOST_CHECK_EQUAL(word.exchange(7), 6u);
  BOOST_CHECK_EQUAL(word.fetch_add(3), 7u);
  BOOST_CHECK_EQUAL(word.get(), 10u);
  constexpr unsigned kThreads = 4;
  constexpr unsigned kUsers = 60;
  constexpr unsigned kAdds = 20;
  std::atomic<unsigned> failed{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (unsigned user = 0; user < kUsers; ++user)
        failed += run([&] {
                    for (unsigned add = 0; add < kAdds; ++add) word.fetch_add(1);
                    beside.fetch_add(1);
                  }) != VMSRS_FINISHED;
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_CHECK_EQUAL(failed, 0u);
  BOOST_CHECK_EQUAL(word.get(), 10u + kThreads * kUsers * kAdds);
  BOOST_CHECK_EQUAL(beside.get(), kThreads * kUsers);
  BOOST_CHECK_EQUAL(run([&] {
                      word.fetch_add(1);
                      fault(wild());
                      word.fetch_add(1);  // ends, though nothing is stored
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(word.get(), 10u + kThreads * kUsers * kAdds);
  std::uint64_t any = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_compare_exchange(reinterpret_cast<char*>(word.address()) + 1, &any,
                                             &any, 8);
                    }),
                    VMSRS_SUPPRESSED);
}

// While two others hold the granule, each byte has its own writer.
BOOST_AUTO_TEST_CASE(exchange_in_a_contended_granule) {
  auto& word = place<Shared<std::uint64_t>>();
  auto* const halves = reinterpret_cast<std::uint32_t*>(word.address());
  word = 0;
  BOOST_CHECK_EQUAL(
      run([&] {
        vmsrs::store(&halves[0], 1u);
        std::thread([&] {
          BOOST_CHECK_EQUAL(
              run([&] {
                vmsrs::store(&halves[1], 2u);
                std::uint32_t expected = 3;
                const std::uint32_t desired = 4;
                BOOST_CHECK(!vmsrs_compare_exchange(&halves[1], &expected, &desired, 4));
                BOOST_CHECK_EQUAL(expected, 2u);
                BOOST_CHECK(vmsrs_compare_exchange(&halves[1], &expected, &desired, 4));
              }),
              VMSRS_FINISHED);
        }).join();
        fault(wild());
      }),
      VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(word.get(), std::uint64_t{4} << 32);
}

// Two words that one user changes together are seen as they were before its crash, or both as they
// are restored.
BOOST_AUTO_TEST_CASE(reads_that_belong_together) {
  auto& pair = place<Array<std::uint64_t, 16>>();  // in two granules, at its ends
  pair.fill(0);
  std::atomic<bool> over{false};
  std::atomic<unsigned> repeated{0}, looks{0}, torn{0};
  std::thread reader([&] {
    while (!over) {
      unsigned calls = 0;
      const auto [first, last] = vmsrs::read_whole([&] {
        ++calls;
        const std::uint64_t one = pair[0];
        std::this_thread::yield();
        return std::pair{one, pair[15].get()};
      });
      ++looks;
      repeated += calls - 1;
      // The writer stores to the last first, so the first is never ahead of it while it runs on.
      if (first == 0 && last == 0) continue;
      torn += last != 7;
    }
  });
  for (unsigned i = 0; i < 3000 && (i < 300 || repeated == 0); ++i)
    run([&] {
      pair[15] = 7;
      pair[0] = 7;
      std::this_thread::yield();
      fault(wild());
    });
  over = true;
  reader.join();
  BOOST_CHECK(looks > 0);
  BOOST_CHECK_EQUAL(torn, 0u);
  BOOST_CHECK_MESSAGE(repeated > 0, "no crash came between two loads");
  vmsrs::read_whole([] {});
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(regions)

BOOST_AUTO_TEST_CASE(a_server_and_its_regions) {
  start_engine();
  const SecretFile secret;
  vmsrs_options options{};
  options.server_name = kServerName;
  options.secret_file = secret.path();
  {
    vmsrs::Server server(options);
    BOOST_REQUIRE_EQUAL(server.error(), 0);
    BOOST_CHECK_EQUAL(vmsrs::Server(options).error(), VMSRS_ERROR_STATE);
    vmsrs::Region region(8192, 16);
    BOOST_REQUIRE_EQUAL(region.error(), 0);
    BOOST_CHECK(!region.kept());
    auto& number = region.at<Shared<int>>(64);
    run([&] {
      number = 5;
      asm volatile("ud2");
    });
    BOOST_CHECK_EQUAL(number, 0);
    BOOST_CHECK_EQUAL(vmsrs::Region(8192, 17).error(), VMSRS_ERROR_ARGUMENT);
  }
  vmsrs::Server again(options);
  BOOST_CHECK_EQUAL(again.error(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
