// SPDX-License-Identifier: Apache-2.0
#include "call_kinds.hpp"

#include <sys/syscall.h>

namespace vmsrs::guest {

// clang-format off
CallKind kind_of_call(long number) {
  switch (number) {
    case SYS_getpid: case SYS_getppid: case SYS_gettid: case SYS_getuid: case SYS_geteuid:
    case SYS_getgid: case SYS_getegid: case SYS_getresuid: case SYS_getresgid: case SYS_getgroups:
    case SYS_getpgid: case SYS_getpgrp: case SYS_getsid: case SYS_getpriority: case SYS_getrlimit:
    case SYS_uname: case SYS_sysinfo: case SYS_times: case SYS_getrusage: case SYS_getcpu:
    case SYS_sched_yield: case SYS_sched_getaffinity: case SYS_sched_getparam:
    case SYS_sched_getscheduler: case SYS_nanosleep: case SYS_clock_nanosleep:
    case SYS_clock_gettime: case SYS_clock_getres: case SYS_gettimeofday: case SYS_time:
    case SYS_getrandom: case SYS_getitimer: case SYS_futex: case SYS_set_robust_list:
    case SYS_get_robust_list: case SYS_rseq: case SYS_membarrier: case SYS_poll: case SYS_ppoll:
    case SYS_select: case SYS_pselect6: case SYS_epoll_wait: case SYS_epoll_pwait:
    case SYS_rt_sigpending: case SYS_rt_sigsuspend: case SYS_restart_syscall: case SYS_exit:
    case SYS_getcwd: case SYS_getdents64: case SYS_lseek: case SYS_stat: case SYS_fstat:
    case SYS_lstat: case SYS_newfstatat: case SYS_statx: case SYS_statfs: case SYS_fstatfs:
    case SYS_access: case SYS_faccessat: case SYS_faccessat2: case SYS_readlink:
    case SYS_readlinkat: case SYS_getsockname: case SYS_getpeername: case SYS_getsockopt:
    case SYS_getxattr: case SYS_lgetxattr: case SYS_fgetxattr: case SYS_mincore:
      return CallKind::kFree;
    case SYS_read: case SYS_pread64: case SYS_recvfrom:
      return CallKind::kRead;
    case SYS_readv: case SYS_preadv: case SYS_preadv2:
      return CallKind::kReadVector;
    case SYS_recvmsg:
      return CallKind::kReadMessage;
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: case SYS_pwritev2:
    case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg: case SYS_sendfile: case SYS_shutdown:
    case SYS_setsockopt: case SYS_close: case SYS_fsync: case SYS_fdatasync: case SYS_ftruncate:
      return CallKind::kDescriptor;
    case SYS_fcntl: case SYS_ioctl:
      return CallKind::kControl;
    case SYS_socket: case SYS_socketpair: case SYS_connect: case SYS_bind: case SYS_listen:
    case SYS_accept: case SYS_accept4: case SYS_pipe: case SYS_pipe2: case SYS_dup: case SYS_dup2:
    case SYS_dup3: case SYS_eventfd: case SYS_eventfd2: case SYS_epoll_create:
    case SYS_epoll_create1: case SYS_epoll_ctl: case SYS_memfd_create: case SYS_close_range:
    case SYS_timerfd_create: case SYS_timerfd_settime: case SYS_signalfd: case SYS_signalfd4:
    case SYS_splice: case SYS_tee: case SYS_vmsplice: case SYS_copy_file_range:
      return CallKind::kNewDescriptor;
    case SYS_open:
      return CallKind::kOpen;
    case SYS_openat:
      return CallKind::kOpenAt;
    case SYS_creat: case SYS_openat2: case SYS_rename: case SYS_renameat: case SYS_renameat2:
    case SYS_unlink: case SYS_unlinkat: case SYS_mkdir: case SYS_mkdirat: case SYS_rmdir:
    case SYS_link: case SYS_linkat: case SYS_symlink: case SYS_symlinkat: case SYS_truncate:
    case SYS_chmod: case SYS_fchmod: case SYS_fchmodat: case SYS_chown: case SYS_fchown:
    case SYS_lchown: case SYS_fchownat: case SYS_utime: case SYS_utimes: case SYS_utimensat:
    case SYS_mknod: case SYS_mknodat: case SYS_setxattr: case SYS_lsetxattr: case SYS_fsetxattr:
    case SYS_fallocate: case SYS_flock: case SYS_chdir: case SYS_fchdir: case SYS_umask:
      return CallKind::kFiles;
    case SYS_kill: case SYS_tkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo:
    case SYS_pidfd_send_signal: case SYS_alarm: case SYS_setitimer: case SYS_timer_create:
    case SYS_timer_settime: case SYS_timer_delete:
      return CallKind::kSignal;
    case SYS_tgkill:
      return CallKind::kThreadSignal;
    case SYS_rt_sigaction:
      return CallKind::kSignalAction;
    case SYS_rt_sigprocmask:
      return CallKind::kSignalMask;
    case SYS_rt_sigreturn:
      return CallKind::kSignalReturn;
    case SYS_sigaltstack:
      return CallKind::kSignalStack;
    case SYS_execve: case SYS_execveat: case SYS_wait4: case SYS_waitid: case SYS_ptrace:
    case SYS_process_vm_readv: case SYS_process_vm_writev: case SYS_setpgid: case SYS_setsid:
    case SYS_setpriority: case SYS_setrlimit: case SYS_prlimit64: case SYS_sched_setaffinity:
    case SYS_sched_setscheduler: case SYS_sched_setparam: case SYS_prctl: case SYS_setuid:
    case SYS_setgid: case SYS_setresuid: case SYS_setresgid:
      return CallKind::kProcess;
    case SYS_exit_group:
      return CallKind::kProcessEnd;
    case SYS_mmap:
      return CallKind::kMap;
    case SYS_munmap: case SYS_mprotect: case SYS_mremap: case SYS_msync: case SYS_mlock:
    case SYS_munlock: case SYS_pkey_mprotect:
      return CallKind::kMapping;
    case SYS_madvise:
      return CallKind::kAdvise;
    case SYS_brk:
      return CallKind::kBreak;
    default:
      return CallKind::kOther;
  }
}

unsigned answers_of_call(long number) {
  constexpr unsigned k0 = 1, k1 = 2, k2 = 4, k3 = 8, k4 = 16, k5 = 32;
  switch (number) {
    case SYS_uname: case SYS_sysinfo: case SYS_times: case SYS_time: case SYS_rseq:
    case SYS_set_robust_list: case SYS_rt_sigpending:
      return k0;
    case SYS_getrlimit: case SYS_getrusage: case SYS_sched_getparam: case SYS_nanosleep:
    case SYS_clock_gettime: case SYS_clock_getres: case SYS_getitimer: case SYS_stat:
    case SYS_fstat: case SYS_lstat: case SYS_statfs: case SYS_fstatfs: case SYS_sigaltstack:
      return k1;
    case SYS_newfstatat: case SYS_rt_sigprocmask: case SYS_ppoll: case SYS_fcntl: case SYS_ioctl:
    case SYS_sendfile:
      return k2;
    case SYS_clock_nanosleep:
      return k3;
    case SYS_statx: case SYS_getsockopt:
      return k4;
    case SYS_gettimeofday:
      return k0 | k1;
    case SYS_getresuid: case SYS_getresgid: case SYS_getcpu:
      return k0 | k1 | k2;
    case SYS_get_robust_list: case SYS_getsockname: case SYS_getpeername:
      return k1 | k2;
    case SYS_select: case SYS_pselect6:
      return k1 | k2 | k3 | k4;
    case SYS_recvfrom:
      return k4 | k5;
    default:
      return 0;
  }
}

// clang-format on

}  // namespace vmsrs::guest
