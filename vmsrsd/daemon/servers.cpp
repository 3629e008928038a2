// SPDX-License-Identifier: Apache-2.0
#include "daemon/servers.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "channel/names.hpp"
#include "config/keys.hpp"
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

// Puts back in `fresh` what can only change at a restart; the names of those keys.
std::vector<std::string> refuse_changes(const config::Config& config, config::Config& fresh) {
  std::vector<std::string> refused;
  for (const config::Key& key : config::keys()) {
    if (key.change == config::Change::kAtReload || key.text(config) == key.text(fresh)) continue;
    refused.push_back(key.name);
    key.copy(config, fresh);
  }
  return refused;
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

void reload(
    channel::Channel& channel, const std::function<config::Config()>& load, config::Config& config,
    const std::function<void(const config::Config&, const std::vector<std::string>&)>& use) {
  try {
    config::Config fresh = load();
    const std::vector<std::string> refused = refuse_changes(config, fresh);
    // What cannot be read is found before anything changes.
    (void)config::management_secret(fresh);
    for (const config::Server& server : fresh.servers) (void)config::attach_hash(server);
    use(fresh, refused);
    push_servers(channel, fresh);
    push_secret(channel, fresh, config);
    for (const std::string& key : refused)
      spdlog::warn("{}: refused, cannot change while vmsrsd runs: restart it", key);
    for (const config::Server& server : config.servers) {
      if (!has_server(fresh, server.name)) {
        spdlog::warn("servers: {} is gone from the file, but stays defined until the next boot",
                     server.name);
      }
    }
    fresh.management_hash = config.management_hash;
    config = std::move(fresh);
    spdlog::info("read the configuration again: {} servers", config.servers.size());
  } catch (const std::runtime_error& error) {
    spdlog::error("not reloaded: {}", error.what());
  }
}

}  // namespace vmsrs::daemon
