// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <vmsrs/text.h>
#include <wchar.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// The C library's functions on strings and memory, with arguments in profiled memory: the same
// results as the C library's own, and under suppression those that are right.
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

// A string in profiled memory that another user, who has crashed and is not collected, has changed.
struct PollutedServer : DefaultServer {
  char* profiled(std::size_t at) { return reinterpret_cast<char*>(words()) + at; }
  char* place(std::size_t at, const char* text) {
    vmsrs_store_range(profiled(at), text, std::strlen(text) + 1);
    return profiled(at);
  }
  // Runs body() on another thread while the crashed user waits.
  template <typename Body>
  void after_pollution(char* where, std::size_t bytes, Body body) {
    const std::uint64_t before = restored();
    BOOST_CHECK_EQUAL(run([&] {
                        vmsrs_fill_range(where, 'X', bytes);
                        fault(wild());
                        std::thread(body).join();
                      }),
                      VMSRS_SUPPRESSED);
    BOOST_CHECK_MESSAGE(restored() > before, "nothing had to be restored");
  }
  static std::uint64_t restored() {
    const vmsrs_server_info info = server_info();
    return info.demand_restore_count;
  }
};

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
// Both give the same text, or both fail.
template <typename... Values>
void check_print(const char* format, Values... values) {
  char ours[3000];
  char theirs[3000];
  std::memset(ours, '#', sizeof ours);
  std::memset(theirs, '#', sizeof theirs);
  for (const std::size_t room : {sizeof ours, std::size_t{5}, std::size_t{1}, std::size_t{0}}) {
    const int count = vmsrs_snprintf(ours, room, format, values...);
    BOOST_TEST(count == std::snprintf(theirs, room, format, values...), format);
    BOOST_TEST(std::memcmp(ours, theirs, sizeof ours) == 0,
               format << ": " << std::string(ours, 60) << ", not " << std::string(theirs, 60));
  }
}

int sign(int number) { return (number > 0) - (number < 0); }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(text, PollutedServer)

BOOST_AUTO_TEST_CASE(prints_as_the_c_library) {
  check_print("nothing");
  check_print("%d|%5d|%-5d|%05d|%+d|% d", 1, 2, 3, 4, 5, 6);
  check_print("%hhd %hd %ld %lld %jd %zu %td", 300, 70000, 1L << 40, 1LL << 50, INTMAX_MIN,
              SIZE_MAX, static_cast<std::ptrdiff_t>(-1));
  check_print("%u %o %x %X %#x %#o", 1u, 8u, 255u, 255u, 255u, 8u);
  check_print("%c%5c%-5c|", 'a', 'b', 'c');
  check_print("%s|%10s|%-10s|%.3s|%.0s|%.s|%.*s|%*s", "one", "two", "three", "four", "five", "six",
              2, "seven", -8, "eight");
  check_print("%f %.2f %e %G %a %10.3f %-10.1f| %Lf", 1.5, 2.345, 1e10, 1e-10, 0.5, 3.14159, 2.5,
              1.25L);
  check_print("%p %p", static_cast<void*>(nullptr), static_cast<void*>(wild()));
  check_print("%%%d%%", 5);
  check_print("%ls|%S|%.2ls|%lc", L"wide", L"wider", L"widest", static_cast<wint_t>(L'w'));
  check_print("%2000d|%.1500d", 1, 2);
  check_print("%s", std::string(2000, 'l').c_str());
  errno = ENOENT;
  char ours[60];
  const char* volatile with_error = "%m|%d";
  vmsrs_snprintf(ours, sizeof ours, with_error, 1);
  BOOST_CHECK_EQUAL(ours, std::string("No such file or directory|1"));
  const char* volatile with_numbers = "%1$d";
  BOOST_CHECK_EQUAL(vmsrs_snprintf(ours, sizeof ours, with_numbers, 1), -1);
  BOOST_CHECK_EQUAL(errno, EINVAL);
  const char* volatile unfinished = "%";
  BOOST_CHECK_EQUAL(vmsrs_snprintf(ours, sizeof ours, unfinished), -1);
}

BOOST_AUTO_TEST_CASE(prints_what_is_right) {
  char* const title = place(128, "vocabulary");
  char* const format = place(512, "title=%s%n");
  int* const length = reinterpret_cast<int*>(profiled(1024));
  after_pollution(title, 10, [&] {
    char line[64];
    BOOST_CHECK_EQUAL(vmsrs_snprintf(line, sizeof line, "%s", title), 10);
    BOOST_CHECK_EQUAL(line, std::string("vocabulary"));
  });
  after_pollution(format, 8, [&] {
    char line[64];
    run([&] { vmsrs_snprintf(line, sizeof line, format, title, length); });
    BOOST_CHECK_EQUAL(line, std::string("title=vocabulary"));
  });
  BOOST_CHECK_EQUAL(*length, 16);
  // Into profiled memory: a crash takes it back.
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_snprintf(title, 64, "%d", 12345);
                      BOOST_CHECK_EQUAL(vmsrs_strcmp(title, "12345"), 0);
                      fault(wild());
                      vmsrs_snprintf(title, 64, "%d", 99);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(title, std::string("vocabulary"));
  char* text = nullptr;
  std::size_t bytes = 0;
  FILE* const file = open_memstream(&text, &bytes);
  BOOST_CHECK_EQUAL(vmsrs_fprintf(file, "<%s>", title), 12);
  std::fclose(file);
  BOOST_CHECK_EQUAL(text, std::string("<vocabulary>"));
  std::free(text);
}

BOOST_AUTO_TEST_CASE(scans_into_profiled_memory) {
  auto* const number = reinterpret_cast<int*>(profiled(64));
  auto* const wide = reinterpret_cast<long*>(profiled(72));
  auto* const fraction = reinterpret_cast<double*>(profiled(80));
  char* const word = profiled(128);
  auto* const position = reinterpret_cast<int*>(profiled(256));
  char letters[3] = {};
  char* const input = place(512, "12 34567890123 2.5 word xyz [a-b] rest");
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_sscanf(input, "%d %ld %lf %s %3c %*[^]]]%n", number,
                                                     wide, fraction, word, letters, position),
                                        5);
                      BOOST_CHECK_EQUAL(vmsrs::load(number), 12);
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(*number != 12 && *position != 34);  // taken back
  after_pollution(input, 10, [&] {
    BOOST_CHECK_EQUAL(run([&] {
                        BOOST_CHECK_EQUAL(vmsrs_sscanf(input, "%d %ld %lf %s %3c %*[^]]]%n", number,
                                                       wide, fraction, word, letters, position),
                                          5);
                      }),
                      VMSRS_FINISHED);
  });
  BOOST_CHECK_EQUAL(*number, 12);
  BOOST_CHECK_EQUAL(*wide, 34567890123);
  BOOST_CHECK_EQUAL(*fraction, 2.5);
  BOOST_CHECK_EQUAL(word, std::string("word"));
  BOOST_CHECK_EQUAL(std::string(letters, 3), "xyz");
  BOOST_CHECK_EQUAL(*position, 33);
  // What was not matched is left alone.
  BOOST_CHECK_EQUAL(vmsrs_sscanf("7 x", "%d %ld", number, wide), 1);
  BOOST_CHECK_EQUAL(*number, 7);
  BOOST_CHECK_EQUAL(*wide, 34567890123);
  BOOST_CHECK_EQUAL(vmsrs_sscanf("", "%d", number), EOF);
  const char* volatile numbered = "%1$d";
  BOOST_CHECK_EQUAL(vmsrs_sscanf("1", numbered, number), EOF);
  BOOST_CHECK_EQUAL(errno, EINVAL);
  FILE* const file = fmemopen(const_cast<char*>("5 six"), 5, "r");
  BOOST_CHECK_EQUAL(vmsrs_fscanf(file, "%d %s", number, word), 2);
  std::fclose(file);
  BOOST_CHECK_EQUAL(word, std::string("six"));
}

// The same as the C library's, wherever each argument lies, and at the very end of what is mapped.
BOOST_AUTO_TEST_CASE(strings_as_of_the_c_library) {
  std::mt19937 random(3);
  char* const end = profiled(kRegionBytes);
  for (unsigned i = 0; i < 400; ++i) {
    std::string a(random() % 90, 'a');
    for (char& c : a) c = static_cast<char>('a' + random() % 3);
    std::string b = random() % 2 == 0 ? a : a.substr(0, random() % (a.size() + 1));
    if (random() % 2 == 0) b += "b";
    const char* const left = place(kRegionBytes - a.size() - 1, a.c_str());
    BOOST_REQUIRE(left + a.size() + 1 == end);
    const char* const right = random() % 2 == 0 ? place(1000, b.c_str()) : b.c_str();
    const std::size_t most = random() % 100;
    BOOST_CHECK_EQUAL(vmsrs_strlen(left), a.size());
    BOOST_CHECK_EQUAL(vmsrs_strnlen(left, most), strnlen(a.c_str(), most));
    BOOST_CHECK_EQUAL(sign(vmsrs_strcmp(left, right)), sign(std::strcmp(left, right)));
    BOOST_CHECK_EQUAL(sign(vmsrs_strncmp(left, right, most)),
                      sign(std::strncmp(left, right, most)));
    for (const char c : {'a', 'c', 'z', '\0'}) {
      BOOST_CHECK(vmsrs_strchr(left, c) == std::strchr(left, c));
      BOOST_CHECK(vmsrs_strrchr(left, c) == std::strrchr(left, c));
      BOOST_CHECK(vmsrs_memchr(left, c, a.size()) == std::memchr(left, c, a.size()));
    }
    BOOST_CHECK(vmsrs_strstr(left, right) == std::strstr(left, right));
    const std::size_t common = std::min(a.size(), b.size());
    BOOST_CHECK_EQUAL(sign(vmsrs_memcmp(left, right, common)),
                      sign(std::memcmp(left, right, common)));
    char* const copy = vmsrs_strdup(left);
    BOOST_CHECK_EQUAL(copy, a);
    std::free(copy);
    for (char* const to : {profiled(4096), static_cast<char*>(alloca(600))}) {
      char expected[600];
      std::memset(expected, '#', sizeof expected);
      BOOST_CHECK(vmsrs_memset(to, '#', sizeof expected) == to);
      BOOST_CHECK(vmsrs_stpcpy(to, left) == to + a.size());
      std::strcpy(expected, left);
      vmsrs_strcat(to, right);
      std::strcat(expected, right);
      vmsrs_strncat(to, left, most);
      std::strncat(expected, left, most);
      vmsrs_strncpy(to + 300, left, most);
      std::strncpy(expected + 300, left, most);
      vmsrs_memmove(to + 403, to + 400, 100);
      std::memmove(expected + 403, expected + 400, 100);
      BOOST_CHECK_EQUAL(std::memcmp(to, expected, sizeof expected), 0);
      vmsrs_strcpy(to, right);
      BOOST_CHECK_EQUAL(to, std::string(right));
    }
  }
}

// A region that was given up is memory like any other, also in the middle of a longer range.
BOOST_AUTO_TEST_CASE(around_a_region_that_was_given_up) {
  alignas(VMSRS_PAGE_BYTES) static char pages[3 * VMSRS_PAGE_BYTES];
  BOOST_REQUIRE_EQUAL(profile_named(pages + VMSRS_PAGE_BYTES, VMSRS_PAGE_BYTES, 64, "middle"), 0);
  BOOST_REQUIRE_EQUAL(unprofile_named("middle"), 0);
  BOOST_CHECK_EQUAL(run([&] { vmsrs_memset(pages, 'a', sizeof pages); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(vmsrs_memchr(pages, 0, sizeof pages), nullptr);
}

BOOST_AUTO_TEST_CASE(strings_under_suppression) {
  char* const title = place(128, "vocabulary");
  char private_copy[32];
  after_pollution(title, 10, [&] { BOOST_CHECK_EQUAL(vmsrs_strlen(title), 10u); });
  after_pollution(title, 10, [&] { BOOST_CHECK_EQUAL(vmsrs_strcmp(title, "vocabulary"), 0); });
  after_pollution(title, 10, [&] { BOOST_CHECK(vmsrs_strchr(title, 'y') == title + 9); });
  after_pollution(title, 10, [&] { BOOST_CHECK(vmsrs_strstr(title, "bula") == title + 4); });
  after_pollution(title, 10, [&] { BOOST_CHECK_EQUAL(vmsrs_memcmp(title, "vocab", 5), 0); });
  after_pollution(title, 10, [&] {
    vmsrs_strcpy(private_copy, title);
    BOOST_CHECK_EQUAL(private_copy, std::string("vocabulary"));
  });
  after_pollution(title, 10, [&] {
    run([&] { vmsrs_strcpy(profiled(4096), title); });
    BOOST_CHECK_EQUAL(profiled(4096), std::string("vocabulary"));
  });
}

BOOST_AUTO_TEST_SUITE_END()
