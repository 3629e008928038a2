// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace vmsrs::api {

// This host's certificate and the clients that it knows, for listeners that ask every client for a
// certificate. Any thread.
class Tls {
 public:
  // Throws std::runtime_error that names the file and what is wrong with it; so does reread().
  explicit Tls(const config::Config& config);

  // Certificates, key and clients anew. After an exception everything is as it was.
  void reread(const config::Config& config);

  // A server's end of a connection; freed by SSL_free. Connections keep the certificate with which
  // they began.
  [[nodiscard]] ssl_st* accept(int descriptor);

  struct Client {
    std::string name;  // of its certificate: the one that is known, or else the common name
    bool known = false;
    bool operate = false;
  };
  // Who has proved its certificate on that connection.
  [[nodiscard]] Client client_of(ssl_st* connection);

  // When the first certificate of each file ends, Unix time, by the name of its key: "certificate",
  // "client_ca".
  [[nodiscard]] std::map<std::string, double> expiry();

 private:
  struct State {
    std::shared_ptr<ssl_ctx_st> context;
    std::vector<config::TlsClient> clients;
    std::map<std::string, double> expiry;
  };
  static State read(const config::Config& config);

  std::mutex mutex_;
  State state_;
};

}  // namespace vmsrs::api
