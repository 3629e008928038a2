// SPDX-License-Identifier: Apache-2.0
// What ring 0 itself may and may not do below the hypervisor: hypercalls, SVM instructions,
// protected MSRs, hidden memory, windows, every form of a store to the local APIC.
#include <stddef.h>
#include <stdint.h>
#include <vmsrs/abi.h>

extern "C" {
extern char vectors[];
extern volatile uint32_t last_vector, recover_stack, recover_at;
[[noreturn]] void microkernel_main(const uint8_t* boot_params);
void* memset(void* to, int value, size_t bytes) {
  auto* at = static_cast<volatile char*>(to);
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<char>(value);
  return to;
}
}

namespace {

constexpr uint32_t kNone = 0xffff;
constexpr uint32_t kInvalidOpcode = 6, kGeneralProtection = 13;

// Runs one instruction; afterwards last_vector is the exception that it met, or kNone.
#define ATTEMPT(code, ...) \
  last_vector = kNone;     \
  asm volatile("movl $1f, recover_at; movl %%esp, recover_stack; " code "; 1:" __VA_ARGS__)

void put(char c) {
  uint8_t status = 0;
  do {
    asm volatile("inb %w1, %0" : "=a"(status) : "d"(0x3fd));
  } while ((status & 0x20) == 0);
  asm volatile("outb %b0, %w1" ::"a"(c), "d"(0x3f8));
}
void print(const char* text) {
  for (; *text != '\0'; ++text) put(*text);
}
void print_number(uint32_t number) {
  if (number >= 10) print_number(number / 10);
  put(static_cast<char>('0' + number % 10));
}
[[noreturn]] void halt() {
  for (;;) asm volatile("cli; hlt");
}
void expect_equal(uint32_t got, uint32_t wanted, const char* what) {
  if (got == wanted) return;
  print("RESULT: FAILURE ");
  print(what);
  print(": got ");
  print_number(got);
  print(", expected ");
  print_number(wanted);
  print("\r\n");
  halt();
}

struct [[gnu::packed]] Gate {
  uint16_t offset_low, selector, attributes, offset_high;
};
Gate gates[64];
struct [[gnu::packed]] TablePointer {
  uint16_t limit;
  uint32_t base;
};

void load_interrupt_table(uint16_t limit) {
  for (uint32_t i = 0; i < 64; ++i) {
    const auto at = reinterpret_cast<uint32_t>(vectors + 32 * i);
    gates[i] = {static_cast<uint16_t>(at), 0x10, 0x8e00, static_cast<uint16_t>(at >> 16)};
  }
  const TablePointer pointer{limit, reinterpret_cast<uint32_t>(gates)};
  asm volatile("lidt %0" ::"m"(pointer));
}

void load_segments() {
  static const uint64_t table[4] = {0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
  const TablePointer pointer{sizeof(table) - 1, reinterpret_cast<uint32_t>(table)};
  asm volatile("lgdt %0; ljmp $0x10, $1f; 1:" ::"m"(pointer));
}

struct [[gnu::packed]] E820Entry {
  uint64_t base, length;
  uint32_t type;
};

uint32_t vmmcall(uint32_t number, uint32_t& rdx, uint32_t rdi = 0) {
  uint32_t status = number;
  asm volatile("vmmcall" : "+a"(status), "+d"(rdx) : "D"(rdi), "S"(0) : "memory");
  return status;
}

void check_hypercalls() {
  uint32_t eax = VMSRS_CPUID_SIGNATURE_LEAF, ebx = 0, ecx = 0, edx = 0;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  expect_equal(ebx, 0x52534d56, "signature");
  uint32_t rdx = 0;
  expect_equal(vmmcall(VMSRS_CALL_VERSION, rdx), VMSRS_OK, "VERSION from ring 0");
  expect_equal(rdx, VMSRS_ABI_VERSION, "ABI version");
  rdx = 0;
  expect_equal(vmmcall(0x7fffffff, rdx), VMSRS_UNKNOWN_CALL, "unknown call");
  expect_equal(vmmcall(VMSRS_CALL_USER_BEGIN, rdx), VMSRS_DENIED, "library call from ring 0");
  // This guest has no page tables to reach memory through.
  expect_equal(vmmcall(VMSRS_CALL_MGMT_OPEN, rdx, 0x2000000) == VMSRS_OK, 0, "open without paging");
}

void check_svm_instructions() {
#define EXPECT_UD(bytes, name)                                        \
  ATTEMPT(".byte " bytes, ::"a"(0x2000000), "c"(0) : "memory", "cc"); \
  expect_equal(last_vector, kInvalidOpcode, name)
  EXPECT_UD("0x0f, 0x01, 0xd8", "VMRUN");
  EXPECT_UD("0x0f, 0x01, 0xda", "VMLOAD");
  EXPECT_UD("0x0f, 0x01, 0xdb", "VMSAVE");
  EXPECT_UD("0x0f, 0x01, 0xdc", "STGI");
  EXPECT_UD("0x0f, 0x01, 0xdd", "CLGI");
  EXPECT_UD("0x0f, 0x01, 0xdf", "INVLPGA");
#undef EXPECT_UD
  ATTEMPT("invd", ::: "memory");
  expect_equal(last_vector, kNone, "INVD");
}

uint32_t read_msr(uint32_t msr, uint32_t& high) {
  uint32_t low = 0;
  ATTEMPT("rdmsr", : "+a"(low), "=d"(high) : "c"(msr) : "memory");
  return low;
}
void write_msr(uint32_t msr, uint32_t low, uint32_t high) {
  ATTEMPT("wrmsr", ::"c"(msr), "a"(low), "d"(high) : "memory");
}

void check_msrs() {
  constexpr uint32_t kApicBase = 0x1b, kEfer = 0xc0000080, kVmCr = 0xc0010114, kHsave = 0xc0010117,
                     kSvme = 1u << 12;
  uint32_t high = 0;
  const uint32_t efer = read_msr(kEfer, high);
  expect_equal(last_vector, kNone, "reading EFER");
  expect_equal(efer & kSvme, 0, "EFER.SVME is hidden");
  write_msr(kEfer, efer | kSvme, high);
  expect_equal(last_vector, kGeneralProtection, "setting EFER.SVME");
  write_msr(kEfer, efer, high);
  expect_equal(last_vector, kNone, "writing EFER back");
  expect_equal(read_msr(kVmCr, high), 0x18, "VM_CR says disabled and locked");
  write_msr(kVmCr, 0, 0);
  expect_equal(last_vector, kGeneralProtection, "writing VM_CR");
  read_msr(kHsave, high);
  expect_equal(last_vector, kGeneralProtection, "reading VM_HSAVE_PA");
  write_msr(kHsave, 0x1000000, 0);
  expect_equal(last_vector, kGeneralProtection, "writing VM_HSAVE_PA");
  const uint32_t base = read_msr(kApicBase, high);
  write_msr(kApicBase, base, high);
  expect_equal(last_vector, kNone, "writing APIC_BASE back");
  write_msr(kApicBase, base + 0x1000, high);
  expect_equal(last_vector, kGeneralProtection, "moving the APIC");
  write_msr(0xc0010112, 0x12345678, 0x9abc);
  expect_equal(last_vector, kGeneralProtection, "moving SMM memory");
  write_msr(kApicBase, base | 1u << 10, high);
  expect_equal(last_vector, kGeneralProtection, "x2APIC mode");
}

void touch(uint32_t address, bool write, uint32_t wanted, const char* what) {
  uint32_t got = 0;
  if (write) {
    ATTEMPT("movl %0, (%1)", ::"r"(got), "r"(address) : "memory");
  } else {
    ATTEMPT("movl (%1), %0", : "+r"(got) : "r"(address) : "memory");
  }
  expect_equal(last_vector, wanted, what);
  if (wanted != kNone) expect_equal(got, 0, "content of refused memory");
}

// Returns the first hidden address above the hypervisor's image.
uint32_t check_memory(const uint8_t* boot_params) {
  constexpr uint32_t kLargePage = 2u << 20, kWindows = 12, kReserved = 2;
  const auto* entry = reinterpret_cast<const E820Entry*>(boot_params + 0x2d0);
  uint32_t windows = 0, hidden = 0, image = 0;
  for (uint32_t i = 0; i < boot_params[0x1e8]; ++i, ++entry) {
    const auto base = static_cast<uint32_t>(entry->base);
    const auto end = static_cast<uint32_t>(entry->base + entry->length);
    if (entry->type == kWindows) windows = base;
    if (entry->type != kReserved || base % kLargePage != 0 || end % kLargePage != 0) continue;
    if (base == kLargePage) image = base;
    // The one behind the windows; MMIO ranges are reserved too.
    if (windows != 0 && hidden == 0 && base > windows) hidden = base;
    if (base != kLargePage && base != hidden) continue;
    touch(base, false, kGeneralProtection, "reading hidden memory");
    touch(base, true, kGeneralProtection, "writing hidden memory");
    touch(end - 4, false, kGeneralProtection, "reading hidden memory's end");
  }
  expect_equal(image != 0 && hidden != 0 && windows != 0, 1, "ranges in the memory map");
  touch(windows, false, kNone, "reading a window");
  touch(windows, true, kGeneralProtection, "writing a window");
  return hidden;
}

void check_apic_stores() {
  volatile auto* const priority = reinterpret_cast<volatile uint32_t*>(0xfee00080);
  uint32_t value = 0x30;
  ATTEMPT("movl $0x10, 0xfee00080", ::: "memory");
  expect_equal(*priority, 0x10, "MOV imm32 to the APIC");
  ATTEMPT("movl %0, (%1)", ::"r"(0x20), "r"(priority) : "memory");
  expect_equal(*priority, 0x20, "MOV r32 to the APIC");
  ATTEMPT("movl %%eax, 0xfee00080", ::"a"(0x40) : "memory");
  expect_equal(*priority, 0x40, "MOV moffs32 to the APIC");
  ATTEMPT("movl %%edx, 0x70(%%ebx,%%ecx,8)", ::"d"(0x50), "b"(0xfee00000), "c"(2) : "memory");
  expect_equal(*priority, 0x50, "MOV r32 to the APIC with a scaled index");
  ATTEMPT("xchgl %0, (%1)", : "+r"(value) : "r"(priority) : "memory");
  expect_equal(value, 0x50, "XCHG gets the old value");
  expect_equal(*priority, 0x30, "XCHG sets the new one");
  expect_equal(last_vector, kNone, "stores to the APIC");
  ATTEMPT("movw %w0, (%1)", ::"r"(0x60), "r"(priority) : "memory");
  expect_equal(last_vector, kGeneralProtection, "a 16-bit store to the APIC");
  ATTEMPT("orl $1, (%0)", ::"r"(priority) : "memory", "cc");
  expect_equal(last_vector, kGeneralProtection, "an OR on the APIC");
  expect_equal(*priority, 0x30, "refused stores changed nothing");
  *priority = 0;
}

bool asked(const uint8_t* boot_params, const char* word) {
  const char* text = *reinterpret_cast<const char* const*>(boot_params + 0x228);
  for (; *text != '\0'; ++text) {
    const char *a = text, *b = word;
    while (*b != '\0' && *a == *b) ++a, ++b;
    if (*b == '\0') return true;
  }
  return false;
}

// An interrupt whose stack is hidden memory: its delivery fails, so does the #GP's, so does the
// double fault's.
[[noreturn]] void interrupt_onto(uint32_t hidden) {
  const auto apic = [](uint32_t offset, uint32_t value) {
    *reinterpret_cast<volatile uint32_t*>(0xfee00000 + offset) = value;
  };
  apic(0xf0, 0x1ff);
  apic(0x300, 0x40030);  // a fixed interrupt to itself, vector 0x30
  asm volatile("movl %0, %%esp; sti; nop; nop; hlt" ::"r"(hidden + 4096));
  halt();
}

}  // namespace

void microkernel_main(const uint8_t* boot_params) {
  load_segments();
  load_interrupt_table(sizeof(gates) - 1);
  check_hypercalls();
  check_svm_instructions();
  check_msrs();
  const uint32_t hidden = check_memory(boot_params);
  check_apic_stores();
  if (asked(boot_params, "test=hidden_stack")) interrupt_onto(hidden);
  if (asked(boot_params, "test=shutdown")) {
    load_interrupt_table(0);
    asm volatile("ud2");
  }
  print("RESULT: SUCCESS\r\n");
  halt();
}
