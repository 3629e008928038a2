// SPDX-License-Identifier: Apache-2.0
#include "protect/store_by_value.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <vmsrs/protect.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstring>

#include "bounds.hpp"
#include "claims.hpp"
#include "control.hpp"
#include "gate.hpp"
#include "guest_call.hpp"
#include "instruction.hpp"
#include "protect/hook_page.hpp"
#include "protection_key.hpp"
#include "step.hpp"
#include "suppression.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint64_t kTrapFlag = 1u << 8;
// Between a hook's return and its store there are fewer instructions than that: who has gone on for
// so long without a call has made the store before it was interrupted.
constexpr std::uint32_t kMostSteps = 4096;
constexpr std::size_t kMostBytes = 64;  // that one instruction writes

// An instruction that is made to write to `scratch` instead, by another value in its base register.
struct Redirected {
  std::uint64_t to;  // where it would have written; 0: there is none
  std::uint32_t bytes;
  int base;
  bool exchanges;  // it also reads what it writes
  gregset_t before;
  std::byte found[kMostBytes];
};

struct Stepping {
  std::uint32_t left;  // 0: the thread runs as ever
  std::uint32_t in_hook;
  const void* resume;  // nothing is looked at before it is reached; nullptr: it has been
  Redirected redirected;
  alignas(64) std::byte scratch[kMostBytes];
};
constinit thread_local Stepping stepping{};

void set_trap_flag(ucontext_t& context, bool on) {
  const std::uint64_t flags = get(context, REG_EFL) & ~kTrapFlag;
  set(context, REG_EFL, on ? flags | kTrapFlag : flags);
}

// Across these no store is moved: the one that is waited for came before.
bool ends_piece(const Instruction& instruction) {
  switch (instruction.head.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_INTERRUPT:
      return true;
    default:
      return false;
  }
}

// nullptr: it writes to no region.
const ZydisDecodedOperand* target_of(const Instruction& instruction, const ucontext_t& context,
                                     std::uint64_t& to, std::uint32_t& bytes) {
  for (unsigned i = 0; i < instruction.head.operand_count; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM ||
        (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
      continue;
    to = address_of(instruction, operand, context);
    bytes = operand.size / 8u;
    if (touches_region(to, bytes)) return &operand;
  }
  return nullptr;
}

enum class Made { kDone, kNextTrap, kCannot };

// MOV of a register or a number: what is stored is plain.
bool is_plain(const Instruction& instruction, const ucontext_t& context, std::uint64_t& value) {
  if (instruction.head.mnemonic != ZYDIS_MNEMONIC_MOV) return false;
  const ZydisDecodedOperand& source = instruction.operands[1];
  if (source.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    value = source.imm.value.u;
    return true;
  }
  return source.type == ZYDIS_OPERAND_TYPE_REGISTER &&
         read_general(context, source.reg.value, value);
}

// Does the instruction use that register for anything but this operand's base?
bool is_used_elsewhere(const Instruction& instruction, const ZydisDecodedOperand& target,
                       ZydisRegister base) {
  if (is_part_of(target.mem.index, base)) return true;
  for (unsigned i = 0; i < instruction.head.operand_count; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_part_of(operand.reg.value, base))
      return true;
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && &operand != &target &&
        (is_part_of(operand.mem.base, base) || is_part_of(operand.mem.index, base)))
      return true;
  }
  return false;
}

void fill_scratch(std::uint64_t to, std::uint32_t bytes) {
  vmsrs_load_range(stepping.scratch, reinterpret_cast<const void*>(to), bytes);
  std::memcpy(stepping.redirected.found, stepping.scratch, bytes);
}

bool redirect(const Instruction& instruction, const ZydisDecodedOperand& target, std::uint64_t to,
              std::uint32_t bytes, ucontext_t& context) {
  Redirected& redirected = stepping.redirected;
  const int base = greg_of(target.mem.base);
  const bool exchanges = (target.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
  const bool is_word = bytes <= 8 && to % bytes == 0;
  if (base < 0 || bytes > kMostBytes || is_used_elsewhere(instruction, target, target.mem.base) ||
      (exchanges && !is_word && (instruction.head.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0))
    return false;
  fill_scratch(to, bytes);
  std::memcpy(redirected.before, context.uc_mcontext.gregs, sizeof redirected.before);
  redirected.to = to;
  redirected.bytes = bytes;
  redirected.base = base;
  redirected.exchanges = exchanges && is_word;
  set(context, base, get(context, base) - to + to_register(stepping.scratch));
  return true;
}

// What it has written goes where it belongs. Somebody else may have changed that meanwhile: then
// the instruction is made once more.
void finish_redirected(ucontext_t& context) {
  Redirected& redirected = stepping.redirected;
  auto* const to = reinterpret_cast<void*>(redirected.to);
  redirected.to = 0;
  if (redirected.exchanges) {
    if (vmsrs_compare_exchange(to, redirected.found, stepping.scratch, redirected.bytes)) {
      set(context, redirected.base, static_cast<std::uint64_t>(redirected.before[redirected.base]));
      return;
    }
    std::memcpy(context.uc_mcontext.gregs, redirected.before, sizeof redirected.before);
    return;
  }
  vmsrs_store_range(to, stepping.scratch, redirected.bytes);
  set(context, redirected.base, static_cast<std::uint64_t>(redirected.before[redirected.base]));
}

Made make(const Instruction& instruction, ucontext_t& context) {
  std::uint64_t to = 0;
  std::uint32_t bytes = 0;
  const ZydisDecodedOperand* const target = target_of(instruction, context, to, bytes);
  if (target == nullptr) return Made::kNextTrap;
  if (instruction.head.meta.category == ZYDIS_CATEGORY_STRINGOP) return Made::kCannot;
  std::uint64_t value = 0;
  if (is_plain(instruction, context, value)) {
    vmsrs_store_range(reinterpret_cast<void*>(to), &value, bytes);
    set(context, REG_RIP, get(context, REG_RIP) + instruction.head.length);
    return Made::kDone;
  }
  return redirect(instruction, *target, to, bytes, context) ? Made::kNextTrap : Made::kCannot;
}

void stop(ucontext_t& context) {
  stepping.left = 0;
  set_trap_flag(context, false);
  close_hook_window();
  forbid_stores_of(context);
}

// No way to make this store without its landing where another user's is: its user is crashed, and
// goes on behind it.
bool refuse(ucontext_t& context) {
  crash_user(VMSRS_FAULT_CHECK, 0, get(context, REG_RIP));
  return step_over(control().decoder, control().xsave, SIGSEGV, context) == StepOver::kStepped;
}

// As far as it gets without the processor.
void go_on(ucontext_t& context) {
  if (stepping.redirected.to != 0) finish_redirected(context);
  for (;;) {
    const std::uint64_t rip = get(context, REG_RIP);
    if (stepping.resume != nullptr && rip != to_register(stepping.resume)) break;
    stepping.resume = nullptr;
    if (is_in_hook(rip)) break;
    Instruction instruction;
    if (!decode(control().decoder, rip, instruction) || ends_piece(instruction))
      return stop(context);
    const Made made = make(instruction, context);
    if (made == Made::kNextTrap) break;
    if (made == Made::kCannot && !refuse(context)) unwind();
  }
  if (--stepping.left == 0) return stop(context);
  set_trap_flag(context, true);
}

// Linux, Documentation/filesystems/proc.rst: the system call's number, or "running", or -1 for a
// thread that is blocked elsewhere (in a page fault: its store is still to come).
bool is_in_system_call(std::int32_t thread) {
  char path[64] = "/proc/self/task/", digits[16], state[1] = {};
  std::size_t count = 0;
  for (std::int32_t rest = thread; rest != 0; rest /= 10)
    digits[count++] = static_cast<char>('0' + rest % 10);
  char* end = path + std::strlen(path);
  while (count > 0) *end++ = digits[--count];
  std::memcpy(end, "/syscall", sizeof "/syscall");
  const long file = vmsrs_gate_call(SYS_openat, static_cast<long>(AT_FDCWD), path,
                                    static_cast<long>(O_RDONLY | O_CLOEXEC), 0L);
  if (file < 0) return false;
  const long got = vmsrs_gate_call(SYS_read, file, state, 1L);
  vmsrs_gate_call(SYS_close, file);
  return got == 1 && state[0] >= '0' && state[0] <= '9';
}

void begin(const void* resume) {
  stepping.left = kMostSteps;
  stepping.resume = resume;
  stepping.redirected.to = 0;
}

}  // namespace

void begin_by_value(const void* resume) {
  begin(resume);
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\t"
      "pushfq\n\t"
      "orl %0, (%%rsp)\n\t"
      "popfq\n\t"
      "lea 128(%%rsp), %%rsp"
      :
      : "i"(kTrapFlag)
      : "memory", "cc");
}

void go_on_by_value(ucontext_t& context) {
  if (stepping.left != 0 || !is_hook_window_open()) return;
  begin(nullptr);
  go_on(context);
}

bool take_step(int signal, const siginfo_t& info, ucontext_t& context) {
  if (stepping.left == 0 || !is_single_step(signal, info, context)) return false;
  go_on(context);
  return true;
}

void stop_by_value() {
  stepping.left = 0;
  stepping.redirected.to = 0;
  close_hook_window();
}

InHook::InHook() { __atomic_store_n(&stepping.in_hook, 1u, __ATOMIC_RELAXED); }
InHook::~InHook() { __atomic_store_n(&stepping.in_hook, 0u, __ATOMIC_RELAXED); }

// A signal would end the system call before its time.
bool has_stored(std::uint64_t slot) {
  const std::int32_t thread = __atomic_load_n(&thread_numbers()[slot], __ATOMIC_RELAXED);
  if (thread <= 0) return false;
  if (is_in_system_call(thread)) return true;
  vmsrs_gate_call(SYS_tgkill, static_cast<long>(control().process), static_cast<long>(thread),
                  static_cast<long>(control().time_signal));
  return false;
}

void on_kick(ucontext_t& context) {
  if (__atomic_load_n(&stepping.in_hook, __ATOMIC_RELAXED) == 0) go_on_by_value(context);
}

}  // namespace vmsrs::guest
