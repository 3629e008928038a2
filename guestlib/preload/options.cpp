// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace vmsrs::preload {
namespace {

constexpr int kCannot = 125;  // as env(1) and timeout(1) have it

struct Word {
  const char* name;
  int value;
};

[[noreturn]] void wrong(const char* variable, const char* value, const char* expected) {
  dprintf(STDERR_FILENO, "vmsrs: %s=%s: expected %s\n", variable, value, expected);
  refuse();
}

// A copy: programs write over the environment that they were given (setproctitle).
const char* read_text(const char* variable) {
  const char* const text = getenv(variable);
  return text != nullptr ? strdup(text) : nullptr;
}

// The first word is what holds if the variable is not set, unless `default_value` is null.
template <std::size_t Count>
int read_word(const char* variable, const Word (&words)[Count], const char* expected,
              bool is_needed = false) {
  const char* const text = getenv(variable);
  if (text == nullptr && !is_needed) return words[0].value;
  for (const Word& word : words)
    if (text != nullptr && strcmp(text, word.name) == 0) return word.value;
  if (text != nullptr) wrong(variable, text, expected);
  dprintf(STDERR_FILENO, "vmsrs: %s is not set: %s\n", variable, expected);
  refuse();
}

unsigned long read_number(const char* variable, const char* text, const char*& end,
                          unsigned long most) {
  errno = 0;
  char* behind = nullptr;
  const unsigned long value = strtoul(text, &behind, 10);
  end = behind;
  if (errno != 0 || end == text || *text < '0' || *text > '9' || value == 0 || value > most) {
    char expected[64];
    snprintf(expected, sizeof expected, "a number from 1 to %lu", most);
    wrong(variable, text, expected);
  }
  return value;
}

std::uint32_t read_limit(const char* variable) {
  const char* const text = getenv(variable);
  if (text == nullptr) return 0;  // as vmsrs_attach() has it
  const char* end = nullptr;
  const unsigned long value = read_number(variable, text, end, UINT32_MAX);
  if (*end != '\0') wrong(variable, text, "a number");
  return static_cast<std::uint32_t>(value);
}

void read_regions(Options& options) {
  constexpr const char* kVariable = "VMSRS_REGION_BYTES";
  const char* text = getenv(kVariable);
  while (text != nullptr && *text != '\0') {
    if (options.region_count == kMostRegions) wrong(kVariable, text, "at most 8 sizes");
    const char* end = nullptr;
    options.region_bytes[options.region_count++] = read_number(kVariable, text, end, 1ul << 40);
    if (*end != '\0' && *end != ',') wrong(kVariable, text, "sizes in bytes, with commas between");
    text = *end == ',' ? end + 1 : end;
  }
}

constexpr Word kUsers[] = {{"none", static_cast<int>(Users::kNone)},
                           {"threads", static_cast<int>(Users::kThreads)},
                           {"requests", static_cast<int>(Users::kRequests)},
                           {"events", static_cast<int>(Users::kEvents)}};
constexpr Word kChildren[] = {{"none", static_cast<int>(Children::kNone)},
                              {"forked", static_cast<int>(Children::kForked)},
                              {"all", static_cast<int>(Children::kAll)}};
constexpr Word kContainment[] = {{"on", VMSRS_CONTAINMENT_ON},
                                 {"observe", VMSRS_CONTAINMENT_OBSERVE},
                                 {"off", VMSRS_CONTAINMENT_OFF}};
constexpr Word kUnprotected[] = {{"refuse", 0}, {"run", 1}};

// All of them: they are taken out of the environment again.
constexpr const char* kVariables[] = {
    "VMSRS_SERVER",         "VMSRS_SECRET_FILE",          "VMSRS_USERS",
    "VMSRS_CHILDREN",       "VMSRS_UNPROTECTED",          "VMSRS_REPORT",
    "VMSRS_REGION_BYTES",   "VMSRS_CONTAINMENT",          "VMSRS_FAULT_LIMIT",
    "VMSRS_CRASH_LIMIT",    "VMSRS_SUPPRESSION_LIMIT_MS", "VMSRS_SITE_CRASH_LIMIT",
    "VMSRS_CRASH_WINDOW_S", "VMSRS_WINDOWS_DIRECTORY",    "VMSRS_PROGRAM"};

bool names(const char* entry, const char* variable) {
  const std::size_t length = strlen(variable);
  return strncmp(entry, variable, length) == 0 && entry[length] == '=';
}

const char* file_name(const char* path, std::size_t bytes) {
  const char* const slash = static_cast<const char*>(memrchr(path, '/', bytes));
  return slash != nullptr ? slash + 1 : path;
}

// This library's path among those of LD_PRELOAD, which blanks or colons part.
void leave_list(char* list) {
  Dl_info own{};
  if (dladdr(reinterpret_cast<void*>(&leave_environment), &own) == 0) return;
  const char* const name = file_name(own.dli_fname, strlen(own.dli_fname));
  char* kept = list;
  while (*list != '\0') {
    const std::size_t bytes = strcspn(list, ": ");
    const char* const last = file_name(list, bytes);
    const std::size_t last_bytes = bytes - static_cast<std::size_t>(last - list);
    const bool is_own = last_bytes == strlen(name) && strncmp(last, name, last_bytes) == 0;
    const std::size_t whole = bytes + (list[bytes] != '\0' ? 1 : 0);
    if (!is_own) kept = static_cast<char*>(memmove(kept, list, whole)) + whole;
    list += whole;
  }
  *kept = '\0';
}

}  // namespace

void refuse() { _exit(kCannot); }

bool is_program() {
  constexpr const char* kVariable = "VMSRS_PROGRAM";
  const char* const file = getenv(kVariable);
  if (file == nullptr) return true;
  if (*file != '/') wrong(kVariable, file, "a file's name from the root on");
  struct stat wanted {};
  struct stat running {};
  if (stat(file, &wanted) != 0) wrong(kVariable, file, "a program that is there");
  return stat("/proc/self/exe", &running) == 0 && running.st_dev == wanted.st_dev &&
         running.st_ino == wanted.st_ino;
}

bool read_options(Options& options) {
  options = {};
  options.attach.server_name = read_text("VMSRS_SERVER");
  if (options.attach.server_name == nullptr) return false;
  options.attach.secret_file = read_text("VMSRS_SECRET_FILE");
  if (options.attach.secret_file == nullptr) {
    dprintf(STDERR_FILENO, "vmsrs: VMSRS_SECRET_FILE is not set: the file with the secret of %s\n",
            options.attach.server_name);
    refuse();
  }
  options.attach.windows_directory = read_text("VMSRS_WINDOWS_DIRECTORY");
  options.users = static_cast<Users>(
      read_word("VMSRS_USERS", kUsers, "what is a user: threads, requests, events or none", true));
  options.children = static_cast<Children>(
      read_word("VMSRS_CHILDREN", kChildren, "which other processes: none, forked or all"));
  options.runs_unprotected = read_word("VMSRS_UNPROTECTED", kUnprotected, "refuse or run") != 0;
  options.report = read_text("VMSRS_REPORT");
  if (options.report != nullptr && *options.report != '/')
    wrong("VMSRS_REPORT", options.report, "a file's name from the root on");
  options.attach.containment = static_cast<std::uint32_t>(
      read_word("VMSRS_CONTAINMENT", kContainment, "on, observe or off"));
  options.attach.fault_limit = read_limit("VMSRS_FAULT_LIMIT");
  options.attach.suppression_limit_ms = read_limit("VMSRS_SUPPRESSION_LIMIT_MS");
  options.attach.site_crash_limit = read_limit("VMSRS_SITE_CRASH_LIMIT");
  options.attach.crash_limit = read_limit("VMSRS_CRASH_LIMIT");
  options.attach.crash_window_s = read_limit("VMSRS_CRASH_WINDOW_S");
  read_regions(options);
  return true;
}

// By hand: a shell has an unsetenv() of its own, which is not ready yet.
void leave_environment() {
  char** kept = environ;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool is_ours = false;
    for (const char* variable : kVariables) is_ours = is_ours || names(*entry, variable);
    if (names(*entry, "LD_PRELOAD")) {
      char* const list = *entry + sizeof "LD_PRELOAD";
      leave_list(list);
      is_ours = *list == '\0';
    }
    if (!is_ours) *kept++ = *entry;
  }
  *kept = nullptr;
}

}  // namespace vmsrs::preload
