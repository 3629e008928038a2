// SPDX-License-Identifier: Apache-2.0
// usage: matrix control|kinds
//        matrix STYLE|serve:STYLE [--server NAME] [--secret-file FILE] [--kinds NAME,...]
//               [--fault-limit N] [--limit-ms N] [--patience-ms N] [--address NAME]
//               [--trap-every-store] [--wait]
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "judge.hpp"
#include "styles.hpp"

namespace {

using namespace matrix;

constexpr std::string_view kServe = "serve:";

int usage() {
  std::fprintf(stderr, "matrix: wrong arguments: see the head of tests/matrix/main.cpp\n");
  return 2;
}

// How the judge starts the server: its own words, and `serve:` before the style.
std::vector<std::string> words_of_server(int count, char** arguments) {
  std::vector<std::string> words(arguments, arguments + count);
  words[1].insert(0, kServe);
  return words;
}

bool is_style(std::string_view word) {
  for (const char* const style : kStyles)
    if (word == style) return true;
  return false;
}

}  // namespace

int main(int count, char** arguments) {
  JudgeOptions options;
  ServerOptions& server = options.server;
  bool wait = false;
  if (count < 2) return usage();
  for (int i = 2; i < count; ++i) {
    const std::string_view word = arguments[i];
    if (word == "--trap-every-store") {
      server.trap_every_store = true;
      continue;
    }
    if (word == "--wait") {
      wait = true;
      continue;
    }
    if (++i == count) return usage();
    const std::string value = arguments[i];
    if (word == "--server")
      server.server_name = value;
    else if (word == "--secret-file")
      server.secret_file = value;
    else if (word == "--address")
      server.address = value;
    else if (word == "--kinds")
      options.kinds = "," + value + ",";
    else if (word == "--fault-limit")
      server.fault_limit = static_cast<unsigned>(std::stoul(value));
    else if (word == "--limit-ms")
      server.limit_ms = static_cast<unsigned>(std::stoul(value));
    else if (word == "--patience-ms")
      options.patience_ms = static_cast<unsigned>(std::stoul(value));
    else
      return usage();
  }
  std::string what = arguments[1];
  if (what == "kinds") return list_kinds(), 0;
  if (what == "control") return judge_without_library(), 0;
  const bool serves = what.starts_with(kServe);
  if (serves) what.erase(0, kServe.size());
  if (!is_style(what)) return usage();
  server.style = what;
  if (serves) return serve(server) ? 0 : usage();
  server.address = "matrix." + std::to_string(getpid());
  judge_style(options, words_of_server(count, arguments));
  if (!wait) return 0;
  std::puts("matrix   waits");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}
