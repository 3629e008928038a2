// SPDX-License-Identifier: Apache-2.0
#include "config/config.hpp"

#include <sys/stat.h>
#include <unistd.h>
#include <vmsrs/hosted.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <sstream>

#include "config/keys.hpp"
#include "config/secrets.hpp"
#include "daemon/servers.hpp"
#include "fake_channel.hpp"
#include "scratch.hpp"

namespace vmsrs::test {
namespace {

const std::string kHash(64, 'a');

struct Case {
  const char* content;
  const char* message;  // after `FILE:`
};

std::ostream& operator<<(std::ostream& out, const Case& one) { return out << one.content; }

const Case kBroken[] = {
    {"metrics: [1, 2\n", "2: document: expected well-formed YAML, found: "},
    {"- a\n",
     "1: document: expected a mapping with platform, hosted, management, metrics, api, log, check, "
     "reap, scrub, events, servers, found a list"},
    {"metrics:\n  listen: 127.0.0.1:9470\nmetrcs:\n  listen: x\n",
     "3: metrcs: expected one of platform, hosted, management, metrics, api, log, check, reap, "
     "scrub, events, servers, found the unknown key \"metrcs\"; did you mean \"metrics\"?"},
    {"\napi:\n  sokcet: /run/x\n",
     "3: api.sokcet: expected one of socket, socket_mode, socket_group, read_only_socket, "
     "read_only_socket_mode, tls, limits, found the unknown key "
     "\"sokcet\"; did you mean \"socket\"?"},
    {"api:\n  zzzzzz: 1\n",
     "2: api.zzzzzz: expected one of socket, socket_mode, socket_group, read_only_socket, "
     "read_only_socket_mode, tls, limits, found the unknown key "
     "\"zzzzzz\""},
    {"api:\n  socket: run/x\n",
     "2: api.socket: expected an absolute path of at most 107 characters, found \"run/x\""},
    {"api:\n  socket_mode: 0999\n",
     "2: api.socket_mode: expected an octal file mode such as 0660, found \"0999\""},
    {"api:\n  socket_mode: 01777\n",
     "2: api.socket_mode: expected an octal file mode such as 0660, found \"01777\""},
    {"metrics:\n  listen: 9470\n",
     "2: metrics.listen: expected host:port such as 127.0.0.1:9470 or [::1]:9470, found \"9470\""},
    {"metrics:\n  listen: localhost:70000\n",
     "2: metrics.listen: expected host:port such as 127.0.0.1:9470 or [::1]:9470, with a port from "
     "1 to 65535, found \"localhost:70000\""},
    {"metrics:\n  listen:\n    host: a\n",
     "3: metrics.listen: expected host:port such as 127.0.0.1:9470 or [::1]:9470, found a mapping"},
    {"metrics:\n  listen: a:1\n  listen: a:2\n",
     "3: metrics.listen: expected each key once, found \"listen\" again"},
    {"events:\n  store: events.db\n",
     "2: events.store: expected an absolute path of at most 400 characters, found \"events.db\""},
    {"events:\n  keep_days: 36501\n",
     "2: events.keep_days: expected a whole number from 0 to 36500, found \"36501\""},
    {"events:\n  keep_size: 1023KiB\n",
     "2: events.keep_size: expected a size from 1MiB to 1024TiB, found \"1023KiB\""},
    {"events:\n  keep: 1\n",
     "2: events.keep: expected one of store, keep_days, keep_size, dumps, found the unknown key "
     "\"keep\""},
    {"log:\n  level: inof\n",
     "2: log.level: expected one of trace, debug, info, warn, error, off, found \"inof\"; did you "
     "mean \"info\"?"},
    {"check:\n  timeout_ms: 5s\n",
     "2: check.timeout_ms: expected a whole number from 1 to 600000, found \"5s\""},
    {"check:\n  timeout_ms: 0\n",
     "2: check.timeout_ms: expected a whole number from 1 to 600000, found \"0\""},
    {"api:\n  limits: {threads: 2}\n",
     "2: api.limits.threads: expected a whole number from 3 to 64, found \"2\""},
    {"api:\n  limits: {body: 2MiB}\n",
     "2: api.limits.body: expected a size from 1KiB to 1MiB, found \"2MiB\""},
    {"api:\n  limits: {boddy: 1KiB}\n", "2: api.limits.boddy: expected one of "},
    {"metrics:\n  tls: yes\n", "2: metrics.tls: expected one of true, false, found \"yes\""},
    {"metrics:\n  tls: true\n",
     "1: api.tls.certificate: expected a path, for metrics.tls is given, found nothing"},
    {"api:\n  tls:\n    listen: '0.0.0.0:1'\n    certificate: /c\n    client_ca: /c\n",
     "3: api.tls.key: expected a path, for api.tls.listen is given, found nothing"},
    {"api:\n  tls:\n    clients: [{name: a, role: admin}]\n",
     "3: api.tls.clients[0].role: expected one of observe, operate, found \"admin\""},
    {"api:\n  tls:\n    clients: [{name: a, role: observe}, {name: a, role: operate}]\n",
     "3: api.tls.clients[1].name: expected a name that no other client has, found \"a\""},
    {"scrub:\n  rate: fast\n", "2: scrub.rate: expected a size"},
    {"reap:\n  interval_ms: -1\n",
     "2: reap.interval_ms: expected a whole number from 0 to 3600000, found \"-1\""},
    {"management: secret\n",
     "1: management: expected a mapping with secret_file, found \"secret\""},
    {"servers:\n  name: shop\n", "2: servers: expected a list, found a mapping"},
    {"servers:\n  - attach_secret_sha256: HASH\n",
     "2: servers[0].name: expected a name of 1 to 31 letters, digits, '-', '_' or '.', found "
     "nothing"},
    {"servers:\n  - name: a b\n",
     "2: servers[0].name: expected a name of 1 to 31 letters, digits, '-', '_' or '.', found \"a "
     "b\""},
    {"servers:\n  - name: shop\n",
     "2: servers[0]: expected exactly one of attach_secret_file and attach_secret_sha256, found "
     "neither"},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    attach_secret_file: /x\n",
     "2: servers[0]: expected exactly one of attach_secret_file and attach_secret_sha256, found "
     "both"},
    {"servers:\n  - name: shop\n    attach_secret_sha256: abc\n",
     "3: servers[0].attach_secret_sha256: expected 64 hexadecimal digits, found \"abc\""},
    {"servers:\n  - name: shop\n    account: nobody-here\n    attach_secret_sha256: HASH\n",
     "3: servers[0].account: expected an account of this host, found \"nobody-here\""},
    {"servers:\n  - name: shop\n    account: 4294967295\n    attach_secret_sha256: HASH\n",
     "3: servers[0].account: expected an account of this host, found \"4294967295\""},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    users: many\n",
     "4: servers[0].users: expected a whole number from 1 to 1024, found \"many\""},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    users: 1025\n",
     "4: servers[0].users: expected a whole number from 1 to 1024, found \"1025\""},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    storage_quota: 64 MB\n",
     "4: servers[0].storage_quota: expected a size such as 64MiB (units B, KiB, MiB, GiB, TiB), or "
     "0, found \"64 MB\""},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    storage_quota: 99999999TiB\n",
     "4: servers[0].storage_quota: expected a size such as 64MiB (units B, KiB, MiB, GiB, TiB), or "
     "0, found \"99999999TiB\""},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    storage_full: unprotectd\n",
     "4: servers[0].storage_full: expected one of refuse, unprotected, found \"unprotectd\"; did "
     "you "
     "mean \"unprotected\"?"},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n    storage_full: true\n",
     "4: servers[0].storage_full: expected one of refuse, unprotected, found \"true\""},
    {"servers:\n  - name: shop\n    attach_secret_sha256: HASH\n  - name: shop\n"
     "    attach_secret_sha256: HASH\n",
     "4: servers[1].name: expected a name that no other server has, found \"shop\""},
};

std::string error_of(const std::string& file) {
  try {
    (void)config::load(file);
  } catch (const config::Error& error) {
    return error.what();
  }
  return "no error";
}

std::string with_hash(std::string content) {
  for (std::size_t at; (at = content.find("HASH")) != std::string::npos;) {
    content.replace(at, 4, kHash);
  }
  return content;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(configuration)

BOOST_DATA_TEST_CASE(names_file_line_and_key, boost::unit_test::data::make(kBroken), one) {
  const Scratch scratch;
  const std::string file = scratch.write("vmsrs.yaml", with_hash(one.content));
  const std::string expected = file + ":" + one.message;
  // Of a syntax error only the beginning: the rest is the YAML library's.
  BOOST_TEST(error_of(file).substr(0, std::max(expected.size(), std::size_t{1})) == expected);
}

BOOST_AUTO_TEST_CASE(more_servers_than_the_hypervisor_has_are_an_error) {
  std::string content = "servers:\n";
  for (int i = 0; i < 17; ++i) {
    content += "  - {name: s" + std::to_string(i) + ", attach_secret_sha256: " + kHash + "}\n";
  }
  const Scratch scratch;
  const std::string file = scratch.write("vmsrs.yaml", content);
  BOOST_TEST(error_of(file) == file + ":2: servers: expected at most 16 servers, found 17");
}

BOOST_AUTO_TEST_CASE(missing_file_is_an_error) {
  BOOST_TEST(error_of("/nowhere/vmsrs.yaml") ==
             "/nowhere/vmsrs.yaml:1: document: expected a readable file, found: No such file or "
             "directory");
}

BOOST_AUTO_TEST_CASE(empty_file_gives_the_defaults) {
  const Scratch scratch;
  const config::Config config = config::load(scratch.write("vmsrs.yaml", ""));
  BOOST_TEST(config.metrics.host == "127.0.0.1");
  BOOST_TEST(config.metrics.port == 9470);
  BOOST_TEST(config.servers.empty());
}

BOOST_AUTO_TEST_CASE(reference_file_holds_the_defaults) {
  const config::Config file = config::load(VMSRS_REFERENCE_CONFIG);
  const config::Config defaults;
  for (const config::Key& key : config::keys()) {
    // The file names the default of another program there.
    const std::string expected =
        key.name == "hosted.socket" ? VMSRS_HOSTED_SOCKET : key.text(defaults);
    BOOST_TEST(key.text(file) == expected, key.name);
    if (!key.is_list) {
      const std::string text = read_file(VMSRS_REFERENCE_CONFIG);
      const std::string last = key.name.substr(key.name.rfind('.') + 1);
      BOOST_TEST(text.find(last + ":") != std::string::npos, key.name + " is not in the file");
    }
  }
  BOOST_TEST(file.servers.empty());
}

BOOST_AUTO_TEST_CASE(environment_goes_before_the_file) {
  const Scratch scratch;
  const std::string file = scratch.write("vmsrs.yaml", "log: {level: error}\n");
  const auto with = [&](const char* variable, const char* text) {
    ::setenv(variable, text, 1);
    std::string error;
    config::Config config;
    try {
      config = config::load(file);
    } catch (const config::Error& caught) {
      error = caught.what();
    }
    ::unsetenv(variable);
    return std::pair(config, error);
  };
  BOOST_TEST(with("VMSRS_LOG_LEVEL", "debug").first.log_level == "debug");
  BOOST_TEST(with("VMSRS_API_LIMITS_BURST", "7").first.api_limits.burst == 7u);
  const config::Config moved = with("VMSRS_API_SOCKET", "/srv/a.sock").first;
  BOOST_TEST(moved.api_socket == "/srv/a.sock");
  BOOST_TEST(moved.api_read_only_socket == "/srv/a-read-only.sock");
  BOOST_TEST(moved.log_level == "error");
  const std::string servers = "[{\"name\": \"shop\", \"attach_secret_sha256\": \"" + kHash + "\"}]";
  BOOST_REQUIRE(with("VMSRS_SERVERS", servers.c_str()).first.servers.size() == 1u);
  BOOST_TEST(with("VMSRS_LOG_LEVEL", "inof").second ==
             "environment variable VMSRS_LOG_LEVEL: log.level: expected one of trace, debug, info, "
             "warn, error, off, found \"inof\"; did you mean \"info\"?");
  BOOST_TEST(
      with("VMSRS_SERVERS", "[{name: shop, usres: 1}]")
          .second.starts_with(
              "environment variable VMSRS_SERVERS: servers[0].usres: expected one of name, "));
  BOOST_TEST(with("VMSRS_SERVERS", "[{")
                 .second.starts_with("environment variable VMSRS_SERVERS: servers: expected a list "
                                     "in YAML's or JSON's form"));
}

BOOST_AUTO_TEST_CASE(clients_of_tls) {
  const Scratch scratch;
  const std::string tls = "api: {tls: {certificate: /c, key: /k, client_ca: /a, clients: ";
  const auto config = config::load(scratch.write(
      "vmsrs.yaml", tls + "[{name: a.example, role: operate}, {name: b, role: observe}]}}\n"));
  BOOST_REQUIRE(config.api_tls_clients.size() == 2u);
  BOOST_TEST(config.api_tls_clients[0].operate);
  BOOST_TEST(!config.api_tls_clients[1].operate);
}

BOOST_AUTO_TEST_CASE(example_in_the_reference_file_is_good) {
  std::istringstream lines(read_file(VMSRS_REFERENCE_CONFIG));
  std::string example;
  for (std::string line; std::getline(lines, line);) {
    if (line == "# servers:" || !example.empty()) {
      if (line == "servers: []") break;
      example += line.substr(2) + "\n";
    }
  }
  const Scratch scratch;
  const config::Config config = config::load(scratch.write("vmsrs.yaml", example));
  BOOST_REQUIRE(config.servers.size() == 2);
  BOOST_TEST(config.servers[0].name == "bookshop");
  BOOST_TEST(config.servers[0].account.value().id == 0u);
  BOOST_TEST(!config.servers[1].account.has_value());
  BOOST_TEST(config.servers[0].storage_quota_bytes == 64u << 20);
  BOOST_TEST(config.servers[0].storage_full == VMSRS_STORAGE_UNPROTECTED);
  BOOST_TEST(config.servers[1].storage_full == VMSRS_STORAGE_REFUSE);
  BOOST_TEST((config.servers[0].containment == std::uint32_t{VMSRS_SERVER_CONTAIN}));
  BOOST_TEST(!config.servers[1].containment.has_value());
  BOOST_TEST(config.servers[0].users == 256);
  BOOST_TEST(config.servers[1].users == 1024);
  BOOST_TEST(config.servers[1].attach_secret_sha256.has_value());
}

BOOST_AUTO_TEST_CASE(an_account_may_be_a_number_up_to_the_last_one) {
  const Scratch scratch;
  const config::Config config =
      config::load(scratch.write("vmsrs.yaml",
                                 "servers:\n  - name: shop\n    account: 4294967294\n"
                                 "    attach_secret_sha256: " +
                                     std::string(64, 'a') + "\n"));
  BOOST_TEST(config.servers.at(0).account.value().id == 4294967294u);
}

BOOST_AUTO_TEST_CASE(policies_and_quotas_reach_the_definition) {
  const Scratch scratch;
  const config::Config config = config::load(scratch.write(
      "vmsrs.yaml", with_hash("servers:\n"
                              "  - {name: a, attach_secret_sha256: HASH, storage_quota: 1MiB,"
                              " storage_full: unprotected, users: 7}\n"
                              "  - {name: b, attach_secret_sha256: HASH, storage_full: refuse,"
                              " containment: off}\n"
                              "  - {name: c, attach_secret_sha256: HASH}\n")));
  FakeChannel channel;
  daemon::push_servers(channel, config);
  BOOST_REQUIRE(channel.definitions.size() == 3u);
  // Of the second server only: what an operator has said of the others stays.
  BOOST_TEST(channel.calls.size() == 4u);
  BOOST_TEST(channel.calls[2] == "contain 2 3");
  BOOST_TEST(channel.definitions[0].storage_policy == unsigned{VMSRS_STORAGE_UNPROTECTED});
  BOOST_TEST(channel.definitions[0].storage_quota_bytes == 1u << 20);
  BOOST_TEST(channel.definitions[0].user_quota == 7u);
  BOOST_TEST(channel.definitions[1].storage_policy == unsigned{VMSRS_STORAGE_REFUSE});
  BOOST_TEST(channel.definitions[2].storage_policy == unsigned{VMSRS_STORAGE_REFUSE});
}

BOOST_AUTO_TEST_CASE(ipv6_address_is_taken_out_of_its_brackets) {
  const Scratch scratch;
  const auto config = config::load(scratch.write("vmsrs.yaml", "metrics: {listen: '[::1]:80'}\n"));
  BOOST_TEST(config.metrics.host == "::1");
  BOOST_TEST(config.metrics.port == 80);
}

BOOST_AUTO_TEST_CASE(attach_hash_is_the_sha256_of_the_bytes) {
  const Scratch scratch;
  config::Server server;
  server.where = "f:1: servers[0]";
  server.attach_secret_file = scratch.write("secret", "  " + std::string(64, '0') + "\n");
  // SHA-256 of 32 zero bytes.
  const auto expected =
      config::parse_hex("66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
  BOOST_TEST((config::attach_hash(server) == expected.value()));
  // The account's alone: chmod and chown are told.
  server.account = config::Account{"shop", getuid()};
  BOOST_REQUIRE(chmod(server.attach_secret_file->c_str(), 0440) == 0);
  const auto is_told = [&](const auto& error) {
    return std::string(error.what())
        .starts_with(
            "f:1: servers[0].attach_secret_file: expected a file that belongs to shop and "
            "that no other account can read, found " +
            *server.attach_secret_file);
  };
  BOOST_CHECK_EXCEPTION((void)config::attach_hash(server), config::Error, is_told);
  BOOST_REQUIRE(chmod(server.attach_secret_file->c_str(), 0400) == 0);
  BOOST_TEST((config::attach_hash(server) == expected.value()));
  server.account->id = getuid() + 1;
  BOOST_CHECK_EXCEPTION((void)config::attach_hash(server), config::Error, is_told);
  server.account.reset();
  server.attach_secret_file = scratch.write("secret2", "1234");
  BOOST_CHECK_EXCEPTION((void)config::attach_hash(server), config::Error, [&](const auto& error) {
    return std::string(error.what())
        .starts_with(
            "f:1: servers[0].attach_secret_file: expected a readable file of 64 hexadecimal "
            "digits");
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
