// SPDX-License-Identifier: Apache-2.0
#include "guest.hpp"

#include <cpuid.h>
#include <sched.h>

#include <cstring>
#include <fstream>
#include <sstream>

namespace guest {

std::uint64_t hypercall_once(Call& call) {
  std::uint64_t status = call.number;
  register std::uint64_t r10 asm("r10") = call.r10;
  register std::uint64_t r8 asm("r8") = call.r8;
  register std::uint64_t r9 asm("r9") = call.r9;
  asm volatile("vmmcall"
               : "+a"(status), "+d"(call.rdx), "+S"(call.rsi)
               : "D"(call.rdi), "r"(r10), "r"(r8), "r"(r9)
               : "memory");
  return status;
}

std::uint64_t hypercall(Call& call) {
  std::uint64_t read_already = 0;
  for (;;) {
    Call attempt = call;
    const std::uint64_t status = hypercall_once(attempt);
    if (status != VMSRS_TOUCH) {
      call = attempt;
      return status;
    }
    // Reading is enough where the hypervisor only reads (it may be a constant); a second refusal of
    // the same address asks for a write.
    auto* const byte = reinterpret_cast<volatile char*>(attempt.rdx);
    const char content = *byte;
    if (read_already == attempt.rdx) *byte = content;
    read_already = attempt.rdx;
  }
}

bool has_signature() {
  unsigned eax = 0, words[3] = {};
  __cpuid(VMSRS_CPUID_SIGNATURE_LEAF, eax, words[0], words[1], words[2]);
  return std::memcmp(words, VMSRS_CPUID_SIGNATURE, sizeof(words)) == 0;
}

std::uint64_t open_management() {
  Call call{.number = VMSRS_CALL_MGMT_OPEN,
            .rdi = reinterpret_cast<std::uint64_t>(kSecret),
            .rsi = VMSRS_OBSERVE | VMSRS_OPERATE};
  EXPECT_EQUAL(hypercall(call), std::uint64_t{VMSRS_OK});
  return call.rdx;
}

std::uint64_t define_server(std::uint64_t token, const char* name) {
  static constexpr std::uint8_t kHash[VMSRS_HASH_BYTES] = {
      // SHA-256 of kSecret
      0x70, 0x07, 0x9b, 0x69, 0x4b, 0x03, 0x6c, 0xc0, 0xc6, 0x38, 0x4b,
      0xa2, 0x82, 0x6a, 0x48, 0xdc, 0xc5, 0xd8, 0xd7, 0x65, 0xdd, 0x6c,
      0x58, 0x61, 0x06, 0x49, 0xa5, 0xe5, 0x31, 0xad, 0xad, 0x9e};
  vmsrs_server_definition definition{};
  std::strcpy(definition.name, name);
  std::memcpy(definition.secret_hash, kHash, sizeof(kHash));
  Call call{.number = VMSRS_CALL_MGMT_DEFINE,
            .rdi = token,
            .rsi = reinterpret_cast<std::uint64_t>(&definition)};
  EXPECT_EQUAL(hypercall(call), std::uint64_t{VMSRS_OK});
  return call.rdx;
}

vmsrs_stats stats(std::uint64_t token) {
  vmsrs_stats result{};
  Call call{.number = VMSRS_CALL_MGMT_STATS,
            .rdi = token,
            .rsi = reinterpret_cast<std::uint64_t>(&result),
            .rdx = sizeof(result)};
  EXPECT_EQUAL(hypercall(call), std::uint64_t{VMSRS_OK});
  return result;
}

vmsrs_exits exits(std::uint64_t token, std::uint64_t cpu) {
  vmsrs_exits result{};
  Call call{.number = VMSRS_CALL_MGMT_EXITS,
            .rdi = token,
            .rsi = cpu,
            .rdx = reinterpret_cast<std::uint64_t>(&result),
            .r10 = sizeof(result)};
  EXPECT_EQUAL(hypercall(call), std::uint64_t{VMSRS_OK});
  return result;
}

std::vector<Range> iomem(const std::string& name) {
  std::vector<Range> ranges;
  std::ifstream file("/proc/iomem");
  for (std::string line; std::getline(file, line);) {
    std::uint64_t begin = 0, last = 0;
    char dash = 0;
    std::istringstream words(line);
    words >> std::hex >> begin >> dash >> last;
    if (line.ends_with(" : " + name)) ranges.push_back({begin, last + 1});
  }
  return ranges;
}

long machine_number(const char* name) {
  const char* const text = std::getenv(name);
  EXPECT(text != nullptr);
  return std::strtol(text, nullptr, 10);
}

// Aligned as the hypervisor aligns them, and inside memory. Above 4 GiB nothing else is reserved
// but what AMD's processors do not use.
std::vector<Range> hidden_ranges(std::uint64_t hidden_bytes) {
  constexpr std::uint64_t kLargePage = 2u << 20, kFourGiB = 1ull << 32, kUnused = 0xfd00000000;
  std::uint64_t memory_end = 0;
  for (const Range& ram : iomem("System RAM")) {
    if (ram.end > memory_end && ram.end <= kFourGiB) memory_end = ram.end;
  }
  std::vector<Range> hidden;
  std::uint64_t bytes = 0;
  for (const Range& range : iomem("Reserved")) {
    const bool in_memory =
        range.end <= memory_end || (range.begin >= kFourGiB && range.begin != kUnused);
    if (range.begin % kLargePage == 0 && range.end % kLargePage == 0 && in_memory) {
      hidden.push_back(range);
      bytes += range.end - range.begin;
    }
  }
  EXPECT_EQUAL(bytes, hidden_bytes);
  return hidden;
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  EXPECT(sched_setaffinity(0, sizeof(set), &set) == 0);
}

void fail(const std::string& why) {
  std::printf("RESULT: FAILURE %s\n", why.c_str());
  std::fflush(stdout);
  for (;;) pause();
}

void skip(const std::string& why) {
  std::printf("RESULT: SKIP %s\n", why.c_str());
  std::fflush(stdout);
  for (;;) pause();
}

}  // namespace guest
