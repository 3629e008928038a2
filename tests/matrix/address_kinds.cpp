// SPDX-License-Identifier: Apache-2.0
// Kinds that are about an address: nothing is there, or it may not be used like that.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "kinds.hpp"

namespace matrix {
namespace {

constexpr std::size_t kPageBytes = 4096;

using Word = volatile std::uint64_t;

[[gnu::noinline]] void load_from(std::uintptr_t address) {
  static_cast<void>(*hidden(reinterpret_cast<Word*>(address)));
}
[[gnu::noinline]] void store_to(std::uintptr_t address) {
  *hidden(reinterpret_cast<Word*>(address)) = 0xbad;
}
[[gnu::noinline]] void jump_to(std::uintptr_t address) {
  hidden(reinterpret_cast<void (*)()>(address))();
}
std::uintptr_t address_of(const volatile void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

std::byte* pages(std::size_t count, int protection) {
  void* const memory =
      mmap(nullptr, count * kPageBytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<std::byte*>(memory);
}

// Two pages, of which the second is gone: its begin.
std::byte* edge() {
  std::byte* const memory = pages(2, PROT_READ | PROT_WRITE);
  munmap(memory + kPageBytes, kPageBytes);
  return memory + kPageBytes;
}

// The page stays until the process ends: a crashed user may not unmap what it has mapped before.
void past_end_of_file(const Scene&) {
  const int file = memfd_create("empty", MFD_CLOEXEC);
  void* const mapped = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  store_to(address_of(mapped));
}

void over_page_end(const Scene&) { load_from(address_of(edge()) - 4); }

void copy_past_end(const Scene& scene) {
  void* to = edge() - 64;
  const void* from = scene.words;
  std::size_t bytes = 128;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

void exchange_nowhere(const Scene&) {
  std::uint64_t value = 1;
  asm volatile("lock xaddq %0, (%1)" : "+r"(value) : "r"(kWild) : "memory", "cc");
}

// As a lock-free list would: until it succeeds.
void exchange_until_done(const Scene& scene) {
  std::uint64_t expected = 0;
  while (!__atomic_compare_exchange_n(hidden(reinterpret_cast<std::uint64_t*>(kWild)), &expected, 1,
                                      false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    *scene.provoked = *scene.provoked + 1;
}

void push_without_stack(const Scene&) {
  asm volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(kWild + kPageBytes));
}

[[gnu::noinline]] int recurse(volatile int* depth) {
  volatile char space[1024];
  space[0] = 1;
  *depth = *depth + 1;
  if (*depth < 0) return 0;
  return recurse(depth) + space[0];
}
void overflow_stack(const Scene&) {
  volatile int depth = 0;
  recurse(&depth);
}

const std::uint64_t kConstant = 1;

constexpr Kind kKinds[] = {
    {"null_read", "load through a null pointer", SIGSEGV, VMSRS_FAULT_NULL,
     [](const Scene&) { load_from(0); }},
    {"null_write", "store to a member of a null pointer's object", SIGSEGV, VMSRS_FAULT_NULL,
     [](const Scene&) { store_to(0x48); }},
    {"wild_read", "load far from everything", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { load_from(kWild); }},
    {"wild_write", "store far from everything", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { store_to(kWild); }},
    {"non_canonical", "store to `0xdead'beef'dead'beef`", SIGSEGV, VMSRS_FAULT_NON_CANONICAL,
     [](const Scene&) { store_to(0xdead'beef'dead'beef); }},
    {"kernel_address", "store to the kernel's half of the addresses", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { store_to(0xffff'8000'0000'0000); }},
    {"read_only", "store to a constant", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { store_to(address_of(&kConstant)); }},
    {"no_access", "load from a page with `PROT_NONE`", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { load_from(address_of(pages(1, PROT_NONE))); }},
    {"hole", "store to a page that `munmap` took away", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { store_to(address_of(edge())); }},
    {"page_end", "load of eight bytes, of which four are on a page that is gone", SIGSEGV,
     VMSRS_FAULT_WILD, over_page_end},
    {"end_of_file", "store to a mapped file, past its end", SIGBUS, VMSRS_FAULT_BUS,
     past_end_of_file},
    {"block_copy", "`rep movsb` that runs past a page in its middle", SIGSEGV, VMSRS_FAULT_WILD,
     copy_past_end},
    {"atomic_add", "`lock xadd` far from everything", SIGSEGV, VMSRS_FAULT_WILD, exchange_nowhere},
    {"atomic_loop", "compare-and-exchange there until it succeeds", SIGSEGV, VMSRS_FAULT_WILD,
     exchange_until_done},
    {"null_call", "call of a null pointer", SIGSEGV, VMSRS_FAULT_NULL,
     [](const Scene&) { jump_to(0); }},
    {"wild_jump", "jump far from everything", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { jump_to(kWild); }},
    {"non_canonical_jump", "jump to `0xdead'beef'dead'beef`", SIGSEGV, VMSRS_FAULT_NON_CANONICAL,
     [](const Scene&) { jump_to(0xdead'beef'dead'beef); }},
    {"data_as_code", "jump into shared data", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene& scene) { jump_to(address_of(scene.words)); }},
    {"stack_overflow", "recursion without an end", SIGSEGV, VMSRS_FAULT_STACK, overflow_stack},
    {"lost_stack", "`push` with a stack pointer to nowhere", SIGSEGV, VMSRS_FAULT_STACK,
     push_without_stack},
};

}  // namespace

std::span<const Kind> address_kinds() { return kKinds; }

}  // namespace matrix
