// SPDX-License-Identifier: Apache-2.0
#include "injection.hpp"

#include <sys/mman.h>

#include <cstdio>

#include "memory.hpp"
#include "text.hpp"

namespace bookshop {

namespace {

constexpr std::uint64_t kWildAddress = 0x0000'6b6f'6f62'0000;  // nothing is ever mapped there
constexpr std::uint64_t kHoleAddress =
    0x0000'0123'4567'0000;  // far from what mmap hands out itself
constexpr std::size_t kPageBytes = 4096;

// The compiler must neither see that these are wrong nor leave them out.
[[gnu::noinline]] void store_through(std::uint64_t address) {
  auto* volatile pointer = reinterpret_cast<volatile std::uint64_t*>(address);
  *pointer = 0xbad0'bad0'bad0'bad0;
}

[[gnu::noinline]] void divide_by_zero() {
  volatile std::uint64_t dividend = 1000;
  volatile std::uint64_t zero = 0;
  volatile std::uint64_t quotient = dividend / zero;
  static_cast<void>(quotient);
}

void store_into_hole() {
  void* page = mmap(reinterpret_cast<void*>(kHoleAddress), kPageBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::perror("bookshop: injection: mmap");
    return;
  }
  auto* word = static_cast<volatile std::uint64_t*>(page);
  *word = 1;
  munmap(page, kPageBytes);
  store_through(reinterpret_cast<std::uint64_t>(page));
}

void fault(FaultKind kind) {
  switch (kind) {
    case FaultKind::wild:
      return store_through(kWildAddress);
    case FaultKind::null:
      return store_through(0);
    case FaultKind::div:
      return divide_by_zero();
    case FaultKind::hole:
      return store_into_hole();
    case FaultKind::scribble:
      std::fprintf(stderr, "bookshop: injection: overwrote %zu bytes of recovery-related memory\n",
                   memory::scribble_over_recovery_memory());
      return store_through(kWildAddress);
  }
}

bool parse_kind(std::string_view text, FaultKind& kind) {
  constexpr struct {
    std::string_view name;
    FaultKind kind;
  } kKinds[] = {{"wild", FaultKind::wild},
                {"null", FaultKind::null},
                {"div", FaultKind::div},
                {"hole", FaultKind::hole},
                {"scribble", FaultKind::scribble}};
  for (const auto& known : kKinds)
    if (known.name == text) {
      kind = known.kind;
      return true;
    }
  return false;
}

}  // namespace

bool parse_injection(std::string_view text, Injection& injection) {
  const std::size_t first = text.find(':');
  if (first == std::string_view::npos) return false;
  std::string_view kind = text.substr(first + 1);
  std::uint64_t item = 1;
  if (const std::size_t second = kind.find(':'); second != std::string_view::npos) {
    if (!parse_number(kind.substr(second + 1), 1, 1000, item)) return false;
    kind = kind.substr(0, second);
  }
  injection.item = static_cast<unsigned>(item);
  return parse_number(text.substr(0, first), 1, UINT32_MAX, injection.user) &&
         parse_kind(kind, injection.kind);
}

void Injector::maybe_fault(std::uint64_t user, unsigned item) {
  for (Armed& armed : armed_)
    if (armed.injection.user == user && armed.injection.item == item &&
        (!armed.spent.exchange(true) || armed.injection.always))
      fault(armed.injection.kind);
}

}  // namespace bookshop
