// SPDX-License-Identifier: Apache-2.0
// Contradictions on demand, for an image of the tests alone: the linker puts these in front of
// functions of the hypervisor (--wrap). A user labelled so makes the engine fault with its server
// locked, and the leaf makes the handling of an exit fault, outside of the engine.
#include "contradictions.hpp"

#include "recovery/server.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/machine.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

using namespace vmsrs;

namespace {

// Until whoever is about to call waits for the lock.
void let_others_come() {
  const std::uint64_t begin = x86::read_tsc();
  while (x86::read_tsc() - begin < 100 * svm::machine().tsc_per_ms) x86::pause();
}

void fault() { asm volatile("movl $0, 0"); }

bool is(const char* label, const void* text, std::uint32_t bytes) {
  return __builtin_strlen(label) == bytes && __builtin_memcmp(label, text, bytes) == 0;
}

void stumble_over(const void* text, std::uint32_t bytes) {
  const bool holds_others = is(kFaultWhileOthersAreHeld, text, bytes);
  if (holds_others) svm::hold_other_processors();
  if (holds_others || is(kFault, text, bytes)) {
    let_others_come();
    fault();
  }
}

}  // namespace

recovery::Reply real_user_label(
    recovery::Server* server, const void* text, std::uint32_t bytes,
    recovery::Thread thread) asm("__real__ZN5vmsrs8recovery6Server10user_labelEPKvjNS0_6ThreadE");
recovery::Reply user_label(
    recovery::Server* server, const void* text, std::uint32_t bytes,
    recovery::Thread thread) asm("__wrap__ZN5vmsrs8recovery6Server10user_labelEPKvjNS0_6ThreadE");
recovery::Reply user_label(recovery::Server* server, const void* text, std::uint32_t bytes,
                           recovery::Thread thread) {
  stumble_over(text, bytes);
  return real_user_label(server, text, bytes, thread);
}

// The label comes with the crash.
#define USER_CRASH \
  "_ZN5vmsrs8recovery6Server10user_crashERK11vmsrs_crashmmRK15vmsrs_write_setbNS0_6ThreadE"
using UserCrash = recovery::Reply(recovery::Server*, const vmsrs_crash&, std::uint64_t,
                                  std::uint64_t, const vmsrs_write_set&, bool, recovery::Thread);
UserCrash real_user_crash asm("__real_" USER_CRASH);
UserCrash user_crash asm("__wrap_" USER_CRASH);
recovery::Reply user_crash(recovery::Server* server, const vmsrs_crash& crash, std::uint64_t label,
                           std::uint64_t depth, const vmsrs_write_set& set, bool restores,
                           recovery::Thread thread) {
  stumble_over(crash.label_text, crash.label_bytes);
  return real_user_crash(server, crash, label, depth, set, restores, thread);
}

void real_handle_cpuid(svm::Processor& processor) asm(
    "__real__ZN5vmsrs3svm12handle_cpuidERNS0_9ProcessorE");
void handle_cpuid(svm::Processor& processor) asm(
    "__wrap__ZN5vmsrs3svm12handle_cpuidERNS0_9ProcessorE");
void handle_cpuid(svm::Processor& processor) {
  if (static_cast<std::uint32_t>(processor.vmcb->save.rax) == kFaultingLeaf) fault();
  real_handle_cpuid(processor);
}
