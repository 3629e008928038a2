// SPDX-License-Identifier: Apache-2.0
#include "api/tls.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <stdexcept>

namespace vmsrs::api {
namespace {

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

[[noreturn]] void fail(const std::string& key, const std::string& file, const std::string& what) {
  const unsigned long error = ::ERR_get_error();
  ::ERR_clear_error();
  const char* reason = error == 0 ? nullptr : ::ERR_reason_error_string(error);
  throw std::runtime_error("api.tls." + key + ": " + file + ": " + what +
                           (reason == nullptr ? "" : std::string(" (") + reason + ")"));
}

double end_of(const std::string& key, const std::string& file) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "re"),
                                                         &std::fclose);
  const Certificate certificate(
      stream ? ::PEM_read_X509(stream.get(), nullptr, nullptr, nullptr) : nullptr, &X509_free);
  if (!certificate) fail(key, file, "expected a readable file of certificates in PEM");
  std::tm time{};
  if (::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate.get()), &time) != 1)
    fail(key, file, "its certificate has no proper end");
  return static_cast<double>(::timegm(&time));
}

std::string text_of(const ASN1_STRING* string) {
  unsigned char* text = nullptr;
  const int length = ::ASN1_STRING_to_UTF8(&text, string);
  if (length < 0) return "";
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
  ::OPENSSL_free(text);
  // A NUL would make two names look like one to those that stop there.
  return name.find('\0') == std::string::npos ? name : "";
}

// The common name, if there is one, and the DNS names.
std::vector<std::string> names_of(const X509* certificate) {
  std::vector<std::string> names;
  const X509_NAME* subject = ::X509_get_subject_name(certificate);
  const int place = ::X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (place >= 0)
    names.push_back(text_of(::X509_NAME_ENTRY_get_data(::X509_NAME_get_entry(subject, place))));
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> others(
      static_cast<GENERAL_NAMES*>(
          ::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  for (int i = 0; others && i < sk_GENERAL_NAME_num(others.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(others.get(), i);
    if (name->type == GEN_DNS) names.push_back(text_of(name->d.dNSName));
  }
  std::erase(names, "");
  return names;
}

}  // namespace

Tls::Tls(const config::Config& config) : state_(read(config)) {}

Tls::State Tls::read(const config::Config& config) {
  State state;
  state.clients = config.api_tls_clients;
  state.expiry = {{"certificate", end_of("certificate", config.api_tls_certificate)},
                  {"client_ca", end_of("client_ca", config.api_tls_client_ca)}};
  state.context = std::shared_ptr<SSL_CTX>(::SSL_CTX_new(::TLS_server_method()), &::SSL_CTX_free);
  SSL_CTX* const context = state.context.get();
  if (context == nullptr) throw std::runtime_error("TLS: no memory");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // Every connection proves its certificate anew: one that is no longer trusted is out at once.
  ::SSL_CTX_set_options(
      context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  const char* const certificate = config.api_tls_certificate.c_str();
  const char* const client_ca = config.api_tls_client_ca.c_str();
  if (::SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
    fail("certificate", config.api_tls_certificate, "no chain of certificates in PEM");
  if (::SSL_CTX_use_PrivateKey_file(context, config.api_tls_key.c_str(), SSL_FILETYPE_PEM) != 1)
    fail("key", config.api_tls_key, "expected the readable private key of api.tls.certificate");
  if (::SSL_CTX_load_verify_locations(context, client_ca, nullptr) != 1)
    fail("client_ca", config.api_tls_client_ca, "no certificates in PEM");
  ::SSL_CTX_set_client_CA_list(context, ::SSL_load_client_CA_file(client_ca));
  return state;
}

void Tls::reread(const config::Config& config) {
  State fresh = read(config);
  const std::lock_guard lock(mutex_);
  state_ = std::move(fresh);
}

SSL* Tls::accept(int descriptor) {
  const std::lock_guard lock(mutex_);
  SSL* const connection = ::SSL_new(state_.context.get());
  if (connection == nullptr) return nullptr;
  ::SSL_set_fd(connection, descriptor);
  ::SSL_set_accept_state(connection);
  return connection;
}

Tls::Client Tls::client_of(SSL* connection) {
  const Certificate certificate(::SSL_get1_peer_certificate(connection), &X509_free);
  if (!certificate || ::SSL_get_verify_result(connection) != X509_V_OK) return {};
  const std::vector<std::string> names = names_of(certificate.get());
  const std::lock_guard lock(mutex_);
  for (const config::TlsClient& client : state_.clients)
    if (std::find(names.begin(), names.end(), client.name) != names.end())
      return {client.name, true, client.operate};
  return {names.empty() ? "" : names.front(), false, false};
}

std::map<std::string, double> Tls::expiry() {
  const std::lock_guard lock(mutex_);
  return state_.expiry;
}

}  // namespace vmsrs::api
