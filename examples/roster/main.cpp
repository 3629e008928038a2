// SPDX-License-Identifier: Apache-2.0
// The staff roster: a local server with several threads whose users change and read a company's
// roster, one of them with an error. One run is one scenario of the paper's 5.1.
#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "memory.hpp"
#include "options.hpp"
#include "roster.hpp"
#include "scenarios.hpp"

namespace roster {
namespace {

constexpr struct {
  const char* name;
  void (*play)(const Scene&);
} kScenarios[] = {{"5.1.1", recovery},
                  {"5.1.2", isolation},
                  {"5.1.3-1", reader_while_suppression_is_entered},
                  {"5.1.3-2", order_of_a_write_and_a_read},
                  {"5.1.3-3", reader_between_data_and_metadata}};

int fail(const std::string& why, int code = 1) {
  std::fprintf(stderr, "roster: %s\n", why.c_str());
  return code;
}

int run(const Options& options) {
  const auto* chosen = std::begin(kScenarios);
  while (chosen != std::end(kScenarios) && options.scenario != chosen->name) ++chosen;
  if (chosen == std::end(kScenarios))
    return fail("no scenario '" + options.scenario + "'; --help lists them", 2);

  void* const memory =
      mmap(nullptr, Roster::kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(std::string("no memory: ") + std::strerror(errno));
  Roster roster(memory);
  std::string error;
  if (!memory::protect(options.memory, memory, Roster::kBytes, error)) return fail(error);
  roster.print();
  chosen->play({roster, memory, options});
  roster.print();
  if (options.wait) {
    say("roster", "waits");
    while (std::getchar() != EOF) {
    }
  }
  return 0;
}

}  // namespace
}  // namespace roster

int main(int count, char** arguments) {
  roster::Options options;
  std::string error;
  switch (roster::parse_options(count, arguments, options, error)) {
    case roster::Parsed::help:
      std::fputs(roster::kUsage, stdout);
      return 0;
    case roster::Parsed::wrong:
      return roster::fail(error, 2);
    case roster::Parsed::run:
      return roster::run(options);
  }
}
