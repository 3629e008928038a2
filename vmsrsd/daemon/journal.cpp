// SPDX-License-Identifier: Apache-2.0
#include "daemon/journal.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ops_common/json_text.hpp>

namespace vmsrs::daemon {
namespace {

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return ops::json_text(value);
}

// As syslog(3) counts.
int priority_of(const std::string& type) {
  constexpr int kError = 3;
  constexpr int kWarning = 4;
  constexpr int kInfo = 6;
  for (const char* one : {"guest_end", "check_failed", "store_damaged", "events_lost", "stuck"})
    if (type == one) return kError;
  for (const char* one :
       {"crash", "denied_calls", "storage_full", "unprotected_stores", "clock_jumped"})
    if (type == one) return kWarning;
  return kInfo;
}

// NAME=value, or, of a value of several lines, the name, its length in 64 bits and the value.
void add_field(std::string& all, const char* name, const std::string& value) {
  all += name;
  if (value.find('\n') == std::string::npos) {
    all += "=" + value + "\n";
    return;
  }
  all += '\n';
  const std::uint64_t length = value.size();
  for (int shift = 0; shift < 64; shift += 8) all += static_cast<char>(length >> shift & 0xff);
  all += value + "\n";
}

void add_field(std::string& all, const char* name, const Json& event, const char* member) {
  if (const auto found = event.find(member); found != event.end() && !found->is_null())
    add_field(all, name, text_of(*found));
}

std::string message_of(const Json& event) {
  std::string message = text_of(event.at("type"));
  if (!event.at("server").is_null()) message += ", server " + text_of(event.at("server"));
  if (!event.at("slot").is_null()) message += ", user " + text_of(event.at("slot"));
  if (const Json& fault = event.at("fault"); fault.is_object()) {
    message += ": " + text_of(fault.at("kind")) + " at " + text_of(fault.at("address")) + " in ";
    if (!fault.at("symbol").is_null()) {
      message += text_of(fault.at("symbol"));
    } else if (!fault.at("module").is_null()) {
      message += text_of(fault.at("module")) + "+" + text_of(fault.at("offset"));
    } else {
      message += text_of(fault.at("instruction"));
    }
  }
  return message;
}

}  // namespace

bool is_journal(int descriptor, const char* journal_stream) {
  struct stat status {};
  if (journal_stream == nullptr || ::fstat(descriptor, &status) != 0) return false;
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == journal_stream;
}

Journal::Journal(std::string socket)
    : socket_(std::move(socket)),
      descriptor_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}

Journal::~Journal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool Journal::send(const Json& event) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, socket_.c_str(), socket_.size() + 1);
  const std::string type = text_of(event.at("type"));
  std::string fields;
  add_field(fields, "MESSAGE", message_of(event));
  add_field(fields, "PRIORITY", std::to_string(priority_of(type)));
  add_field(fields, "SYSLOG_IDENTIFIER", "vmsrsd");
  add_field(fields, "VMSRS_EVENT_TYPE", type);
  add_field(fields, "VMSRS_EVENT_ID", event, "id");
  add_field(fields, "VMSRS_SERVER", event, "server");
  add_field(fields, "VMSRS_SLOT", event, "slot");
  add_field(fields, "VMSRS_LABEL", event, "label_text");
  if (const Json& fault = event.at("fault"); fault.is_object()) {
    add_field(fields, "VMSRS_FAULT", fault, "kind");
    add_field(fields, "VMSRS_SYMBOL", fault, "symbol");
  }
  add_field(fields, "VMSRS_EVENT", text_of(event));
  return ::sendto(descriptor_, fields.data(), fields.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) == static_cast<ssize_t>(fields.size());
}

}  // namespace vmsrs::daemon
