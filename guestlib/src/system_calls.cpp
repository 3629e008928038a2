// SPDX-License-Identifier: Apache-2.0
#include "system_calls.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "call.hpp"
#include "call_kinds.hpp"
#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "gate.hpp"
#include "guest_call.hpp"
#include "handlers.hpp"
#include "protection_key.hpp"
#include "suppression.hpp"
#include "thread.hpp"

namespace vmsrs::guest {
namespace {

// Linux, include/uapi/linux/prctl.h and asm-generic/siginfo.h; the C library's headers may be
// older.
constexpr int kSetUserDispatch = 59, kDispatchOff = 0, kDispatchOn = 1;
constexpr int kUserDispatch = 2;
constexpr long kSignalSetBytes = 8;  // as the kernel has it
constexpr std::uint64_t kSystemCallSignal = 1ull << (SIGSYS - 1);
constexpr int kAdvicePopulateRead = 22, kAdvicePopulateWrite = 23;

struct SystemCall {
  long number;
  std::uint64_t a[6];
};

// What the thread has made since its crash: that may be changed, and undone. Hints: the user can
// write over them, and then changes what it could have changed before its crash.
constexpr std::size_t kMostOwn = 32;
struct Own {
  std::uint32_t mapping_count, descriptor_count;
  struct {
    std::uint64_t begin, bytes;
  } mappings[kMostOwn];
  int descriptors[kMostOwn];
};
constinit thread_local Own own{};

std::uint64_t refused_count_ = 0;

bool allows(std::uint32_t call_class) { return (control().crashed_calls & call_class) != 0; }

long perform(const SystemCall& c) {
  return vmsrs_gate_call(c.number, c.a[0], c.a[1], c.a[2], c.a[3], c.a[4], c.a[5]);
}

bool is_platforms(std::uint64_t descriptor) {
  for (const int platforms : control().platform_descriptors)
    if (platforms >= 0 && descriptor == static_cast<std::uint64_t>(platforms)) return true;
  return false;
}

// Its connection, or the platform's: the library must go on with its calls.
bool is_own_connection(std::uint64_t descriptor) {
  const ThreadContext& context = thread_context();
  return is_platforms(descriptor) || (seal_holds(context) && context.connection != 0 &&
                                      descriptor == std::uint64_t{context.connection} - 1);
}

bool was_opened(std::uint64_t descriptor) {
  for (std::uint32_t i = 0; i < own.descriptor_count && i < kMostOwn; ++i)
    if (static_cast<std::uint64_t>(own.descriptors[i]) == descriptor) return true;
  return false;
}
void note_opened(long descriptor) {
  if (descriptor >= 0 && own.descriptor_count < kMostOwn)
    own.descriptors[own.descriptor_count++] = static_cast<int>(descriptor);
}
void forget_opened(std::uint64_t descriptor) {
  for (std::uint32_t i = 0; i < own.descriptor_count && i < kMostOwn; ++i)
    if (static_cast<std::uint64_t>(own.descriptors[i]) == descriptor) own.descriptors[i] = -1;
}

bool was_mapped(std::uint64_t address, std::uint64_t bytes) {
  for (std::uint32_t i = 0; i < own.mapping_count && i < kMostOwn; ++i) {
    const auto& mapping = own.mappings[i];
    if (address - mapping.begin < mapping.bytes &&
        bytes <= mapping.bytes - (address - mapping.begin))
      return true;
  }
  return false;
}
long map(const SystemCall& c) {
  const long result = perform(c);
  const bool done = result >= 0 || result < -4095;
  if (done && own.mapping_count < kMostOwn)
    own.mappings[own.mapping_count++] = {static_cast<std::uint64_t>(result), c.a[1]};
  return result;
}

// The buffer of a call that says how long it is; the others write less than kMostWritten bytes.
constexpr std::uint64_t kMostWritten = 512;  // struct utsname has 390
constexpr std::uint64_t kPollBytes = 8, kEpollEventBytes = 12, kGroupBytes = 4;
struct Buffer {
  std::uint64_t at, bytes;
};
Buffer buffer_of(const SystemCall& c) {
  switch (c.number) {
    case SYS_getrandom:
    case SYS_getcwd:
      return {c.a[0], c.a[1]};
    case SYS_read:
    case SYS_pread64:
    case SYS_recvfrom:
    case SYS_readlink:
    case SYS_getdents64:
      return {c.a[1], c.a[2]};
    case SYS_readlinkat:
    case SYS_getxattr:
    case SYS_lgetxattr:
    case SYS_fgetxattr:
      return {c.a[2], c.a[3]};
    case SYS_poll:
    case SYS_ppoll:
      return {c.a[0], c.a[1] * kPollBytes};
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return {c.a[1], c.a[2] * kEpollEventBytes};
    case SYS_getgroups:
      return {c.a[1], c.a[0] * kGroupBytes};
    case SYS_sched_getaffinity:
      return {c.a[2], c.a[1]};
    case SYS_mincore:
      return {c.a[2], c.a[1] / VMSRS_PAGE_BYTES + 1};
    case SYS_getsockopt:  // the length lies in memory
      return {c.a[3], VMSRS_MAX_RANGE_BYTES};
    case SYS_sendmmsg:  // how much of each message was sent
      return {c.a[1], c.a[2] * sizeof(mmsghdr)};
    default:
      return {0, 0};
  }
}

// Would the kernel write into a region?
bool answers_into_region(const SystemCall& c) {
  const unsigned answers = answers_of_call(c.number);
  for (unsigned i = 0; i < sizeof c.a / sizeof *c.a; ++i)
    if ((answers >> i & 1) != 0 && touches_region(c.a[i], kMostWritten)) return true;
  const Buffer buffer = buffer_of(c);
  return touches_region(buffer.at, buffer.bytes);
}

// Those that write to a lock's word, or to the one of FUTEX_WAKE_OP.
bool changes_futex_in_region(const SystemCall& c) {
  switch (c.a[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAKE:
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAKE_BITSET:
      return false;
    default:
      return touches_region(c.a[0], kMostWritten) || touches_region(c.a[4], kMostWritten);
  }
}

// The kernel's own way of reading this process's memory gives an error where there is none.
template <typename T>
bool read_own(std::uint64_t address, T* to, std::size_t count) {
  const iovec local = {to, count * sizeof(T)};
  const iovec remote = {reinterpret_cast<void*>(address), count * sizeof(T)};
  return vmsrs_gate_call(SYS_process_vm_readv, static_cast<long>(control().process), &local, 1L,
                         &remote, 1L, 0L) == static_cast<long>(count * sizeof(T));
}

// 0, or the error.
long check_vector(std::uint64_t list, std::uint64_t count) {
  iovec buffers[16];
  if (count > sizeof buffers / sizeof *buffers) return -EPERM;
  if (count != 0 && !read_own(list, buffers, count)) return -EFAULT;
  for (std::uint64_t i = 0; i < count; ++i)
    if (touches_region(to_register(buffers[i].iov_base), buffers[i].iov_len)) return -EFAULT;
  return 0;
}

long read_message(const SystemCall& c) {
  msghdr header;
  if (!read_own(c.a[1], &header, 1)) return -EFAULT;
  if (touches_region(to_register(header.msg_control), header.msg_controllen) ||
      touches_region(to_register(header.msg_name), header.msg_namelen))
    return -EFAULT;
  const long error = check_vector(to_register(header.msg_iov), header.msg_iovlen);
  return error != 0 ? error : perform(c);
}

bool only_asks(const SystemCall& c) {
  if (c.number == SYS_fcntl) return c.a[1] == F_GETFL || c.a[1] == F_GETFD;
  return c.a[1] == TCGETS || c.a[1] == FIONREAD;
}

long change_descriptor(const SystemCall& c) {
  const bool opened = was_opened(c.a[0]);
  if (!is_own_connection(c.a[0]) && !opened && !allows(VMSRS_CALLS_DESCRIPTORS)) return -EPERM;
  // One that is not known may follow pointers that lie in memory.
  const bool known = c.number != SYS_ioctl || c.a[1] == FIONBIO || c.a[1] == FIOCLEX ||
                     c.a[1] == FIONCLEX || only_asks(c);
  if (!known && !allows(VMSRS_CALLS_DESCRIPTORS)) return -EPERM;
  if (answers_into_region(c)) return -EFAULT;
  if (c.number == SYS_close && opened) forget_opened(c.a[0]);
  return perform(c);
}

long open_file(const SystemCall& c, std::uint64_t flags) {
  const bool only_reads = (flags & O_ACCMODE) == O_RDONLY && (flags & (O_CREAT | O_TRUNC)) == 0 &&
                          (flags & O_TMPFILE) != O_TMPFILE;
  if (!only_reads && !allows(VMSRS_CALLS_FILES)) return -EPERM;
  const long descriptor = perform(c);
  if (only_reads) note_opened(descriptor);
  return descriptor;
}

// Regions are nobody's to map, whatever else a server allows.
bool maps_region(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t end = address + bytes + VMSRS_PAGE_BYTES - 1;
  return touches_region(address, (end & ~std::uint64_t{VMSRS_PAGE_BYTES - 1}) - address);
}
long change_mapping(const SystemCall& c) {
  const bool moves_to_place = c.number == SYS_mremap && (c.a[3] & MREMAP_FIXED) != 0;
  if (maps_region(c.a[0], c.a[1]) || (moves_to_place && maps_region(c.a[4], c.a[2]))) return -EPERM;
  const bool own_place = was_mapped(c.a[0], c.a[1]) && !moves_to_place;
  return own_place || allows(VMSRS_CALLS_MEMORY) ? perform(c) : -EPERM;
}

bool is_private_map(const SystemCall& c) {
  constexpr std::uint64_t kFixed = MAP_FIXED | MAP_FIXED_NOREPLACE;
  return (c.a[3] & MAP_TYPE) == MAP_PRIVATE && (c.a[3] & kFixed) == 0 && (c.a[2] & PROT_EXEC) == 0;
}

// Growing the heap is what malloc does.
long set_break(const SystemCall& c) {
  const long now = vmsrs_gate_call(SYS_brk, 0L);
  const bool shrinks = c.a[0] != 0 && c.a[0] < static_cast<std::uint64_t>(now);
  return shrinks && !allows(VMSRS_CALLS_MEMORY) ? now : perform(c);
}

// The mask is the interrupted code's: the handler has none of its own. SIGSYS stays open, for a
// call that finds it blocked ends the process.
long set_mask(const SystemCall& c, ucontext_t& context) {
  const long result = perform(c);
  std::uint64_t mask = 0;
  vmsrs_gate_call(SYS_rt_sigprocmask, static_cast<long>(SIG_BLOCK), 0L, &mask, kSignalSetBytes);
  mask &= ~kSystemCallSignal;
  vmsrs_gate_call(SYS_rt_sigprocmask, static_cast<long>(SIG_SETMASK), &mask, 0L, kSignalSetBytes);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  return result;
}

long perform_if(bool allowed, const SystemCall& c) { return allowed ? perform(c) : -EPERM; }

long decide(const SystemCall& c, ucontext_t& context) {
  switch (kind_of_call(c.number)) {
    case CallKind::kFree:
      if (c.number == SYS_futex) return changes_futex_in_region(c) ? -EFAULT : perform(c);
      return answers_into_region(c) ? -EFAULT : perform(c);
    case CallKind::kRead:
      return answers_into_region(c) ? -EFAULT : perform(c);
    case CallKind::kReadVector: {
      const long error = check_vector(c.a[1], c.a[2]);
      return error != 0 ? error : perform(c);
    }
    case CallKind::kReadMessage:
      return read_message(c);
    case CallKind::kDescriptor:
      return change_descriptor(c);
    case CallKind::kControl:
      return only_asks(c) ? perform_if(!answers_into_region(c), c) : change_descriptor(c);
    case CallKind::kNewDescriptor:
      return perform_if(allows(VMSRS_CALLS_DESCRIPTORS), c);
    case CallKind::kOpen:
      return open_file(c, c.a[1]);
    case CallKind::kOpenAt:
      return open_file(c, c.a[2]);
    case CallKind::kFiles:
      return perform_if(allows(VMSRS_CALLS_FILES), c);
    case CallKind::kSignal:
      return perform_if(allows(VMSRS_CALLS_SIGNALS), c);
    case CallKind::kThreadSignal: {
      const bool aborts = c.a[2] == SIGABRT && static_cast<std::int32_t>(c.a[1]) == this_thread();
      return perform_if(aborts || allows(VMSRS_CALLS_SIGNALS), c);
    }
    case CallKind::kSignalAction:
      return perform_if(c.a[1] == 0 || allows(VMSRS_CALLS_SIGNALS), c);
    case CallKind::kSignalMask:
      return answers_into_region(c) ? -EFAULT : set_mask(c, context);
    case CallKind::kSignalStack:
      return perform_if(c.a[0] == 0 && !answers_into_region(c), c);
    case CallKind::kProcessEnd:
      if (!allows(VMSRS_CALLS_PROCESSES)) unwind();  // exit() does not return
      return perform(c);
    case CallKind::kProcess:
      return perform_if(allows(VMSRS_CALLS_PROCESSES), c);
    case CallKind::kMap: {
      const bool over_region = (c.a[3] & MAP_FIXED) != 0 && maps_region(c.a[0], c.a[1]);
      const bool allowed = is_private_map(c) || (allows(VMSRS_CALLS_MEMORY) && !over_region);
      return allowed ? map(c) : -EPERM;
    }
    case CallKind::kMapping:
      return change_mapping(c);
    case CallKind::kAdvise: {
      const bool touches = c.a[2] == kAdvicePopulateRead || c.a[2] == kAdvicePopulateWrite;
      return touches ? perform(c) : change_mapping(c);
    }
    case CallKind::kBreak:
      return set_break(c);
    case CallKind::kSignalReturn:
    case CallKind::kOther:
      break;
  }
  return -EPERM;
}

long dispatch(std::uint64_t action) {
  const long begin = static_cast<long>(to_register(vmsrs_gate_begin));
  const long bytes = static_cast<long>(to_register(vmsrs_gate_end)) - begin;
  const bool on = action == kDispatchOn;
  return vmsrs_gate_call(SYS_prctl, static_cast<long>(kSetUserDispatch), action, on ? begin : 0L,
                         on ? bytes : 0L, 0L);
}

}  // namespace

void set_up_policing(const vmsrs_options& options) {
  ControlBlock& block = control_page.block;
  block.crashed_calls = options.crashed_calls;
  block.polices_calls = options.crashed_calls != VMSRS_CALLS_ALL && dispatch(kDispatchOff) == 0;
  const PlatformMemory platform = platform_memory();
  std::memcpy(block.platform_descriptors, platform.descriptors, sizeof platform.descriptors);
}

void begin_policing() {
  if (!control().polices_calls) return;
  own.mapping_count = own.descriptor_count = 0;
  vmsrs_gate_call(SYS_rt_sigprocmask, static_cast<long>(SIG_UNBLOCK), &kSystemCallSignal, 0L,
                  kSignalSetBytes);
  dispatch(kDispatchOn);
}

void end_policing() {
  if (control().polices_calls) dispatch(kDispatchOff);
}

void on_system_call(int signal, siginfo_t* info, void* ucontext) {
  forbid_stores(strict_key());
  if (info->si_code != kUserDispatch) return chain(signal, info, ucontext);
  auto& context = *static_cast<ucontext_t*>(ucontext);
  auto& registers = context.uc_mcontext.gregs;
  const auto argument = [&](int number) { return static_cast<std::uint64_t>(registers[number]); };
  const SystemCall c = {info->si_syscall,
                        {argument(REG_RDI), argument(REG_RSI), argument(REG_RDX), argument(REG_R10),
                         argument(REG_R8), argument(REG_R9)}};
  const bool known = info->si_arch == AUDIT_ARCH_X86_64;
  // Another handler's end: its frame is where the stack pointer is.
  if (known && kind_of_call(c.number) == CallKind::kSignalReturn)
    vmsrs_gate_return(reinterpret_cast<ucontext_t*>(argument(REG_RSP)));
  const long result = known ? decide(c, context) : -ENOSYS;
  if (result == -EPERM) __atomic_fetch_add(&refused_count_, 1, __ATOMIC_RELAXED);
  registers[REG_RAX] = result;
  vmsrs_gate_return(&context);
}

std::uint64_t refused_call_count() { return __atomic_load_n(&refused_count_, __ATOMIC_RELAXED); }

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_user_connection(int descriptor) {
  if (attached_window() == nullptr) return fail_status("vmsrs_user_connection", VMSRS_NOT_ATTACHED);
  ThreadContext& context = thread_context();
  if (!seal_holds(context) || context.depth == 0)
    return fail_status("vmsrs_user_connection", VMSRS_NO_USER);
  if (descriptor < 0)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_user_connection: %d is no descriptor", descriptor);
  if (context.crash_ns != 0) return fail_status("vmsrs_user_connection", VMSRS_CRASHED);
  context.connection = static_cast<std::uint32_t>(descriptor) + 1;
  seal(context);
  return 0;
}
