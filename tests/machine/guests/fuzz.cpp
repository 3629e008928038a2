// SPDX-License-Identifier: Apache-2.0
#include <cpuid.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "guest.hpp"

// Ring 3 of all processors at once calls the hypervisor with whatever comes to mind, runs what it
// must not run, and reaches for what is hidden. `seed=N calls=N` on the kernel's command line; each
// processor's process is a server of its own.
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBufferBytes = 4 * kPage, kRegionBytes = 64 * kPage;

sigjmp_buf back;
void go_back(int) { siglongjmp(back, 1); }

std::uint64_t option(const std::string& name, std::uint64_t otherwise) {
  std::ifstream file("/proc/cmdline");
  for (std::string word; file >> word;)
    if (word.starts_with(name + "=")) return std::stoull(word.substr(name.size() + 1));
  return otherwise;
}

class Fuzzer {
 public:
  Fuzzer(std::uint64_t seed, int cpu, std::uint64_t token, const std::vector<guest::Range>& hidden)
      : state_(seed * 64 + static_cast<std::uint64_t>(cpu) + 0x9e3779b97f4a7c15), token_(token) {
    buffer_ = map(-1, 0, kBufferBytes);
    region_ = map(-1, 0, kRegionBytes);
    read_only_ = map(-1, 0, kPage);
    mprotect(reinterpret_cast<void*>(read_only_), kPage, PROT_READ);
    gone_ = map(-1, 0, kPage);
    munmap(reinterpret_cast<void*>(gone_), kPage);
    const int memory = open("/dev/mem", O_RDWR);
    for (const guest::Range& range : hidden)
      for (const std::uint64_t at : {range.begin, range.end - kPage})
        forbidden_.push_back(map(memory, at, kPage));
    for (const guest::Range& range : guest::iomem("Persistent Memory (legacy)"))
      forbidden_.push_back(map(memory, range.begin, kPage));
    std::snprintf(request_.name, sizeof(request_.name), "fuzz%d", cpu);
    std::memcpy(request_.secret, guest::kSecret, sizeof(request_.secret));
    request_.abi_version = VMSRS_ABI_VERSION;
    request_.process_id = static_cast<std::uint32_t>(getpid());
  }

  // How many calls the hypervisor has carried out.
  std::uint64_t run(std::uint64_t calls) {
    struct sigaction action {};
    action.sa_handler = go_back;
    action.sa_flags = SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE})
      sigaction(signal, &action, nullptr);
    for (done_ = 0; done_ < calls; ++done_) {  // a member: siglongjmp leaves it alone
      if (sigsetjmp(back, 0) != 0) continue;
      switch (below(16)) {
        case 0:
          run_forbidden();
          break;
        case 1:
          touch();
          break;
        case 2:
          ask_cpuid();
          break;
        case 3:
          attach();
          break;
        default:
          call();
          break;
      }
    }
    return accepted_;
  }

 private:
  static std::uint64_t map(int file, std::uint64_t offset, std::uint64_t bytes) {
    void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE : MAP_SHARED, file,
                          static_cast<off_t>(offset));
    EXPECT(at != MAP_FAILED);
    return reinterpret_cast<std::uint64_t>(at);
  }

  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d;
  }
  std::uint64_t below(std::uint64_t limit) { return (next() >> 20) % limit; }

  std::uint64_t address() {
    switch (below(8)) {
      case 0:
        return forbidden_[below(forbidden_.size())] + below(kPage);
      case 1:
        return gone_ - below(64) + below(128);
      case 2:
        return read_only_ + below(kPage);
      case 3:
        return 0xffff800000000000 | next();
      default:
        return below(2) == 0 ? region_ + below(kRegionBytes) : buffer_ + below(kBufferBytes);
    }
  }

  std::uint64_t word() {
    switch (below(8)) {
      case 0:
        return std::uint64_t{1} << below(64);
      case 1:
        return ~std::uint64_t{0} - below(64);
      case 2:
        return next();
      case 3:
        return token_;
      case 4:
        return below(16) << 6;
      case 5:
        return address();
      default:
        return below(64);
    }
  }

  // A call that could be meant, before one of its arguments is changed, or none.
  guest::Call meant() {
    const std::uint64_t at = region_ + (below(kRegionBytes) & ~std::uint64_t{7}),
                        to = buffer_ + below(kPage);
    switch (below(23)) {
      case 0:
        return {.number = VMSRS_CALL_USER_BEGIN, .rdi = below(8), .rsi = below(8) == 0 ? 1u : 0u};
      case 1:
        return {.number = VMSRS_CALL_USER_END, .rsi = below(8) < 3 ? 1u + below(3) : 0u};
      case 2:
        return {.number = VMSRS_CALL_USER_CRASH, .rdi = buffer_, .r9 = below(4)};
      case 3:
        return {.number = VMSRS_CALL_USER_COLLECT};
      case 4:
        return {.number = VMSRS_CALL_USER_LABEL, .rdi = to, .rsi = below(65)};
      case 5:
        return {.number = VMSRS_CALL_USER_SUSPEND, .rdi = below(8)};
      case 6:
        return {.number = VMSRS_CALL_SERVICE};
      case 7:
        return {.number = VMSRS_CALL_LOAD, .rdi = at, .rsi = std::uint64_t{1} << below(4)};
      case 8:
        return {.number = VMSRS_CALL_LOAD_RANGE, .rdi = at, .rsi = below(kPage)};
      case 9:
        return {.number = VMSRS_CALL_LOAD_COMMITTED, .rdi = at, .rsi = below(kPage), .rdx = to};
      case 10:
        return {.number = VMSRS_CALL_STORE_RANGE, .rdi = at, .rsi = to, .rdx = below(kPage)};
      case 11:
        return {.number = VMSRS_CALL_FILL_RANGE, .rdi = at, .rsi = below(256), .rdx = below(kPage)};
      case 12:
        return {.number = VMSRS_CALL_MGMT_STATS, .rdi = token_, .rsi = to, .rdx = below(512)};
      case 13:
        return {.number = VMSRS_CALL_MGMT_EXITS,
                .rdi = token_,
                .rsi = below(4),
                .rdx = to,
                .r10 = below(512)};
      case 14:
        return {.number = VMSRS_CALL_MGMT_SERVER,
                .rdi = token_,
                .rsi = below(4),
                .rdx = to,
                .r10 = below(900)};
      case 15:
        return {.number = VMSRS_CALL_MGMT_USERS,
                .rdi = token_,
                .rsi = below(4),
                .r10 = to,
                .r8 = below(2000)};
      case 16:
        return {
            .number = VMSRS_CALL_MGMT_CHECK, .rdi = token_, .rsi = below(2), .rdx = to, .r10 = 256};
      case 17:
        return {.number = VMSRS_CALL_MGMT_REGIONS,
                .rdi = token_,
                .rsi = below(4),
                .r10 = to,
                .r8 = below(2000)};
      case 18:
        return {.number = VMSRS_CALL_MGMT_REGION_MAP,
                .rdi = token_,
                .rsi = below(4),
                .rdx = below(2),
                .r10 = to,
                .r8 = below(4000),
                .r9 = below(2)};
      case 19:
        return {.number = VMSRS_CALL_MGMT_RECORDS,
                .rdi = token_,
                .rsi = below(4),
                .rdx = below(2) == 0 ? VMSRS_EVERY_REGION : below(2),
                .r8 = to,
                .r9 = below(4000)};
      default:
        return {.number = VMSRS_CALL_STORE,
                .rdi = at,
                .rsi = next(),
                .rdx = std::uint64_t{1} << below(4)};
    }
  }

  guest::Call any() {
    static constexpr std::uint16_t kGroups[] = {0x100, 0x110, 0x110, 0x120, 0x120,
                                                0x200, 0x210, 0x220, 0};
    guest::Call c{.number = kGroups[below(9)] + below(16),
                  .rdi = word(),
                  .rsi = word(),
                  .rdx = word(),
                  .r10 = word(),
                  .r8 = word(),
                  .r9 = word()};
    if (below(64) == 0) c.number = next();
    if (c.number >= 0x200 && below(2) == 0) c.rdi = token_;
    return c;
  }

  // What the hypervisor writes goes to the buffer and the region, or is refused: all other
  // addresses are forbidden ones.
  void call() {
    guest::Call c = below(3) == 0 ? any() : meant();
    std::uint64_t* const arguments[] = {&c.rdi, &c.rsi, &c.rdx, &c.r10, &c.r8, &c.r9};
    if (below(4) == 0) *arguments[below(6)] = word();
    const bool ends_it = c.number == VMSRS_CALL_MGMT_CLOSE || c.number == VMSRS_CALL_MGMT_SECRET;
    if (ends_it && c.rdi == token_) return;
    if (guest::hypercall_once(c) == VMSRS_OK) ++accepted_;
  }

  void attach() {
    guest::Call c{.number = VMSRS_CALL_ATTACH,
                  .rdi = reinterpret_cast<std::uint64_t>(&request_),
                  .rsi = word()};
    if (below(2) == 0) c.rsi = 0;
    guest::hypercall_once(c);
    c = {.number = VMSRS_CALL_PROFILE,
         .rdi = region_,
         .rsi = kRegionBytes,
         .rdx = std::uint64_t{8} << below(4)};
    if (guest::hypercall_once(c) != VMSRS_OK) return;
    const std::uint64_t region = c.rdx;
    for (int i = 0; i < 4; ++i) {
      c = {.number = VMSRS_CALL_PROFILE_FILL,
           .rdi = region,
           .rsi = static_cast<std::uint64_t>(i) << 16};
      guest::hypercall_once(c);
    }
    c = {.number = VMSRS_CALL_USER_BEGIN, .rdi = below(8)};
    guest::hypercall_once(c);
  }

  void ask_cpuid() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid_count(static_cast<unsigned>(below(2) == 0 ? next() : 0x40000000 + below(4)),
                  static_cast<unsigned>(word()), a, b, c, d);
  }

  void touch() {
    auto* const at = reinterpret_cast<volatile std::uint32_t*>(
        forbidden_[below(forbidden_.size())] + (below(kPage - 4)));
    if (below(2) == 0) {
      static_cast<void>(*at);
    } else {
      *at = static_cast<std::uint32_t>(next());
    }
  }

  void run_forbidden() {
    const std::uint64_t a = word();
    switch (below(12)) {
      case 0:
        asm volatile("vmrun %%rax" ::"a"(a));
        break;
      case 1:
        asm volatile("vmload %%rax" ::"a"(a));
        break;
      case 2:
        asm volatile("vmsave %%rax" ::"a"(a));
        break;
      case 3:
        asm volatile("stgi");
        break;
      case 4:
        asm volatile("clgi");
        break;
      case 5:
        asm volatile(".byte 0x0f, 0x01, 0xde" ::"a"(a));
        break;  // SKINIT
      case 6:
        asm volatile(".byte 0x0f, 0x01, 0xfe" ::"a"(a), "c"(a), "d"(a));
        break;  // INVLPGB
      case 7:
        asm volatile("invd");
        break;
      case 8:
        asm volatile("rdmsr" ::"c"(a) : "rax", "rdx");
        break;
      case 9:
        asm volatile("wrmsr" ::"c"(a), "a"(a), "d"(0));
        break;
      case 10:
        asm volatile("ud2");
        break;
      default:
        asm volatile("hlt");
        break;
    }
    _exit(100);  // none of them may end
  }

  std::uint64_t state_, token_, done_ = 0, accepted_ = 0;
  std::uint64_t buffer_ = 0, region_ = 0, read_only_ = 0, gone_ = 0;
  std::vector<std::uint64_t> forbidden_;
  vmsrs_attach_request request_{};
};

}  // namespace

void test_fuzz() {
  const std::uint64_t token = guest::open_management();
  const auto hidden = guest::hidden_ranges(guest::stats(token).hidden_bytes);
  const int cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const std::uint64_t seed = option("seed", 1), calls = option("calls", 20000);
  std::printf("seed %llu, calls of each of %d processors %llu\n",
              static_cast<unsigned long long>(seed), cpus, static_cast<unsigned long long>(calls));
  std::fflush(stdout);
  std::vector<std::uint64_t> servers;
  std::vector<pid_t> children;
  for (int cpu = 0; cpu < cpus; ++cpu) {
    servers.push_back(guest::define_server(token, ("fuzz" + std::to_string(cpu)).c_str()));
    const pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
      guest::pin_to(cpu);
      const std::uint64_t accepted = Fuzzer(seed, cpu, guest::open_management(), hidden).run(calls);
      std::printf("CPU %d: %llu calls carried out\n", cpu,
                  static_cast<unsigned long long>(accepted));
      std::fflush(stdout);
      _exit(accepted > calls / 100 ? 0 : 101);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT_EQUAL(status, 0);
  }
  // Whoever was attached has died; all invariants hold.
  for (std::size_t i = 0; i < servers.size(); ++i) {
    guest::Call reap{.number = VMSRS_CALL_MGMT_REAP,
                     .rdi = token,
                     .rsi = servers[i],
                     .rdx = static_cast<std::uint64_t>(children[i])};
    guest::hypercall(reap);
  }
  vmsrs_check_report report{};
  std::uint64_t anew = 1, status = VMSRS_AGAIN;
  for (int i = 0; i < 100'000 && status == VMSRS_AGAIN; ++i, anew = 0) {
    guest::Call check{.number = VMSRS_CALL_MGMT_CHECK,
                      .rdi = token,
                      .rsi = anew,
                      .rdx = reinterpret_cast<std::uint64_t>(&report),
                      .r10 = sizeof(report)};
    status = guest::hypercall(check);
  }
  EXPECT_EQUAL(status, std::uint64_t{VMSRS_OK});
  for (const vmsrs_check_result& result : report.results)
    EXPECT(result.verdict == VMSRS_VERDICT_OK || result.verdict == VMSRS_VERDICT_UNPROTECTED);
  for (int cpu = 0; cpu < cpus; ++cpu) {
    guest::pin_to(cpu);
    EXPECT(guest::has_signature());
    const vmsrs_exits exits = guest::exits(token, static_cast<std::uint64_t>(cpu));
    std::printf("CPU %d: vmmcall %llu nested page fault %llu\n", cpu,
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_VMMCALL]),
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_NESTED_PAGE_FAULT]));
    EXPECT(exits.count[VMSRS_EXIT_VMMCALL] > calls / 2);
  }
  std::printf("accesses to hidden memory refused: %llu, writes to windows: %llu\n",
              static_cast<unsigned long long>(guest::stats(token).hidden_access_count),
              static_cast<unsigned long long>(guest::stats(token).window_write_count));
}
