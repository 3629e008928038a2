// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {

void add_watch_options(CLI::App& verb, Context& context) {
  CLI::Option* const watch =
      verb.add_option("--watch", context.watch_seconds,
                      "Again and again, with so many seconds between (2 if left out)")
          ->check(CLI::Range(0.05, 3600.0).description(""))
          ->type_name("SECONDS")
          ->expected(0, 1)
          ->default_str("2");
  verb.add_option("--count", context.watch_count, "Of --watch: end after so many times")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("NUMBER")
      ->needs(watch);
}

void add_list_options(CLI::App& verb, Context& context) {
  verb.add_option("--sort", context.sort,
                  "Order by this field of --output json; with '-' before it, the highest first")
      ->type_name("FIELD");
  verb.add_option("--columns", context.columns, "Only these columns, in this order")
      ->delimiter(',')
      ->type_name("NAME,...");
  add_watch_options(verb, context);
}

Json sorted(const Json& list, const Context& context) {
  if (context.sort.empty() || list.empty()) return list;
  const bool down = context.sort.front() == '-';
  const std::string field = context.sort.substr(down ? 1 : 0);
  std::vector<std::string> fields;
  for (const auto& [name, value] : list.front().items())
    if (value.is_primitive()) fields.push_back(name);
  if (std::find(fields.begin(), fields.end(), field) == fields.end())
    fail_unknown("field", field, fields);
  std::vector<Json> items(list.begin(), list.end());
  std::stable_sort(items.begin(), items.end(), [&](const Json& a, const Json& b) {
    return down ? b.at(field) < a.at(field) : a.at(field) < b.at(field);
  });
  return items;
}

}  // namespace vmsrs::cli
