// SPDX-License-Identifier: Apache-2.0
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "../error.hpp"
#include "../platform.hpp"

// The seam on the hypervisor: VMMCALL with the ABI's register map, windows from the read-only file
// system that the hypervisor shows to Linux.
namespace vmsrs::guest::svm {
namespace {

constexpr unsigned kHypervisorBit = 1u << 31;  // CPUID 1, ECX

constexpr bool serves(std::uint32_t callee, std::uint32_t major, std::uint32_t minor) {
  return callee >> 16 == major && (callee & 0xffffu) >= minor;
}

}  // namespace

CallResult call(vmsrs_call number, const CallArguments& arguments) {
  std::uint64_t rax = number;
  std::uint64_t rsi = arguments.rsi;
  std::uint64_t rdx = arguments.rdx;
  register std::uint64_t r10 asm("r10") = arguments.r10;
  register std::uint64_t r8 asm("r8") = arguments.r8;
  register std::uint64_t r9 asm("r9") = arguments.r9;
  asm volatile("vmmcall"
               : "+a"(rax), "+S"(rsi), "+d"(rdx)
               : "D"(arguments.rdi), "r"(r10), "r"(r8), "r"(r9)
               : "memory", "cc");
  return {rax, rdx, rsi};
}

bool is_there() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __cpuid(1, eax, ebx, ecx, edx);
  if ((ecx & kHypervisorBit) == 0) return false;
  char signature[13] = {};
  __cpuid(VMSRS_CPUID_SIGNATURE_LEAF, eax, ebx, ecx, edx);
  std::memcpy(signature, &ebx, 4);
  std::memcpy(signature + 4, &ecx, 4);
  std::memcpy(signature + 8, &edx, 4);
  return std::memcmp(signature, VMSRS_CPUID_SIGNATURE, 12) == 0 && eax >= VMSRS_CPUID_VERSION_LEAF;
}

int check_version() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __cpuid(VMSRS_CPUID_VERSION_LEAF, eax, ebx, ecx, edx);
  if (!serves(eax, VMSRS_ABI_MAJOR, VMSRS_ABI_MINOR)) {
    return fail(VMSRS_ERROR_VERSION,
                "the hypervisor speaks ABI %u.%u, this library needs %u.%u: install hypervisor and "
                "library of the same release",
                eax >> 16, eax & 0xffffu, VMSRS_ABI_MAJOR, VMSRS_ABI_MINOR);
  }
  return 0;
}

// vmsrsd looks for dead processes by their numbers, which are others in another namespace.
int check_process_ids() {
  constexpr ino_t kHostsPidNamespace = 0xeffffffc;  // PROC_PID_INIT_INO, include/linux/proc_ns.h
  struct stat status {};
  if (stat("/proc/self/ns/pid", &status) != 0 || status.st_ino == kHostsPidNamespace) return 0;
  return fail(VMSRS_ERROR_CONFIGURATION,
              "this process is in a PID namespace of its own, where the host's vmsrsd cannot tell "
              "whether it lives: start its container in the host's (podman run --pid=host)");
}

const vmsrs_window* map_window(const char* windows_directory, std::uint32_t server) {
  char path[512];
  const int length = std::snprintf(path, sizeof path, "%s/server-%02u", windows_directory, server);
  if (length < 0 || static_cast<std::size_t>(length) >= sizeof path) {
    fail(VMSRS_ERROR_CONFIGURATION, "windows directory %.64s...: path too long", windows_directory);
    return nullptr;
  }
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    fail(VMSRS_ERROR_CONFIGURATION,
         "window %s: %s: is the windows file system mounted there, and may this account read it?",
         path, strerrordesc_np(errno));
    return nullptr;
  }
  struct stat status {};
  if (fstat(file, &status) != 0 || status.st_size < static_cast<off_t>(VMSRS_WINDOW_BYTES)) {
    close(file);
    fail(VMSRS_ERROR_CONFIGURATION, "window %s: smaller than %u bytes: not a window of VMSRS", path,
         VMSRS_WINDOW_BYTES);
    return nullptr;
  }
  void* address = mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ, MAP_SHARED, file, 0);
  const int error = errno;
  close(file);
  if (address == MAP_FAILED) {
    fail(VMSRS_ERROR_SYSTEM, "window %s: mmap: %s", path, strerrordesc_np(error));
    return nullptr;
  }
  return static_cast<const vmsrs_window*>(address);
}

// The engine walks this process's page tables: a page that is not there costs a call each time.
int prepare_region(void* address, std::size_t bytes) {
  if (mlock(address, bytes) == 0) return 0;
  return fail(VMSRS_ERROR_SYSTEM,
              "profile: mlock of %zu bytes: %s: raise the limit on locked memory (ulimit -l, or "
              "LimitMEMLOCK= of its unit)",
              bytes, strerrordesc_np(errno));
}

// The hypervisor reaches each process's memory by that process's own page tables and would not
// mind; but nobody hands the memory of one process to another here.
Joined join_memory() {
  fail(VMSRS_ERROR_STATE,
       "another process of this server is attached: several of them can share regions on "
       "vmsrs-hosted only, not yet on the hypervisor");
  return Joined::kFailed;
}

}  // namespace vmsrs::guest::svm
