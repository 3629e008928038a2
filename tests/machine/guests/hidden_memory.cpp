// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include <cerrno>

#include "guest.hpp"

namespace {

volatile unsigned char* map(int memory, std::uint64_t address) {
  void* const at =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, static_cast<off_t>(address));
  if (at == MAP_FAILED) guest::skip("this kernel lets root map no reserved memory");
  return static_cast<volatile unsigned char*>(at);
}

}  // namespace

// Root maps hidden memory through /dev/mem and touches it: a signal, a count, and no content.
void test_hidden_memory() {
  const std::uint64_t token = guest::open_management();
  const auto ranges = guest::hidden_ranges(guest::stats(token).hidden_bytes);
  EXPECT(ranges.size() >= 2);
  const int memory = open("/dev/mem", O_RDWR | O_SYNC);
  EXPECT(memory >= 0);
  for (const guest::Range& range : ranges) {
    for (const std::uint64_t page :
         {range.begin, (range.begin + range.end) / 2 & ~4095ul, range.end - 4096}) {
      volatile unsigned char* const at = map(memory, page);
      const std::uint64_t before = guest::stats(token).hidden_access_count;
      const int reader = guest::in_child([&] {
        static_cast<void>(at[0]);
        return 1;
      });
      EXPECT(reader == -SIGSEGV || reader == -SIGBUS);
      const int writer = guest::in_child([&] {
        at[4095] = 0xff;
        return 1;
      });
      EXPECT(writer == -SIGSEGV || writer == -SIGBUS);
      EXPECT_EQUAL(guest::stats(token).hidden_access_count, before + 2);
      std::printf("touched %#llx twice: refused and counted\n",
                  static_cast<unsigned long long>(page));
    }
    // The kernel's own copy on root's behalf.
    unsigned char bytes[64] = {};
    const std::uint64_t before = guest::stats(token).hidden_access_count;
    const auto got = pread(memory, bytes, sizeof(bytes), static_cast<off_t>(range.begin));
    EXPECT(got <= 0);
    for (const unsigned char byte : bytes) EXPECT_EQUAL(int{byte}, 0);
    std::printf("read(/dev/mem): %zd, errno %d, refused %llu more\n", got, errno,
                static_cast<unsigned long long>(guest::stats(token).hidden_access_count - before));
  }
  // Nor can a hypercall be made to read it: the address is the caller's own mapping.
  guest::Call call{.number = VMSRS_CALL_MGMT_OPEN,
                   .rdi = reinterpret_cast<std::uint64_t>(map(memory, ranges[0].begin)),
                   .rsi = VMSRS_OBSERVE};
  const std::uint64_t status = guest::hypercall(call);
  EXPECT_EQUAL(status, std::uint64_t{VMSRS_BAD_ADDRESS});
}
