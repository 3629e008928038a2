// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "injection.hpp"
#include "memory.hpp"

namespace bookshop {

struct ServerOptions {
  std::string bind = "127.0.0.1";
  std::uint16_t port = 7070;
  std::string catalogue;
  std::uint64_t order_capacity = 1024;
  std::uint64_t order_seconds = 120;
  bool early_unlock = false;
  std::vector<Injection> injections;
  memory::Options memory{"bookshop", "/etc/vmsrs/bookshop.secret", "", 0, 0};
};

enum class Parsed { run, help, wrong };
// `wrong`: `error` is one line for people.
Parsed parse_options(int count, char** arguments, ServerOptions& options, std::string& error);

extern const char* const kUsage;

}  // namespace bookshop
