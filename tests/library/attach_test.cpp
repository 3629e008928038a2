// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <string>

#include "fixture.hpp"

// Attaching: what can be wrong, and what the message says about it.
using namespace vmsrs::test;

namespace {

int attach(const char* name, const char* secret) {
  start_engine();
  vmsrs_options options{};
  options.server_name = name;
  options.secret_file = secret;
  const int error = vmsrs_attach(&options);
  if (error == 0) vmsrs_detach();
  return error;
}

bool message_has(const char* text) {
  const bool has = std::strstr(vmsrs_error_message(), text) != nullptr;
  BOOST_TEST_MESSAGE(vmsrs_error_message());
  return has;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attaching)

BOOST_AUTO_TEST_CASE(secret_file) {
  BOOST_CHECK_EQUAL(attach(kServerName, "/nonexistent/secret"), VMSRS_ERROR_CONFIGURATION);
  BOOST_CHECK(message_has("/nonexistent/secret: No such file"));
  BOOST_CHECK_EQUAL(attach(kServerName, "/tmp"), VMSRS_ERROR_CONFIGURATION);
  BOOST_CHECK(message_has("not a regular file"));
  const SecretFile shorter(SecretFile::good_content().substr(1));
  BOOST_CHECK_EQUAL(attach(kServerName, shorter.path()), VMSRS_ERROR_CONFIGURATION);
  BOOST_CHECK(message_has("63 characters, expected 64"));
  const SecretFile longer(std::string(500, 'a'));
  BOOST_CHECK_EQUAL(attach(kServerName, longer.path()), VMSRS_ERROR_CONFIGURATION);
  BOOST_CHECK(message_has("expected 64"));
  const SecretFile empty("");
  BOOST_CHECK_EQUAL(attach(kServerName, empty.path()), VMSRS_ERROR_CONFIGURATION);
  BOOST_CHECK(message_has("0 characters"));
  std::string text = SecretFile::good_content();
  text[10] = 'g';
  const SecretFile letters(text);
  BOOST_CHECK_EQUAL(attach(kServerName, letters.path()), VMSRS_ERROR_CONFIGURATION);
  BOOST_CHECK(message_has("character 11 is not a hexadecimal digit"));
  for (const unsigned mode : {0644u, 0604u, 0420u, 0402u}) {
    const SecretFile open(SecretFile::good_content(), mode);
    BOOST_CHECK_EQUAL(attach(kServerName, open.path()), VMSRS_ERROR_CONFIGURATION);
    BOOST_CHECK(message_has("chmod 0400"));
  }
  const SecretFile group(SecretFile::good_content(), 0440);
  BOOST_CHECK_EQUAL(attach(kServerName, group.path()), 0);
}

BOOST_AUTO_TEST_CASE(name_and_secret) {
  const SecretFile good;
  BOOST_CHECK_EQUAL(attach("nobody", good.path()), VMSRS_ERROR_DENIED);
  BOOST_CHECK(message_has("vmsrs.yaml"));
  BOOST_CHECK_EQUAL(attach("a-name-of-more-than-thirty-one-characters", good.path()),
                    VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(attach(nullptr, good.path()), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(vmsrs_attach(nullptr), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(vmsrs_detach(), VMSRS_ERROR_STATE);
}

BOOST_AUTO_TEST_CASE(a_bound_on_waiting_beyond_what_accesses_repeat) {
  start_engine();
  const SecretFile secret;
  vmsrs_options options{};
  options.server_name = kServerName;
  options.secret_file = secret.path();
  options.stuck_limit_ms = 30'001;
  BOOST_CHECK_EQUAL(vmsrs_attach(&options), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK(message_has("stuck_limit_ms"));
}

BOOST_AUTO_TEST_CASE(once_a_process_and_again_after_detach) {
  for (unsigned round = 0; round < 3; ++round) {
    AttachedServer server;
    const SecretFile secret;
    BOOST_CHECK_EQUAL(attach(kServerName, secret.path()), VMSRS_ERROR_STATE);
    BOOST_CHECK(message_has("attached already"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
