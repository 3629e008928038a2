// SPDX-License-Identifier: Apache-2.0
// What ring 0 itself may and may not do below the hypervisor.
#include "microkernel.hpp"

namespace {

constexpr uint32_t kApicBase = 0x1b, kEfer = 0xc0000080, kVmCr = 0xc0010114, kHsave = 0xc0010117,
                   kSvmKey = 0xc0010118, kPat = 0x277;
constexpr uint64_t kSvme = 1u << 12;

// These may be written as they are, and not otherwise.
constexpr uint32_t kFixed[] = {kApicBase,  0xc0010010, 0xc0010016, 0xc0010017, 0xc0010018,
                               0xc0010019, 0xc001001a, 0xc001001d, 0xc0010050, 0xc0010054,
                               0xc0010056, 0xc0010058, 0xc0010111, 0xc0010112, 0xc0010113,
                               0xc0010132, 0xc0010133};
// These are not there at all.
constexpr uint32_t kAbsent[] = {0x3b, 0x800, 0x802, 0x80b, 0x830, 0x83f, 0x8ff, kHsave, kSvmKey};

}  // namespace

void case_hypercalls() {
  expect_equal(cpuid(VMSRS_CPUID_SIGNATURE_LEAF).ebx, 0x52534d56, "signature");
  Call version{.number = VMSRS_CALL_VERSION};
  expect_equal(hypercall(version), VMSRS_OK, "VERSION from ring 0");
  expect_equal(version.rdx, VMSRS_ABI_VERSION, "ABI version");
  Call unknown{.number = 0x7fffffff};
  expect_equal(hypercall(unknown), VMSRS_UNKNOWN_CALL, "unknown call");
  Call library{.number = VMSRS_CALL_USER_BEGIN};
  expect_equal(hypercall(library), VMSRS_DENIED, "library call from ring 0");
  expect(status_without_paging != VMSRS_OK && status_without_paging != 0x200,
         "a call with an address, without paging");
  // Addresses that nobody may name: hidden, a window to write to, a device, past all memory.
  const Ranges& r = ranges();
  for (const uint64_t address : {r.image, r.hidden, r.hidden_end - 64, kApic, uint64_t{1} << 63}) {
    Call open{.number = VMSRS_CALL_MGMT_OPEN, .rdi = address, .rsi = VMSRS_OBSERVE};
    expect_equal(hypercall(open), VMSRS_BAD_ADDRESS, "a secret at a forbidden address");
  }
}

void case_svm_instructions() {
  // Addresses that are good, and such that the instruction itself would refuse.
  for (const uint64_t address : {uint64_t{0x2000000}, uint64_t{0x2000001}, uint64_t{1} << 63}) {
#define EXPECT_UD(bytes, name)                                                                    \
  ATTEMPT(".byte " bytes, ::"a"(address), "c"(0), "d"(0) : "memory", "cc");                       \
  EXPECT_VECTOR(kInvalidOpcode, name " in ring 0");                                               \
  expect_equal(cpu().offset, 0, name ": where it is");                                            \
  in_ring3(                                                                                       \
      [](uint64_t a) { asm volatile(".byte " bytes ::"a"(a), "c"(0), "d"(0)                       \
                                    : "memory", "cc"); }, \
      address);                                                                                   \
  EXPECT_VECTOR(kInvalidOpcode, name " in ring 3")
    EXPECT_UD("0x0f, 0x01, 0xd8", "VMRUN");
    EXPECT_UD("0x0f, 0x01, 0xda", "VMLOAD");
    EXPECT_UD("0x0f, 0x01, 0xdb", "VMSAVE");
    EXPECT_UD("0x0f, 0x01, 0xdc", "STGI");
    EXPECT_UD("0x0f, 0x01, 0xdd", "CLGI");
    EXPECT_UD("0x0f, 0x01, 0xde", "SKINIT");
    EXPECT_UD("0x0f, 0x01, 0xdf", "INVLPGA");
    EXPECT_UD("0x0f, 0x01, 0xfe", "INVLPGB");
    EXPECT_UD("0x0f, 0x01, 0xff", "TLBSYNC");
#undef EXPECT_UD
  }
  static uint64_t kept = 0x1122334455667788;
  kept = kept + 1;
  ATTEMPT("invd", ::: "memory");
  EXPECT_VECTOR(kNone, "INVD");
  expect_equal(kept, 0x1122334455667789, "what was in the cache");
  in_ring3([](uint64_t) { asm volatile("invd"); });
  EXPECT_VECTOR(kGeneralProtection, "INVD in ring 3");
  in_ring3([](uint64_t) {
    uint64_t status = VMSRS_CALL_VERSION;
    asm volatile("vmmcall" : "+a"(status)::"rdx", "rsi", "memory");
    if (status != VMSRS_OK) asm volatile("ud2");
  });
  EXPECT_VECTOR(kNone, "VMMCALL in ring 3");
}

void case_msrs() {
  const uint64_t efer = read_msr(kEfer);
  EXPECT_VECTOR(kNone, "reading EFER");
  expect_equal(efer & kSvme, 0, "EFER.SVME is hidden");
  write_msr(kEfer, efer | kSvme);
  EXPECT_VECTOR(kGeneralProtection, "setting EFER.SVME");
  write_msr(kEfer, efer & ~uint64_t{0x100});
  EXPECT_VECTOR(kGeneralProtection, "leaving long mode with paging on");
  write_msr(kEfer, efer | uint64_t{1} << 40);
  EXPECT_VECTOR(kGeneralProtection, "EFER's reserved bits");
  write_msr(kEfer, efer);
  EXPECT_VECTOR(kNone, "writing EFER back");
  expect_equal(read_msr(kVmCr), 0x18, "VM_CR says disabled and locked");
  for (const uint64_t value : {uint64_t{0}, uint64_t{0x18}, uint64_t{2}}) {
    write_msr(kVmCr, value);
    EXPECT_VECTOR(kGeneralProtection, "writing VM_CR");
  }
  for (const uint32_t msr : kAbsent) {
    read_msr(msr);
    EXPECT_VECTOR(kGeneralProtection, "reading an MSR that is not there");
    write_msr(msr, 0x1000000);
    EXPECT_VECTOR(kGeneralProtection, "writing an MSR that is not there");
  }
  const uint64_t base = read_msr(kApicBase);
  for (const uint32_t msr : kFixed) {
    const uint64_t present = read_msr(msr);
    const bool is_there = cpu().vector == kNone;
    write_msr(msr, present);
    if (is_there) EXPECT_VECTOR(kNone, "writing a fixed MSR as it is");
    for (const uint64_t change :
         {uint64_t{1} << 12, uint64_t{1} << 20, uint64_t{1} << 11, uint64_t{1}}) {
      write_msr(msr, present ^ change);
      EXPECT_VECTOR(kGeneralProtection, "changing a fixed MSR");
    }
    expect_equal(read_msr(msr), present, "a fixed MSR afterwards");
  }
  write_msr(kApicBase, base | 1u << 10);
  EXPECT_VECTOR(kGeneralProtection, "x2APIC mode");
  write_msr(kApicBase, base & ~uint64_t{0x800});
  EXPECT_VECTOR(kGeneralProtection, "the local APIC switched off");
  write_msr(0xc0010020, 0x1000000);
  EXPECT_VECTOR(kGeneralProtection, "loading microcode");
  // The time-stamp counter moves, the hypervisor's clock does not.
  const uint64_t up = statistics().uptime_ns;
  write_msr(0x10, 0);
  expect(tsc() < uint64_t{1} << 36, "the guest's counter begins anew");
  write_msr(0x10, uint64_t{1} << 60);
  expect(tsc() >= uint64_t{1} << 60, "the guest's counter jumps");
  const uint64_t later = statistics().uptime_ns;
  expect(later >= up && later - up < 60'000'000'000, "the hypervisor's clock");
  write_msr(kPat, 0x0007040600070406);
  EXPECT_VECTOR(kNone, "the page attribute table is the guest's own");
  // In ring 3 none of them is anything but #GP.
  for (const uint32_t msr : {kEfer, kVmCr, kApicBase, 0x802u, 0x200u}) {
    in_ring3([](uint64_t m) { asm volatile("rdmsr" ::"c"(m) : "rax", "rdx"); }, msr);
    EXPECT_VECTOR(kGeneralProtection, "RDMSR in ring 3");
    in_ring3([](uint64_t m) { asm volatile("wrmsr" ::"c"(m), "a"(0), "d"(0)); }, msr);
    EXPECT_VECTOR(kGeneralProtection, "WRMSR in ring 3");
  }
}

void case_cpuid() {
  const auto bit = [](uint32_t word, unsigned n) { return word >> n & 1; };
  const auto check = [&] {
    expect_equal(bit(cpuid(0x80000001).ecx, 2), 0, "SVM");
    expect_equal(bit(cpuid(0x80000001).ecx, 12), 0, "SKINIT");
    expect_equal(bit(cpuid(1).ecx, 21), 0, "x2APIC");
    expect_equal(bit(cpuid(1).ecx, 31), 1, "a hypervisor is present");
    expect_equal(bit(cpuid(1).ecx, 27), 0, "OSXSAVE, which CR4 has not");
    expect_equal(bit(cpuid(7).ebx, 1), 0, "TSC_ADJUST");
    expect_equal(bit(cpuid(0x80000008).ebx, 3), 0, "INVLPGB");
    for (const uint32_t leaf : {0x8000000au, 0x8000001fu, 0x40000002u, 0x400000ffu, 0x4fffffffu}) {
      const CpuidResult r = cpuid(leaf);
      expect_equal(r.eax | r.ebx | r.ecx | r.edx, 0, "a leaf that is empty");
    }
    expect_equal(cpuid(VMSRS_CPUID_SIGNATURE_LEAF).eax, VMSRS_CPUID_VERSION_LEAF,
                 "the highest leaf");
    expect_equal(cpuid(VMSRS_CPUID_SIGNATURE_LEAF, 77).ebx, 0x52534d56, "with a subleaf");
    expect_equal(cpuid(VMSRS_CPUID_VERSION_LEAF).eax, VMSRS_ABI_VERSION, "ABI version");
  };
  check();
  in_ring3([](uint64_t lambda) { (*reinterpret_cast<decltype(check)*>(lambda))(); },
           reinterpret_cast<uint64_t>(&check));
  EXPECT_VECTOR(kNone, "the same in ring 3, which cannot print what it found");
}

// ---- memory
namespace {

void refused(const char* what) {
  EXPECT_VECTOR(kGeneralProtection, what);
  expect_equal(cpu().code, 0, "its code");
}

}  // namespace

void case_memory() {
  const Ranges& r = ranges();
  static uint8_t buffer[4096 + 64];
  const uint64_t own = reinterpret_cast<uint64_t>(buffer) & ~uint64_t{63};
  unsigned tried = 0;
  for (const uint64_t at : {r.image, r.image + 0x1000, r.image + 0x1ffffc, r.hidden,
                            r.hidden_end - 4096, (r.hidden + r.hidden_end) / 2}) {
    const uint64_t before = statistics().hidden_access_count;
    expect_equal(load32(at), 0, "content of hidden memory");
    refused("reading hidden memory");
    store32(at, 0xffffffff);
    refused("writing hidden memory");
    in_ring3([](uint64_t a) { asm volatile("movl (%0), %%eax" ::"r"(a) : "rax", "memory"); }, at);
    refused("reading it in ring 3");
    in_ring3([](uint64_t a) { asm volatile("movl %%eax, (%0)" ::"r"(a) : "memory"); }, at);
    refused("writing it in ring 3");
    ATTEMPT("lock; orl $1, (%0)", ::"r"(at) : "memory", "cc");
    refused("LOCK OR");
    ATTEMPT("lock; cmpxchgl %%ecx, (%0)", ::"r"(at), "a"(0), "c"(1) : "memory", "cc");
    refused("CMPXCHG");
    ATTEMPT("rep; movsb", ::"S"(at), "D"(own), "c"(64) : "memory");
    refused("MOVS from it");
    for (unsigned i = 0; i < 64; ++i) expect_equal(buffer[i], 0, "what was moved");
    ATTEMPT("rep; movsb", ::"S"(own), "D"(at), "c"(64) : "memory");
    refused("MOVS to it");
    ATTEMPT("call *%0", ::"r"(at) : "memory");
    refused("fetching it");
    const uint64_t line = at & ~uint64_t{63};
    ATTEMPT("fxsave (%0)", ::"r"(line) : "memory");
    refused("FXSAVE");
    ATTEMPT("movups (%0), %%xmm0", ::"r"(line) : "memory");
    refused("MOVUPS");
    ATTEMPT("clflush (%0); prefetcht0 (%0); invlpg (%0)", ::"r"(at) : "memory");
    ATTEMPT("lgdt (%0)", ::"r"(line) : "memory");
    refused("LGDT from it");
    ATTEMPT("sidt (%0)", ::"r"(line) : "memory");
    refused("SIDT to it");
    // By a page of its own, and by one that begins in plain memory.
    const uint64_t page = map_page(8, (at & ~uint64_t{4095}) | kPresent | kWritable | kUser);
    load32(page);
    refused("another address of it");
    tried += 14;
    expect(statistics().hidden_access_count >= before + tried - 2 || tried > 14,
           "refused accesses are counted");
  }
  const uint64_t plain = map_page(9, (own & ~uint64_t{4095}) | kPresent | kWritable | kUser);
  map_page(10, r.hidden | kPresent | kWritable | kUser);
  store32(plain + 4094, 0xabcdabcd);
  refused("a store that begins in front of it");
  load32(plain + 4094);
  refused("a load that begins in front of it");
  // Windows: read by all, written by nobody.
  const uint64_t writes = statistics().window_write_count;
  load32(r.windows);
  EXPECT_VECTOR(kNone, "reading a window");
  store32(r.windows, 1);
  refused("writing a window");
  in_ring3([](uint64_t a) { asm volatile("lock; incl (%0)" ::"r"(a)
                                         : "memory"); },
           r.windows + 4096);
  refused("writing a window in ring 3");
  expect_equal(statistics().window_write_count, writes + 2, "writes to windows are counted");
  // Registers of an IOMMU and addresses where there is nothing.
  load32(uint64_t{1} << 46);
}

void case_page_tables() {
  const Ranges& r = ranges();
  for (const uint64_t frame : {r.image, r.hidden, r.hidden_end - 4096}) {
    // As each level of a table.
    for (uint64_t* const table : {level4, level3, level2}) {
      const unsigned index = table == level2 ? 2047 : table == level3 ? 511 : 5;
      table[index] = frame | kPresent | kWritable | kUser;
      const uint64_t address = table == level2   ? 0xffe00000
                               : table == level3 ? uint64_t{511} << 30
                                                 : uint64_t{5} << 39;
      const uint64_t before = statistics().hidden_access_count;
      asm volatile("movq %%cr3, %%rax; movq %%rax, %%cr3" ::: "rax", "memory");
      expect_equal(load32(address), 0, "what a hidden table leads to");
      refused("hidden memory as a page table");
      Call call{.number = VMSRS_CALL_MGMT_OPEN, .rdi = address, .rsi = VMSRS_OBSERVE};
      const uint64_t status = hypercall(call);
      expect(status == VMSRS_BAD_ADDRESS, "a hypercall through a hidden table");
      expect(statistics().hidden_access_count > before, "refused accesses are counted");
      table[index] = table == level2 ? 0xffe00087 : 0;
      asm volatile("movq %%cr3, %%rax; movq %%rax, %%cr3" ::: "rax", "memory");
    }
  }
  // A window as a table: the processor would set its accessed bits.
  level4[5] = r.windows | kPresent | kWritable | kUser;
  static uint64_t content = 0;
  content = at64(r.windows);
  load32(uint64_t{5} << 39);
  expect(cpu().vector == kGeneralProtection || cpu().vector == kPageFault,
         "a window as a page table");
  expect_equal(at64(r.windows), content, "the window");
  level4[5] = 0;
  // Physical addresses past everything.
  for (const uint64_t frame : {uint64_t{1} << 45, (uint64_t{1} << 48) - 4096}) {
    load32(map_page(3, frame | kPresent | kWritable));
    expect(
        cpu().vector == kNone || cpu().vector == kGeneralProtection || cpu().vector == kPageFault,
        "an address past all memory");
  }
}

// QEMU's firmware configuration writes to memory by itself, and no IOMMU stands before it.
void case_firmware_dma() {
  out16(0x510, 0);
  if (in8(0x511) != 'Q') skip("no firmware configuration (QEMU's) here");
  const uint64_t window = ranges().windows;
  struct {
    uint32_t control, length;  // big-endian: select the signature and read it, 64 bytes
    uint64_t address;
  } static command;
  const uint64_t before = at64(window);
  for (const uint64_t target : {window, ranges().hidden, ranges().image}) {
    command.control = __builtin_bswap32(0x0a);
    command.length = __builtin_bswap32(64);
    command.address = __builtin_bswap64(target);
    out32(0x514, 0);
    out32(0x518, __builtin_bswap32(static_cast<uint32_t>(reinterpret_cast<uint64_t>(&command))));
    wait_ms(1);
    expect_equal(command.control, __builtin_bswap32(0x0a), "the command was carried out");
  }
  expect_equal(at64(window), before, "a window");
  // Other widths and forms, and what it says of itself.
  const uint64_t self = reinterpret_cast<uint64_t>(&command);
  out16(0x51a, static_cast<uint16_t>(self));
  out8(0x51b, static_cast<uint8_t>(self));
  uint32_t told = 0;
  asm volatile("inl %1, %0" : "=a"(told) : "Nd"(uint16_t{0x514}));
  expect_equal(told, 0xffffffff, "its signature");
  ATTEMPT("outsl", ::"S"(self), "d"(uint16_t{0x518}) : "memory");
  EXPECT_VECTOR(kGeneralProtection, "OUTS");
  expect_equal(command.control, __builtin_bswap32(0x0a), "the command was carried out");
  // What goes by single bytes is left as it was.
  out16(0x510, 0);
  expect_equal(in8(0x511), 'Q', "the signature by bytes");
  expect_equal(in8(0x511), 'E', "the signature by bytes");
}

// Nothing can be delivered once the root itself is hidden: the machine ends, in the hypervisor.
void case_page_tables_root() {
  asm volatile("movq %0, %%cr3" ::"r"(ranges().hidden) : "memory");
  fail("a hidden page as the root of the page tables");
}

void case_descriptor_table() {
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } table{0xfff, ranges().hidden};
  asm volatile("lgdt %0; movl $0x20, %%eax; movl %%eax, %%es" ::"m"(table) : "rax", "memory");
  fail("a hidden descriptor table");
}

void case_interrupt_table() {
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } table{0xfff, ranges().hidden};
  asm volatile("lidt %0; ud2" ::"m"(table) : "memory");
  fail("a hidden interrupt table");
}

// An interrupt whose stack is hidden memory: its delivery fails, so does the #GP's, so does the
// double fault's.
void case_hidden_stack() {
  asm volatile("movq %0, %%rsp; movl %1, %2; sti; nop; nop; hlt" ::"r"(ranges().hidden + 4096),
               "i"(kIpiSelf | 0x30), "m"(apic(kApicCommand)));
}

void case_shutdown() {
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } table{0, 0};
  asm volatile("lidt %0; ud2" ::"m"(table));
}

// ---- memory types
void case_mtrr() {
  constexpr uint32_t kDefault = 0x2ff, kBase = 0x200, kMask = 0x201, kFixed64K = 0x250;
  const Ranges& r = ranges();
  const uint64_t before = exits(cpu_number()).count[VMSRS_EXIT_MSR];
  const uint64_t was = read_msr(kDefault);
  EXPECT_VECTOR(kNone, "reading the default memory type");
  // Uncached: what the hypervisor holds in caches would be lost for it. It keeps its own.
  write_msr(kBase, r.hidden);
  write_msr(kMask, 0xffe00800 | uint64_t{0xff} << 32);
  EXPECT_VECTOR(kNone, "a range of its own");
  write_msr(kDefault, 0xc00);
  EXPECT_VECTOR(kNone, "another default");
  write_msr(kFixed64K, 0);
  expect_equal(read_msr(kBase), r.hidden, "the range reads back");
  expect_equal(read_msr(kDefault), 0xc00, "the default reads back");
  expect(exits(cpu_number()).count[VMSRS_EXIT_MSR] >= before + 7,
         "none of it reached the processor's own");
  check_hypervisor();
  write_msr(kDefault, was);
  // The second processor's are its own.
  if (cpuid(1).ebx >> 16 == 0) return;
  static volatile uint64_t other;
  other = 0;
  start_processor(1, [] { other = read_msr(kBase) + 1; });
  for (int i = 0; i < 1000 && other == 0; ++i) wait_ms(1);
  expect(other != 0 && other != r.hidden + 1, "another processor's ranges");
}
