// SPDX-License-Identifier: Apache-2.0
#include "kernel_paths.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace vmsrs::test {
namespace {

template <typename... Arguments>
long call(long number, Arguments... arguments) {
  const long result = syscall(number, arguments...);
  return result < 0 ? -errno : result;
}

std::byte* before(std::uint64_t* region, std::size_t bytes) {
  return reinterpret_cast<std::byte*>(region) - bytes;
}

// A page that the crashed thread has made itself: that it may change.
void* own_page() {
  return mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

constexpr long kStackBytes = 16 * 1024;

}  // namespace

using U = std::uint64_t*;

const KernelPath kernel_paths[] = {
    {"read", [](U r, int s, int) { return call(SYS_read, s, r, 8ul); }},
    {"read, begun before it",
     [](U r, int s, int) { return call(SYS_read, s, before(r, 8), 16ul); }},
    {"recvfrom", [](U r, int s, int) { return call(SYS_recvfrom, s, r, 8ul, 0, 0, 0); }},
    {"recvfrom, of all bytes there are",
     [](U r, int s, int) { return call(SYS_recvfrom, s, before(r, 1), ~0ul, 0, 0, 0); }},
    {"readv",
     [](U r, int s, int) {
       const iovec one = {r, 8};
       return call(SYS_readv, s, &one, 1ul);
     }},
    {"preadv2",
     [](U r, int s, int) {
       const iovec one = {r, 8};
       return call(SYS_preadv2, s, &one, 1ul, -1l, -1l, 0);
     }},
    {"recvmsg",
     [](U r, int s, int) {
       iovec one = {r, 8};
       msghdr header{};
       header.msg_iov = &one;
       header.msg_iovlen = 1;
       return call(SYS_recvmsg, s, &header, 0);
     }},
    {"recvmmsg",
     [](U r, int s, int) {
       iovec one = {r, 8};
       mmsghdr header{};
       header.msg_hdr.msg_iov = &one;
       header.msg_hdr.msg_iovlen = 1;
       return call(SYS_recvmmsg, s, &header, 1, 0, 0);
     }},
    {"sendmmsg, its count",
     [](U r, int s, int) { return call(SYS_sendmmsg, s, before(r, 32), 1, 0); }},
    {"sendfile, its offset",
     [](U r, int s, int) {
       const int file = open("/proc/self/cmdline", O_RDONLY);
       const long result = call(SYS_sendfile, s, file, r, 1ul);
       close(file);
       return result;
     }},
    {"ioctl", [](U r, int s, int) { return call(SYS_ioctl, s, FIONREAD, r); }},
    {"ioctl, begun before it",
     [](U r, int s, int) { return call(SYS_ioctl, s, FIONREAD, before(r, 2)); }},
    {"ioctl that may follow pointers",
     [](U, int s, int) { return call(SYS_ioctl, s, 0x8912u, 0ul); }, -EPERM},
    {"fcntl F_GETLK", [](U r, int s, int) { return call(SYS_fcntl, s, F_GETLK, r); }},
    {"process_vm_writev",
     [](U r, int, int) {
       std::uint64_t word = 666;
       const iovec here = {&word, 8}, there = {r, 8};
       return call(SYS_process_vm_writev, getpid(), &here, 1ul, &there, 1ul, 0ul);
     }},
    {"open of /proc/self/mem",
     [](U, int, int) -> long {
       const int file = open("/proc/self/mem", O_RDWR);
       return file < 0 ? -errno : file;
     }},
    {"write to /proc/self/mem",
     [](U r, int, int memory) { return call(SYS_pwrite64, memory, "666666", 6ul, r); }},
    {"ptrace", [](U r, int, int) { return call(SYS_ptrace, PTRACE_POKEDATA, getpid(), r, 666ul); }},
    {"io_uring_setup",
     [](U, int, int) {
       io_uring_params parameters{};
       return call(SYS_io_uring_setup, 1u, &parameters);
     }},
    {"io_uring_enter", [](U, int s, int) { return call(SYS_io_uring_enter, s, 1u, 0u, 0u, 0, 0); }},
    {"io_setup", [](U r, int, int) { return call(SYS_io_setup, 1u, r + 1); }},
    {"io_submit", [](U r, int, int) { return call(SYS_io_submit, 0ul, 1l, r); }},
    {"vmsplice",
     [](U r, int s, int) {
       const iovec one = {r, 8};
       return call(SYS_vmsplice, s, &one, 1ul, 0u);
     }},
    {"userfaultfd", [](U, int, int) { return call(SYS_userfaultfd, O_CLOEXEC); }},
    {"mmap over it",
     [](U r, int, int) {
       return call(SYS_mmap, r, 4096ul, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0l);
     }},
    {"mremap over it",
     [](U r, int, int) {
       return call(SYS_mremap, own_page(), 4096ul, 4096ul, MREMAP_MAYMOVE | MREMAP_FIXED, r);
     }},
    {"mremap of it",
     [](U r, int, int) { return call(SYS_mremap, r, 4096ul, 8192ul, MREMAP_MAYMOVE); }},
    {"munmap", [](U r, int, int) { return call(SYS_munmap, r, 4096ul); }},
    {"mprotect", [](U r, int, int) { return call(SYS_mprotect, r, 4096ul, PROT_READ); }},
    {"pkey_mprotect",
     [](U r, int, int) { return call(SYS_pkey_mprotect, r, 4096ul, PROT_READ | PROT_WRITE, 0); }},
    {"pkey_alloc", [](U, int, int) { return call(SYS_pkey_alloc, 0ul, 0ul); }},
    {"pkey_free", [](U, int, int) { return call(SYS_pkey_free, 1); }},
    {"madvise", [](U r, int, int) { return call(SYS_madvise, r, 4096ul, MADV_DONTNEED); }},
    {"process_madvise", [](U, int s, int) { return call(SYS_process_madvise, s, 0, 0ul, 0, 0u); }},
    {"remap_file_pages",
     [](U r, int, int) { return call(SYS_remap_file_pages, r, 4096ul, 0ul, 1ul, 0ul); }},
    {"shmat", [](U r, int, int) { return call(SYS_shmat, 0, r, SHM_REMAP); }},
    {"futex FUTEX_WAKE_OP",
     [](U r, int, int) {
       static std::uint32_t word;
       return call(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1l, r,
                   FUTEX_OP(FUTEX_OP_SET, 666, FUTEX_OP_CMP_EQ, 0));
     }},
    {"futex FUTEX_TRYLOCK_PI",
     [](U r, int, int) { return call(SYS_futex, r, FUTEX_TRYLOCK_PI_PRIVATE, 0, 0l, 0l, 0); }},
    {"rseq", [](U r, int, int) { return call(SYS_rseq, r, 32u, 0, 0u); }},
    {"set_tid_address", [](U r, int, int) { return call(SYS_set_tid_address, r); }},
    {"get_robust_list", [](U r, int, int) { return call(SYS_get_robust_list, 0, r, r + 1); }},
    {"arch_prctl", [](U r, int, int) { return call(SYS_arch_prctl, 0x1003, r); }},
    {"clock_gettime", [](U r, int, int) { return call(SYS_clock_gettime, 2, r); }},
    {"uname, begun before it",
     [](U r, int, int) { return call(SYS_uname, before(r, sizeof(utsname) - 1)); }},
    {"getrandom, begun before it",
     [](U r, int, int) { return call(SYS_getrandom, before(r, 4096), 8192ul, 0u); }},
    {"getrandom, of all bytes there are",
     [](U r, int, int) { return call(SYS_getrandom, before(r, 4096), ~0ul, 0u); }},
    {"getcwd, begun before it",
     [](U r, int, int) { return call(SYS_getcwd, before(r, 1), 4096ul); }},
    {"getsockopt",
     [](U r, int s, int) {
       socklen_t bytes = 4;
       return call(SYS_getsockopt, s, SOL_SOCKET, SO_TYPE, r, &bytes);
     }},
    {"rt_sigprocmask",
     [](U r, int, int) { return call(SYS_rt_sigprocmask, SIG_BLOCK, 0ul, r, 8ul); }},
    {"sigaltstack", [](U r, int, int) { return call(SYS_sigaltstack, 0ul, r); }},
    {"clone, its number",
     [](U r, int, int) {
       static char stack[kStackBytes];
       return call(SYS_clone, CLONE_VM | CLONE_PARENT_SETTID | SIGCHLD, stack + kStackBytes, r);
     }},
};
const std::size_t kernel_path_count = sizeof kernel_paths / sizeof *kernel_paths;

}  // namespace vmsrs::test
