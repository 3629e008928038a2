// SPDX-License-Identifier: Apache-2.0
#include "prometheus.hpp"

#include <httplib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ops_common/exit_codes.hpp>

#include "client.hpp"

namespace vmsrs::cli {
namespace {

[[noreturn]] void fail_to_reach(const PrometheusPlace& place, httplib::Error error) {
  std::string why = "is it running, and reachable from here?";
  if (error == httplib::Error::SSLServerVerification)
    why = "its certificate is not vouched for by " +
          (place.ca.empty() ? "this system (prometheus.ca of the fleet file)" : place.ca) +
          ", or is of another host";
  else if (error == httplib::Error::SSLLoadingCerts || error == httplib::Error::SSLConnection)
    why = "TLS failed: look at prometheus.certificate, key and ca of the fleet file";
  else if (error == httplib::Error::Read)
    why = "the connection was closed, or there was no answer in time (--timeout)";
  throw Failure(ops::kExitUnreachable, "no Prometheus answers at " + place.url + ": " + why);
}

// What the API answers (https://prometheus.io/docs/prometheus/latest/querying/api/), as an error.
[[noreturn]] void fail_as_told(const std::string& url, int status, const Json& answer) {
  const int code = status == 401 || status == 403 ? ops::kExitDenied : ops::kExitFailed;
  const std::string http = "HTTP status " + std::to_string(status);
  if (answer.is_object() && answer.value("status", "") == "error")
    throw Failure(code, "Prometheus at " + url + ": " + answer.value("error", "no reason given") +
                            " (" + answer.value("errorType", "") + ", " + http + ")");
  if (code == ops::kExitDenied)
    throw Failure(code, "Prometheus at " + url + " refuses this client: " + http);
  throw Failure(code, "what answers at " + url + " is no Prometheus, or is not ready: " + http);
}

double number_of(const Json& value) {
  return std::strtod(value.get_ref<const std::string&>().c_str(), nullptr);
}

}  // namespace

PrometheusClient::PrometheusClient(PrometheusPlace place, std::chrono::milliseconds timeout)
    : place_(std::move(place)), timeout_(timeout) {
  const std::string& url = place_.url;
  const bool tls = url.starts_with("https://");
  const std::size_t host = tls ? 8 : 7;
  const std::size_t path = url.find('/', host);
  origin_ = url.substr(0, path);
  path_ = path == std::string::npos ? "" : url.substr(path);
  while (path_.ends_with('/')) path_.pop_back();
  if ((!tls && !url.starts_with("http://")) || origin_.size() <= host ||
      url.find_first_of("?# @") != std::string::npos)
    throw Failure(ops::kExitUsage, "\"" + url + "\" is no URL such as https://prometheus:9090");
  for (const std::string* file : {&place_.certificate, &place_.key, &place_.ca})
    if (!file->empty() && access(file->c_str(), R_OK) != 0)
      throw Failure(ops::kExitUsage, "for Prometheus: " + *file + ": " + std::strerror(errno));
}

Figures PrometheusClient::ask(const std::vector<Figure>& figures) const {
  std::string query;
  for (const Figure& figure : figures)
    query += (query.empty() ? "" : " or ") + std::string("label_replace(") + figure.expression +
             ", \"figure\", " + promql_string(figure.name) + ", \"\", \"\")";
  httplib::Client http(origin_, place_.certificate, place_.key);
  if (!place_.ca.empty()) http.set_ca_cert_path(place_.ca);
  http.enable_server_certificate_verification(true);
  http.set_connection_timeout(timeout_);
  http.set_write_timeout(timeout_);
  http.set_read_timeout(timeout_);
  const double seconds = std::chrono::duration<double>(timeout_).count();
  const httplib::Result result =
      http.Post(path_ + "/api/v1/query",
                httplib::Params{{"query", query}, {"timeout", std::to_string(seconds)}});
  if (!result) fail_to_reach(place_, result.error());
  const Json answer = Json::parse(result->body, nullptr, false);
  if (result->status != 200 || !answer.is_object() || answer.value("status", "") != "success")
    fail_as_told(place_.url, result->status, answer);
  Figures values;
  for (const Json& one : answer.at("data").at("result")) {
    PrometheusSample sample;
    for (const auto& [name, value] : one.at("metric").items())
      sample.labels[name] = value.get<std::string>();
    sample.value = number_of(one.at("value").at(1));
    values[sample.labels["figure"]].push_back(std::move(sample));
  }
  return values;
}

std::string promql_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace vmsrs::cli
