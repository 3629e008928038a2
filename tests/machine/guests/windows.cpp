// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "guest.hpp"

namespace {

constexpr gid_t kGroup = 990;  // as in tests/machine/CMakeLists.txt
constexpr char kDirectory[] = "/run/vmsrs/windows/server-";

std::string path_of(std::uint64_t server) {
  const std::string number = std::to_string(server);
  return kDirectory + std::string(2 - number.size(), '0') + number;
}

std::uint64_t attach() {
  static vmsrs_attach_request request;
  std::strcpy(request.name, "windows-test");
  std::memcpy(request.secret, guest::kSecret, sizeof(request.secret));
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = static_cast<std::uint32_t>(getpid());
  guest::Call call{.number = VMSRS_CALL_ATTACH, .rdi = reinterpret_cast<std::uint64_t>(&request)};
  EXPECT_EQUAL(guest::hypercall(call), std::uint64_t{VMSRS_OK});
  return call.rdx;
}

const volatile vmsrs_window* map_window(std::uint64_t server, int& file) {
  file = open(path_of(server).c_str(), O_RDONLY);
  EXPECT(file >= 0);
  void* const at = mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ, MAP_SHARED, file, 0);
  EXPECT(at != MAP_FAILED);
  return static_cast<const volatile vmsrs_window*>(at);
}

// An ordinary process of the group: sees what the hypervisor writes, at once, and can write
// nothing.
int unprivileged_server() {
  EXPECT(setgroups(0, nullptr) == 0 && setgid(kGroup) == 0 && setuid(1000) == 0);
  const std::uint64_t server = attach();
  int file = -1;
  const auto* const window = map_window(server, file);
  EXPECT_EQUAL(std::uint64_t{window->status.magic}, std::uint64_t{VMSRS_WINDOW_MAGIC});
  EXPECT_EQUAL(std::uint32_t{window->status.abi_version}, VMSRS_ABI_VERSION);
  for (int round = 0; round < 100; ++round) {
    guest::Call begin{.number = VMSRS_CALL_USER_BEGIN, .rdi = 1};
    EXPECT_EQUAL(guest::hypercall(begin), std::uint64_t{VMSRS_OK});
    const std::uint64_t during = window->users[begin.rdx];
    EXPECT_EQUAL(during & 3, std::uint64_t{VMSRS_USER_ACTIVE});
    guest::Call end{.number = VMSRS_CALL_USER_END};
    EXPECT_EQUAL(guest::hypercall(end), std::uint64_t{VMSRS_OK});
    EXPECT(window->users[begin.rdx] != during);
  }
  EXPECT(mprotect(const_cast<vmsrs_window*>(window), 4096, PROT_READ | PROT_WRITE) == -1 &&
         errno == EACCES);
  EXPECT_EQUAL(guest::in_child([&] {
                 const_cast<volatile vmsrs_window*>(window)->status.mode = 1;
                 return 0;
               }),
               -SIGSEGV);
  EXPECT(open(path_of(server).c_str(), O_RDWR) == -1 && (errno == EROFS || errno == EACCES));
  return 0;
}

int write_device(off_t offset) {
  const int device = open("/dev/pmem0", O_RDWR | O_DIRECT);
  if (device < 0) return errno;
  static char page[4096] __attribute__((aligned(4096)));
  std::memset(page, 0x5a, sizeof(page));
  return pwrite(device, page, sizeof(page), offset) == static_cast<ssize_t>(sizeof(page)) ? 0
                                                                                          : errno;
}

void set_device_read_only(int read_only) {
  const int device = open("/dev/pmem0", O_RDONLY);
  EXPECT(device >= 0 && ioctl(device, BLKROSET, &read_only) == 0);
  close(device);
}

}  // namespace

void test_windows() {
  const std::uint64_t token = guest::open_management();
  guest::define_server(token, "windows-test");
  EXPECT_EQUAL(guest::in_child(unprivileged_server), 0);
  EXPECT_EQUAL(guest::in_child([] {
                 EXPECT(setgroups(0, nullptr) == 0 && setgid(1000) == 0 && setuid(1000) == 0);
                 return open(path_of(0).c_str(), O_RDONLY) < 0 ? errno : 0;
               }),
               EACCES);
  // Root, the polite ways.
  EXPECT(open(path_of(0).c_str(), O_RDWR) == -1 && errno == EROFS);
  set_device_read_only(1);
  const int refused = guest::in_child([] { return write_device(0); });
  std::printf("write to a read-only /dev/pmem0: errno %d\n", refused);
  EXPECT(refused == EPERM || refused == EACCES || refused == EROFS);
  EXPECT_EQUAL(guest::stats(token).window_write_count, std::uint64_t{0});
  // Root insists: the kernel's store traps and is refused with #GP; the writer dies, no one else.
  int file = -1;
  const auto* const window = map_window(0, file);
  const std::uint64_t magic = window->status.magic;
  set_device_read_only(0);
  const int killed = guest::in_child([] { return write_device(0); });
  std::printf("write to /dev/pmem0 by force: %d\n", killed);
  EXPECT(killed != 0);
  EXPECT(guest::stats(token).window_write_count >= 1);
  EXPECT_EQUAL(std::uint64_t{window->status.magic}, magic);
  EXPECT(guest::has_signature());
}
