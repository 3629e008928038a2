// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <ops_common/exit_codes.hpp>
#include <optional>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

struct RegionChoice {
  std::string server;
  std::uint32_t region = 0;
};

// How a region's stores and restorations are done.
std::string mechanism_words(const Json& region) {
  const std::string words = region.at("claims").get<bool>() ? "claims" : "every store a call";
  return words + (region.at("eager").get<bool>() ? ", eager" : "");
}

Cell region_state_cell(const Json& state) {
  const Colour colour = state == "live" ? Colour::kGood : Colour::kWarning;
  return {words(state), colour};
}

void print_regions(const Json& regions, const TableStyle& style) {
  if (regions.empty()) {
    std::printf("No regions: no server has profiled one. vmsrsctl servers list shows servers.\n");
    return;
  }
  Table table({"SERVER",
               "REGION",
               "NAME",
               "STATE",
               "SIZE",
               "GRANULE",
               "STORES",
               "PROCESSES",
               {"PROCESS", true},
               {"ADDRESS", true},
               "RECORDS",
               "RESTORES",
               {"MIRROR PAGES", true},
               {"HEAD PAGES", true}});
  for (const Json& region : regions) {
    table.add({words(region.at("server")), words(region.at("region")), words(region.at("name")),
               region_state_cell(region.at("state")), size_words(region.at("bytes")),
               words(region.at("granule_bytes")), mechanism_words(region),
               words(region.at("processes")), words(region.at("process")),
               words(region.at("address")), words(region.at("records")),
               words(region.at("restores")), words(region.at("mirror_pages")),
               words(region.at("head_pages"))});
  }
  table.print(style);
}

int list_regions(const Context& context, const std::string& server) {
  const Client client = context.client();
  std::vector<std::string> servers{server};
  if (server.empty()) {
    servers.clear();
    const Json answer = client.get("/v1/servers");
    for (const Json& one : answer.at("servers")) servers.push_back(words(one.at("name")));
  }
  Json list = Json::array();
  for (const std::string& name : servers) {
    const Json answer = client.get("/v1/servers/" + name + "/regions");
    for (const Json& region : answer.at("regions")) {
      Json one = {{"server", name}};
      one.update(region);
      list.push_back(std::move(one));
    }
  }
  const Json document = {{"regions", sorted(list, context)}};
  print(context.format(), document,
        [&] { print_regions(document.at("regions"), context.style()); });
  return ops::kExitOk;
}

Json read_region(const Context& context, const RegionChoice& wanted) {
  return context.client().get("/v1/servers/" + wanted.server + "/regions/" +
                              std::to_string(wanted.region));
}

std::uint64_t total_of(const Json& buckets, const char* part) {
  std::uint64_t sum = 0;
  for (const Json& bucket : buckets)
    if (!bucket.at(part).is_null()) sum += bucket.at(part).get<std::uint64_t>();
  return sum;
}

// How far what a map shows can be relied on.
std::string map_words(const Json& map) {
  if (map.at("age_seconds").is_null())
    return "nobody has looked yet: no thread of the server has answered; try again, or look at "
           "vmsrsctl servers show";
  std::string text = "as of " + duration_words(map.at("age_seconds")) + " ago";
  if (!map.at("complete").get<bool>())
    text += "; a newer look has not ended: no thread of the server has answered in time";
  if (map.at("hidden_only").get<bool>())
    text += "; from hidden memory alone: no process could be asked for claims";
  if (map.at("unreadable").get<bool>()) text += "; some claims could not be read";
  return text;
}

void print_region(const Json& region) {
  const Json& map = region.at("map");
  const Json& buckets = map.at("buckets");
  Table table;
  table.add({"Region",
             words(region.at("region")) +
                 (region.at("name").is_null() ? "" : ", \"" + words(region.at("name")) + "\"")});
  table.add({"State", region_state_cell(region.at("state"))});
  if (region.at("state") == "filling") table.add({"Filled", size_words(region.at("filled_bytes"))});
  table.add({"Size", size_words(region.at("bytes")) + ", granules of " +
                         words(region.at("granule_bytes")) + " bytes"});
  table.add({"Stores", mechanism_words(region)});
  table.add({"Processes", words(region.at("processes")) +
                              (region.at("process").is_null()
                                   ? ""
                                   : ", at " + words(region.at("address")) + " in process " +
                                         words(region.at("process")))});
  table.add({"Records", words(region.at("records"))});
  table.add({"Restores", words(region.at("restores"))});
  table.add({"Hidden pages", words(region.at("mirror_pages")) + " of mirror, " +
                                 words(region.at("head_pages")) + " of heads"});
  if (!map.at("age_seconds").is_null())
    table.add({"Granules", std::to_string(total_of(buckets, "granules")) + ": " +
                               std::to_string(total_of(buckets, "owned")) + " owned, " +
                               std::to_string(total_of(buckets, "recorded")) + " with records, " +
                               std::to_string(total_of(buckets, "contended")) + " contended"});
  table.add({"Looked at", map_words(map)});
  table.print();
}

int show_region(const Context& context, const RegionChoice& wanted) {
  const Json region = read_region(context, wanted);
  print(context.format(), region, [&] { print_region(region); });
  return ops::kExitOk;
}

// ---- the picture

bool speaks_utf8() {
  for (const char* variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    std::string name = value;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name.find("utf-8") != std::string::npos || name.find("utf8") != std::string::npos;
  }
  return false;
}

std::size_t terminal_columns() {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20;
  return known ? size.ws_col : 80;
}

// What a cell of the picture shows: the first of these that there is in its granules.
struct MapMark {
  const char* part;
  const char* blocks;
  const char* ascii;
  Colour colour;
  const char* meaning;
};
constexpr std::array<MapMark, 4> kMapMarks = {{
    {"contended", "█", "#", Colour::kBad, "contended: records of more than one user"},
    {"owned", "▓", "+", Colour::kWarning, "owned by an unfinished user"},
    {"restored", "░", ".", Colour::kGood, "restored since the region began, owned by nobody"},
    {nullptr, "·", "-", Colour::kNone, "nothing"},
}};

const MapMark& mark_of(const Json& bucket) {
  for (const MapMark& mark : kMapMarks)
    if (mark.part == nullptr || (!bucket.at(mark.part).is_null() && bucket.at(mark.part) > 0))
      return mark;
  return kMapMarks.back();
}

void print_map(const Json& region, const std::string& server) {
  const Json& map = region.at("map");
  const Json& buckets = map.at("buckets");
  const bool blocks = ::isatty(STDOUT_FILENO) == 1 && speaks_utf8();
  const std::uint64_t bytes = map.at("bucket_granules").get<std::uint64_t>() *
                              region.at("granule_bytes").get<std::uint64_t>();
  const std::string name = region.at("name").is_null() ? "" : " (" + words(region.at("name")) + ")";
  std::printf("%s, region %s%s: %s, %s a mark\n", server.c_str(),
              words(region.at("region")).c_str(), name.c_str(),
              size_words(region.at("bytes")).c_str(), size_words(bytes).c_str());
  std::printf("%s\n", map_words(map).c_str());
  // Offsets are hexadecimal, as wide as the last one.
  char last[24];
  const int digits = std::snprintf(last, sizeof last, "%llx",
                                   static_cast<unsigned long long>(bytes * buckets.size()));
  const std::size_t most = terminal_columns() - static_cast<std::size_t>(digits) - 4;
  std::size_t columns = 8;  // a power of two, so that offsets are round
  while (2 * columns <= most && columns < 64) columns *= 2;
  for (std::size_t i = 0; i < buckets.size(); i += columns) {
    std::printf("0x%0*llx  ", digits, static_cast<unsigned long long>(bytes * i));
    for (std::size_t k = i; k < buckets.size() && k < i + columns; ++k) {
      const MapMark& mark = mark_of(buckets[k]);
      std::fputs(painted({blocks ? mark.blocks : mark.ascii, mark.colour}).c_str(), stdout);
    }
    std::printf("\n");
  }
  for (const MapMark& mark : kMapMarks) {
    const std::string count =
        mark.part == nullptr ? "" : ": " + std::to_string(total_of(buckets, mark.part));
    const std::string of = mark.part == nullptr                   ? ""
                           : std::string(mark.part) == "restored" ? " restorations"
                                                                  : " granules";
    std::printf("%s %s%s%s\n", painted({blocks ? mark.blocks : mark.ascii, mark.colour}).c_str(),
                mark.meaning, count.c_str(), of.c_str());
  }
}

int map_region(const Context& context, const RegionChoice& wanted) {
  const Json region = read_region(context, wanted);
  print(context.format(), region, [&] { print_map(region, wanted.server); });
  return ops::kExitOk;
}

CLI::App* add_of_region(CLI::App& noun, const char* name, const char* what,
                        const std::shared_ptr<RegionChoice>& choice) {
  CLI::App* const verb = noun.add_subcommand(name, what);
  verb->add_option("SERVER", choice->server, "The server's name")->required();
  verb->add_option("REGION", choice->region, "The region's number, of regions list")
      ->required()
      ->check(CLI::Range(0, 15).description(""));
  return verb;
}

// ---- records

struct RecordsChoice {
  std::string server;
  std::optional<std::uint32_t> region, user;
  std::uint64_t limit = 1000;
  bool values = false;
};

void print_records(const Json& document, const RecordsChoice& choice, const TableStyle& style) {
  const Json& records = document.at("records");
  if (records.empty() && document.at("next").is_null()) {
    std::printf("No records: no unfinished user has stored what the hypervisor had to note.\n");
    return;
  }
  std::vector<Column> columns = {"REGION", "GRANULE", "OFFSET",           "USER",
                                 "STATE",  "MASK",    {"SEQUENCE", true}, {"GENERATION", true}};
  if (choice.values) {
    columns.emplace_back("WRITTEN");
    columns.emplace_back("COMMITTED");
  }
  Table table(columns);
  for (const Json& record : records) {
    char offset[24];
    std::snprintf(offset, sizeof offset, "0x%llx",
                  static_cast<unsigned long long>(record.at("offset").get<std::uint64_t>()));
    std::vector<Cell> row = {
        words(record.at("region")),   words(record.at("granule")),    offset,
        words(record.at("slot")),     state_cell(record.at("state")), words(record.at("mask")),
        words(record.at("sequence")), words(record.at("generation"))};
    if (choice.values) {
      row.emplace_back(words(record.at("written")));
      row.emplace_back(words(record.at("committed")));
    }
    table.add(std::move(row));
  }
  table.print(style);
  if (!document.at("next").is_null())
    std::printf("There may be more: --limit takes up to 10000, --region and --user choose.\n");
}

int list_records(const Context& context, const RecordsChoice& choice) {
  std::string path =
      "/v1/servers/" + choice.server + "/records?limit=" + std::to_string(choice.limit);
  if (choice.region) path += "&region=" + std::to_string(*choice.region);
  if (choice.user) path += "&user=" + std::to_string(*choice.user);
  if (choice.values) path += "&values=true";
  Json document = context.client().get(path);
  document["records"] = sorted(document.at("records"), context);
  print(context.format(), document, [&] { print_records(document, choice, context.style()); });
  return ops::kExitOk;
}

}  // namespace

void add_regions(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("regions", "Look at regions, and where they are in use");
  noun->require_subcommand(1);
  const auto server = std::make_shared<std::string>();
  CLI::App* list = noun->add_subcommand("list", "List the regions of all servers");
  list->add_option("--server", *server, "Only of this server");
  add_list_options(*list, context);
  list->callback([&context, server] {
    context.work = [&context, server] { return list_regions(context, *server); };
  });

  const auto choice = std::make_shared<RegionChoice>();
  CLI::App* show = add_of_region(*noun, "show", "Show all that is known of one region", choice);
  add_watch_options(*show, context);
  show->callback([&context, choice] {
    context.work = [&context, choice] { return show_region(context, *choice); };
  });
  CLI::App* map = add_of_region(
      *noun, "map", "Draw where in a region granules are owned, contended or restored", choice);
  add_watch_options(*map, context);
  map->callback([&context, choice] {
    context.work = [&context, choice] { return map_region(context, *choice); };
  });
}

void add_records(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("records", "Look at what unfinished users have written");
  noun->require_subcommand(1);
  const auto choice = std::make_shared<RecordsChoice>();
  CLI::App* list = noun->add_subcommand("list", "List the records of a server's users");
  list->add_option("SERVER", choice->server, "The server's name")->required();
  list->add_option("--region", choice->region, "Only of the region with this number")
      ->check(CLI::Range(0, 15).description(""))
      ->type_name("NUMBER");
  list->add_option("--user", choice->user, "Only of the user in this slot")
      ->check(CLI::Range(0, 1023).description(""))
      ->type_name("SLOT");
  list->add_option("--limit", choice->limit, "At most so many, default 1000")
      ->check(CLI::Range(1, 10000).description(""))
      ->type_name("NUMBER");
  list->add_flag("--values", choice->values,
                 "With the bytes written and those committed, for who may change things");
  add_list_options(*list, context);
  list->callback([&context, choice] {
    context.work = [&context, choice] { return list_records(context, *choice); };
  });
}

}  // namespace vmsrs::cli
