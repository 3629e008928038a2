// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <vmsrs/abi.h>

#include <array>
#include <cstdint>
#include <map>
#include <ops_common/value.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/limits.hpp"
#include "channel/hypercall.hpp"

// vmsrs.yaml as the daemon uses it. Every key is explained in the file of that name at the root of
// the tree and in docs/configuration.md. Reading throws Error, whose text is the whole message:
// `FILE:LINE: KEY: expected ..., found ...`.
namespace vmsrs::config {

using ops::Error;

using Digest = std::array<std::uint8_t, 32>;

// An account of this host.
struct Account {
  std::string name;  // as it was given: a name or a number
  uid_t id;
  bool operator==(const Account&) const = default;
};

struct Server {
  std::string name;
  std::optional<Account> account;  // who alone may read attach_secret_file; absent: not looked at
  std::optional<std::string> attach_secret_file;  // exactly one of these two
  std::optional<Digest> attach_secret_sha256;
  std::uint64_t storage_quota_bytes = 0;  // 0 = no limit
  std::uint32_t users = 1024;
  vmsrs_storage_policy storage_full = VMSRS_STORAGE_REFUSE;
  std::optional<std::uint32_t> containment;  // enum vmsrs_server_containment; absent: as it is
  std::string where;  // `FILE:LINE: servers[N]`, for messages about its secret
  bool operator==(const Server&) const = default;
};

// Somebody who may use the API over TLS.
struct TlsClient {
  std::string name;  // common name or a DNS name of its certificate
  bool operate = false;
  bool operator==(const TlsClient&) const = default;
};

struct Address {
  std::string host;  // empty: nothing listens
  std::uint16_t port = 0;
};

struct Config {
  channel::Platform platform = channel::Platform::kAuto;
  std::string hosted_socket;  // empty = of the environment, or the default
  std::string management_secret_file = "/etc/vmsrs/management.secret";
  Digest management_hash{};  // of the secret that the hypervisor was last told or opened with
  std::string management_where = "management";  // `FILE:LINE: management`, for messages
  Address metrics{"127.0.0.1", 9470};
  bool metrics_tls = false;
  std::string api_socket = "/run/vmsrs/api.sock";
  std::uint32_t api_socket_mode = 0660;
  std::string api_socket_group;  // empty = vmsrs, or the daemon's own where there is none
  std::string api_read_only_socket = "/run/vmsrs/api-read-only.sock";  // empty = none
  std::uint32_t api_read_only_socket_mode = 0666;
  Address api_tls;
  std::string api_tls_certificate;
  std::string api_tls_key;
  std::string api_tls_client_ca;
  std::vector<TlsClient> api_tls_clients;
  api::Limits api_limits;
  std::string log_level = "info";
  std::uint32_t check_timeout_ms = 5000;
  std::uint32_t reap_interval_ms = 1000;      // 0 = never
  std::uint64_t scrub_rate_bytes = 16 << 20;  // a second, of each server; 0 = never
  std::string event_store = "/var/lib/vmsrs/events.db";
  std::uint32_t event_keep_days = 90;  // 0 = for ever
  std::uint64_t event_keep_bytes = 256ull << 20;
  std::string event_dumps;  // folder; empty = nowhere
  std::vector<Server> servers;
  std::map<std::string, std::string> sources;  // of keys that are set: "file" or "environment"
};

// Of the file, or of nothing but defaults; environment variables (docs/configuration.md) go before
// the file's values.
[[nodiscard]] Config load(const std::string& file);
[[nodiscard]] Config load_without_file();

}  // namespace vmsrs::config
