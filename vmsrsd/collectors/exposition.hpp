// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <map>
#include <string>

#include "collectors/scrape.hpp"

namespace vmsrs::collectors {

// All collectors, run anew at each scrape, and the daemon's word about each: success and duration.
// Any thread.
class Exposition final : public prometheus::Collectable {
 public:
  // When certificates end, Unix time, by name; absent without TLS.
  using CertificateExpiry = std::function<std::map<std::string, double>()>;
  static constexpr const char* kOwnProcess = "/proc/self";

  Exposition(channel::Channel& channel, const daemon::CheckLedger& checks,
             const daemon::EventLedger& events, daemon::Clock clock,
             CertificateExpiry certificate_expiry = {}, std::string process = kOwnProcess)
      : channel_(channel),
        checks_(checks),
        events_(events),
        clock_(std::move(clock)),
        certificate_expiry_(std::move(certificate_expiry)),
        process_(std::move(process)),
        start_(clock_.unix_time()) {}

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;
  // In Prometheus's text format, version 0.0.4.
  [[nodiscard]] std::string text() const;

 private:
  channel::Channel& channel_;
  const daemon::CheckLedger& checks_;
  const daemon::EventLedger& events_;
  mutable daemon::LogLedger log_;
  daemon::Clock clock_;
  CertificateExpiry certificate_expiry_;
  std::string process_;  // its folder below /proc
  double start_;         // Unix time
};

}  // namespace vmsrs::collectors
