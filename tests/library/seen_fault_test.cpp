// SPDX-License-Identifier: Apache-2.0
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"
#include "guest_call.hpp"

// A hypervisor sees a fault before the thread's kernel does, and its user has crashed from then on.
// Elsewhere the signal is the first word.
using namespace vmsrs::test;

namespace {

bool faults_are_seen() {
  return vmsrs::guest::call(VMSRS_CALL_VERSION).second == VMSRS_ISOLATION_HYPERVISOR;
}

// A process that stops one of this one's threads as a signal is about to reach it.
class Tracer {
 public:
  explicit Tracer(pid_t thread) {
    if (pipe(to_) != 0 || pipe(from_) != 0) throw std::runtime_error("pipe");
    child_ = fork_between_calls();
    if (child_ == 0) _exit(trace(thread));
    close(from_[1]);
    await('s');  // seized
  }
  ~Tracer() {
    for (const int end : {to_[0], to_[1], from_[0]}) close(end);
    waitpid(child_, nullptr, 0);
  }
  // The thread has a fault and its handler has not run.
  void await_fault() { await('f'); }
  void go_on() { tell(to_[1], 'g'); }

 private:
  static void tell(int pipe, char word) {
    if (write(pipe, &word, 1) != 1) throw std::runtime_error("the tracer is gone");
  }
  void await(char wanted) const {
    char word = 0;
    if (read(from_[0], &word, 1) != 1 || word != wanted)
      throw std::runtime_error("the tracer failed");
  }
  int trace(pid_t thread) {
    alarm(120);
    close(to_[1]);
    if (ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) return 1;
    tell(from_[1], 's');
    for (;;) {
      int status = 0;
      if (waitpid(thread, &status, __WALL) != thread) return 1;
      if (!WIFSTOPPED(status)) return 0;
      const int signal = WSTOPSIG(status);
      if (status >> 16 != 0) {  // the tracee's events, not a signal
        ptrace(PTRACE_CONT, thread, nullptr, nullptr);
        continue;
      }
      if (signal == SIGFPE || signal == SIGILL || signal == SIGSEGV) {
        tell(from_[1], 'f');
        char word = 0;
        if (read(to_[0], &word, 1) != 1) return 1;
        ptrace(PTRACE_DETACH, thread, nullptr, signal);
        return 0;
      }
      ptrace(PTRACE_CONT, thread, nullptr, signal);
    }
  }

  int to_[2], from_[2];
  pid_t child_ = -1;
};

void divide() {
  asm volatile("xorl %%edx, %%edx\n\txorl %%ecx, %%ecx\n\tdivl %%ecx" : : : "eax", "ecx", "edx");
}
void undefined() { asm volatile("ud2"); }
void non_canonical() {
  asm volatile("movabsq $0x8000000000000000, %%rax\n\tmovq (%%rax), %%rax" : : : "rax");
}

struct FewMoreFaults : AttachedServer {
  FewMoreFaults() : AttachedServer(20, 300'000) {}
};

}  // namespace

BOOST_AUTO_TEST_SUITE(seen_faults)

BOOST_FIXTURE_TEST_CASE(others_have_the_right_value_before_the_signal, FewMoreFaults) {
  const struct {
    vmsrs_fault_kind kind;
    void (*fault)();
  } kFaults[] = {{VMSRS_FAULT_ARITHMETIC, divide},
                 {VMSRS_FAULT_ILLEGAL, undefined},
                 {VMSRS_FAULT_NON_CANONICAL, non_canonical}};
  for (const auto& [kind, fault] : kFaults) {
    const vmsrs_server_info before = server_info();
    std::atomic<pid_t> thread{0};
    std::atomic<bool> go{false};
    int outcome = -1;
    std::thread user([&, fault = fault] {
      outcome = run([&] {
        vmsrs::store(&words()[0], std::uint64_t{666});
        thread = gettid();
        while (!go) std::this_thread::yield();
        fault();
      });
    });
    while (thread == 0) std::this_thread::yield();
    {
      Tracer tracer(thread);
      BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 666u);
      go = true;
      tracer.await_fault();
      BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), faults_are_seen() ? 1u : 666u);
      BOOST_CHECK_EQUAL(server_info().faults[kind] - before.faults[kind],
                        faults_are_seen() ? 1u : 0u);
      tracer.go_on();
    }
    user.join();
    BOOST_CHECK_GT(outcome, 0);
    BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u);
    BOOST_CHECK_EQUAL(server_info().faults[kind] - before.faults[kind], 1u);
  }
}

// Nobody's fault, or nobody's to contain: the program's own handler has it, as ever.
BOOST_FIXTURE_TEST_CASE(a_fault_without_a_user_is_not_counted, DefaultServer) {
  struct sigaction action {
  }, former{};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* ucontext) {
    static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs[REG_RIP] += 2;  // UD2
  };
  BOOST_REQUIRE_EQUAL(sigaction(SIGILL, &action, &former), 0);
  const std::uint64_t before = server_info().faults[VMSRS_FAULT_ILLEGAL];
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[0], std::uint64_t{1}); }), 0);
  undefined();  // the thread has a user in advance
  vmsrs_set_containment(VMSRS_CONTAINMENT_OFF);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&words()[1], std::uint64_t{2});
                      undefined();
                    }),
                    0);
  vmsrs_set_containment(VMSRS_CONTAINMENT_ON);
  BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), 2u);
  BOOST_CHECK_EQUAL(server_info().faults[VMSRS_FAULT_ILLEGAL], before);
  sigaction(SIGILL, &former, nullptr);
}

// Where the processor has UMIP and Linux uses it, these are general-protection faults that Linux
// answers by doing what the instruction would.
BOOST_FIXTURE_TEST_CASE(what_linux_does_for_a_program_is_no_fault, DefaultServer) {
  const std::uint64_t before = server_info().faults[VMSRS_FAULT_NON_CANONICAL];
  const int outcome = run([&] {
    vmsrs::store(&words()[0], std::uint64_t{2});
    std::uint64_t machine_word = 0;
    std::uint8_t table[10] = {};
    asm volatile("smsw %0" : "=r"(machine_word));
    asm volatile("sgdt %0" : "=m"(table));
    asm volatile("rex.w sidt %0" : "=m"(table));
    vmsrs::store(&words()[1], std::uint64_t{3});
  });
  BOOST_CHECK_EQUAL(outcome, 0);
  BOOST_CHECK_EQUAL(vmsrs::load(&words()[1]), 3u);
  BOOST_CHECK_EQUAL(server_info().faults[VMSRS_FAULT_NON_CANONICAL], before);
}

BOOST_AUTO_TEST_SUITE_END()
