// SPDX-License-Identifier: Apache-2.0
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <ops_common/exit_codes.hpp>
#include <sstream>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

struct Part {
  std::string name, text;
};

std::string file_text(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Hashes of secrets stand on the hypervisor's command line, which Linux does not see; whatever else
// looks like one (64 hexadecimal digits) is taken out as well, and so are labels, which are the
// server's own words about its users.
std::string without_secrets(const std::string& text) {
  std::string kept, run;
  const auto flush = [&] {
    kept += run.size() >= 64 ? "(removed)" : run;
    run.clear();
  };
  for (const char c : text) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0) {
      run += c;
      continue;
    }
    flush();
    kept += c;
  }
  flush();
  return kept;
}

void take_labels_out(Json& value) {
  if (value.is_object())
    for (const auto& [name, member] : value.items()) {
      if ((name == "label_text" || name == "label") && !member.is_null()) value[name] = "(removed)";
    }
  for (Json& member : value)
    if (member.is_structured()) take_labels_out(member);
}

// A document of the daemon; why there is none, if it does not answer.
Part document_of(const Context& context, const std::string& name, const std::string& path) {
  try {
    Json answer = context.client().get(path);
    take_labels_out(answer);
    return {name + ".json", answer.dump(2) + "\n"};
  } catch (const Failure& failure) {
    return {name + ".error", std::string(failure.what()) + "\n"};
  }
}

Part system_facts() {
  utsname names{};
  uname(&names);
  std::string text = std::string("vmsrsctl ") + VMSRS_PROJECT_VERSION + "\n" + names.sysname + " " +
                     names.release + " " + names.version + " " + names.machine + "\n";
  text += "processors: " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + "\n";
  text += "\n/proc/cmdline\n" + file_text("/proc/cmdline");
  text += "\n/proc/uptime\n" + file_text("/proc/uptime");
  text += "\n/proc/meminfo\n" + file_text("/proc/meminfo");
  text += "\n/etc/os-release\n" + file_text("/etc/os-release");
  return {"system.txt", text};
}

// What the journal has of a unit since yesterday, the last 2,000 lines.
Part journal(const char* unit) {
  const std::string command =
      std::string("journalctl --no-pager -q -n 2000 --since=-1d -u ") + unit + " 2>&1";
  std::string text;
  if (FILE* const lines = popen(command.c_str(), "r")) {
    char piece[4096];
    for (std::size_t count = 0; (count = fread(piece, 1, sizeof piece, lines)) > 0;)
      text.append(piece, count);
    pclose(lines);
  }
  // Lines of events have labels in them; the events themselves are a part of their own.
  std::string kept;
  std::istringstream all(text);
  for (std::string line; std::getline(all, line);)
    if (line.find("{\"id\":") == std::string::npos) kept += line + "\n";
  text = kept;
  return {std::string("journal-") + unit + ".txt", text.empty() ? "(nothing)\n" : text};
}

std::string stamp(const char* form) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[32];
  gmtime_r(&now, &parts);
  std::strftime(text, sizeof text, form, &parts);
  return text;
}

// Throws Failure with what libarchive says.
void write_archive(const std::string& file, const std::string& folder,
                   const std::vector<Part>& parts) {
  // Nobody else reads it, whatever the umask is.
  const int target = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (target < 0)
    throw Failure(ops::kExitFailed, "cannot write " + file + ": " + std::strerror(errno));
  const std::unique_ptr<const int, void (*)(const int*)> closer(&target,
                                                                [](const int* fd) { close(*fd); });
  const std::unique_ptr<archive, int (*)(archive*)> out(archive_write_new(), archive_write_free);
  const auto check = [&](long code) {
    if (code < ARCHIVE_OK)
      throw Failure(ops::kExitFailed,
                    "cannot write " + file + ": " + archive_error_string(out.get()));
  };
  check(archive_write_add_filter_gzip(out.get()));
  check(archive_write_set_format_pax_restricted(out.get()));
  check(archive_write_open_fd(out.get(), target));
  for (const Part& part : parts) {
    const std::string text = without_secrets(part.text);
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                         archive_entry_free);
    archive_entry_set_pathname(entry.get(), (folder + "/" + part.name).c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(text.size()));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0600);
    archive_entry_set_mtime(entry.get(), std::time(nullptr), 0);
    check(archive_write_header(out.get(), entry.get()));
    check(static_cast<long>(archive_write_data(out.get(), text.data(), text.size())));
  }
  check(archive_write_close(out.get()));
}

int write_report(const Context& context, std::string file) {
  const std::string folder = "vmsrs-report-" + stamp("%Y%m%dT%H%M%SZ");
  if (file.empty()) file = folder + ".tar.gz";
  std::vector<Part> parts = {system_facts()};
  for (const auto& [name, path] : std::vector<std::pair<std::string, std::string>>{
           {"version", "/v1/version"},
           {"status", "/v1/status"},
           {"stats", "/v1/stats"},
           {"servers", "/v1/servers"},
           {"users", "/v1/users"},
           {"events", "/v1/events?limit=1000"},
           {"hypervisor-log", "/v1/hypervisor/log"},
           {"hypervisor-memory", "/v1/hypervisor/memory"},
           {"exits", "/v1/exits"}})
    parts.push_back(document_of(context, name, path));
  for (const char* unit : {"vmsrsd", "vmsrs-hosted"}) parts.push_back(journal(unit));
  write_archive(file, folder, parts);
  Json names = Json::array();
  bool complete = true;
  for (const Part& part : parts) {
    names.push_back(part.name);
    complete = complete && !part.name.ends_with(".error");
  }
  print(context.format(), Json{{"file", file}, {"complete", complete}, {"parts", names}}, [&] {
    std::printf(
        "%s: %zu parts%s\nSecrets and labels are taken out; look through it before you "
        "send it.\n",
        file.c_str(), parts.size(),
        complete ? "" : ", some of them say why there is nothing in them");
  });
  return complete ? ops::kExitOk : ops::kExitFailed;
}

}  // namespace

void add_report(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "report", "Put all that helps with a bug report into one file, secrets and labels out");
  const auto file = std::make_shared<std::string>();
  verb->add_option("FILE", *file, "A .tar.gz, default vmsrs-report-TIME.tar.gz here");
  verb->callback([&context, file] {
    context.across = Across::kOneOnly;
    context.work = [&context, file] { return write_report(context, *file); };
  });
}

}  // namespace vmsrs::cli
