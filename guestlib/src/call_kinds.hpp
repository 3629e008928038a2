// SPDX-License-Identifier: Apache-2.0
#pragma once

// What Linux's system calls are to a thread whose user has crashed.
namespace vmsrs::guest {

enum class CallKind {
  kOther,          // not in the table, or not to be had: refused
  kFree,           // asks, waits, or concerns this thread alone
  kRead,           // into a buffer: its address and bytes are the second and third argument
  kReadVector,     // into buffers: their list and its length are the second and third argument
  kReadMessage,    // into the buffers of a message header
  kDescriptor,     // changes what the descriptor in the first argument stands for
  kControl,        // fcntl and ioctl: some only ask
  kNewDescriptor,  // makes one, or changes which ones there are
  kOpen,           // open: the flags decide
  kOpenAt,         // openat, likewise
  kFiles,          // changes files by name
  kSignal,         // sends signals or has them sent
  kThreadSignal,   // tgkill: abort() does that to itself
  kSignalAction,   // rt_sigaction: may only ask
  kSignalMask,     // rt_sigprocmask
  kSignalReturn,   // rt_sigreturn
  kSignalStack,    // sigaltstack: may only ask
  kProcess,        // other threads, other processes, this process as a whole
  kProcessEnd,     // exit_group
  kMap,            // mmap
  kMapping,        // of the mapping in the first argument: munmap, mprotect, ...
  kAdvise,         // madvise: some only touch
  kBreak           // brk
};

CallKind kind_of_call(long number);

// Which arguments of a call that may be made point to memory of a fixed size that it writes: bit i,
// argument i. Buffers whose length is an argument are not among them.
unsigned answers_of_call(long number);

}  // namespace vmsrs::guest
