// SPDX-License-Identifier: Apache-2.0
// Ring 0 of all processors at once does what it likes, but for what ends or damages this guest
// itself. `seed=N calls=N` on the command line.
#include "microkernel.hpp"

namespace {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d;
  }
  uint64_t below(uint64_t limit) { return (next() >> 20) % limit; }
  bool one_in(uint64_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

struct Fuzzer {
  Random random;
  unsigned number;
  uint64_t token;
  uint64_t page;    // virtual page of its own
  uint8_t* buffer;  // which calls may write
};

alignas(4096) uint8_t buffers[kMaxCpus][2 * 4096];
volatile uint64_t finished;
volatile uint64_t done[kMaxCpus];

// Addresses that matter, never this guest's own but for the buffer.
uint64_t address(Fuzzer& f) {
  const Ranges& r = ranges();
  const auto own = reinterpret_cast<uint64_t>(f.buffer);
  switch (f.random.below(10)) {
    case 0:
      return r.hidden + f.random.below(r.hidden_end - r.hidden);
    case 1:
      return r.image + f.random.below(2u << 20);
    case 2:
      return r.windows + f.random.below(16 * 5 * 4096);
    case 3:
      return kApic + f.random.below(1u << 20);
    case 4:
      return r.hidden - f.random.below(64);
    case 5:
      return f.page + f.random.below(4096);
    case 6:
      return f.random.next() | uint64_t{1} << 47;
    case 7:
      return own + 8192 - f.random.below(128);
    default:
      return own + f.random.below(8192);
  }
}

uint64_t word(Fuzzer& f) {
  switch (f.random.below(8)) {
    case 0:
      return f.random.below(64);
    case 1:
      return ~uint64_t{0} - f.random.below(64);
    case 2:
      return uint64_t{1} << f.random.below(64);
    case 3:
      return f.token;
    case 4:
      return f.random.next();
    default:
      return address(f);
  }
}

void call_hypervisor(Fuzzer& f) {
  static constexpr uint16_t kGroups[] = {0x000, 0x100, 0x110, 0x120, 0x130, 0x200, 0x210, 0x220};
  Call call{.number = kGroups[f.random.below(8)] + f.random.below(16),
            .rdi = word(f),
            .rsi = word(f),
            .rdx = word(f),
            .r10 = word(f),
            .r8 = word(f),
            .r9 = word(f)};
  if (f.random.one_in(50)) call.number = f.random.next();
  if (f.random.one_in(2) && call.number >= VMSRS_CALL_MGMT_STATS) call.rdi = f.token;
  const bool ends_it =
      call.number == VMSRS_CALL_MGMT_CLOSE || call.number == VMSRS_CALL_MGMT_SECRET;
  if (ends_it && call.rdi == f.token) return;
  hypercall(call);
}

void access_msr(Fuzzer& f) {
  static constexpr uint32_t kBases[] = {0,          0x800,      0x200,      0xc0000080,
                                        0xc0010000, 0xc0010100, 0xc0000100, 0xc0011000};
  uint32_t msr = kBases[f.random.below(8)] + static_cast<uint32_t>(f.random.below(0x100));
  if (f.random.one_in(20)) msr = static_cast<uint32_t>(f.random.next());
  const uint64_t present = read_msr(msr);
  // This guest's own: where cpu() is, and system management interrupts, which are the firmware's.
  if (msr == 0xc0000101 || f.random.one_in(2)) return;
  write_msr(msr, f.random.one_in(2) ? present ^ uint64_t{1} << f.random.below(64) : word(f));
}

void ask_cpuid(Fuzzer& f) {
  static constexpr uint32_t kBases[] = {0, 0x40000000, 0x80000000, 0xc0000000, 0x20000000};
  cpuid(kBases[f.random.below(5)] + static_cast<uint32_t>(f.random.below(64)),
        static_cast<uint32_t>(word(f)));
}

// Not those that end the machine (debug exit, reset, power, panic), cause system management interrupts,
// move devices, are this guest's own serial port and timer or the hypervisor's log, nor the ISA
// bus's DMA, in which the emulator itself can get stuck.
bool leave_alone(uint16_t port) {
  return port < 0x20 || (port >= 0x80 && port < 0x90) || (port >= 0xc0 && port < 0xe0) ||
         port == 0xf4 || port == 0xf5 || port == 0xe9 || port == 0x92 || port == 0x60 ||
         port == 0x64 || port == 0x505 || port == 0xb2 || port == 0xb3 || (port & 0xfff8) == 0x3f8 ||
         (port & 0xfff8) == 0xcf8 || (port >= 0x600 && port < 0x700) || port == 0x61 ||
         (port >= 0x40 && port <= 0x43) || (port >= 0xae00 && port < 0xb100);
}

void use_port(Fuzzer& f) {
  const auto port =
      static_cast<uint16_t>(f.random.one_in(2) ? f.random.below(0x400) : f.random.next());
  const auto value = static_cast<uint32_t>(f.random.next());
  for (unsigned i = 0; i < 4; ++i)
    if (leave_alone(static_cast<uint16_t>(port + i))) return;
  switch (f.random.below(4)) {
    case 0:
      ATTEMPT("outb %b0, %w1", ::"a"(value), "d"(port) : "memory");
      break;
    case 1:
      ATTEMPT("outl %0, %w1", ::"a"(value), "d"(port) : "memory");
      break;
    case 2:
      ATTEMPT("inl %w1, %0", ::"a"(value), "d"(port) : "memory");
      break;
    default:
      ATTEMPT("inb %w1, %b0", ::"a"(value), "d"(port) : "memory");
      break;
  }
}

// Neither INIT nor start-up IPI to a processor that is there, nor a system management interrupt.
void store_to_apic(Fuzzer& f) {
  const uint64_t offset = f.random.one_in(8) ? f.random.below(1u << 20) : f.random.below(0x40) << 4;
  auto value = static_cast<uint32_t>(f.random.one_in(2) ? f.random.next()
                                                        : uint64_t{1} << f.random.below(32));
  const uint32_t mode = value >> 8 & 7;
  if (mode == 2) value &= ~0x700u;
  if (offset == kApicInitialCount) value |= 1u << 24;  // the emulator drowns in a faster timer
  if (offset == kApicCommand && (mode == 5 || mode == 6)) {
    apic(kApicDestination) = 9u << 24;
    value &= ~0xc0800u;
  }
  const uint64_t at = kApic + offset;
  switch (f.random.below(6)) {
    case 0:
      ATTEMPT("movw %w0, (%1)", ::"r"(value), "r"(at) : "memory");
      break;
    case 1:
      ATTEMPT("movq %q0, (%1)", ::"r"(value), "r"(at) : "memory");
      break;
    case 2:
      ATTEMPT("lock; orl %0, (%1)", ::"r"(value), "r"(at) : "memory", "cc");
      break;
    default:
      store32(at, value);
      break;
  }
}

void use_page_tables(Fuzzer& f) {
  const Ranges& r = ranges();
  const uint64_t frames[] = {r.hidden + (f.random.below(r.hidden_end - r.hidden) & ~uint64_t{4095}),
                             r.image,
                             r.windows + (f.random.below(512) << 12),
                             kApic,
                             reinterpret_cast<uint64_t>(f.buffer),
                             f.random.next() & 0xffffff000000};
  const unsigned which = static_cast<unsigned>(f.random.below(f.random.one_in(8) ? 6 : 5));
  const uint64_t flags = f.random.next() & (kNoExecute | 0xe7e);
  map_page(8 * f.number, frames[which] | flags | kPresent);
  const uint64_t at = f.page + f.random.below(4093);
  // Stores past all memory could be to a device: no.
  switch (f.random.below(which == 5 ? 1 : which == 3 ? 2 : 6)) {
    case 0:
      load32(at);
      break;
    case 1:
      in_ring3([](uint64_t a) { asm volatile("movl (%0), %%eax" ::"r"(a) : "rax", "memory"); }, at);
      break;
    case 2:
      store32(at, static_cast<uint32_t>(f.random.next()));
      break;
    case 3:
      ATTEMPT("lock; xaddl %%eax, (%0)", ::"r"(at), "a"(1) : "memory", "cc");
      break;
    case 4:
      in_ring3([](uint64_t a) { asm volatile("movl %%eax, (%0)" ::"r"(a) : "memory"); }, at);
      break;
    default:
      if (which != 4) ATTEMPT("call *%0", ::"r"(which == 2 ? r.hidden : f.page) : "memory");
      break;
  }
}

void use_svm_instruction(Fuzzer& f) {
  static constexpr void (*kAll[])(uint64_t) = {
#define ONE(byte)                                                                       \
  [](uint64_t a) {                                                                      \
    asm volatile(".byte 0x0f, 0x01, " #byte ::"a"(a), "c"(a), "d"(a) : "memory", "cc"); \
  }
      ONE(0xd8), ONE(0xda), ONE(0xdb), ONE(0xdc), ONE(0xdd),
      ONE(0xde), ONE(0xdf), ONE(0xfe), ONE(0xff)};
  void (*const code)(uint64_t) = kAll[f.random.below(9)];
  const uint64_t argument = word(f);
  if (f.random.one_in(2)) {
    in_ring3(code, argument);
  } else {
    ATTEMPT("call *%0", ::"r"(code), "D"(argument)
            : "memory", "cc", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11");
  }
  EXPECT_VECTOR(kInvalidOpcode, "an SVM instruction");
}

void fuzz(unsigned number) {
  static constexpr void (*kKinds[])(Fuzzer&) = {
      call_hypervisor, call_hypervisor, call_hypervisor, access_msr,         ask_cpuid,
      use_port,        store_to_apic,   use_page_tables, use_svm_instruction};
  static char secret[VMSRS_SECRET_BYTES + 1] = "vmsrs machine tests: the secret.";
  Call open{.number = VMSRS_CALL_MGMT_OPEN,
            .rdi = reinterpret_cast<uint64_t>(secret),
            .rsi = VMSRS_OBSERVE | VMSRS_OPERATE};
  hypercall(open);
  Fuzzer f{Random(option("seed=", 1) * kMaxCpus + number), number, open.rdx,
           map_page(8 * number, 0), buffers[number]};
  const uint64_t calls = option("calls=", 20000);
  for (uint64_t call = 0; call < calls; ++call) {
    done[number] = call;
    kKinds[f.random.below(sizeof(kKinds) / sizeof(kKinds[0]))](f);
  }
  // Quiet again, for whoever looks afterwards.
  for (uint32_t entry = 0x320; entry <= 0x370; entry += 0x10) apic(entry) = 0x10000;
  __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

}  // namespace

void case_fuzz() {
  print("seed ");
  print_number(option("seed=", 1));
  print(", calls of each processor ");
  print_number(option("calls=", 20000));
  print("\r\n");
  for (unsigned vector = 0x10; vector < 256; ++vector) {
    if (vector == 0x80 || (vector > kFloatingPoint - 1 && vector < 0x16)) continue;
    handlers[vector] = end_of_interrupt;
  }
  handlers[kNmi] = [](Frame&) {};
  const unsigned cpus = has_hypervisor != 0 ? statistics().cpu_count : 1;
  for (unsigned i = 1; i < cpus && i < kMaxCpus; ++i) {
    start_processor(i, [] { fuzz(cpu_number()); });
  }
  fuzz(0);
  uint64_t last[kMaxCpus] = {};
  for (unsigned quiet = 0; finished < cpus && quiet < 2000; ++quiet) {
    wait_ms(10);
    for (unsigned i = 0; i < cpus; ++i) {
      if (done[i] != last[i]) quiet = 0;
      last[i] = done[i];
    }
  }
  expect_equal(finished, cpus, "processors that have come to the end");
  for (unsigned i = 0; i < cpus; ++i) {
    const vmsrs_exits e = exits(i);
    print("exits of processor ");
    print_number(i);
    for (const uint64_t count : e.count) {
      print(" ");
      print_number(count);
    }
    print("\r\n");
  }
}
