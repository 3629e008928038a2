// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <arpa/inet.h>

#include <string_view>

#include "text.hpp"

namespace bookshop {

const char* const kUsage =
    R"(usage: bookshop --catalogue FILE [options]
  --catalogue FILE           CSV: title,price_cents,stock
  --bind ADDRESS             IPv4 address to listen on (127.0.0.1)
  --port PORT                TCP port, 1 to 65535 (7070)
  --orders N                 orders that the shop has room for, 1 to 100000 (1024)
  --order-seconds N          longest time from BEGIN to CHECKOUT, 1 to 3600 (120)
  --server-name NAME         as vmsrs.yaml calls this server (bookshop)
  --secret-file FILE         64 hex digits, its attach secret (/etc/vmsrs/bookshop.secret)
  --windows-directory DIR    where the hypervisor's windows are mounted (the library's default)
  --inject USER:KIND[:ITEM]  demonstration: USER's ADD number ITEM (1) crashes half-way; KIND is
                             wild, null, div, hole or scribble; may be given several times
  --inject-always USER:...   the same in each of USER's orders, for measuring
  --early-unlock             demonstration: lets go of locks after each ADD, which is wrong
  --help
)";

namespace {

constexpr std::uint64_t kUnwindSeconds = 10;

bool take(std::string_view name, std::string_view value, ServerOptions& options,
          std::string& expected) {
  std::uint64_t number = 0;
  if (name == "--catalogue") {
    expected = "a file";
    options.catalogue = value;
    return !value.empty();
  }
  if (name == "--bind") {
    expected = "an IPv4 address";
    options.bind = value;
    in_addr address{};
    return inet_pton(AF_INET, options.bind.c_str(), &address) == 1;
  }
  if (name == "--port") {
    expected = "a number from 1 to 65535";
    if (!parse_number(value, 1, 65535, number)) return false;
    options.port = static_cast<std::uint16_t>(number);
    return true;
  }
  if (name == "--orders") {
    expected = "a number from 1 to 100000";
    return parse_number(value, 1, 100'000, options.order_capacity);
  }
  if (name == "--order-seconds") {
    expected = "a number from 1 to 3600";
    return parse_number(value, 1, 3600, options.order_seconds);
  }
  if (name == "--server-name") {
    expected = "a name of 1 to 31 characters";
    options.memory.server_name = value;
    return !value.empty() && value.size() < 32;
  }
  if (name == "--secret-file") {
    expected = "a file";
    options.memory.secret_file = value;
    return !value.empty();
  }
  if (name == "--windows-directory") {
    expected = "a directory";
    options.memory.windows_directory = value;
    return !value.empty();
  }
  if (name == "--inject" || name == "--inject-always") {
    expected = "USER:KIND[:ITEM] with KIND wild, null, div, hole or scribble";
    Injection injection{};
    if (!parse_injection(value, injection)) return false;
    injection.always = name == "--inject-always";
    // Who crashes always would soon be more than a server should bear.
    if (injection.always) options.memory.crash_limit = UINT32_MAX;
    options.injections.push_back(injection);
    return true;
  }
  expected.clear();
  return false;
}

}  // namespace

Parsed parse_options(int count, char** arguments, ServerOptions& options, std::string& error) {
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--help") return Parsed::help;
    if (name == "--early-unlock") {
      options.early_unlock = true;
      continue;
    }
    const char* const value = i + 1 < count ? arguments[i + 1] : "";
    std::string expected;
    if (!take(name, value, options, expected)) {
      error = expected.empty() ? name + ": unknown option; --help lists them"
                               : name + ": expected " + expected + ", got '" + value + "'";
      return Parsed::wrong;
    }
    ++i;
  }
  if (options.catalogue.empty()) {
    error = "--catalogue FILE is needed; --help lists the options";
    return Parsed::wrong;
  }
  // A crashed user's order may last as long as any other before its thread is unwound.
  options.memory.suppression_limit_ms =
      static_cast<std::uint32_t>((options.order_seconds + kUnwindSeconds) * 1000);
  return Parsed::run;
}

}  // namespace bookshop
