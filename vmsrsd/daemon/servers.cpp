// SPDX-License-Identifier: Apache-2.0
#include "daemon/servers.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "channel/names.hpp"
#include "config/secrets.hpp"

namespace vmsrs::daemon {
namespace {

vmsrs_server_definition definition_of(const config::Server& server) {
  vmsrs_server_definition definition{};
  server.name.copy(definition.name, VMSRS_NAME_BYTES - 1);
  const config::Digest hash = config::attach_hash(server);
  std::copy(hash.begin(), hash.end(), definition.secret_hash);
  definition.storage_quota_bytes = server.storage_quota_bytes;
  definition.user_quota = server.users;
  definition.storage_policy = server.storage_full;
  return definition;
}

// Names of the keys, other than `servers`, whose values differ.
std::vector<const char*> changed_keys(const config::Config& a, const config::Config& b) {
  std::vector<const char*> keys;
  const auto compare = [&](const char* key, bool same) {
    if (!same) keys.push_back(key);
  };
  compare("platform", a.platform == b.platform);
  compare("hosted.socket", a.hosted_socket == b.hosted_socket);
  compare("management.secret_file", a.management_secret_file == b.management_secret_file);
  compare("metrics.listen", a.metrics_host == b.metrics_host && a.metrics_port == b.metrics_port);
  compare("api.socket", a.api_socket == b.api_socket);
  compare("api.socket_mode", a.api_socket_mode == b.api_socket_mode);
  compare("api.socket_group", a.api_socket_group == b.api_socket_group);
  compare("log.level", a.log_level == b.log_level);
  compare("check.timeout_ms", a.check_timeout_ms == b.check_timeout_ms);
  compare("reap.interval_ms", a.reap_interval_ms == b.reap_interval_ms);
  compare("scrub.rate", a.scrub_rate_bytes == b.scrub_rate_bytes);
  return keys;
}

bool has_server(const config::Config& config, const std::string& name) {
  return std::any_of(config.servers.begin(), config.servers.end(),
                     [&](const config::Server& server) { return server.name == name; });
}

void push_secret(channel::Channel& channel, const config::Config& fresh, config::Config& config) {
  config::Digest secret = config::management_secret(fresh);
  const config::Digest hash = config::sha256(secret);
  explicit_bzero(secret.data(), secret.size());
  if (hash == config.management_hash) return;
  if (const vmsrs_status status = channel.change_secret(hash); status != VMSRS_OK)
    throw config::Error(
        config.management_where +
        ": the hypervisor does not take the new secret: " + channel::status_name(status));
  config.management_hash = hash;
  spdlog::warn(
      "the management secret has been changed; until the next boot. For that, put secret_sha256={} "
      "on the hypervisor's command line",
      config::hex(hash));
}

}  // namespace

void push_servers(channel::Channel& channel, const config::Config& config) {
  std::vector<vmsrs_server_definition> definitions;
  for (const config::Server& server : config.servers) definitions.push_back(definition_of(server));
  for (std::size_t i = 0; i < definitions.size(); ++i) {
    std::uint32_t number = 0;
    const vmsrs_status status = channel.define(definitions[i], number);
    if (status != VMSRS_OK) {
      throw config::Error(config.servers[i].where +
                          ": the hypervisor refuses this server: " + channel::status_name(status));
    }
    if (const auto& mode = config.servers[i].containment; mode) {
      const vmsrs_status contained = channel.contain(number, *mode);
      if (contained != VMSRS_OK)
        throw config::Error(config.servers[i].where + ": the hypervisor refuses its containment: " +
                            channel::status_name(contained));
    }
    spdlog::info("server {} is defined as number {}", config.servers[i].name, number);
  }
}

void reload(channel::Channel& channel, const std::string& file, config::Config& config) {
  try {
    const config::Config fresh = config::load(file);
    push_servers(channel, fresh);
    if (fresh.management_secret_file == config.management_secret_file)
      push_secret(channel, fresh, config);
    for (const char* key : changed_keys(config, fresh)) {
      spdlog::warn("{}: refused, cannot change while vmsrsd runs: restart it", key);
    }
    for (const config::Server& server : config.servers) {
      if (!has_server(fresh, server.name)) {
        spdlog::warn("servers: {} is gone from the file, but stays defined until the next boot",
                     server.name);
      }
    }
    config.servers = fresh.servers;
    spdlog::info("read {} again: {} servers", file, config.servers.size());
  } catch (const config::Error& error) {
    spdlog::error("not reloaded: {}", error.what());
  }
}

}  // namespace vmsrs::daemon
