// SPDX-License-Identifier: Apache-2.0
// Kinds that software notices: the C++ runtime, the C library, the kernel.
#include <asm/prctl.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "kinds.hpp"

// An assertion that holds in no build type.
#undef NDEBUG
#include <cassert>

namespace matrix {

// Not in the unnamed namespace: the compiler must not know all that are derived from it.
struct Base {
  explicit Base(int number) { call(number); }
  virtual ~Base() = default;
  [[gnu::noipa]] void call(int number) { work(number); }
  virtual void work(int number) = 0;
};
struct Derived : Base {
  Derived() : Base(1) {}
  void work(int) override {}
};

namespace {

[[gnu::noinline, gnu::optimize("stack-protector-all")]] void smash_stack(const Scene&) {
  char small[8];
  volatile char* const at = hidden(static_cast<volatile char*>(small));
  for (int i = 0; i < 48; ++i) at[i] = 'x';
}

void throw_something() { static_cast<void>(std::string().at(1)); }
[[gnu::noinline]] void throw_in_noexcept() noexcept { throw_something(); }

const char* bad_text() { return hidden(reinterpret_cast<const char*>(kWild)); }
void* bad_memory() { return hidden(reinterpret_cast<void*>(kWild)); }

void free_twice(const Scene&) {
  void* const memory = hidden(std::malloc(100));
  void* const again = hidden(memory);
  std::free(memory);
  std::free(again);
}
void free_inside(const Scene&) {
  char* const memory = static_cast<char*>(hidden(std::malloc(100)));
  std::memset(hidden(memory), 0x41, 100);
  std::free(hidden(memory + 8));
}

// Over the size that the C library keeps behind a block: it notices when the next one is freed.
// Nobody else's block may lie between the two.
void overrun_block(const Scene&) {
  constexpr std::size_t kBytes = 2008, kApart = 2016;
  char* block = static_cast<char*>(std::malloc(kBytes));
  for (unsigned i = 0; i < 100; ++i) {
    char* const next = static_cast<char*>(hidden(std::malloc(kBytes)));
    if (next - block == kApart) {
      std::memset(hidden(block), 'x', kApart);
      return std::free(next);
    }
    block = next;
  }
}

// The size of what is left of the arena: it notices within the next malloc, with a lock in its
// hand.
void overrun_last_block(const Scene&) {
  char* const memory = static_cast<char*>(hidden(std::malloc(1 << 16)));
  std::memset(hidden(memory) + (1 << 16), 0xff, 64);
  static_cast<void>(hidden(std::malloc(1 << 20 >> 4)));
  static_cast<void>(hidden(std::malloc(1 << 16)));
}

void print_to_file(const Scene&) {
  static FILE* const nowhere = std::fopen("/dev/null", "w");
  std::fprintf(nowhere, "%s\n", bad_text());
  std::fprintf(nowhere, "the file's lock is free again\n");
}

void signal_from_another_thread(const Scene&) {
  std::thread([user = pthread_self()] { pthread_kill(user, SIGSEGV); }).join();
  usleep(100'000);
}

void lose_thread_pointer(const Scene&) {
  syscall(SYS_arch_prctl, ARCH_SET_FS, 0);
  asm volatile("mov %%fs:0, %%rax" : : : "rax", "memory");
}

constexpr const char* kArenaLock =
    "libc aborts with the lock of its arena in its hand; who needs that arena next waits for ever";

constexpr const char* kDamagedArena =
    "the user's own abort is contained, but libc's arena stays damaged: who uses it next, outside "
    "of "
    "any user perhaps, may find that and abort";

constexpr Kind kKinds[] = {
    {"abort", "`abort()`", SIGABRT, VMSRS_FAULT_ABORT, [](const Scene&) { std::abort(); }},
    {"assert", "a failed `assert`", SIGABRT, VMSRS_FAULT_ABORT,
     [](const Scene& scene) { assert(scene.words == nullptr); }},
    {"terminate", "`std::terminate()`", SIGABRT, VMSRS_FAULT_ABORT,
     [](const Scene&) { std::terminate(); }},
    {"noexcept", "an exception that leaves a `noexcept` function", SIGABRT, VMSRS_FAULT_ABORT,
     [](const Scene&) { throw_in_noexcept(); }},
    {"exception", "an exception that nobody catches", SIGABRT, VMSRS_FAULT_ABORT,
     [](const Scene&) { throw_something(); }},
    {"pure_virtual", "call of a pure virtual function", SIGABRT, VMSRS_FAULT_ABORT,
     [](const Scene&) { hidden(new Derived)->work(1); }},
    {"virtual_of_null", "call of a virtual function of a null pointer's object", SIGSEGV,
     VMSRS_FAULT_NULL, [](const Scene&) { hidden(static_cast<Base*>(nullptr))->work(1); }},
    {"stack_smash", "a local array overrun, found by `-fstack-protector`", SIGABRT,
     VMSRS_FAULT_ABORT, smash_stack},
    {"double_free", "`free` of the C library's, twice", SIGABRT, VMSRS_FAULT_ABORT, free_twice},
    {"wild_free", "`free` of an address within a block", SIGABRT, VMSRS_FAULT_ABORT, free_inside},
    {"overrun", "a block of `malloc` overrun into its neighbour, found by `free`", SIGABRT,
     VMSRS_FAULT_ABORT, overrun_block, kLeavesDamage | kMayEndLater, kDamagedArena},
    {"overrun_of_last", "the last block of an arena overrun, found by `malloc`", SIGABRT,
     VMSRS_FAULT_ABORT, overrun_last_block, kLeavesDamage | kNotContained, kArenaLock},
    {"strlen", "`strlen` far from everything", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { static_cast<void>(hidden(std::strlen(bad_text()))); }},
    {"memcpy", "`memcpy` of 256 bytes to nowhere", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene& scene) { std::memcpy(bad_memory(), hidden(scene.words), 256); }},
    {"memset", "`memset` of 1 KiB to nowhere", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene&) { std::memset(bad_memory(), 0, hidden(std::size_t{1024})); }},
    {"printf", "`fprintf` of a string that is nowhere", SIGSEGV, VMSRS_FAULT_WILD, print_to_file},
    {"raise", "`raise(SIGSEGV)`", SIGSEGV, VMSRS_FAULT_WILD, [](const Scene&) { raise(SIGSEGV); }},
    {"sent", "SIGSEGV from another thread", SIGSEGV, VMSRS_FAULT_NONE, signal_from_another_thread,
     kNotContained, "sent by somebody else, so no error of the user's: the program's own affair"},
    {"thread_pointer", "FS base set to zero", SIGSEGV, VMSRS_FAULT_NONE, lose_thread_pointer,
     kNotContained, "no code of libc's or the library's runs in that thread any more"},
    {"bad_address", "`write` of memory that is nowhere: `EFAULT`", 0, VMSRS_FAULT_NONE,
     [](const Scene&) {
       const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
       int pipes[2];
       if (pipe(pipes) != 0 || write(pipes[1], bad_memory(), 8) != -1) std::abort();
       for (const int descriptor : {null, pipes[0], pipes[1]}) close(descriptor);
     },
     kNoFault},
};

}  // namespace

std::span<const Kind> program_kinds() { return kKinds; }

}  // namespace matrix
