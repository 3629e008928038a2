// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <cstring>
#include <fstream>

#include "guest.hpp"

// The hypervisor touches memory only as the caller itself could: MGMT_STATS writes to an address,
// MGMT_OPEN reads from one.
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLargePage = 2u << 20;

struct Answer {
  std::uint64_t status, where;
};

Answer write_to(std::uint64_t token, std::uint64_t address) {
  guest::Call call{
      .number = VMSRS_CALL_MGMT_STATS, .rdi = token, .rsi = address, .rdx = sizeof(vmsrs_stats)};
  const std::uint64_t status = guest::hypercall_once(call);
  return {status, call.rdx};
}

Answer read_from(std::uint64_t address) {
  guest::Call call{.number = VMSRS_CALL_MGMT_OPEN, .rdi = address, .rsi = VMSRS_OBSERVE};
  const std::uint64_t status = guest::hypercall_once(call);
  return {status, call.rdx};
}

unsigned char* map(std::uint64_t bytes, int protection, int flags = 0) {
  void* const at = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  EXPECT(at != MAP_FAILED);
  return static_cast<unsigned char*>(at);
}

std::uint64_t number(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

void bad_addresses(std::uint64_t token) {
  for (const std::uint64_t address :
       {0xffffffff81000000ul, 0xffff888000000000ul, 0x8000000000000000ul, 0xfffffffffffff000ul,
        0xffffffffffffff00ul, 0x4142434445464748ul}) {
    EXPECT_EQUAL(write_to(token, address).status, std::uint64_t{VMSRS_BAD_ADDRESS});
    EXPECT_EQUAL(read_from(address).status, std::uint64_t{VMSRS_BAD_ADDRESS});
  }
}

void absent_pages(std::uint64_t token) {
  unsigned char* const fresh = map(2 * kPage, PROT_READ | PROT_WRITE);
  Answer answer = write_to(token, number(fresh));
  EXPECT_EQUAL(answer.status, std::uint64_t{VMSRS_TOUCH});
  EXPECT_EQUAL(answer.where, number(fresh));
  // A page that was only read is the shared zero page: present, but not to be written.
  EXPECT_EQUAL(int{*static_cast<volatile unsigned char*>(fresh)}, 0);
  EXPECT_EQUAL(write_to(token, number(fresh)).status, std::uint64_t{VMSRS_TOUCH});
  fresh[0] = 1;
  EXPECT_EQUAL(write_to(token, number(fresh)).status, std::uint64_t{VMSRS_OK});
  // Across a boundary: the first page is there, the second is the one to touch, and nothing has
  // changed.
  unsigned char* const edge = fresh + kPage - 64;
  std::memset(edge, 0xaa, 64);
  answer = write_to(token, number(edge));
  EXPECT_EQUAL(answer.status, std::uint64_t{VMSRS_TOUCH});
  EXPECT_EQUAL(answer.where, number(fresh) + kPage);
  for (int i = 0; i < 64; ++i) EXPECT_EQUAL(int{edge[i]}, 0xaa);
  fresh[kPage] = 1;
  EXPECT_EQUAL(write_to(token, number(edge)).status, std::uint64_t{VMSRS_OK});
  EXPECT(reinterpret_cast<vmsrs_stats*>(edge)->cpu_count >= 2);
  EXPECT(munmap(fresh, 2 * kPage) == 0);
  EXPECT_EQUAL(write_to(token, number(fresh)).status, std::uint64_t{VMSRS_TOUCH});
}

void read_only_pages(std::uint64_t token) {
  unsigned char* const page = map(kPage, PROT_READ | PROT_WRITE);
  std::memcpy(page, guest::kSecret, VMSRS_SECRET_BYTES);
  EXPECT(mprotect(page, kPage, PROT_READ) == 0);
  EXPECT_EQUAL(write_to(token, number(page)).status, std::uint64_t{VMSRS_TOUCH});
  EXPECT_EQUAL(read_from(number(page)).status, std::uint64_t{VMSRS_OK});
  EXPECT(std::memcmp(page, guest::kSecret, VMSRS_SECRET_BYTES) == 0);
}

// The child's page is the parent's until one of them writes: from below neither may be.
void copy_on_write() {
  unsigned char* const page = map(kPage, PROT_READ | PROT_WRITE);
  std::memset(page, 0x77, kPage);
  EXPECT_EQUAL(guest::in_child([&] {
                 const std::uint64_t token = guest::open_management();
                 if (write_to(token, number(page)).status != VMSRS_TOUCH) return 1;
                 *static_cast<volatile unsigned char*>(page) = 0x77;
                 return write_to(token, number(page)).status == VMSRS_OK && page[8] != 0x77 ? 0 : 2;
               }),
               0);
  for (std::uint64_t i = 0; i < kPage; ++i) EXPECT_EQUAL(int{page[i]}, 0x77);
}

void large_pages(std::uint64_t token) {
  std::ofstream("/proc/sys/vm/nr_hugepages") << 4 << std::flush;
  void* const at = mmap(nullptr, kLargePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (at == MAP_FAILED) {
    std::printf("no large pages in this guest: not shown\n");
    return;
  }
  auto* const page = static_cast<unsigned char*>(at);
  page[0] = 1;
  unsigned char* const place = page + kLargePage - 2 * kPage - 64;
  EXPECT_EQUAL(write_to(token, number(place)).status, std::uint64_t{VMSRS_OK});
  EXPECT(reinterpret_cast<vmsrs_stats*>(place)->cpu_count >= 2);
  EXPECT_EQUAL(reinterpret_cast<vmsrs_stats*>(place)->abi_version, VMSRS_ABI_VERSION);
}

}  // namespace

void test_guest_memory() {
  const std::uint64_t token = guest::open_management();
  bad_addresses(token);
  absent_pages(token);
  read_only_pages(token);
  copy_on_write();
  large_pages(token);
  std::ifstream cpu("/proc/cpuinfo");
  const std::string text((std::istreambuf_iterator<char>(cpu)), {});
  std::printf("five-level paging: %s\n", text.find("la57") != std::string::npos ? "yes" : "no");
}
