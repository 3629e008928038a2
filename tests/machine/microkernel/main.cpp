// SPDX-License-Identifier: Apache-2.0
#include "microkernel.hpp"

extern "C" {
[[noreturn]] void microkernel_main();
[[noreturn]] void processor_main();
void on_interrupt(Frame* frame);
void keep_ring0_stack(uint64_t stack);
extern char leave_ring3[];
}

void case_exceptions();
void case_exceptions_ring3();
void case_interrupts();
void case_interrupted_events();
void case_processors();
void case_nmi();
void case_single_step();
void case_registers();
void case_msrs();
void case_cpuid();
void case_svm_instructions();
void case_hypercalls();
void case_memory();
void case_page_tables();
void case_apic_stores();
void case_init_messages();
void case_mtrr();
void case_fuzz();
void case_hold();
void case_hold_length();
void case_management_bounds();
void case_secret_time();
void case_firmware_dma();
void case_page_tables_root();
void case_descriptor_table();
void case_interrupt_table();
void case_hidden_stack();
void case_shutdown();
void case_hang();
void case_no_hang();
void case_slow_start();
void case_quiet();
void case_crash_kernel();
void case_panic();
void case_contradiction();

Handler handlers[256];
volatile bool processor_runs[kMaxCpus];

namespace {

Cpu cpus[kMaxCpus];
void (*volatile processor_code[kMaxCpus])();

struct [[gnu::packed]] TablePointer {
  uint16_t limit;
  uint64_t base;
};
struct [[gnu::packed]] Gate {
  uint16_t offset_low, selector, attributes, offset_middle;
  uint32_t offset_high, reserved;
};
struct [[gnu::packed]] Tss {
  uint32_t reserved0;
  uint64_t rsp[3];
  uint64_t reserved1;
  uint64_t ist[7];
  uint64_t reserved2;
  uint32_t permissions;
};
alignas(16) Gate gates[256];
alignas(16) Tss tasks[kMaxCpus];
alignas(16) uint64_t segments[8 + 2 * kMaxCpus];
alignas(16) char good_stacks[kMaxCpus][4096];
alignas(4096) uint64_t test_level3[512], test_level2[512], test_level1[512];

void load_tables(unsigned number) {
  Tss& task = tasks[number];
  task.ist[kGoodStack - 1] =
      reinterpret_cast<uint64_t>(good_stacks[number] + sizeof(good_stacks[number]));
  task.permissions = sizeof(Tss) << 16;
  const auto base = reinterpret_cast<uint64_t>(&task);
  segments[8 + 2 * number] = (sizeof(Tss) - 1) | (base & 0xffffff) << 16 | uint64_t{0x89} << 40 |
                             (base >> 24 & 0xff) << 56;
  segments[9 + 2 * number] = base >> 32;
  const TablePointer gdt{sizeof(segments) - 1, reinterpret_cast<uint64_t>(segments)};
  const TablePointer idt{sizeof(gates) - 1, reinterpret_cast<uint64_t>(gates)};
  asm volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(gdt), "m"(idt), "r"(0x40 + 16 * number)
               : "memory");
  const auto self = reinterpret_cast<uint64_t>(&cpus[number]);
  asm volatile("wrmsr" ::"c"(0xc0000101), "a"(static_cast<uint32_t>(self)),
               "d"(static_cast<uint32_t>(self >> 32)));
  apic(kApicSpurious) = 0x1ff;
}

void prepare() {
  out8(0x21, 0xff);  // the old interrupt controllers: nothing
  out8(0xa1, 0xff);
  segments[2] = 0x00af9b000000ffff;  // 0x10, 0x18: ring 0
  segments[3] = 0x00cf93000000ffff;
  segments[4] = 0x00cff3000000ffff;  // 0x20, 0x28: ring 3
  segments[5] = 0x00affb000000ffff;
  segments[6] = 0x00cf13000000ffff;  // 0x30: not present
  for (unsigned i = 0; i < 256; ++i) {
    set_gate(i, reinterpret_cast<uint64_t>(vectors + 16 * i), 0,
             i == 0x80 || i == kBreakpoint ? 3 : 0, true);
  }
  level4[1] = reinterpret_cast<uint64_t>(test_level3) | 7;
  test_level3[0] = reinterpret_cast<uint64_t>(test_level2) | 7;
  test_level2[0] = reinterpret_cast<uint64_t>(test_level1) | 7;
}

bool starts_with(const char* text, const char* word) {
  while (*word != '\0' && *text == *word) ++text, ++word;
  return *word == '\0';
}

// What stands behind `name` on the command line, which Linux's boot protocol has at 0x228.
const char* word_after(const char* name) {
  const char* text = reinterpret_cast<const char*>(
      uint64_t{at32(reinterpret_cast<uint64_t>(boot_params) + 0x228)});
  for (; *text != '\0'; ++text) {
    if (!starts_with(text, name)) continue;
    while (*name != '\0') ++text, ++name;
    return text;
  }
  return nullptr;
}

struct Case {
  const char* name;
  void (*run)();
};
// The runner's own: what it makes of each end.
void case_says_failure() { fail("as it was told to"); }
void case_says_skip() { skip("as it was told to"); }
void case_says_nothing() { halt(); }
constexpr Case kCases[] = {
    {"exceptions_ring3", case_exceptions_ring3},
    {"exceptions", case_exceptions},
    {"interrupts", case_interrupts},
    {"interrupted_events", case_interrupted_events},
    {"processors", case_processors},
    {"nmi", case_nmi},
    {"single_step", case_single_step},
    {"registers", case_registers},
    {"hang", case_hang},
    {"no_hang", case_no_hang},
    {"slow_start", case_slow_start},
    {"quiet", case_quiet},
    {"crash_kernel", case_crash_kernel},
    {"panic", case_panic},
    {"contradiction", case_contradiction},
    {"msrs", case_msrs},
    {"cpuid", case_cpuid},
    {"svm_instructions", case_svm_instructions},
    {"hypercalls", case_hypercalls},
    {"memory", case_memory},
    {"firmware_dma", case_firmware_dma},
    {"page_tables_root", case_page_tables_root},
    {"page_tables", case_page_tables},
    {"apic_stores", case_apic_stores},
    {"init_messages", case_init_messages},
    {"mtrr", case_mtrr},
    {"fuzz", case_fuzz},
    {"hold_length", case_hold_length},
    {"hold", case_hold},
    {"management_bounds", case_management_bounds},
    {"secret_time", case_secret_time},
    {"descriptor_table", case_descriptor_table},
    {"interrupt_table", case_interrupt_table},
    {"hidden_stack", case_hidden_stack},
    {"shutdown", case_shutdown},
    {"says_failure", case_says_failure},
    {"says_skip", case_says_skip},
    {"says_nothing", case_says_nothing},
};

void put(char c) {
  while ((in8(0x3fd) & 0x20) == 0) {
  }
  out8(0x3f8, static_cast<uint8_t>(c));
}

void keep_exception(Cpu& self, const Frame& frame) {
  uint64_t cr2 = 0, dr6 = 0;
  asm volatile("movq %%cr2, %0; movq %%dr6, %1" : "=r"(cr2), "=r"(dr6));
  asm volatile("movq %0, %%dr6" ::"r"(uint64_t{0xffff0ff0}));
  self.vector = frame.vector;
  self.code = frame.code;
  self.offset = frame.rip - self.began_at;
  self.cr2 = cr2;
  self.dr6 = dr6;
  self.rflags = frame.rflags;
  self.cs = frame.cs;
}

void go_on(Frame& frame, uint64_t at, uint64_t stack) {
  frame.rip = at;
  frame.rsp = stack;
  frame.cs = 0x10;
  frame.ss = 0x18;
  frame.rflags &= ~uint64_t{0x40300};  // AC, TF and IF
}

}  // namespace

Cpu& cpu() {
  uint32_t low = 0, high = 0;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000101));
  return *reinterpret_cast<Cpu*>(uint64_t{high} << 32 | low);
}
unsigned cpu_number() { return apic(0x20) >> 24; }

void* memset(void* to, int value, size_t bytes) {
  auto* at = static_cast<volatile char*>(to);
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<char>(value);
  return to;
}
void* memcpy(void* to, const void* from, size_t bytes) {
  auto* at = static_cast<volatile char*>(to);
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<const char*>(from)[i];
  return to;
}

void print(const char* text) {
  for (; *text != '\0'; ++text) put(*text);
}
void print_number(uint64_t number) {
  print("0x");
  bool begun = false;
  for (int shift = 60; shift >= 0; shift -= 4) {
    const auto digit = number >> shift & 15;
    begun = begun || digit != 0 || shift == 0;
    if (begun) put("0123456789abcdef"[digit]);
  }
}
void report(const char* what) {
  const Cpu& self = cpu();
  print("saw: ");
  print(what);
  const struct {
    const char* name;
    uint64_t value;
  } parts[] = {{" vector ", self.vector},
               {" code ", self.code},
               {" at +", self.offset},
               {" cr2 ", self.vector == kPageFault ? self.cr2 : 0},
               {" dr6 ", self.vector == kDebug ? self.dr6 : 0},
               {" rflags ", self.rflags},
               {" cs ", self.cs}};
  for (const auto& part : parts) {
    if (part.name[1] != 'v' && self.vector == kNone) break;
    print(part.name);
    print_number(part.value);
  }
  print("\r\n");
}
void halt() {
  for (;;) asm volatile("cli; hlt");
}
void fail(const char* what) {
  print("RESULT: FAILURE ");
  print(what);
  print("\r\n");
  halt();
}
void skip(const char* why) {
  print("RESULT: SKIP ");
  print(why);
  print("\r\n");
  halt();
}
void expect_equal(uint64_t got, uint64_t wanted, const char* what) {
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

void on_interrupt(Frame* frame) {
  if (frame->vector < 256 && handlers[frame->vector] != nullptr)
    return handlers[frame->vector](*frame);
  Cpu& self = cpu();
  if (self.ring0_stack != 0 && (frame->cs & 3) == 3) {
    if (frame->vector != 0x80) keep_exception(self, *frame);
    go_on(*frame, reinterpret_cast<uint64_t>(leave_ring3), self.ring0_stack);
    self.ring0_stack = 0;
    return;
  }
  keep_exception(self, *frame);
  if (self.recover_at != 0) {
    go_on(*frame, self.recover_at, self.recover_stack);
    self.recover_at = 0;
    return;
  }
  print("vector ");
  print_number(frame->vector);
  print(" code ");
  print_number(frame->code);
  print(" at ");
  print_number(frame->rip);
  print(" cr2 ");
  print_number(self.cr2);
  fail(" an exception outside of an attempt");
}

void keep_ring0_stack(uint64_t stack) {
  cpu().ring0_stack = stack;
  tasks[cpu_number()].rsp[0] = (stack - 256) & ~uint64_t{15};
}

namespace {
void ring3_shell(uint64_t argument) {
  // The function's address and its argument stand on the stack that in_ring3 has made.
  auto* const what = reinterpret_cast<uint64_t*>(argument);
  reinterpret_cast<void (*)(uint64_t)>(what[0])(what[1]);
  asm volatile("int $0x80");
}
}  // namespace

void in_ring3(void (*code)(uint64_t), uint64_t argument) {
  Cpu& self = cpu();
  self.vector = kNone;
  self.began_at = reinterpret_cast<uint64_t>(code);
  uint64_t what[2] = {reinterpret_cast<uint64_t>(code), argument};
  const auto stack = reinterpret_cast<uint64_t>(stacks) + 8 * 0x4000 + 0x700 * (cpu_number() + 1);
  enter_ring3(ring3_shell, (stack & ~uint64_t{15}) - 8, reinterpret_cast<uint64_t>(what));
}

void end_of_interrupt(Frame&) { apic(kApicEoi) = 0; }

void send_ipi(unsigned to, uint32_t command) {
  apic(kApicDestination) = to << 24;
  apic(kApicCommand) = command;
  while ((apic(kApicCommand) & 0x1000) != 0) asm volatile("pause");
}

// By channel 2 of the timer, which counts at 1.193182 MHz.
void wait_ms(unsigned ms) {
  for (; ms > 0; --ms) {
    out8(0x61, static_cast<uint8_t>((in8(0x61) & ~2u) | 1u));
    out8(0x43, 0xb0);
    out8(0x42, 1193 & 0xff);
    out8(0x42, 1193 >> 8);
    while ((in8(0x61) & 0x20) == 0) asm volatile("pause");
  }
}

void start_processor(unsigned number, void (*code)()) {
  memcpy(reinterpret_cast<void*>(0x8000), trampoline_begin,
         static_cast<size_t>(trampoline_end - trampoline_begin));
  memset(reinterpret_cast<void*>(0x8f00), 0x5a, 0x20);
  processor_runs[number] = false;
  processor_code[number] = code;
  send_ipi(number, kIpiInit);
  wait_ms(2);
  send_ipi(number, kIpiStart | 8);
  for (int i = 0; i < 5000 && !processor_runs[number]; ++i) wait_ms(1);
  if (!processor_runs[number]) fail("a processor did not start");
}

void processor_main() {
  const unsigned number = cpu_number();
  load_tables(number);
  processor_runs[number] = true;
  processor_code[number]();
  halt();
}

const Ranges& ranges() {
  static Ranges found{};
  if (found.windows != 0) return found;
  constexpr uint32_t kWindows = 12, kReserved = 2;
  constexpr uint64_t kLargePage = 2u << 20;
  struct [[gnu::packed]] Entry {
    uint64_t base, length;
    uint32_t type;
  };
  const auto* entry = reinterpret_cast<const Entry*>(boot_params + 0x2d0);
  for (unsigned i = 0; i < boot_params[0x1e8]; ++i, ++entry) {
    const uint64_t end = entry->base + entry->length;
    if (entry->type == kWindows) found.windows = entry->base;
    if (entry->type != kReserved || entry->base % kLargePage != 0 || end % kLargePage != 0)
      continue;
    if (entry->base == kLargePage) found.image = entry->base;
    // The one behind the windows; device ranges are reserved too.
    if (found.windows == 0 || found.hidden != 0 || entry->base <= found.windows) continue;
    found.hidden = entry->base;
    found.hidden_end = end;
  }
  expect(found.image != 0 && found.hidden != 0 && found.windows != 0,
         "the hypervisor's ranges in the memory map");
  return found;
}

uint64_t map_page(unsigned index, uint64_t entry) {
  test_level1[index] = entry;
  const uint64_t address = (uint64_t{1} << 39) + index * 4096;
  invalidate(address);
  return address;
}

void set_segment(uint64_t descriptor) { segments[7] = descriptor; }

void set_gate(unsigned vector, uint64_t handler, unsigned stack, unsigned privilege, bool present) {
  gates[vector] = {
      static_cast<uint16_t>(handler),
      0x10,
      static_cast<uint16_t>((present ? 0x8000u : 0u) | privilege << 13 | 0xe00 | stack),
      static_cast<uint16_t>(handler >> 16),
      static_cast<uint32_t>(handler >> 32),
      0};
}

uint64_t hypercall(Call& call) {
  uint64_t status = call.number;
  register uint64_t r10 asm("r10") = call.r10;
  register uint64_t r8 asm("r8") = call.r8;
  register uint64_t r9 asm("r9") = call.r9;
  asm volatile("vmmcall"
               : "+a"(status), "+d"(call.rdx), "+S"(call.rsi)
               : "D"(call.rdi), "r"(r10), "r"(r8), "r"(r9)
               : "memory");
  return status;
}

uint64_t management() {
  static uint64_t opened = 0;
  if (opened != 0) return opened;
  static char secret[VMSRS_SECRET_BYTES + 1] = "vmsrs machine tests: the secret.";
  Call open{.number = VMSRS_CALL_MGMT_OPEN,
            .rdi = reinterpret_cast<uint64_t>(secret),
            .rsi = VMSRS_OBSERVE};
  uint64_t status = hypercall(open);
  for (int i = 0; i < 100 && status == VMSRS_THROTTLED; ++i) {  // after a case of wrong secrets
    wait_ms(100);
    open = {.number = VMSRS_CALL_MGMT_OPEN,
            .rdi = reinterpret_cast<uint64_t>(secret),
            .rsi = VMSRS_OBSERVE};
    status = hypercall(open);
  }
  expect_equal(status, VMSRS_OK, "MGMT_OPEN");
  return opened = open.rdx;
}

vmsrs_stats statistics() {
  static vmsrs_stats result;
  Call call{.number = VMSRS_CALL_MGMT_STATS,
            .rdi = management(),
            .rsi = reinterpret_cast<uint64_t>(&result),
            .rdx = sizeof(result)};
  expect_equal(hypercall(call), VMSRS_OK, "MGMT_STATS");
  return result;
}

vmsrs_exits exits(unsigned processor) {
  static vmsrs_exits result;
  Call call{.number = VMSRS_CALL_MGMT_EXITS,
            .rdi = management(),
            .rsi = processor,
            .rdx = reinterpret_cast<uint64_t>(&result),
            .r10 = sizeof(result)};
  expect_equal(hypercall(call), VMSRS_OK, "MGMT_EXITS");
  return result;
}

void check_hypervisor() {
  static vmsrs_check_report report;
  uint64_t anew = 1, status = VMSRS_AGAIN;
  for (int i = 0; i < 100000 && status == VMSRS_AGAIN; ++i, anew = 0) {
    Call call{.number = VMSRS_CALL_MGMT_CHECK,
              .rdi = management(),
              .rsi = anew,
              .rdx = reinterpret_cast<uint64_t>(&report),
              .r10 = sizeof(report)};
    status = hypercall(call);
  }
  expect_equal(status, VMSRS_OK, "MGMT_CHECK");
  for (const vmsrs_check_result& result : report.results)
    expect_equal(result.verdict, VMSRS_VERDICT_OK, "an invariant");
}

uint64_t option(const char* name, uint64_t otherwise) {
  const char* text = word_after(name);
  if (text == nullptr) return otherwise;
  uint64_t number = 0;
  for (; *text >= '0' && *text <= '9'; ++text)
    number = number * 10 + static_cast<uint64_t>(*text - '0');
  return number;
}

void microkernel_main() {
  prepare();
  load_tables(0);
  apic(0x80) = 0;  // what entry.S has tried
  const char* name = word_after("test=");
  for (const Case& each : kCases) {
    if (name == nullptr || !starts_with(name, each.name)) continue;
    each.run();
    if (has_hypervisor != 0) {
      for (unsigned i = 0; i < 256; ++i)
        if (i != kNmi) handlers[i] = nullptr;  // one may still be on its way
      expect_equal(cpuid(VMSRS_CPUID_SIGNATURE_LEAF).ebx, 0x52534d56,
                   "the hypervisor is there afterwards");
      check_hypervisor();
    }
    print("RESULT: SUCCESS\r\n");
    halt();
  }
  print("RESULT: ERROR no such case\r\n");
  halt();
}
