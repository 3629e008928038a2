// SPDX-License-Identifier: Apache-2.0
#include <yaml-cpp/yaml.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "served_api.hpp"
#include "shared_ring.hpp"

namespace vmsrs::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

struct Fixture : ServedApi {
  // The store holds the two ends of the guest.
  Fixture() { (void)recorder.pass(); }
  Finished ctl(Words words) const {
    words.insert(words.begin(), {VMSRS_VMSRSCTL, "--socket", socket});
    return run(words);
  }
};

Finished ctl_without_daemon(Words words) {
  words.insert(words.begin(), VMSRS_VMSRSCTL);
  return run(words, {"VMSRS_SOCKET=/nowhere/api.sock"});
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// JSON and YAML of a verb tell the same: every scalar as the same text.
void check_same(const Json& json, const YAML::Node& yaml, const std::string& where) {
  if (json.is_object()) {
    BOOST_REQUIRE_MESSAGE(yaml.IsMap() && yaml.size() == json.size(), where);
    for (const auto& [key, value] : json.items()) check_same(value, yaml[key], where + "." + key);
  } else if (json.is_array()) {
    BOOST_REQUIRE_MESSAGE(yaml.IsSequence() && yaml.size() == json.size(), where);
    for (std::size_t i = 0; i < json.size(); ++i) {
      check_same(json[i], yaml[i], where + "[" + std::to_string(i) + "]");
    }
  } else if (json.is_null()) {
    BOOST_TEST(yaml.IsNull(), where);
  } else if (json.is_boolean()) {
    BOOST_TEST(yaml.as<bool>() == json.get<bool>(), where);
  } else if (json.is_number()) {
    BOOST_TEST(yaml.Tag() == "?", where);  // plain: readers make a number of it
    BOOST_TEST(yaml.as<double>() == json.get<double>(), where);
  } else {
    BOOST_TEST(yaml.Scalar() == json.get<std::string>(), where);
    const bool number = json.get<std::string>().find_first_of("0123456789") == 0;
    BOOST_TEST((!number || yaml.Tag() == "!"), where);  // quoted: readers keep it a string
  }
}

// Uptimes and the like move between two calls: only shapes are compared then.
const std::vector<Words> kVerbs = {{"status"},
                                   {"users", "list"},
                                   {"users", "list", "--crashed"},
                                   {"users", "list", "--stuck"},
                                   {"users", "list", "--server", "shop", "--sort", "-slot"},
                                   {"users", "show", "shop", "3"},
                                   {"users", "suppress", "shop", "1", "--dry-run"},
                                   {"servers", "list"},
                                   {"servers", "show", "shop"},
                                   {"servers", "reap", "shop", "--dry-run"},
                                   {"regions", "list"},
                                   {"regions", "list", "--server", "shop", "--sort", "-region"},
                                   {"regions", "show", "shop", "3"},
                                   {"regions", "map", "shop", "0"},
                                   {"records", "list", "shop"},
                                   {"records", "list", "shop", "--region", "0", "--user", "3"},
                                   {"records", "list", "shop", "--values"},
                                   {"top", "--count", "1", "--every", "0.05"},
                                   {"version"},
                                   {"hypervisor", "log"},
                                   {"hypervisor", "exits"},
                                   {"hypervisor", "memory"},
                                   {"hypervisor", "announce-reset"},
                                   {"hypervisor", "announce-reset", "--withdraw"},
                                   {"config", "show"},
                                   {"config", "check"},
                                   {"events", "list"},
                                   {"events", "list", "--since", "2023-11-14T21:30:00Z"},
                                   {"events", "show", "1"},
                                   {"gc", "--dry-run"},
                                   {"gc", "--yes"},
                                   {"gc", "--yes", "--server", "shop", "--user", "3"},
                                   {"gc", "run", "--dry-run"},
                                   {"scrub", "run", "--dry-run"},
                                   {"scrub", "--yes"},
                                   {"scrub", "--yes", "--server", "shop"},
                                   {"containment", "shop"},
                                   {"containment", "shop", "observe"}};

struct BadUsage {
  Words words;
  std::string message;
};

const std::vector<BadUsage> kBadUsages = {
    {{},
     "a verb is missing (there are: status, top, users, servers, regions, records, gc, scrub, "
     "containment, check, events, hypervisor, config, hosts, fleet, report, version, completion)"},
    {{"staus"}, "no verb \"staus\", did you mean \"status\"?"},
    {{"--output", "json", "chek"}, "no verb \"chek\", did you mean \"check\"?"},
    {{"users", "lst"}, "no verb \"lst\", did you mean \"list\"?"},
    {{"users", "lst", "--help"}, "no verb \"lst\", did you mean \"list\"?"},
    {{"users"}, "a verb is missing (there are: list, show, suppress)"},
    {{"frobnicate"}, "no verb \"frobnicate\" (there are: "},
    {{"status", "--outptu", "json"}, "no option \"--outptu\", did you mean \"--output\"?"},
    {{"users", "list", "--colums", "SLOT"}, "did you mean \"--columns\"?"},
    {{"status", "--output", "xml"}, "xml not in {table,wide,json,yaml}"},
    {{"users", "list", "--columns", "SLTO"}, "no column \"SLTO\", did you mean \"SLOT\"?"},
    {{"users", "list", "--sort", "agee_seconds"}, "did you mean \"age_seconds\"?"},
    {{"users", "list", "--since", "3x"}, "\"3x\" is no time: 90s, 10min, 2h or 1d"},
    {{"users", "list", "--count", "2"}, "--count"},
    {{"users", "show", "shop"}, "SLOT"},
    {{"users", "suppress", "shop", "1"}, "give --yes where nobody can be asked"},
    {{"servers", "reap", "shop"}, "give --yes where nobody can be asked"},
    {{"regions"}, "a verb is missing (there are: list, show, map)"},
    {{"regions", "show", "shop"}, "REGION"},
    {{"regions", "map", "shop", "16"}, "REGION"},
    {{"records"}, "a verb is missing (there are: list)"},
    {{"records", "list"}, "SERVER"},
    {{"records", "list", "shop", "--user", "1024"}, "--user"},
    {{"records", "list", "shop", "--limit", "0"}, "--limit"},
    {{"status", "--timeout", "0"}, "--timeout"},
    {{"gc", "--user", "x"}, "--user"},
    {{"gc", "--user", "1024"}, "--user"},
    {{"gc", "--user", "3", "--yes"}, "--user needs --server"},
    {{"gc"}, "give --yes where nobody can be asked"},
    {{"scrub"}, "give --yes where nobody can be asked"},
    {{"scrub", "--user", "3"}, "--user"},
    {{"hypervisor"}, "a verb is missing (there are: log, exits, announce-reset, memory)"},
    {{"hypervisor", "log", "--since", "x"}, "--since"},
    {{"config"}, "a verb is missing (there are: show, check)"},
    {{"events"}, "a verb is missing (there are: list, follow, show)"},
    {{"events", "list", "--since", "x"}, "--since: give a date such as"},
    {{"events", "list", "--until", "5y"}, "--until: give a date such as"},
    {{"events", "list", "--limit", "0"}, "--limit"},
    {{"events", "list", "--before", "1", "--after", "2"}, "--before"},
    {{"events", "show"}, "ID"},
    {{"containment"}, "SERVER"},
    {{"containment", "shop", "on"}, "on not in {contain,observe,off,own}"},
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(vmsrsctl, Fixture)

BOOST_AUTO_TEST_CASE(every_verb_has_every_output) {
  for (const Words& verb : kVerbs) {
    for (const char* form : {"table", "json", "yaml"}) {
      Words words = verb;
      words.insert(words.end(), {"--output", form});
      const Finished finished = ctl(words);
      BOOST_TEST(finished.exit_code == 0, verb[0] << " " << form << ": " << finished.err);
      BOOST_TEST(finished.err == "");
      BOOST_TEST(!finished.out.empty());
      BOOST_TEST(!contains(finished.out, "\x1b["));  // no terminal, no colours
    }
    Words json = verb;
    Words yaml = verb;
    json.insert(json.end(), {"-o", "json"});
    yaml.insert(yaml.begin(), {"-o", "yaml"});
    check_same(Json::parse(ctl(json).out), YAML::Load(ctl(yaml).out), verb[0]);
  }
}

BOOST_AUTO_TEST_CASE(configuration) {
  const std::string shown = ctl({"config", "show"}).out;
  BOOST_TEST(contains(shown, "log.level "));
  BOOST_TEST(contains(shown, "warn "));
  BOOST_TEST(contains(ctl({"config", "show", "-o", "wide"}).out, "CHANGES AT"));
  BOOST_TEST(contains(ctl({"config", "check"}).out, "good, and what vmsrsd runs with"));
  scratch.write("vmsrs.yaml", "log: {level: debug}\n");
  const std::string changed = ctl({"config", "check"}).out;
  BOOST_TEST(contains(changed, "other than vmsrsd runs with:"));
  BOOST_TEST(contains(changed, "IN THE FILE"));
  config.use(config::load(config_file), {"log.level"});
  BOOST_TEST(contains(ctl({"config", "show"}).out, "changed since: restart vmsrsd"));
  scratch.write("vmsrs.yaml", "lgo: {level: debug}\n");
  const Finished bad = ctl({"config", "check"});
  BOOST_TEST(bad.exit_code == 2);
  BOOST_TEST(contains(bad.err, "did you mean \"log\"?"));
}

BOOST_AUTO_TEST_CASE(regions_and_their_maps) {
  const std::string list = ctl({"regions", "list"}).out;
  BOOST_TEST(count_lines(list) == 4u);
  BOOST_TEST(contains(list, "shop    0       carts  live   512 KiB  64       claims, eager"));
  BOOST_TEST(contains(list, "every store a call"));
  BOOST_TEST(contains(list, "kept"));
  BOOST_TEST(!contains(list, "ADDRESS"));
  BOOST_TEST(contains(ctl({"regions", "list", "-o", "wide"}).out, "0x7f0000200000"));
  BOOST_TEST(contains(ctl({"regions", "list", "--server", "roster"}).out, "No regions"));
  const std::string show = ctl({"regions", "show", "shop", "0"}).out;
  BOOST_TEST(contains(show, "8192: 10 owned, 3 with records, 1 contended"));
  BOOST_TEST(contains(show, "1, at 0x7f0000200000 in process 4242"));
  BOOST_TEST(contains(show, "as of 2.0 s ago"));
  const Finished gone = ctl({"regions", "show", "shop", "1"});
  BOOST_TEST(gone.exit_code == 1);
  BOOST_TEST(contains(gone.err, "shop has no region 1"));
  BOOST_TEST(contains(gone.err, "look at the list of its regions"));
  // Without a terminal: ASCII, 80 columns, whatever the language.
  const std::string nothing(60, '-');
  const std::string wanted =
      "shop, region 0 (carts): 512 KiB, 4.0 KiB a mark\n"
      "as of 2.0 s ago\n"
      "0x00000  #+-." +
      nothing + "\n" + "0x40000  ---" + nothing + "+\n" +
      "# contended: records of more than one user: 1 granules\n"
      "+ owned by an unfinished user: 10 granules\n"
      ". restored since the region began, owned by nobody: 7 restorations\n"
      "- nothing\n";
  BOOST_TEST(ctl({"regions", "map", "shop", "0"}).out == wanted);
  fake.map_now.flags = VMSRS_MAP_HIDDEN_ONLY | VMSRS_MAP_UNREADABLE;
  const std::string unsure = ctl({"regions", "map", "shop", "0"}).out;
  BOOST_TEST(contains(unsure, "from hidden memory alone"));
  BOOST_TEST(contains(unsure, "some claims could not be read"));
  fake.maps_pending = 1'000'000;
  BOOST_TEST(contains(ctl({"regions", "map", "shop", "0"}).out, "a newer look has not ended"));
  fake.map_now.is_taken = 0;
  BOOST_TEST(contains(ctl({"regions", "map", "shop", "0"}).out, "nobody has looked yet"));
}

BOOST_AUTO_TEST_CASE(records_of_users) {
  const std::string list = ctl({"records", "list", "shop"}).out;
  BOOST_TEST(count_lines(list) == 4u);
  BOOST_TEST(contains(list, "0       2        0x10    3     crashed  0xf"));
  BOOST_TEST(!contains(list, "SEQUENCE"));
  BOOST_TEST(contains(ctl({"records", "list", "shop", "-o", "wide"}).out, "SEQUENCE"));
  BOOST_TEST(count_lines(ctl({"records", "list", "shop", "--user", "3"}).out) == 3u);
  BOOST_TEST(count_lines(ctl({"records", "list", "shop", "--region", "3"}).out) == 2u);
  const std::string values = ctl({"records", "list", "shop", "--values"}).out;
  BOOST_TEST(contains(values, "a0a1a2a3........  0001020304050607"));
  BOOST_TEST(contains(ctl({"records", "list", "shop", "--limit", "1"}).out, "There may be more"));
  BOOST_TEST(contains(ctl({"records", "list", "roster"}).out, "No records"));
  BOOST_TEST(contains(ctl({"records", "list", "none"}).err, "no server is called"));
}

BOOST_AUTO_TEST_CASE(tables_tell_what_is_there) {
  const std::string status = ctl({"status"}).out;
  BOOST_TEST(contains(status, "suppression"));
  BOOST_TEST(contains(status, "5 (wild 4, arithmetic 1)"));
  BOOST_TEST(contains(status, "21 on demand, 13 at the crash, 8 at collection, 2 by sweeps"));
  BOOST_TEST(contains(status, "3.0 MiB of 60 MiB used"));
  BOOST_TEST(contains(status, "never since vmsrsd was started"));
  const std::string users = ctl({"users", "list"}).out;
  BOOST_TEST(count_lines(users) == 5u);
  BOOST_TEST(contains(users, "wild at 0xdeadbeef000"));
  BOOST_TEST(contains(users, "collected"));
  BOOST_TEST(contains(users, R"(trace \x1b[2J"\x5cx1b\x00\xff )"));
  BOOST_TEST(count_lines(ctl({"users", "list", "--crashed"}).out) == 4u);
  BOOST_TEST(contains(ctl({"servers", "list"}).out, "roster"));
}

BOOST_AUTO_TEST_CASE(the_hypervisor_in_tables) {
  const std::string log = ctl({"hypervisor", "log", "--since", "5"}).out;
  BOOST_TEST(contains(log, "(2 lines before these are no longer kept)"));
  BOOST_TEST(contains(log, R"(warning  no IOMMU: whoever drives a device\x1b can)"));
  BOOST_TEST(contains(ctl({"hypervisor", "log", "--since", "10"}).out, "No line since then."));
  const std::string exits = ctl({"hypervisor", "exits"}).out;
  BOOST_TEST(contains(exits, "all"));
  // 3,090 exits of 1,000 cycles in an hour of two processors of 2 GHz
  BOOST_TEST(contains(exits, "3090000"));
  BOOST_TEST(contains(exits, "0.000 %"));
  fake.change([](FakeChannel& f) {
    f.exits_now[0].cycles[0] += 144'000'000'000;  // a hundredth of 14.4e12
  });
  BOOST_TEST(contains(ctl({"hypervisor", "exits"}).out, "1.000 %"));
  const std::string memory = ctl({"hypervisor", "memory"}).out;
  BOOST_TEST(contains(memory, "0x3a200000  0x3e000000  62 MiB"));
  BOOST_TEST(contains(memory, "recovery storage"));
  fake.change([](FakeChannel& f) {
    f.log_now.clear();
    f.memory_now.clear();
  });
  BOOST_TEST(contains(ctl({"hypervisor", "log"}).out, "No log is kept here"));
  BOOST_TEST(contains(ctl({"hypervisor", "memory"}).out, "there is no hypervisor"));
}

BOOST_AUTO_TEST_CASE(events_in_tables) {
  fake.change([](FakeChannel& f) {
    for (std::uint64_t n = 1; n <= 26; ++n) f.events_now.push_back(event_number(n));
  });
  (void)recorder.pass();
  const std::string all = ctl({"events", "list"}).out;
  BOOST_TEST(count_lines(all) == 29u);
  // The hypervisor was started an hour before 22:13:20.
  BOOST_TEST(contains(all, "2023-11-14 21:23:20 UTC  guest_end           -       -"));
  BOOST_TEST(contains(all, "panic of start 1 on CPU 1 at 0xffffffff81001001"));
  BOOST_TEST(contains(all, "reset of start 2 on CPU 0 at 0xffffffff81002000"));
  BOOST_TEST(contains(all, R"(crash               shop    13 (user \x1b 13))"));
  BOOST_TEST(contains(all, "wild at 0xd000 in 0x40000d"));
  const std::string ends = ctl({"events", "list", "--type", "guest_end,stuck", "--limit", "2"}).out;
  BOOST_TEST(count_lines(ends) == 4u);
  BOOST_TEST(contains(ends, "(earlier ones: --before "));
  const std::string first = ctl({"events", "list", "--after", "0", "--limit", "2"}).out;
  BOOST_TEST(contains(first, "(later ones: --after 2)"));
  BOOST_TEST(
      contains(ctl({"events", "list", "--until", "2023-11-14T20:00:00Z"}).out, "No events."));
  BOOST_TEST(contains(ctl({"events", "list", "--server", "nobody"}).out, "No events."));
  BOOST_TEST(count_lines(ctl({"events", "list", "--user", "13"}).out) == 2u);
  const std::string crash = ctl({"events", "show", "15"}).out;
  BOOST_TEST(contains(crash, "  instruction        0x40000d\n"));
  BOOST_TEST(contains(crash, "backtrace\n  1                  0x50000d\n  2 "));
  const std::string end = ctl({"events", "show", "1"}).out;
  BOOST_TEST(contains(end, "  kind               panic\n"));
  BOOST_TEST(contains(end, "CPU 0, held, privilege level 0\n  rip    0xffffffff81001000"));
  const Finished none = ctl({"events", "show", "99"});
  BOOST_TEST(none.exit_code == 1);
  BOOST_TEST(contains(none.err, "there is no event 99"));
  BOOST_TEST(contains(ctl({"status"}).out,
                      "start 3; its shutdowns, resets, panics are recognised, hangs are not"));
}

BOOST_AUTO_TEST_CASE(events_are_followed_over_a_new_start_of_the_daemon) {
  Program follower({VMSRS_VMSRSCTL, "--socket", socket, "-o", "json", "--timeout", "20", "events",
                    "follow", "--since", "2023-11-14T00:00:00Z"});
  const auto lines = [&] { return count_lines(follower.out()); };
  BOOST_TEST(eventually([&] { return lines() == 2u; }));
  fake.change([](FakeChannel& f) { f.events_now.push_back(event_number(1)); });
  (void)recorder.pass();
  BOOST_TEST(eventually([&] { return lines() == 3u; }));
  feed.stop();
  listener.reset();
  fake.change([](FakeChannel& f) { f.events_now.push_back(event_number(2)); });
  (void)recorder.pass();
  store::EventFeed second_feed;
  api::EventService second{store_path, second_feed, std::chrono::milliseconds(100)};
  listener = api::Listener::on_socket(socket, 0640, "", [&](httplib::Server& server) {
    api::install_event_routes(server, second);
  });
  BOOST_TEST(eventually([&] { return lines() == 4u; }));
  std::istringstream out(follower.out());
  std::int64_t id = 0;
  for (std::string line; std::getline(out, line);)
    BOOST_TEST(Json::parse(line).at("id").get<std::int64_t>() == ++id);
  second_feed.stop();
  listener.reset();
}

BOOST_AUTO_TEST_CASE(nobody_to_follow) {
  const Finished finished = ctl_without_daemon({"events", "follow"});
  BOOST_TEST(finished.exit_code == 4);
}

BOOST_AUTO_TEST_CASE(a_reset_is_announced) {
  BOOST_TEST(contains(ctl({"hypervisor", "announce-reset"}).out, "is let through"));
  BOOST_TEST(contains(ctl({"hypervisor", "announce-reset", "--withdraw"}).out, "a failure again"));
  const std::vector<std::string> expected = {"announce reset 1", "announce reset 0"};
  BOOST_TEST(fake.calls == expected, boost::test_tools::per_element());
  fake.change([](FakeChannel& f) { f.announce_status = VMSRS_NOT_FOUND; });
  const Finished finished = ctl({"hypervisor", "announce-reset"});
  BOOST_TEST(finished.exit_code == 1);
  BOOST_TEST(contains(finished.err, "no hypervisor here that could be reset"));
}

BOOST_AUTO_TEST_CASE(dry_run_changes_nothing) {
  const Finished finished = ctl({"gc", "--dry-run", "--server", "shop"});
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(
      contains(finished.out, "Would restore what slot 3 (crashed) of server shop has written"));
  BOOST_TEST(fake.calls.empty());
}

BOOST_AUTO_TEST_CASE(collection_without_an_end_fails) {
  fake.change([](FakeChannel& f) { f.collections_pending = 1000000; });
  const Finished finished = ctl({"gc", "--yes", "--server", "shop", "--timeout", "0.05"});
  BOOST_TEST(finished.exit_code == 1);
  BOOST_TEST(contains(finished.out, "shop: 0 granules restored, not finished: 5 records left"));
  BOOST_TEST(contains(finished.err, "did not end in time"));
}

BOOST_AUTO_TEST_CASE(scrub_tells_what_it_restored) {
  const Finished finished = ctl({"scrub", "--yes"});
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(finished.out == "shop: scrubbed, 3 granules restored, 0 B left\n");
}

BOOST_AUTO_TEST_CASE(scrub_without_an_end_fails) {
  fake.change([](FakeChannel& f) { f.scrubs_pending = 1000000; });
  const Finished finished = ctl({"scrub", "--yes", "--server", "shop", "--timeout", "0.05"});
  BOOST_TEST(finished.exit_code == 1);
  BOOST_TEST(contains(finished.out, "not finished"));
  BOOST_TEST(contains(finished.err, "did not end in time"));
}

BOOST_AUTO_TEST_CASE(unknown_server_fails) {
  const Finished finished = ctl({"gc", "--yes", "--server", "none"});
  BOOST_TEST(finished.exit_code == 1);
  BOOST_TEST(contains(finished.err, "no server is called \"none\""));
}

BOOST_AUTO_TEST_CASE(clean_check_is_ok) {
  const Finished finished = ctl({"check", "--output", "json"});
  BOOST_TEST(finished.exit_code == 0);
  const Json checks = Json::parse(finished.out).at("checks");
  BOOST_REQUIRE(checks.size() == 8u);
  for (const Json& check : checks) BOOST_TEST(check.at("verdict") == "ok");
}

BOOST_AUTO_TEST_CASE(violated_invariant_exits_3_in_every_form) {
  fake.change([](FakeChannel& f) {
    f.report_now.results[VMSRS_CHECK_MIRROR] = {VMSRS_VERDICT_VIOLATED, 0, 12, 3, 64};
  });
  for (const char* form : {"table", "json", "yaml"}) {
    const Finished finished = ctl({"check", "--output", form});
    BOOST_TEST(finished.exit_code == 3);
    BOOST_TEST(contains(finished.out, "violated"));
    BOOST_TEST(contains(finished.err, "violated: mirror"));
    BOOST_TEST(count_lines(finished.err) == 1u);
  }
}

BOOST_AUTO_TEST_CASE(unverified_invariant_is_not_ok) {
  fake.change([](FakeChannel& f) { f.checks_pending = 1000000; });
  const Finished finished = ctl({"check", "--timeout", "0.05"});
  BOOST_TEST(finished.exit_code == 1);
  BOOST_TEST(contains(finished.err, "unverified: mirror"));
}

BOOST_AUTO_TEST_CASE(unprotected_server_is_not_ok) {
  fake.report_now.results[VMSRS_CHECK_STORAGE] = {VMSRS_VERDICT_UNPROTECTED, 0, 12, 0, 14};
  const Finished finished = ctl({"check"});
  BOOST_TEST(finished.exit_code == 1);
  BOOST_TEST(contains(finished.out, "unprotected"));
  BOOST_TEST(contains(finished.out, "shop 0xe"));
  BOOST_TEST(contains(finished.err, "unprotected: storage"));
  BOOST_TEST(count_lines(finished.err) == 1u);
  BOOST_TEST(contains(ctl({"status"}).out, "0 violated, 0 unverified, 1 unprotected"));
}

BOOST_AUTO_TEST_CASE(nothing_protected_is_said_first) {
  fake.change([](FakeChannel& f) { f.stats_now.engine_abandoned = 1; });
  BOOST_TEST(ctl({"status"}).out.starts_with("NOTHING IS PROTECTED any more"));
  const Finished check = ctl({"check"});
  BOOST_TEST(check.exit_code == 1);
  BOOST_TEST(contains(check.err, "NOTHING IS PROTECTED any more"));
  BOOST_TEST(contains(ctl({"hypervisor", "log"}).out, "CPU"));
}

BOOST_AUTO_TEST_CASE(denied_exits_5) {
  fake.change([](FakeChannel& f) { f.stats_status = VMSRS_DENIED; });
  const Finished finished = ctl({"status"});
  BOOST_TEST(finished.exit_code == 5);
  BOOST_TEST(count_lines(finished.err) == 1u);
  BOOST_TEST(finished.out == "");
}

BOOST_AUTO_TEST_CASE(bad_usage_exits_2_with_one_line) {
  for (const BadUsage& usage : kBadUsages) {
    const Finished finished = ctl(usage.words);
    BOOST_TEST(finished.exit_code == 2, usage.message);
    BOOST_TEST(contains(finished.err, usage.message), finished.err);
    BOOST_TEST(count_lines(finished.err) == 1u, finished.err);
    BOOST_TEST(finished.out == "");
  }
  BOOST_TEST(fake.calls.empty());
}

BOOST_AUTO_TEST_CASE(lists_are_chosen_and_ordered) {
  const std::string plain = ctl({"users", "list", "--no-headers", "--columns", "slot,State"}).out;
  BOOST_TEST(count_lines(plain) == 4u);
  BOOST_TEST(!contains(plain, "SLOT"));
  BOOST_TEST(plain.starts_with("1  active"));
  const auto slots = [this](const Words& options) {
    Words words = {"users", "list", "--no-headers", "--columns", "SLOT"};
    words.insert(words.end(), options.begin(), options.end());
    std::string found = ctl(words).out;
    std::replace(found.begin(), found.end(), '\n', ' ');
    return found;
  };
  const std::string up = slots({"--sort", "slot"});
  BOOST_TEST(std::string(up.rbegin() + 1, up.rend()) + " " == slots({"--sort", "-slot"}));
  BOOST_TEST(slots({"--server", "roster"}) == "No users. ");
  BOOST_TEST(!contains(ctl({"users", "list"}).out, "THREAD"));
  BOOST_TEST(contains(ctl({"users", "list", "-o", "wide"}).out, "THREAD"));
  BOOST_TEST(!contains(ctl({"servers", "list"}).out, "CONTENDED"));
  BOOST_TEST(contains(ctl({"servers", "list", "-o", "wide"}).out, "CONTENDED"));
  // Crashed 1.5 s ago and longer.
  const Json users = Json::parse(ctl({"users", "list", "-o", "json"}).out).at("users");
  std::size_t lately = 0;
  for (const Json& user : users) {
    const Json& ago = user.at("crashed_seconds_ago");
    lately += !ago.is_null() && ago <= 60 ? 1 : 0;
  }
  BOOST_TEST(lately > 0u);
  BOOST_TEST(count_lines(ctl({"users", "list", "--since", "1min"}).out) == lately + 1);
  BOOST_TEST(ctl({"users", "list", "--since", "0s"}).out == "No users.\n");
}

BOOST_AUTO_TEST_CASE(one_user_and_one_server) {
  const Finished user = ctl({"users", "show", "shop", "3"});
  BOOST_TEST(contains(user.out, "wild at 0xdeadbeef000"));
  BOOST_TEST(contains(user.out, "Dropped stores"));
  const Finished nobody = ctl({"users", "show", "shop", "700"});
  BOOST_TEST(nobody.exit_code == 1);
  BOOST_TEST(contains(nobody.err, "has no user in slot 700"));
  BOOST_TEST(contains(ctl({"servers", "show", "shop"}).out, "suppression"));
  BOOST_TEST(ctl({"servers", "show", "none"}).exit_code == 1);
  const Finished crashed = ctl({"users", "suppress", "shop", "3", "--yes"});
  BOOST_TEST(crashed.exit_code == 1);
  BOOST_TEST(contains(crashed.err, "is crashed already"));
}

BOOST_AUTO_TEST_CASE(named_invariants_decide) {
  fake.change([](FakeChannel& f) {
    f.report_now.results[VMSRS_CHECK_MIRROR] = {VMSRS_VERDICT_VIOLATED, 0, 12, 3, 64};
  });
  BOOST_TEST(ctl({"check", "hidden"}).exit_code == 0);
  BOOST_TEST(ctl({"check", "run", "hidden", "mirror"}).exit_code == 3);
  BOOST_TEST(count_lines(ctl({"check", "hidden", "--no-headers"}).out) == 1u);
  const Finished mistyped = ctl({"check", "miror"});
  BOOST_TEST(mistyped.exit_code == 2);
  BOOST_TEST(contains(mistyped.err, "no invariant \"miror\", did you mean \"mirror\"?"));
}

BOOST_AUTO_TEST_CASE(watching_repeats) {
  const Finished finished =
      ctl({"servers", "list", "--watch", "0.05", "--count", "3", "--no-headers"});
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(count_lines(finished.out) == 6u);
  BOOST_TEST(!contains(finished.out, "\x1b"));
}

BOOST_AUTO_TEST_CASE(top_tells_rates) {
  const Finished first = ctl({"top", "--count", "1", "--every", "0.05"});
  BOOST_TEST(contains(first.out, "0.0 faults, 0.0 granules restored, 0.0 stores dropped"));
  BOOST_TEST(contains(first.out, "shop/3"));
  BOOST_TEST(contains(first.out, "not attached"));
  std::thread meanwhile([this] {
    for (int i = 0; i < 40; ++i) {
      fake.change([](FakeChannel& f) { f.servers_now[0].suppressed_store_count += 100; });
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  const Json frame = Json::parse(ctl({"top", "--count", "1", "--every", "0.3", "-o", "json"}).out);
  meanwhile.join();
  const auto rate = frame.at("host").at("dropped_stores_per_second").get<double>();
  BOOST_TEST(rate > 500);
  BOOST_TEST(rate < 50000);
  BOOST_TEST(frame.at("servers").at(0).at("dropped_stores_per_second").get<double>() > 500);
  BOOST_TEST(frame.at("servers").at(1).at("dropped_stores_per_second") == 0);
}

BOOST_AUTO_TEST_CASE(report_is_an_archive_without_secrets) {
  const std::string file = scratch.path("report.tar.gz");
  fake.change([](FakeChannel& f) {
    f.log_now[0].length = 70;
    std::memset(f.log_now[0].text, 'a', 66);
  });
  const Finished finished = ctl({"report", file});
  BOOST_TEST(finished.exit_code == 0, finished.err);
  const std::string all = run({"/bin/tar", "-xzOf", file}).out;
  BOOST_TEST(contains(run({"/bin/tar", "-tzf", file}).out, "/users.json"));
  BOOST_TEST(contains(all, "wild"));
  BOOST_TEST(contains(all, "MemTotal"));
  BOOST_TEST(contains(all, "(removed)"));
  BOOST_TEST(!contains(all, std::string(64, 'a')));
  BOOST_TEST(!contains(all, R"(trace \)"));
  const auto permissions = std::filesystem::status(file).permissions();
  BOOST_TEST(static_cast<unsigned>(permissions) == 0600u);
  const Finished unwritable = ctl({"report", "/nowhere/report.tar.gz"});
  BOOST_TEST(unwritable.exit_code == 1);
  BOOST_TEST(contains(unwritable.err, "cannot write /nowhere/report.tar.gz"));
}

// What a shell would offer after some words.
BOOST_AUTO_TEST_CASE(completion_offers_what_there_is) {
  const std::string script = scratch.write("vmsrsctl.bash", ctl({"completion", "bash"}).out);
  const auto offered = [&](const std::string& words, int place) {
    return run({"/bin/bash", "-c",
                "source " + script + "; COMP_WORDS=(" + words + "); COMP_CWORD=" +
                    std::to_string(place) + "; _vmsrsctl; printf '%s\\n' \"${COMPREPLY[@]}\""})
        .out;
  };
  BOOST_TEST(offered("vmsrsctl us", 1) == "users\n");
  BOOST_TEST(contains(offered("vmsrsctl users ''", 2), "suppress\n"));
  BOOST_TEST(offered("vmsrsctl users list --cr", 3) == "--crashed\n");
  BOOST_TEST(offered("vmsrsctl -o y", 2) == "yaml\n");
  BOOST_TEST(offered("vmsrsctl --no-headers users list --stu", 4) == "--stuck\n");
  BOOST_TEST(contains(ctl({"completion", "zsh"}).out, "#compdef vmsrsctl"));
  const std::string page = ctl({"completion", "man"}).out;
  BOOST_TEST(contains(page, "vmsrsctl users suppress"));
  BOOST_TEST(contains(page, "\\-\\-crashed"));
}

BOOST_AUTO_TEST_CASE(containment_is_told_and_changed) {
  BOOST_TEST(ctl({"containment", "shop"}).out == "shop: own\n");
  BOOST_TEST(ctl({"containment", "shop", "off"}).out == "shop: off\n");
  BOOST_TEST(fake.calls.back() == "contain 0 3");
  BOOST_TEST(ctl({"containment", "shop"}).out == "shop: off\n");
  BOOST_TEST(contains(ctl({"servers", "list"}).out, " off "));
  BOOST_TEST(ctl({"containment", "shop", "own"}).out == "shop: own\n");
  BOOST_TEST(ctl({"containment", "nobody"}).exit_code == 1);
  BOOST_TEST(ctl({"containment", "nobody", "off"}).exit_code == 1);
}

BOOST_AUTO_TEST_CASE(help_is_data) {
  const Finished finished = ctl({"--help"});
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(contains(finished.out, "Exit codes:"));
  BOOST_TEST(finished.err == "");
}

BOOST_AUTO_TEST_CASE(without_daemon_exits_4_with_one_line) {
  for (Words words : {Words{"status"},
                      {"users", "list"},
                      {"servers", "list"},
                      {"check"},
                      {"gc", "--yes"},
                      {"gc", "--dry-run"},
                      {"scrub", "--yes"},
                      {"version"}}) {
    words.insert(words.end(), {"--output", "json"});
    const Finished finished = ctl_without_daemon(words);
    BOOST_TEST(finished.exit_code == 4, words[0]);
    BOOST_TEST(finished.err ==
               "vmsrsctl: no vmsrsd answers at /nowhere/api.sock: start it (systemctl start "
               "vmsrsd), or name its socket with --socket\n");
    BOOST_TEST(finished.out == "");
  }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
