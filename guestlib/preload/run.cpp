// SPDX-License-Identifier: Apache-2.0
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

// vmsrs-run(1): a program as it is, with libvmsrs-preload.so before its libraries.
namespace {

constexpr int kCannot = 125, kNotExecutable = 126, kNotFound = 127;  // as env(1) has it

constexpr const char* kUsage =
    "usage: vmsrs-run --server NAME --secret-file FILE --users POLICY [OPTION...] -- PROGRAM "
    "[ARGUMENT...]\n"
    "\n"
    "Runs a dynamically linked program as it is under VMSRS: its users' faults are contained.\n"
    "  --server NAME            as in vmsrs.yaml\n"
    "  --secret-file FILE       the server's secret, readable by its account alone\n"
    "  --users POLICY           what is a user: threads, requests, events or none\n"
    "  --children WHICH         other processes: none (the default), forked or all\n"
    "  --program FILE           the program to protect, where PROGRAM is a script that executes "
    "it\n"
    "  --unprotected WHAT       if there is no platform: refuse (the default) or run\n"
    "  --region-bytes N[,N...]  the program's allocation of N bytes becomes a region, which only\n"
    "                           the C library's memory functions can write to\n"
    "  --containment MODE       on (the default), observe or off\n"
    "  --fault-limit N          faults of one user before it is unwound (1000)\n"
    "  --suppression-limit-ms N time from its crash to that (10000)\n"
    "  --site-crash-limit N     users that may crash at one instruction in the window (100)\n"
    "  --crash-limit N          in all (1000)\n"
    "  --crash-window-s N       the window (60)\n"
    "  --windows-directory DIR  of the hypervisor's windows\n"
    "  --report FILE            a line is added there when a process ends: what was done\n"
    "  --help\n";

struct Option {
  std::string_view name;
  const char* variable;
  bool is_needed = false;
};
constexpr Option kOptions[] = {{"--server", "VMSRS_SERVER", true},
                               {"--secret-file", "VMSRS_SECRET_FILE", true},
                               {"--users", "VMSRS_USERS", true},
                               {"--children", "VMSRS_CHILDREN"},
                               {"--program", "VMSRS_PROGRAM"},
                               {"--unprotected", "VMSRS_UNPROTECTED"},
                               {"--report", "VMSRS_REPORT"},
                               {"--region-bytes", "VMSRS_REGION_BYTES"},
                               {"--containment", "VMSRS_CONTAINMENT"},
                               {"--fault-limit", "VMSRS_FAULT_LIMIT"},
                               {"--suppression-limit-ms", "VMSRS_SUPPRESSION_LIMIT_MS"},
                               {"--site-crash-limit", "VMSRS_SITE_CRASH_LIMIT"},
                               {"--crash-limit", "VMSRS_CRASH_LIMIT"},
                               {"--crash-window-s", "VMSRS_CRASH_WINDOW_S"},
                               {"--windows-directory", "VMSRS_WINDOWS_DIRECTORY"}};

[[noreturn]] void fail(int code, const std::string& message) {
  fprintf(stderr, "vmsrs-run: %s\n", message.c_str());
  exit(code);
}

// Of `--name value` and `--name=value`. How many words it was; 0: no option of that name.
int take(const Option& option, char** words) {
  const std::string_view word = words[0];
  if (word == option.name) {
    if (words[1] == nullptr) fail(kCannot, std::string(option.name) + " needs a value");
    setenv(option.variable, words[1], 1);
    return 2;
  }
  const std::size_t length = option.name.size();
  if (word.size() <= length || word.substr(0, length) != option.name || word[length] != '=')
    return 0;
  setenv(option.variable, words[0] + length + 1, 1);
  return 1;
}

// What is left: the program and its arguments.
char** read_options(char** words) {
  while (*words != nullptr && **words == '-') {
    const std::string_view word = *words;
    if (word == "--") return words + 1;
    if (word == "--help") {
      fputs(kUsage, stdout);
      exit(0);
    }
    int taken = 0;
    for (const Option& option : kOptions)
      if (taken == 0) taken = take(option, words);
    if (taken == 0) fail(kCannot, "unknown option " + std::string(word) + " (see --help)");
    words += taken;
  }
  return words;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view path = getenv("PATH") != nullptr ? getenv("PATH") : "/usr/bin:/bin";
  for (;;) {
    const std::size_t end = std::min(path.find(':'), path.size());
    const std::string folder = end != 0 ? std::string(path.substr(0, end)) : ".";
    const std::string file = folder + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
    if (end == path.size()) break;
    path.remove_prefix(end + 1);
  }
  fail(kNotFound, name + ": not found in PATH");
}

template <typename T>
bool read_at(int file, off_t at, T& to) {
  return pread(file, &to, sizeof to, at) == static_cast<ssize_t>(sizeof to);
}

// A program that is not linked dynamically, or gets other rights when it is executed, is loaded
// without this library: nobody should believe it protected.
void check_loadable(const std::string& program) {
  struct stat status {};
  const int file = open(program.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &status) != 0) {
    if (errno == ENOENT) fail(kNotFound, program + ": " + strerror(errno));
    return;  // it may be executed, and not read: the kernel decides
  }
  const bool other_user = (status.st_mode & S_ISUID) != 0 && status.st_uid != getuid();
  const bool other_group = (status.st_mode & S_ISGID) != 0 && status.st_gid != getgid();
  if (other_user || other_group)
    fail(kCannot, program + ": set-user-ID or set-group-ID: the loader ignores LD_PRELOAD there");
  Elf64_Ehdr header{};
  if (!read_at(file, 0, header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return;  // a script
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
    fail(kCannot, program + ": not a program for x86-64");
  bool is_dynamic = false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (read_at(file, static_cast<off_t>(header.e_phoff + i * sizeof part), part))
      is_dynamic = is_dynamic || part.p_type == PT_INTERP;
  }
  if (!is_dynamic)
    fail(kCannot, program + ": linked statically: there is no loader to put the library before it");
  close(file);
}

// Beside this program (a build), or where an installation has it.
std::string find_library() {
  char own[PATH_MAX];
  const ssize_t bytes = readlink("/proc/self/exe", own, sizeof own);
  if (bytes <= 0) fail(kCannot, "/proc/self/exe: " + std::string(strerror(errno)));
  const std::string path(own, static_cast<std::size_t>(bytes));
  const std::string folder = path.substr(0, path.rfind('/'));
  const std::vector<std::string> places = {
      folder + "/libvmsrs-preload.so",
      folder + "/" VMSRS_LIBRARY_FROM_PROGRAM "/libvmsrs-preload.so"};
  for (const std::string& place : places)
    if (access(place.c_str(), R_OK) == 0) return place;
  fail(kCannot, places.back() + ": not there: is the library installed beside this program?");
}

void put_first(const std::string& library) {
  if (library.find_first_of(" :") != std::string::npos)
    fail(kCannot, library + ": LD_PRELOAD takes no path with a blank or a colon in it");
  const char* const others = getenv("LD_PRELOAD");
  const bool alone = others == nullptr || *others == '\0';
  setenv("LD_PRELOAD", (alone ? library : library + ":" + others).c_str(), 1);
}

}  // namespace

int main(int, char** argv) {
  char** const command = read_options(argv + 1);
  for (const Option& option : kOptions)
    if (option.is_needed && getenv(option.variable) == nullptr)
      fail(kCannot, std::string(option.name) + " is needed (see --help)");
  if (*command == nullptr) fail(kCannot, "which program? (see --help)");
  const std::string program = find_program(*command);
  check_loadable(program);
  put_first(find_library());
  execv(program.c_str(), command);
  const int error = errno;
  fail(error == ENOENT ? kNotFound : kNotExecutable, program + ": " + strerror(error));
}
