// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ops_common/exit_codes.hpp>
#include <optional>
#include <set>

#include "fleet_figures.hpp"
#include "prometheus.hpp"
#include "several_hosts.hpp"
#include "verbs/verbs.hpp"

// Questions about the whole fleet: Prometheus, which has scraped every host, answers them in one
// query or two, however many hosts there are.
namespace vmsrs::cli {
namespace {

using figures::overhead;
using figures::series;
using figures::suppression_age;

// What the verbs of this noun know.
struct FleetQuestion {
  std::string url;       // --prometheus
  std::string by, sort;  // worst; top
  std::uint32_t limit = 0;
  std::optional<Fleet> fleet;  // absent: there is no fleet file, and none was named
  std::unique_ptr<PrometheusClient> prometheus;
};

// The fleet file may be missing if the URL is given otherwise.
void open(const Context& context, FleetQuestion& question) {
  PrometheusPlace place;
  std::error_code error;
  if (question.url.empty() || std::filesystem::exists(context.fleet_file, error)) {
    question.fleet = read_fleet_file(context.fleet_file);
    place = question.fleet->prometheus;
    (void)chosen_hosts(*question.fleet, context.choice);
  }
  if (!question.url.empty()) place.url = question.url;
  if (place.url.empty())
    throw Failure(ops::kExitUsage, context.fleet_file +
                                       ": prometheus.url is missing: give it there, or with "
                                       "--prometheus (see docs/fleet.md)");
  question.prometheus = std::make_unique<PrometheusClient>(place, context.timeout());
}

Figures ask(const FleetQuestion& question, const std::vector<Figure>& figures) {
  Figures answer;
  (void)with_progress("asking Prometheus", [&] {
    answer = question.prometheus->ask(figures);
    return Json();
  });
  return answer;
}

// A single value; null if there is none.
Json value_of(const Figures& answer, const std::string& figure) {
  const auto found = answer.find(figure);
  if (found == answer.end() || found->second.empty()) return nullptr;
  const double value = found->second.front().value;
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

// The same of what has no fractions.
Json count_of(const Figures& answer, const std::string& figure) {
  const Json value = value_of(answer, figure);
  return value.is_null() ? value : Json(static_cast<std::int64_t>(value.get<double>()));
}

std::string label_in(const PrometheusSample& sample, const std::string& label) {
  const auto found = sample.labels.find(label);
  return found == sample.labels.end() ? "" : found->second;
}

// In the order of the names.
Json names_where(const Figures& answer, const std::string& figure, double value) {
  std::set<std::string> names;
  if (const auto found = answer.find(figure); found != answer.end())
    for (const PrometheusSample& sample : found->second)
      if (sample.value == value) names.insert(label_in(sample, "instance"));
  return names;
}

// A count for each value of a label, those of 0 too. `increase` estimates: a tenth is kept.
Json counts_by(const Figures& answer, const std::string& figure, const std::string& label) {
  std::map<std::string, double> counts;
  if (const auto found = answer.find(figure); found != answer.end())
    for (const PrometheusSample& sample : found->second)
      counts[label_in(sample, label)] = std::round(sample.value * 10) / 10;
  return counts;
}

// Prometheus knows the hosts, and those that answer are vmsrsd's; else why not.
void expect_metrics(const FleetQuestion& question, const Figures& answer,
                    const HostChoice& choice) {
  const auto known = answer.find("up");
  const std::string where = "Prometheus at " + question.prometheus->url();
  if (known == answer.end())
    throw Failure(ops::kExitFailed,
                  where + " has nothing for " + series("up", choice) +
                      ": is there a scrape job \"vmsrs\" whose targets carry the names and labels "
                      "of the fleet file? (see docs/fleet.md)");
  const bool any_up = std::any_of(known->second.begin(), known->second.end(),
                                  [](const PrometheusSample& sample) { return sample.value == 1; });
  if (any_up && !answer.contains("protecting"))
    throw Failure(ops::kExitFailed, where +
                                        " has no metric vmsrs_up of targets that are up: are "
                                        "they vmsrsd's /metrics?");
}

// ---- status

Json status_document(const FleetQuestion& question, const HostChoice& choice,
                     const Figures& answer) {
  const auto& known = answer.at("up");
  Json unknown = nullptr;
  if (question.fleet) {
    std::set<std::string> instances;
    for (const PrometheusSample& sample : known) instances.insert(label_in(sample, "instance"));
    unknown = Json::array();
    for (const FleetHost& host : chosen_hosts(*question.fleet, choice))
      if (!instances.contains(host.name)) unknown.push_back(host.name);
  }
  const auto up = std::count_if(known.begin(), known.end(),
                                [](const PrometheusSample& sample) { return sample.value == 1; });
  const auto protecting = answer.find("protecting");
  const auto protecting_count =
      protecting == answer.end()
          ? 0
          : std::count_if(protecting->second.begin(), protecting->second.end(),
                          [](const PrometheusSample& sample) { return sample.value == 1; });
  Json oldest = nullptr;
  if (const auto found = answer.find("oldest"); found != answer.end())
    oldest = {{"host", label_in(found->second.front(), "instance")},
              {"server", label_in(found->second.front(), "server")},
              {"seconds", found->second.front().value}};
  return {{"hosts", known.size()},
          {"up", up},
          {"down", names_where(answer, "up", 0)},
          {"protected", protecting_count},
          {"unprotected", names_where(answer, "protecting", 0)},
          {"not_scraped", unknown},
          {"attached_servers", count_of(answer, "attached_servers")},
          {"active_users", count_of(answer, "active_users")},
          {"suppressed_users", count_of(answer, "suppressed_users")},
          {"stuck_users", count_of(answer, "stuck_users")},
          {"oldest_suppression", oldest},
          {"faults_last_hour", counts_by(answer, "faults", "kind")},
          {"restores_last_hour", counts_by(answer, "restores", "cause")},
          {"recovery_region_bytes", count_of(answer, "region_bytes")},
          {"recovery_region_used_bytes", count_of(answer, "region_used_bytes")},
          {"overhead_share", value_of(answer, "overhead")}};
}

std::string name_list(const Json& names) {
  constexpr std::size_t kMostNames = 10;
  return names_words(names.get<std::vector<std::string>>(), kMostNames);
}

std::string figure_words(double number) {
  char text[32];
  std::snprintf(text, sizeof text, number == std::round(number) ? "%.0f" : "%.1f", number);
  return text;
}

std::string sum_words(const Json& counts) {
  if (counts.empty()) return "-";
  double sum = 0;
  std::string parts;
  for (const auto& [name, count] : counts.items()) {
    const auto number = count.get<double>();
    sum += number;
    if (number > 0) parts += (parts.empty() ? "" : ", ") + name + " " + figure_words(number);
  }
  return figure_words(sum) + (parts.empty() ? "" : " (" + parts + ")");
}

std::string overhead_words(const Json& share) {
  if (share.is_null()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f %%", 100 * share.get<double>());
  return text;
}

void print_fleet_status(const Json& status) {
  Table table;
  const auto add_names = [&](const char* title, const Json& names, Colour colour) {
    if (names.is_null() || names.empty()) return;
    table.add({title, Cell(std::to_string(names.size()) + ": " + name_list(names), colour)});
  };
  table.add({"Hosts", words(status.at("hosts")) + ", " + words(status.at("up")) + " up, " +
                          std::to_string(status.at("down").size()) + " down"});
  table.add({"Protected", words(status.at("protected")) + " hosts, " +
                              words(status.at("attached_servers")) + " servers attached"});
  add_names("Down", status.at("down"), Colour::kBad);
  add_names("Not protected", status.at("unprotected"), Colour::kBad);
  add_names("Not scraped", status.at("not_scraped"), Colour::kWarning);
  table.add({"Users", words(status.at("active_users")) + " active, " +
                          words(status.at("suppressed_users")) + " under suppression, " +
                          words(status.at("stuck_users")) + " stuck"});
  const Json& oldest = status.at("oldest_suppression");
  table.add({"Oldest suppression", oldest.is_null() ? "-"
                                                    : duration_words(oldest.at("seconds")) +
                                                          ", server " + words(oldest.at("server")) +
                                                          " on " + words(oldest.at("host"))});
  table.add({"Faults, last hour", sum_words(status.at("faults_last_hour"))});
  table.add({"Restored, last hour", sum_words(status.at("restores_last_hour"))});
  table.add({"Recovery storage", size_words(status.at("recovery_region_used_bytes")) + " of " +
                                     size_words(status.at("recovery_region_bytes")) + " used"});
  table.add({"Overhead", overhead_words(status.at("overhead_share")) +
                             (status.at("overhead_share").is_null()
                                  ? ""
                                  : " of the processors' time, mean of the hosts")});
  table.print();
}

int fleet_status(const Context& context, FleetQuestion& question) {
  open(context, question);
  const HostChoice& choice = context.choice;
  const auto sum = [&choice](const char* metric) { return "sum(" + series(metric, choice) + ")"; };
  const auto last_hour = [&choice](const char* label, const char* metric) {
    return std::string("sum by (") + label + ") (increase(" + series(metric, choice) + "[1h]))";
  };
  const Figures answer =
      ask(question, {{"up", series("up", choice)},
                     {"protecting", series("vmsrs_up", choice)},
                     {"attached_servers", sum("vmsrs_server_attached")},
                     {"active_users", sum("vmsrs_server_active_users")},
                     {"suppressed_users", sum("vmsrs_suppressed_users")},
                     {"stuck_users", sum("vmsrs_stuck_users")},
                     {"oldest", "topk(1, " + suppression_age(choice) + ")"},
                     {"faults", last_hour("kind", "vmsrs_user_faults_total")},
                     {"restores", last_hour("cause", "vmsrs_restores_total")},
                     {"region_bytes", sum("vmsrs_recovery_region_bytes")},
                     {"region_used_bytes", sum("vmsrs_recovery_region_used_bytes")},
                     {"overhead", "avg(" + overhead(choice) + ")"}});
  expect_metrics(question, answer, choice);
  const Json document = status_document(question, choice, answer);
  print(context.format(), document, [&] { print_fleet_status(document); });
  return ops::kExitOk;
}

// ---- top

struct TopFigure {
  const char* name;
  const char* header;
  const char* metric;
  bool rate;
};

constexpr TopFigure kTopFigures[] = {
    {"active_users", "ACTIVE", "vmsrs_server_active_users", false},
    {"suppressed_users", "SUPPRESSED", "vmsrs_suppressed_users", false},
    {"stuck_users", "STUCK", "vmsrs_stuck_users", false},
    {"users_per_second", "USERS/S", "vmsrs_users_begun_total", true},
    {"faults_per_second", "FAULTS/S", "vmsrs_user_faults_total", true},
    {"restores_per_second", "RESTORED/S", "vmsrs_restores_total", true},
    {"dropped_stores_per_second", "DROPPED/S", "vmsrs_suppressed_stores_total", true},
    {"storage_used_bytes", "STORAGE USED", "vmsrs_server_storage_used_bytes", false}};

std::string top_expression(const TopFigure& figure, const std::string& label,
                           const HostChoice& choice, const std::string& more) {
  const std::string of = series(figure.metric, choice, more);
  return "sum by (" + label + ") (" + (figure.rate ? "rate(" + of + "[2m])" : of) + ")";
}

std::vector<std::string> labels_of(const Figures& answer, const std::string& figure,
                                   const std::string& label) {
  std::vector<std::string> values;
  const auto found = answer.find(figure);
  if (found == answer.end()) return values;
  std::vector<PrometheusSample> samples = found->second;
  std::stable_sort(samples.begin(), samples.end(),
                   [](const auto& a, const auto& b) { return a.value > b.value; });
  for (const PrometheusSample& sample : samples) values.push_back(label_in(sample, label));
  return values;
}

Json value_with(const Figures& answer, const std::string& figure, const std::string& label,
                const std::string& value) {
  const auto found = answer.find(figure);
  if (found == answer.end()) return nullptr;
  for (const PrometheusSample& sample : found->second)
    if (label_in(sample, label) == value && std::isfinite(sample.value)) return sample.value;
  return nullptr;
}

int fleet_top(const Context& context, FleetQuestion& question) {
  open(context, question);
  const bool by_host = question.by == "host";
  const std::string label = by_host ? "instance" : "server";
  const HostChoice& choice = context.choice;
  const auto sort = std::find_if(std::begin(kTopFigures), std::end(kTopFigures),
                                 [&](const TopFigure& one) { return one.name == question.sort; });
  const Figures first =
      ask(question, {{"up", "count(" + series("up", choice) + " == 1)"},
                     {"protecting", "count(" + series("vmsrs_up", choice) + ")"},
                     {"first", "topk(" + std::to_string(question.limit) + ", " +
                                   top_expression(*sort, label, choice, "") + ")"}});
  expect_metrics(question, first, choice);
  const std::vector<std::string> values = labels_of(first, "first", label);
  Figures answer;
  if (!values.empty()) {
    std::vector<Figure> figures;
    for (const TopFigure& one : kTopFigures)
      figures.push_back(
          {one.name, top_expression(one, label, choice, figures::one_of(label, values))});
    answer = ask(question, figures);
  }
  Json rows = Json::array();
  for (const std::string& value : values) {
    Json row = {{by_host ? "host" : "server", value}};
    for (const TopFigure& one : kTopFigures)
      row[one.name] = value_with(answer, one.name, label, value);
    rows.push_back(std::move(row));
  }
  print(context.format(), Json{{by_host ? "hosts" : "servers", rows}}, [&] {
    if (rows.empty()) std::printf("No server is defined on these hosts.\n");
    std::vector<Column> columns = {by_host ? "HOST" : "SERVER"};
    for (const TopFigure& one : kTopFigures) columns.emplace_back(one.header);
    Table table(columns);
    for (const Json& row : rows) {
      std::vector<Cell> cells = {words(row.front())};
      for (const TopFigure& one : kTopFigures) {
        const Json& value = row.at(one.name);
        const bool bytes = std::string_view(one.name).ends_with("_bytes");
        cells.emplace_back(value.is_null() ? "-"
                           : bytes         ? size_words(value)
                                           : figure_words(value.get<double>()));
      }
      table.add(std::move(cells));
    }
    if (!rows.empty()) table.print(context.style());
  });
  return ops::kExitOk;
}

// ---- worst

struct WorstFigure {
  const char* by;
  const char* name;
  const char* none;  // what it means that no host has any
};

constexpr WorstFigure kWorstFigures[] = {
    {"oldest", "oldest_suppression_seconds", "Nobody is under suppression."},
    {"faults", "faults_last_hour", "No user has had a fault in the last hour."},
    {"overhead", "overhead_share",
     "The overhead is not known: no host tells how long it was in a hypervisor."}};

std::string worst_expression(const std::string& by, const HostChoice& choice,
                             const std::string& more) {
  if (by == "oldest") return "max by (instance) (" + suppression_age(choice, more) + ")";
  if (by == "overhead") return overhead(choice, more);
  return "sum by (instance) (increase(" + series("vmsrs_user_faults_total", choice, more) +
         "[1h]))";
}

int fleet_worst(const Context& context, FleetQuestion& question) {
  open(context, question);
  const HostChoice& choice = context.choice;
  const auto by = std::find_if(std::begin(kWorstFigures), std::end(kWorstFigures),
                               [&](const WorstFigure& one) { return one.by == question.by; });
  const Figures first =
      ask(question, {{"up", "count(" + series("up", choice) + " == 1)"},
                     {"protecting", "count(" + series("vmsrs_up", choice) + ")"},
                     {"first", "topk(" + std::to_string(question.limit) + ", " +
                                   worst_expression(question.by, choice, "") + " > 0)"}});
  expect_metrics(question, first, choice);
  const std::vector<std::string> names = labels_of(first, "first", "instance");
  Figures answer;
  if (!names.empty()) {
    std::vector<Figure> figures;
    for (const WorstFigure& one : kWorstFigures)
      figures.push_back(
          {one.name, worst_expression(one.by, choice, figures::one_of("instance", names))});
    answer = ask(question, figures);
  }
  Json hosts = Json::array();
  for (const std::string& name : names) {
    Json host = {{"host", name}};
    for (const WorstFigure& one : kWorstFigures)
      host[one.name] = value_with(answer, one.name, "instance", name);
    hosts.push_back(std::move(host));
  }
  print(context.format(), Json{{"by", question.by}, {"hosts", hosts}}, [&] {
    if (hosts.empty()) {
      std::printf("%s\n", by->none);
      return;
    }
    Table table({"HOST", "OLDEST SUPPRESSION", "FAULTS, LAST HOUR", "OVERHEAD"});
    for (const Json& host : hosts) {
      const Json& faults = host.at("faults_last_hour");
      table.add({words(host.at("host")), duration_words(host.at("oldest_suppression_seconds")),
                 faults.is_null() ? "-" : figure_words(faults.get<double>()),
                 overhead_words(host.at("overhead_share"))});
    }
    table.print(context.style());
  });
  return ops::kExitOk;
}

using FleetWork = int (*)(const Context&, FleetQuestion&);

void set_work(CLI::App* verb, Context& context, const std::shared_ptr<FleetQuestion>& question,
              FleetWork work) {
  verb->callback([&context, question, work] {
    context.across = Across::kItself;
    context.work = [&context, question, work] { return work(context, *question); };
  });
}

}  // namespace

void add_fleet(CLI::App& app, Context& context) {
  CLI::App* const noun =
      app.add_subcommand("fleet", "Ask Prometheus about all hosts, or those that are chosen");
  noun->require_subcommand(1);
  const auto add = [&](const char* name, const char* what) {
    const auto question = std::make_shared<FleetQuestion>();
    CLI::App* const verb = noun->add_subcommand(name, what);
    verb->add_option("--prometheus", question->url, "In place of prometheus.url of the fleet file")
        ->envname("VMSRS_PROMETHEUS")
        ->type_name("URL");
    add_watch_options(*verb, context);
    return std::make_pair(verb, question);
  };
  const auto add_limit = [](CLI::App* verb, FleetQuestion& question, std::uint32_t limit) {
    question.limit = limit;
    verb->add_option("--limit", question.limit, "So many, default " + std::to_string(limit))
        ->check(CLI::Range(1, 1000).description(""))
        ->type_name("NUMBER");
  };
  const auto [status, of_status] = add("status", "Show the fleet on one screen");
  set_work(status, context, of_status, fleet_status);

  const auto [top, of_top] =
      add("top", "Show the servers, or the hosts, that come first by one of their figures");
  of_top->by = "server";
  of_top->sort = "users_per_second";
  std::vector<std::string> fields;
  for (const TopFigure& one : kTopFigures) fields.emplace_back(one.name);
  top->add_option("--by", of_top->by, "server (its figures on all hosts together) or host")
      ->check(CLI::IsMember({"server", "host"}).description(""))
      ->type_name("WHAT");
  top->add_option("--sort", of_top->sort,
                  "The figure, as in --output json: " + joined(fields, ", "))
      ->check(CLI::IsMember(fields).description(""))
      ->type_name("FIELD");
  add_limit(top, *of_top, 20);
  set_work(top, context, of_top, fleet_top);

  const auto [worst, of_worst] = add("worst", "Show the hosts that need to be looked at first");
  of_worst->by = "oldest";
  worst
      ->add_option("--by", of_worst->by,
                   "oldest (suppression), faults (of the last hour) or overhead")
      ->check(CLI::IsMember({"oldest", "faults", "overhead"}).description(""))
      ->type_name("WHAT");
  add_limit(worst, *of_worst, 10);
  set_work(worst, context, of_worst, fleet_worst);
}

}  // namespace vmsrs::cli
