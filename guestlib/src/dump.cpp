// SPDX-License-Identifier: Apache-2.0
#include "dump.hpp"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

#include "control.hpp"
#include "error.hpp"
#include "gate.hpp"
#include "guest_call.hpp"
#include "line.hpp"
#include "thread.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint32_t kMostInMinute = 4;
constexpr std::size_t kMostKept = 32;
constexpr std::uint64_t kMinuteNs = 60'000'000'000u;
constexpr std::uint64_t kMostStackBytes = 256 * 1024;
constexpr std::uint64_t kRedZone = 128;
constexpr std::size_t kMostSegments = 200;
constexpr std::size_t kMostModules = 60;  // of which gdb is told
constexpr std::size_t kMostFiles = 500;   // mappings of files
constexpr std::size_t kMostNameBytes = 255;
constexpr std::size_t kBuildDigits = 16;
constexpr std::size_t kMostDynamic = 128;
constexpr std::size_t kMostHeaders = 64;

using Words = std::uint64_t;

// ---- System calls: not the C library's, whose errno and cancellation points they pass by, and
// from the one place where a crashed user's thread may make them.

template <typename... Arguments>
long make_call(long number, Arguments... arguments) {
  return vmsrs_gate_call(number, arguments...);
}

// Of this process's own memory, as much as is there.
std::size_t copy_from(std::uint64_t address, void* to, std::size_t bytes) {
  std::size_t copied = 0;
  while (copied < bytes && can_be_read(address + copied)) {
    const std::uint64_t from = address + copied;
    const std::size_t in_page = VMSRS_PAGE_BYTES - from % VMSRS_PAGE_BYTES;
    std::size_t piece = in_page < bytes - copied ? in_page : bytes - copied;
    auto* target = static_cast<std::byte*>(to) + copied;
    copied += piece;
    auto source = from;
    asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(piece) : : "memory");
  }
  return copied;
}

template <typename T>
bool copy_from(std::uint64_t address, T& to) {
  return copy_from(address, &to, sizeof to) == sizeof to;
}

long open_file(const char* path, int flags) {
  return make_call(SYS_openat, static_cast<long>(AT_FDCWD), path,
                   static_cast<long>(flags | O_CLOEXEC), 0600L);
}

void close_file(long descriptor) { make_call(SYS_close, descriptor); }

bool write_at(long descriptor, const void* from, std::size_t bytes, std::uint64_t offset) {
  return make_call(SYS_pwrite64, descriptor, from, bytes, offset) == static_cast<long>(bytes);
}

// ---- What is put together. In memory of its own: an alternate stack has no room for it.

struct File {
  std::uint64_t begin, end, offset;
  std::uint32_t name;  // index in the names
};

struct Scratch {
  char text[16 * 1024];
  File files[kMostFiles];
  char names[48 * 1024];
  std::byte notes[96 * 1024];
  std::byte pieces[64 * 1024];  // of memory
  Elf64_Phdr segments[kMostSegments];
  char path[kLongestDumpFolder + kMostNameBytes + 64];
  char part[kLongestDumpFolder + kMostNameBytes + 96];
};

class TextBuilder {
 public:
  TextBuilder(char* to, std::size_t bytes) : to_(to), bytes_(bytes) { *to_ = '\0'; }
  TextBuilder& text(const char* text) {
    while (*text != '\0') add(*text++);
    return *this;
  }
  // What is safe in a file's name anywhere.
  TextBuilder& name(const char* text) {
    for (std::size_t i = 0; text[i] != '\0' && i < kMostNameBytes / 2; ++i) {
      const char c = text[i];
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '+';
      add(plain ? c : '_');
    }
    return *this;
  }
  TextBuilder& hex(std::uint64_t value, int digits = 1) {
    int shift = 60;
    while (shift >= 4 * digits && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) add("0123456789abcdef"[value >> shift & 15]);
    return *this;
  }

 private:
  void add(char c) {
    if (length_ + 1 >= bytes_) return;
    to_[length_++] = c;
    to_[length_] = '\0';
  }
  char* to_;
  std::size_t bytes_, length_ = 0;
};

// ---- Files that are mapped (proc(5), maps).

class Mappings {
 public:
  explicit Mappings(Scratch& scratch) : scratch_(scratch) {}

  void read() {
    const long descriptor = open_file("/proc/self/maps", O_RDONLY);
    if (descriptor < 0) return;
    std::size_t kept = 0;
    for (;;) {
      const long got =
          make_call(SYS_read, descriptor, scratch_.text + kept, sizeof scratch_.text - 1 - kept);
      if (got <= 0) break;
      const std::size_t end = kept + static_cast<std::size_t>(got);
      std::size_t line = 0;
      for (std::size_t i = kept; i < end; ++i) {
        if (scratch_.text[i] != '\n') continue;
        scratch_.text[i] = '\0';
        take(scratch_.text + line);
        line = i + 1;
      }
      kept = end - line;
      memmove(scratch_.text, scratch_.text + line, kept);
      if (kept == sizeof scratch_.text - 1) break;  // no such line
    }
    close_file(descriptor);
  }

  std::size_t count() const { return count_; }
  const File& operator[](std::size_t i) const { return scratch_.files[i]; }
  const char* name(const File& file) const { return scratch_.names + file.name; }
  const File* at(std::uint64_t address) const {
    for (std::size_t i = 0; i < count_; ++i)
      if (address >= scratch_.files[i].begin && address < scratch_.files[i].end)
        return &scratch_.files[i];
    return nullptr;
  }

 private:
  static std::uint64_t number(const char*& text) {
    std::uint64_t value = 0;
    for (;; ++text) {
      const char c = *text;
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) return value;
      value = value * 16 + static_cast<std::uint64_t>(digit);
    }
  }

  void take(const char* line) {
    const char* const path = strchr(line, '/');
    if (path == nullptr || count_ == kMostFiles) return;
    const std::size_t bytes = strlen(path) + 1;
    const bool again = count_ > 0 && strcmp(name(scratch_.files[count_ - 1]), path) == 0;
    if (!again && used_ + bytes > sizeof scratch_.names) return;
    File& file = scratch_.files[count_];
    file.begin = number(line);
    file.end = number(++line);
    line += 6;  // blank, rights, blank
    file.offset = number(line);
    if (again) {
      file.name = scratch_.files[count_ - 1].name;
    } else {
      file.name = static_cast<std::uint32_t>(used_);
      memcpy(scratch_.names + used_, path, bytes);
      used_ += bytes;
    }
    ++count_;
  }

  Scratch& scratch_;
  std::size_t count_ = 0, used_ = 0;
};

// ---- Where it was.

// The first digits of the build id among a module's notes; false: it has none.
bool find_build(std::uint64_t start, std::uint64_t& digits) {
  Elf64_Ehdr header;
  if (!copy_from(start, header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return false;
  for (std::size_t i = 0; i < header.e_phnum && i < kMostHeaders; ++i) {
    Elf64_Phdr segment;
    if (!copy_from(start + header.e_phoff + i * sizeof segment, segment)) return false;
    if (segment.p_type != PT_NOTE) continue;
    // (The first segment lies where the file begins, so offset and address differ by `start`.)
    std::uint64_t at = start + segment.p_offset;
    const std::uint64_t end = at + segment.p_filesz;
    Elf64_Nhdr note;
    while (at + sizeof note <= end && copy_from(at, note)) {
      const std::uint64_t name = at + sizeof note;
      const std::uint64_t content = name + (note.n_namesz + 3u) / 4 * 4;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz >= 8) {
        std::uint64_t raw = 0;
        if (!copy_from(content, raw)) return false;
        digits = __builtin_bswap64(raw);
        return true;
      }
      at = content + (note.n_descsz + 3u) / 4 * 4;
    }
  }
  return false;
}

// FOLDER/MODULE-BUILD+OFFSET.core
void name_dump(const Mappings& mappings, std::uint64_t instruction, Scratch& scratch) {
  TextBuilder path(scratch.path, sizeof scratch.path);
  path.text(control().dump_folder).text("/");
  const File* const file = mappings.at(instruction);
  dl_find_object module;
  if (file == nullptr || _dl_find_object(reinterpret_cast<void*>(instruction), &module) != 0) {
    path.text("unknown+").hex(instruction).text(".core");
    return;
  }
  const char* const whole = mappings.name(*file);
  path.name(strrchr(whole, '/') + 1);
  std::uint64_t digits = 0;
  if (find_build(reinterpret_cast<std::uint64_t>(module.dlfo_map_start), digits))
    path.text("-").hex(digits, kBuildDigits);
  path.text("+").hex(instruction - module.dlfo_link_map->l_addr).text(".core");
}

// ---- How many.

struct Minute {
  std::atomic<std::uint64_t> began_ns;
  std::atomic<std::uint32_t> count;
};
constinit Minute minute{};
// Instructions of which there is one already: others look at the folder.
constinit std::atomic<std::uint64_t> seen[64]{};

std::atomic<std::uint64_t>& seen_at(std::uint64_t instruction) {
  return seen[(instruction * 0x9e3779b97f4a7c15u) >> 58];
}

bool is_within_rate() {
  const std::uint64_t now = now_ns();
  std::uint64_t began = minute.began_ns.load();
  if (now - began > kMinuteNs && minute.began_ns.compare_exchange_strong(began, now))
    minute.count.store(0);
  return minute.count.fetch_add(1) < kMostInMinute;
}

bool is_there_room(Scratch& scratch) {
  const long folder = open_file(control().dump_folder, O_RDONLY | O_DIRECTORY);
  if (folder < 0) return true;  // which the writing will tell
  std::size_t count = 0;
  for (long got; (got = make_call(SYS_getdents64, folder, scratch.text, sizeof scratch.text)) > 0;)
    for (long at = 0; at < got; ++count)
      at += reinterpret_cast<const dirent64*>(scratch.text + at)->d_reclen;
  close_file(folder);
  return count < kMostKept + 2;  // . and ..
}

// ---- The core.

class Core {
 public:
  Core(Scratch& scratch, long descriptor) : scratch_(scratch), descriptor_(descriptor) {}

  void add_note(std::uint32_t type, const void* content, std::size_t bytes) {
    std::byte* const to = begin_note(type, bytes);
    if (to != nullptr) memcpy(to, content, bytes);
  }

  void add_registers(int signal, const ucontext_t& context) {
    const auto& from = context.uc_mcontext.gregs;
    prstatus_t status{};
    status.pr_info.si_signo = signal;
    status.pr_cursig = static_cast<short>(signal);
    status.pr_pid = this_thread();
    user_regs_struct registers{};
    const auto put = [&](unsigned long long& to, int index) {
      to = static_cast<unsigned long long>(from[index]);
    };
    put(registers.r15, REG_R15);
    put(registers.r14, REG_R14);
    put(registers.r13, REG_R13);
    put(registers.r12, REG_R12);
    put(registers.rbp, REG_RBP);
    put(registers.rbx, REG_RBX);
    put(registers.r11, REG_R11);
    put(registers.r10, REG_R10);
    put(registers.r9, REG_R9);
    put(registers.r8, REG_R8);
    put(registers.rax, REG_RAX);
    put(registers.rcx, REG_RCX);
    put(registers.rdx, REG_RDX);
    put(registers.rsi, REG_RSI);
    put(registers.rdi, REG_RDI);
    put(registers.rip, REG_RIP);
    put(registers.eflags, REG_EFL);
    put(registers.rsp, REG_RSP);
    registers.orig_rax = ~0ull;  // in no system call
    const auto segments = static_cast<std::uint64_t>(from[REG_CSGSFS]);
    registers.cs = segments & 0xffff;
    registers.ss = segments >> 48;
    registers.fs_base = reinterpret_cast<std::uint64_t>(__builtin_thread_pointer());
    static_assert(sizeof registers == sizeof status.pr_reg);
    memcpy(&status.pr_reg, &registers, sizeof registers);
    status.pr_fpvalid = 0;
    add_note(NT_PRSTATUS, &status, sizeof status);
  }

  void add_process() {
    prpsinfo_t process{};
    process.pr_sname = 'R';
    process.pr_pid = control().process;
    strncpy(process.pr_fname, program_invocation_short_name, sizeof process.pr_fname - 1);
    strncpy(process.pr_psargs, program_invocation_short_name, sizeof process.pr_psargs - 1);
    add_note(NT_PRPSINFO, &process, sizeof process);
  }

  void add_auxiliary() {
    const long descriptor = open_file("/proc/self/auxv", O_RDONLY);
    if (descriptor < 0) return;
    const long got = make_call(SYS_read, descriptor, auxiliary_, sizeof auxiliary_);
    close_file(descriptor);
    if (got <= 0) return;
    auxiliary_count_ = static_cast<std::size_t>(got) / sizeof *auxiliary_;
    add_note(NT_AUXV, auxiliary_, auxiliary_count_ * sizeof *auxiliary_);
  }

  // Linux, fs/binfmt_elf.c, fill_files_note: count, page size, of each begin, end and offset in
  // pages, then the names.
  void add_files(const Mappings& mappings) {
    std::size_t bytes = (2 + 3 * mappings.count()) * sizeof(Words);
    const std::size_t names = bytes;
    for (std::size_t i = 0; i < mappings.count(); ++i)
      bytes += strlen(mappings.name(mappings[i])) + 1;
    std::byte* const to = begin_note(NT_FILE, bytes);
    if (to == nullptr) return;
    auto* word = reinterpret_cast<Words*>(to);
    *word++ = mappings.count();
    *word++ = VMSRS_PAGE_BYTES;
    std::byte* name = to + names;
    for (std::size_t i = 0; i < mappings.count(); ++i) {
      *word++ = mappings[i].begin;
      *word++ = mappings[i].end;
      *word++ = mappings[i].offset / VMSRS_PAGE_BYTES;
      const std::size_t length = strlen(mappings.name(mappings[i])) + 1;
      memcpy(name, mappings.name(mappings[i]), length);
      name += length;
    }
  }

  // The dynamic linker's list, by which a debugger knows what has been loaded where.
  void add_modules() {
    std::uint64_t headers = 0, count = 0;
    for (std::size_t i = 0; i < auxiliary_count_; ++i) {
      if (auxiliary_[i].a_type == AT_PHDR) headers = auxiliary_[i].a_un.a_val;
      if (auxiliary_[i].a_type == AT_PHNUM) count = auxiliary_[i].a_un.a_val;
    }
    std::uint64_t base = 0, dynamic = 0;
    for (std::size_t i = 0; i < count && i < kMostHeaders; ++i) {
      Elf64_Phdr header;
      if (!copy_from(headers + i * sizeof header, header)) return;
      if (header.p_type == PT_PHDR) base = headers - header.p_vaddr;
      if (header.p_type == PT_DYNAMIC) dynamic = header.p_vaddr;
    }
    if (dynamic == 0) return;  // linked statically: there is no list
    dynamic += base;
    std::uint64_t debug = 0;
    std::size_t entries = 0;
    for (Elf64_Dyn entry; entries < kMostDynamic; ++entries) {
      if (!copy_from(dynamic + entries * sizeof entry, entry) || entry.d_tag == DT_NULL) break;
      if (entry.d_tag == DT_DEBUG) debug = entry.d_un.d_ptr;
    }
    r_debug list;
    if (debug == 0 || !copy_from(debug, list)) return;
    add_piece(dynamic, (entries + 1) * sizeof(Elf64_Dyn));
    add_piece(debug, sizeof list);
    auto at = reinterpret_cast<std::uint64_t>(list.r_map);
    link_map module;
    for (std::size_t i = 0; at != 0 && i < kMostModules && copy_from(at, module); ++i) {
      add_piece(at, sizeof module);
      add_text(reinterpret_cast<std::uint64_t>(module.l_name));
      at = reinterpret_cast<std::uint64_t>(module.l_next);
    }
  }

  // Pages from there on, as far as they are mapped. What is missing at the begin (a stack that has
  // overflowed) is left out.
  void add_pages(std::uint64_t begin, std::uint64_t bytes, std::uint32_t rights) {
    begin -= begin % VMSRS_PAGE_BYTES;
    const std::uint64_t end = begin + bytes;
    const std::uint64_t offset = end_;
    std::uint64_t first = 0, written = 0;
    for (std::uint64_t page = begin; page < end; page += VMSRS_PAGE_BYTES) {
      if (write_at(descriptor_, reinterpret_cast<void*>(page), VMSRS_PAGE_BYTES,
                   offset + written)) {
        if (written == 0) first = page;
        written += VMSRS_PAGE_BYTES;
      } else if (written != 0) {
        break;
      }
    }
    if (written == 0) return;
    add_segment(first, written, offset, rights);
    end_ += written;
  }

  // Last: what comes before the pages in the file.
  bool finish() {
    Elf64_Ehdr header{};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_CORE;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_phoff = sizeof header;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<Elf64_Half>(segment_count_);
    Elf64_Phdr& notes = scratch_.segments[0];
    notes.p_type = PT_NOTE;
    notes.p_offset = kNotesAt;
    notes.p_filesz = note_bytes_;
    notes.p_align = 4;
    return write_at(descriptor_, &header, sizeof header, 0) &&
           write_at(descriptor_, scratch_.segments, segment_count_ * sizeof(Elf64_Phdr),
                    sizeof header) &&
           write_at(descriptor_, scratch_.notes, note_bytes_, kNotesAt) &&
           write_at(descriptor_, scratch_.pieces, piece_bytes_, kPiecesAt);
  }

 private:
  static constexpr std::uint64_t kNotesAt = 16 * 1024;
  static constexpr std::uint64_t kPiecesAt = kNotesAt + sizeof Scratch::notes;
  static constexpr std::uint64_t kPagesAt = kPiecesAt + sizeof Scratch::pieces;
  static_assert(sizeof(Elf64_Ehdr) + kMostSegments * sizeof(Elf64_Phdr) <= kNotesAt);
  static_assert(kPagesAt % VMSRS_PAGE_BYTES == 0);

  // nullptr: no room.
  std::byte* begin_note(std::uint32_t type, std::size_t bytes) {
    constexpr char kOwner[8] = "CORE";
    const Elf64_Nhdr note = {5, static_cast<Elf64_Word>(bytes), type};
    const std::size_t whole = sizeof note + sizeof kOwner + (bytes + 3) / 4 * 4;
    if (note_bytes_ + whole > sizeof scratch_.notes) return nullptr;
    std::byte* const to = scratch_.notes + note_bytes_;
    memcpy(to, &note, sizeof note);
    memcpy(to + sizeof note, kOwner, sizeof kOwner);
    note_bytes_ += whole;
    return to + sizeof note + sizeof kOwner;
  }

  void add_segment(std::uint64_t address, std::uint64_t bytes, std::uint64_t offset,
                   std::uint32_t rights) {
    if (segment_count_ == kMostSegments) return;
    Elf64_Phdr& segment = scratch_.segments[segment_count_++];
    segment.p_type = PT_LOAD;
    segment.p_flags = rights;
    segment.p_offset = offset;
    segment.p_vaddr = address;
    segment.p_filesz = segment.p_memsz = bytes;
    segment.p_align = 1;
  }

  void add_piece(std::uint64_t address, std::size_t bytes) {
    if (piece_bytes_ + bytes > sizeof scratch_.pieces) return;
    const std::size_t got = copy_from(address, scratch_.pieces + piece_bytes_, bytes);
    if (got == 0) return;
    add_segment(address, got, kPiecesAt + piece_bytes_, PF_R | PF_W);
    piece_bytes_ += got;
  }

  void add_text(std::uint64_t address) {
    char text[kMostNameBytes + 1];
    const std::size_t got = copy_from(address, text, sizeof text);
    const std::size_t bytes = strnlen(text, got) + 1;
    if (got != 0 && bytes <= got) add_piece(address, bytes);
  }

  Scratch& scratch_;
  const long descriptor_;
  std::size_t segment_count_ = 1;  // the first holds the notes
  std::size_t note_bytes_ = 0, piece_bytes_ = 0;
  std::uint64_t end_ = kPagesAt;
  Elf64_auxv_t auxiliary_[64];
  std::size_t auxiliary_count_ = 0;
};

bool write_core(Scratch& scratch, const Mappings& mappings, long descriptor, int signal,
                const siginfo_t& info, const ucontext_t& context) {
  Core core(scratch, descriptor);
  core.add_registers(signal, context);
  core.add_process();
  core.add_note(NT_SIGINFO, &info, sizeof info);
  core.add_auxiliary();
  core.add_files(mappings);
  core.add_modules();
  const auto& registers = context.uc_mcontext.gregs;
  core.add_pages(static_cast<std::uint64_t>(registers[REG_RSP]) - kRedZone, kMostStackBytes,
                 PF_R | PF_W);
  core.add_pages(static_cast<std::uint64_t>(registers[REG_RIP]), VMSRS_PAGE_BYTES, PF_R | PF_X);
  return core.finish();
}

void tell(const char* what, const char* file, long error) {
  Line line;
  line.text("vmsrs: ").text(what).text(file);
  if (error != 0) line.text(": error ").number(static_cast<std::uint64_t>(-error));
  line.text("\n");
  make_call(SYS_write, static_cast<long>(STDERR_FILENO), line.data(), line.size());
}

// 0, or a negative errno.
long write_dump(Scratch& scratch, const Mappings& mappings, int signal, const siginfo_t& info,
                const ucontext_t& context) {
  // Under a name of the thread's own until it is whole.
  TextBuilder(scratch.part, sizeof scratch.part)
      .text(scratch.path)
      .text(".")
      .hex(static_cast<std::uint64_t>(this_thread()))
      .text(".part");
  const long descriptor = open_file(scratch.part, O_WRONLY | O_CREAT | O_EXCL);
  if (descriptor < 0) return descriptor;
  const bool whole = write_core(scratch, mappings, descriptor, signal, info, context);
  close_file(descriptor);
  long result = -ENOSPC;
  if (whole)
    result =
        make_call(SYS_renameat2, static_cast<long>(AT_FDCWD), scratch.part,
                  static_cast<long>(AT_FDCWD), scratch.path, static_cast<long>(RENAME_NOREPLACE));
  if (result != 0) make_call(SYS_unlinkat, static_cast<long>(AT_FDCWD), scratch.part, 0L);
  return result;
}

bool exists(const char* path) {
  return make_call(SYS_faccessat, static_cast<long>(AT_FDCWD), path, static_cast<long>(F_OK)) == 0;
}

void leave_dump(Scratch& scratch, int signal, const siginfo_t& info, const ucontext_t& context) {
  const auto instruction = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  Mappings mappings(scratch);
  mappings.read();
  name_dump(mappings, instruction, scratch);
  if (!exists(scratch.path)) {
    if (!is_there_room(scratch) || !is_within_rate()) return;
    const long result = write_dump(scratch, mappings, signal, info, context);
    if (result != 0 && result != -EEXIST) return tell("no dump ", scratch.path, result);
    if (result == 0) tell("the first fault of a site left ", scratch.path, 0);
  }
  seen_at(instruction).store(instruction);
}

}  // namespace

int set_up_dumps(ControlBlock& block) {
  block.dump_folder[0] = '\0';
  minute.began_ns.store(0);
  for (auto& one : seen) one.store(0);
  const char* const folder = secure_getenv(kDumpsVariable);
  if (folder == nullptr || *folder == '\0') return 0;
  const std::size_t length = strlen(folder);
  if (*folder != '/' || length > kLongestDumpFolder)
    return fail(VMSRS_ERROR_CONFIGURATION,
                "%s: expected an absolute path of at most %zu characters, found %s", kDumpsVariable,
                kLongestDumpFolder, folder);
  if (!block.can_populate)
    return fail(VMSRS_ERROR_CONFIGURATION, "%s: dumps need Linux 5.14 or later", kDumpsVariable);
  struct stat status {};
  if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode) || access(folder, W_OK | X_OK) != 0)
    return fail(VMSRS_ERROR_CONFIGURATION,
                "%s: expected a folder in which this process may make files, found %s",
                kDumpsVariable, folder);
  memcpy(block.dump_folder, folder, length + 1);
  return 0;
}

void leave_dump(int signal, const siginfo_t& info, const ucontext_t& context) {
  if (control().dump_folder[0] == '\0') return;
  const auto instruction = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  if (seen_at(instruction).load() == instruction) return;
  const NotUnwound whole;
  const long made =
      make_call(SYS_mmap, 0L, sizeof(Scratch), static_cast<long>(PROT_READ | PROT_WRITE),
                static_cast<long>(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L);
  if (made < 0) return;
  leave_dump(*reinterpret_cast<Scratch*>(made), signal, info, context);
  make_call(SYS_munmap, made, sizeof(Scratch));
}

}  // namespace vmsrs::guest
