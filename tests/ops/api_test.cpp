// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "served_api.hpp"

namespace vmsrs::test {
namespace {

using Json = nlohmann::json;

struct Reply {
  int status = 0;
  Json body;
};

Reply reply_of(const httplib::Result& result) {
  BOOST_REQUIRE(result);
  return {result->status, Json::parse(result->body)};
}

struct Fixture : ServedApi {
  httplib::Client http{socket};
  Fixture() {
    http.set_address_family(AF_UNIX);
    http.set_default_headers({{"Host", "test"}});
  }
  Reply get(const std::string& path) { return kept("GET", path, reply_of(http.Get(path))); }
  Reply post(const std::string& path, const std::string& body = "") {
    return kept("POST", path, reply_of(http.Post(path, body, "application/json")));
  }
  // For openapi_test.py, which holds every answer against the API's document.
  static Reply kept(const char* method, const std::string& path, const Reply& reply) {
    if (const char* file = std::getenv("VMSRS_ANSWERS"); file != nullptr)
      std::ofstream(file, std::ios::app) << Json{{"method", method},
                                                 {"path", path},
                                                 {"status", reply.status},
                                                 {"body", reply.body}}
                                         << "\n";
    return reply;
  }
  // As /proc shows a process that lives.
  void let_live(std::uint32_t process) const {
    const std::string folder = scratch.path("proc/" + std::to_string(process));
    std::filesystem::create_directories(folder + "/task/" + std::to_string(process));
    const std::string stat =
        std::to_string(process) + " (shop) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n";
    for (const std::string& file :
         {folder + "/stat", folder + "/task/" + std::to_string(process) + "/stat"})
      std::ofstream(file) << stat;
  }
};

void check_error(const Reply& reply, int status, const std::string& code) {
  BOOST_TEST(reply.status == status);
  BOOST_TEST(reply.body.at("error").at("code") == code);
  BOOST_TEST(!reply.body.at("error").at("message").get<std::string>().empty());
  BOOST_TEST(!reply.body.at("error").at("hint").get<std::string>().empty());
}

int stale_socket(const std::string& path, bool listening) {
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  BOOST_REQUIRE(::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  if (listening) BOOST_REQUIRE(::listen(descriptor, 1) == 0);
  return descriptor;
}

std::unique_ptr<api::Listener> listen_at(const std::string& path, const std::string& group = "") {
  return api::Listener::on_socket(path, 0600, group, [](httplib::Server&) {});
}

bool fails_with(const std::string& path, const std::string& group, const std::string& words) {
  try {
    (void)listen_at(path, group);
  } catch (const std::runtime_error& error) {
    return std::string(error.what()).find(words) != std::string::npos;
  }
  return false;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(api_over_a_socket, Fixture)

BOOST_AUTO_TEST_CASE(regions_of_a_server) {
  const Reply reply = get("/v1/servers/shop/regions");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("server") == "shop");
  const Json& regions = reply.body.at("regions");
  BOOST_REQUIRE(regions.size() == 3u);
  BOOST_TEST(regions[0].at("region") == 0);
  BOOST_TEST(regions[0].at("name") == "carts");
  BOOST_TEST(regions[0].at("state") == "live");
  BOOST_TEST(regions[0].at("claims") == true);
  BOOST_TEST(regions[0].at("eager") == true);
  BOOST_TEST(regions[0].at("process") == 4242);
  BOOST_TEST(regions[0].at("address") == "0x7f0000200000");
  BOOST_TEST(regions[0].at("head_pages") == 9);
  BOOST_TEST(regions[1].at("name").is_null());
  BOOST_TEST(regions[1].at("claims") == false);
  BOOST_TEST(regions[2].at("state") == "kept");
  BOOST_TEST(regions[2].at("process").is_null());
  BOOST_TEST(regions[2].at("address").is_null());
  BOOST_TEST(get("/v1/servers/roster/regions").body.at("regions").empty());
  check_error(get("/v1/servers/none/regions"), 404, "not_found");
  check_error(get("/v1/servers/shop/regions?x=1"), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(a_region_with_its_map) {
  fake.maps_pending = 2;
  const Reply reply = get("/v1/servers/shop/regions/3");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("region") == 3);
  const Json& map = reply.body.at("map");
  BOOST_TEST(map.at("complete") == true);
  BOOST_TEST(map.at("age_seconds") == 2);
  BOOST_TEST(map.at("hidden_only") == false);
  BOOST_TEST(map.at("bucket_granules") == 64);
  BOOST_REQUIRE(map.at("buckets").size() == 128u);
  const Json first = {
      {"granules", 64}, {"owned", 5}, {"recorded", 2}, {"contended", 1}, {"restored", 3}};
  BOOST_TEST(map.at("buckets")[0] == first);
  const std::vector<std::string> asked = {"map anew", "map on", "map on"};
  BOOST_TEST(fake.calls == asked);
}

// Nobody answers in time: what was seen last, or nothing, but for what needs nobody.
BOOST_AUTO_TEST_CASE(a_map_that_nobody_looks_at) {
  fake.maps_pending = 1'000'000;
  Json map = get("/v1/servers/shop/regions/0?timeout_ms=20").body.at("map");
  BOOST_TEST(map.at("complete") == false);
  BOOST_TEST(map.at("age_seconds") == 2);
  BOOST_TEST(map.at("buckets")[0].at("owned") == 5);
  fake.map_now.is_taken = 0;
  fake.map_now.flags = VMSRS_MAP_HIDDEN_ONLY | VMSRS_MAP_UNREADABLE;
  map = get("/v1/servers/shop/regions/0?timeout_ms=0").body.at("map");
  BOOST_TEST(map.at("age_seconds").is_null());
  BOOST_TEST(map.at("buckets")[0].at("owned").is_null());
  BOOST_TEST(map.at("buckets")[0].at("restored") == 3);
  BOOST_TEST(map.at("hidden_only") == true);
  BOOST_TEST(map.at("unreadable") == true);
}

BOOST_AUTO_TEST_CASE(regions_that_are_none) {
  check_error(get("/v1/servers/shop/regions/1"), 404, "not_found");
  check_error(get("/v1/servers/none/regions/0"), 404, "not_found");
  check_error(get("/v1/servers/shop/regions/16"), 400, "bad_request");
  check_error(get("/v1/servers/shop/regions/x"), 400, "bad_request");
  check_error(get("/v1/servers/shop/regions/0?timeout_ms=5001"), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(records_of_a_server) {
  const Reply reply = get("/v1/servers/shop/records");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("next").is_null());
  const Json& records = reply.body.at("records");
  BOOST_REQUIRE(records.size() == 3u);
  const Json second = {{"region", 0},         {"granule", 2},     {"offset", 16},
                       {"slot", 3},           {"generation", 13}, {"state", "crashed"},
                       {"sequence", 42},      {"mask", "0xf"},    {"written", nullptr},
                       {"committed", nullptr}};
  BOOST_TEST(records[1] == second);
  BOOST_TEST(get("/v1/servers/shop/records?region=3").body.at("records").size() == 1u);
  BOOST_TEST(get("/v1/servers/shop/records?user=3").body.at("records").size() == 2u);
  BOOST_TEST(get("/v1/servers/shop/records?user=3&region=0").body.at("records").size() == 1u);
  check_error(get("/v1/servers/none/records"), 404, "not_found");
  for (const char* wrong :
       {"region=16", "user=1024", "limit=0", "limit=10001", "cursor=x", "values=yes", "usr=3"})
    check_error(get(std::string("/v1/servers/shop/records?") + wrong), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(records_in_pieces) {
  Json all = Json::array();
  std::string cursor = "0";
  for (int i = 0; i < 10 && !cursor.empty(); ++i) {
    const Reply reply = get("/v1/servers/shop/records?limit=1&cursor=" + cursor);
    for (const Json& record : reply.body.at("records")) all.push_back(record);
    BOOST_TEST(reply.body.at("records").size() <= 1u);
    cursor = reply.body.at("next").is_null() ? "" : reply.body.at("next").dump();
  }
  BOOST_TEST(all == get("/v1/servers/shop/records").body.at("records"));
}

BOOST_AUTO_TEST_CASE(records_with_values) {
  const Json records = get("/v1/servers/shop/records?values=true").body.at("records");
  BOOST_TEST(records[0].at("written") == "a0a1a2a3a4a5a6a7");
  BOOST_TEST(records[1].at("written") == "a0a1a2a3........");
  BOOST_TEST(records[1].at("committed") == "0001020304050607");
  // Those of a daemon that may only observe.
  fake.records_now[0][0].flags = 0;
  BOOST_TEST(
      get("/v1/servers/shop/records?values=true").body.at("records")[0].at("written").is_null());
  BOOST_TEST(
      get("/v1/servers/shop/records?values=false").body.at("records")[1].at("written").is_null());
}

BOOST_AUTO_TEST_CASE(status_sums_over_servers) {
  const Reply reply = get("/v1/status");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("mode") == "suppression");
  BOOST_TEST(reply.body.at("isolation") == "hypervisor");
  BOOST_TEST(reply.body.at("devices") == "confined");
  BOOST_TEST(reply.body.at("suppressed_users") == 2);
  BOOST_TEST(reply.body.at("stuck_users") == 1);
  BOOST_TEST(reply.body.at("servers_attached") == 1);
  BOOST_TEST(reply.body.at("faults").at("wild") == 4);
  BOOST_TEST(reply.body.at("restores").at("demand") == 21);
  BOOST_TEST(reply.body.at("last_check").is_null());
  BOOST_TEST(reply.body.at("servers").size() == 2u);
}

BOOST_AUTO_TEST_CASE(status_is_normal_without_crashed_users) {
  fake.servers_now[0].mode = 6 << 1;
  BOOST_TEST(get("/v1/status").body.at("mode") == "normal");
}

BOOST_AUTO_TEST_CASE(users_come_from_all_answers_and_are_filtered) {
  BOOST_TEST(get("/v1/users").body.at("users").size() == 4u);  // two records an answer
  const Json crashed = get("/v1/users?state=crashed,stuck,collected").body.at("users");
  BOOST_REQUIRE(crashed.size() == 3u);
  BOOST_TEST(crashed[0].at("state") == "crashed");
  BOOST_TEST(crashed[0].at("label") == 103);
  BOOST_TEST(crashed[0].at("label_text") == R"(trace \x1b[2J"\x5cx1b\x00\xff)");
  BOOST_TEST(crashed[1].at("label_text").is_null());
  BOOST_TEST(crashed[0].at("first_fault").at("kind") == "wild");
  BOOST_TEST(crashed[0].at("first_fault").at("address") == "0xdeadbeef000");
  BOOST_TEST(crashed[2].at("state") == "collected");
  BOOST_TEST(get("/v1/users?state=active").body.at("users")[0].at("first_fault").is_null());
  check_error(get("/v1/users?state=dead"), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(users_are_filtered_sorted_and_come_in_pieces) {
  fake.users_now[1] = fake.users_now[0];
  const auto slots = [&](const std::string& query) {
    std::string all;
    const Json users = get("/v1/users?" + query).body.at("users");
    for (const Json& user : users)
      all += user.at("server").get<std::string>().substr(0, 1) +
             std::to_string(user.at("slot").get<int>()) + " ";
    return all;
  };
  BOOST_TEST(slots("server=roster&state=crashed") == "r3 ");
  fake.users_now[0][0].record_count = 9;
  fake.users_now[1][1].record_count = 8;
  BOOST_TEST(slots("sort=-records&limit=2") == "s" + std::to_string(fake.users_now[0][0].slot) +
                                                   " r" +
                                                   std::to_string(fake.users_now[1][1].slot) + " ");
  BOOST_TEST(
      slots("sort=records").ends_with("s" + std::to_string(fake.users_now[0][0].slot) + " "));
  // All in pieces of three, each once, whatever ends meanwhile.
  const std::string whole = slots("");
  std::string pieces;
  std::string cursor;
  for (int i = 0; i < 3; ++i) {
    const std::string query = "limit=3" + (cursor.empty() ? "" : "&cursor=" + cursor);
    pieces += slots(query);
    const Json next = get("/v1/users?" + query).body.at("next");
    BOOST_TEST(next.is_null() == (i == 2));
    if (!next.is_null()) cursor = next.get<std::string>();
  }
  BOOST_TEST(pieces == whole);
  // Crashed a second ago.
  const auto now = static_cast<std::uint64_t>(fixed_clock().unix_time());
  BOOST_TEST(slots("server=shop&since=" + std::to_string(now - 2)) == "s3 s4 s7 ");
  BOOST_TEST(slots("since=" + std::to_string(now)) == "");
  check_error(get("/v1/users?server=none"), 404, "not_found");
  for (const char* query : {"sort=name", "sort=", "limit=0", "limit=x", "cursor=1-2", "cursor=x",
                            "cursor=0-0-1-1&sort=age", "since=yesterday", "stat=crashed"})
    check_error(get(std::string("/v1/users?") + query), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(one_server_and_one_user) {
  BOOST_TEST(get("/v1/servers/shop").body == get("/v1/servers").body.at("servers")[0]);
  BOOST_TEST(get("/v1/servers/shop").body.at("process_ids") == Json::array({4242}));
  check_error(get("/v1/servers/none"), 404, "not_found");
  BOOST_TEST(get("/v1/users/shop/3").body.at("generation") == 13);
  BOOST_TEST(get("/v1/users/shop/7").body.at("state") == "collected");
  // The slot is used again: the one that is there goes before those that were.
  vmsrs_user_info again = fake.users_now[0].back();
  again.state = VMSRS_USER_ACTIVE;
  again.generation = 99;
  fake.users_now[0].insert(fake.users_now[0].begin(), again);
  BOOST_TEST(get("/v1/users/shop/7").body.at("generation") == 99);
  check_error(get("/v1/users/shop/700"), 404, "not_found");
  check_error(get("/v1/users/none/3"), 404, "not_found");
  check_error(get("/v1/users/shop/1024"), 400, "bad_request");
  check_error(get("/v1/users/shop/x"), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(regions_of_servers) {
  const Json regions = get("/v1/regions").body.at("regions");
  BOOST_REQUIRE(regions.size() == 2u);
  BOOST_TEST(regions[0].at("server") == "shop");
  BOOST_TEST(regions[0].at("regions") == 2);
  BOOST_TEST(regions[0].at("contended_granules") == 6);
  BOOST_TEST(regions[0].at("restores").at("demand") == 21);
}

BOOST_AUTO_TEST_CASE(suppression_of_a_user) {
  const std::uint32_t slot = fake.users_now[0][0].slot;
  const std::string path = "/v1/users/shop/" + std::to_string(slot) + "/suppress";
  BOOST_REQUIRE(get("/v1/users/shop/" + std::to_string(slot)).body.at("state") == "active");
  check_error(post(path, R"({"generation":5})"), 404, "not_found");
  const Reply reply = post(path);
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("generation") == 10 + slot);
  BOOST_TEST(fake.calls.back() ==
             "suppress 0 " + std::to_string(slot) + " " + std::to_string(10 + slot));
  BOOST_TEST(get("/v1/users/shop/" + std::to_string(slot)).body.at("state") == "crashed");
  BOOST_TEST(post(path, R"({"generation":)" + std::to_string(10 + slot) + "}").status == 200);
  fake.calls.clear();
  check_error(post("/v1/users/none/1/suppress"), 404, "not_found");
  check_error(post("/v1/users/shop/900/suppress"), 404, "not_found");
  check_error(post(path, R"({"genration":5})"), 400, "bad_request");
  check_error(post("/v1/users/shop/9999/suppress"), 400, "bad_request");
  BOOST_TEST(fake.calls.empty());
}

BOOST_AUTO_TEST_CASE(reaping_of_a_server) {
  check_error(post("/v1/servers/shop/reap"), 409, "wrong_state");  // nobody can be seen
  let_live(1);
  let_live(4242);
  BOOST_TEST(post("/v1/servers/shop/reap").body.at("alive") == Json::array({4242}));
  check_error(post("/v1/servers/shop/reap", R"({"process":4242})"), 409, "wrong_state");
  check_error(post("/v1/servers/shop/reap", R"({"process":4243})"), 404, "not_found");
  check_error(post("/v1/servers/shop/reap", R"({"force":true})"), 400, "bad_request");
  check_error(post("/v1/servers/shop/reap", R"({"process":4242,"force":1})"), 400, "bad_request");
  check_error(post("/v1/servers/none/reap"), 404, "not_found");
  BOOST_TEST(fake.calls.empty());
  BOOST_TEST(post("/v1/servers/shop/reap", R"({"process":4242,"force":true})").body.at("reaped") ==
             Json::array({4242}));
  std::filesystem::remove_all(scratch.path("proc/4242"));
  BOOST_TEST(post("/v1/servers/shop/reap").body.at("reaped") == Json::array({4242}));
  const std::vector<std::string> expected = {"reap 0 4242", "reap 0 4242"};
  BOOST_TEST(fake.calls == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(document_names_what_is_served_and_nothing_else) {
  const Json document = get("/v1/openapi.json").body;
  BOOST_TEST(document.at("openapi") == "3.1.0");
  std::set<std::pair<std::string, std::string>> named;
  for (const auto& [path, operations] : document.at("paths").items())
    for (const auto& [method, operation] : operations.items())
      named.emplace(method == "get" ? "GET" : method == "post" ? "POST" : method, path);
  const auto served = api::served_requests();
  BOOST_TEST(served.size() == named.size());
  for (const auto& [method, path] : served)
    BOOST_TEST(named.contains(std::pair(method, path)), method + " " + path);
}

BOOST_AUTO_TEST_CASE(containment_of_a_server) {
  const Reply reply = post("/v1/containment", R"({"server":"roster","mode":"observe"})");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("containment") == "observe");
  BOOST_TEST(fake.calls.back() == "contain 1 2");
  BOOST_TEST(get("/v1/servers").body.at("servers")[1].at("containment") == "observe");
  BOOST_TEST(get("/v1/servers").body.at("servers")[0].at("containment") == "own");
  check_error(post("/v1/containment", R"({"server":"nobody","mode":"off"})"), 404, "not_found");
  for (const char* body : {R"({"mode":"off"})", R"({"server":"shop"})",
                           R"({"server":"shop","mode":"on"})", R"({"server":"shop","mode":1})"})
    check_error(post("/v1/containment", body), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(collection_waits_until_it_is_done) {
  fake.change([](FakeChannel& f) { f.collections_pending = 3; });
  const Reply reply = post("/v1/gc", R"({"server":"shop"})");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("complete") == true);
  BOOST_TEST(reply.body.at("collections")[0].at("restored") == 2);
  BOOST_TEST(reply.body.at("collections")[0].at("records_left") == 0);
  BOOST_TEST(fake.calls.size() == 4u);
  BOOST_TEST(fake.calls[0] == "collect 0 all");
}

BOOST_AUTO_TEST_CASE(collection_as_a_job) {
  check_error(get("/v1/jobs/1"), 404, "not_found");
  check_error(get("/v1/jobs/x"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"wait":"no"})"), 400, "bad_request");
  fake.change([](FakeChannel& f) { f.collections_pending = 1000000; });
  const Reply begun = post("/v1/gc", R"({"server":"shop","timeout_ms":600000,"wait":false})");
  BOOST_TEST(begun.status == 202);
  BOOST_TEST(begun.body.at("job") == 1);
  Json job = get("/v1/jobs/1").body;
  BOOST_TEST(job.at("kind") == "gc");
  BOOST_TEST(job.at("state") == "running");
  BOOST_TEST(job.at("result").is_null());
  fake.change([](FakeChannel& f) { f.collections_pending = 1; });
  BOOST_TEST(eventually([&] { return get("/v1/jobs/1").body.at("state") == "done"; }));
  job = get("/v1/jobs/1").body;
  BOOST_TEST(job.at("result").at("complete") == true);
  BOOST_TEST(job.at("result").at("collections")[0].at("restored") == 2);
  BOOST_TEST(job.at("ended").is_number());
  BOOST_TEST(post("/v1/gc", R"({"server":"nobody","wait":false})").status == 404);
  BOOST_TEST(get("/v1/jobs").body.at("jobs").size() == 1u);
}

BOOST_AUTO_TEST_CASE(jobs_that_fail_are_too_many_and_are_forgotten) {
  BOOST_TEST(post("/v1/gc", R"({"server":"shop","user":1,"wait":false})").status == 202);
  BOOST_TEST(eventually([&] { return get("/v1/jobs/1").body.at("state") == "failed"; }));
  BOOST_TEST(get("/v1/jobs/1").body.at("error").contains("code"));
  fake.change([](FakeChannel& f) { f.collections_pending = 1000000; });
  for (std::size_t i = 0; i < api::Jobs::kMostRunning; ++i)
    BOOST_TEST(post("/v1/gc", R"({"server":"shop","timeout_ms":600000,"wait":false})").status ==
               202);
  check_error(post("/v1/gc", R"({"wait":false})"), 503, "busy");
  fake.change([](FakeChannel& f) { f.collections_pending = 0; });
  const auto none_runs = [&] {
    const Reply all = get("/v1/jobs");
    for (const Json& job : all.body.at("jobs"))
      if (job.at("state") == "running") return false;
    return true;
  };
  BOOST_TEST(eventually(none_runs));
  for (std::size_t i = 0; i < api::Jobs::kMostKept; ++i) {
    const Reply begun = post("/v1/gc", R"({"server":"shop","wait":false})");
    BOOST_TEST(begun.status == 202, begun.body.dump());
    BOOST_TEST(eventually(none_runs));
  }
  BOOST_TEST(get("/v1/jobs").body.at("jobs").size() == api::Jobs::kMostKept);
  check_error(get("/v1/jobs/1"), 404, "not_found");
}

BOOST_AUTO_TEST_CASE(jobs_end_with_the_daemon) {
  fake.change([](FakeChannel& f) { f.collections_pending = 1000000; });
  BOOST_TEST(post("/v1/gc", R"({"server":"shop","timeout_ms":600000,"wait":false})").status == 202);
}  // or this test does not end

// What the daemon runs with, and what its file says by now.
BOOST_AUTO_TEST_CASE(configuration_as_it_is_and_as_it_would_be) {
  const auto key = [&](const Json& keys, const char* name) -> Json {
    for (const Json& one : keys)
      if (one.at("key") == name) return one;
    return nullptr;
  };
  const Json shown = get("/v1/config").body;
  BOOST_TEST(shown.at("file") == config_file);
  const Json level = key(shown.at("keys"), "log.level");
  BOOST_TEST(level.at("value") == "warn");
  BOOST_TEST(level.at("default") == "info");
  BOOST_TEST(level.at("source") == "file");
  BOOST_TEST(level.at("restart_needed") == false);
  BOOST_TEST(key(shown.at("keys"), "api.socket").at("source") == "default");
  BOOST_TEST(key(shown.at("keys"), "servers")
                 .at("value")[0]
                 .get<std::string>()
                 .starts_with("shop: account any, secret in /etc/vmsrs/shop.secret, "));
  BOOST_TEST(get("/v1/config/check").body.at("changes").empty());
  const std::string digits(64, 'a');
  scratch.write("vmsrs.yaml",
                "log: {level: debug}\napi: {socket: /run/other.sock}\nservers:\n  - "
                "{name: shop, attach_secret_sha256: " +
                    digits + "}\n");
  const Json check = get("/v1/config/check").body;
  BOOST_TEST(check.at("good") == true);
  BOOST_TEST(key(check.at("changes"), "log.level").at("file") == "debug");
  BOOST_TEST(key(check.at("changes"), "log.level").at("takes") == "reload");
  BOOST_TEST(key(check.at("changes"), "api.socket").at("takes") == "restart");
  BOOST_TEST(key(check.at("changes"), "check.timeout_ms").at("file") == "5000");
  BOOST_TEST(!key(check.at("changes"), "servers").is_null());
  BOOST_TEST(check.dump().find(digits.substr(0, 12)) == std::string::npos);
  config.use(config::load(config_file), {"api.socket"});
  BOOST_TEST(key(get("/v1/config").body.at("keys"), "api.socket").at("restart_needed") == true);
  scratch.write("vmsrs.yaml", "log: {level: loud}\n");
  const Json bad = get("/v1/config/check").body;
  BOOST_TEST(bad.at("good") == false);
  BOOST_TEST(bad.at("problem").get<std::string>().find("vmsrs.yaml:1: log.level") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(collection_that_ends_too_late_is_incomplete) {
  fake.change([](FakeChannel& f) { f.collections_pending = 1000000; });
  const Reply reply = post("/v1/gc", R"({"server":"shop","user":3,"timeout_ms":30})");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("complete") == false);
  BOOST_TEST(reply.body.at("collections")[0].at("records_left") == 5);
  BOOST_TEST(fake.calls[0] == "collect 0 3");
}

BOOST_AUTO_TEST_CASE(collection_everywhere_leaves_quiet_servers_alone) {
  BOOST_TEST(post("/v1/gc").body.at("collections").size() == 1u);
  BOOST_TEST(fake.calls.size() == 1u);
}

BOOST_AUTO_TEST_CASE(scrub_waits_until_it_is_done_and_tells_what_it_restored) {
  fake.scrubs_pending = 3;
  const Reply reply = post("/v1/scrub", R"({"server":"shop"})");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("complete") == true);
  BOOST_TEST(reply.body.at("scrubs")[0].at("server") == "shop");
  BOOST_TEST(reply.body.at("scrubs")[0].at("bytes_left") == 0);
  BOOST_TEST(reply.body.at("scrubs")[0].at("restored") == 3);
  BOOST_REQUIRE(fake.calls.size() == 4u);
  BOOST_TEST(fake.calls[0] == "scrub 0 all");
  BOOST_TEST(fake.calls[3] == "scrub 0 0");  // asks for nothing new
}

BOOST_AUTO_TEST_CASE(scrub_that_ends_too_late_is_incomplete) {
  fake.scrubs_pending = 1000000;
  const Reply reply = post("/v1/scrub", R"({"timeout_ms":30})");
  BOOST_TEST(reply.body.at("complete") == false);
  BOOST_REQUIRE(reply.body.at("scrubs").size() == 1u);  // the roster is not attached
  BOOST_TEST(reply.body.at("scrubs")[0].at("bytes_left") == 4096);
}

BOOST_AUTO_TEST_CASE(bad_scrubs_are_refused) {
  check_error(post("/v1/scrub", R"({"user":3})"), 400, "bad_request");
  check_error(post("/v1/scrub", R"({"server":7})"), 400, "bad_request");
  check_error(post("/v1/scrub", R"({"server":"none"})"), 404, "not_found");
  BOOST_TEST(fake.calls.empty());
  fake.scrub_status = VMSRS_DENIED;
  check_error(post("/v1/scrub"), 403, "denied");
}

BOOST_AUTO_TEST_CASE(bad_collections_are_refused) {
  check_error(post("/v1/gc", "{"), 400, "bad_request");
  check_error(post("/v1/gc", "[]"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"sever":"shop"})"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"user":3})"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"server":"shop","user":1024})"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"server":"shop","user":-1})"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"server":7})"), 400, "bad_request");
  check_error(post("/v1/gc", R"({"server":"none"})"), 404, "not_found");
  check_error(post("/v1/gc", R"({"server":"shop","user":1})"), 409, "wrong_state");
  check_error(post("/v1/gc", std::string(70000, ' ')), 413, "too_large");
  BOOST_TEST(fake.calls.size() == 1u);  // the one with user 1
}

BOOST_AUTO_TEST_CASE(check_goes_on_until_nothing_is_pending) {
  fake.checks_pending = 3;
  const Reply reply = post("/v1/check");
  BOOST_TEST(reply.body.at("ok") == true);
  BOOST_TEST(reply.body.at("checks").size() == 8u);
  BOOST_TEST(reply.body.at("checks")[4].at("name") == "mirror");
  BOOST_TEST(reply.body.at("checks")[4].at("verdict") == "ok");
  const std::vector<std::string> expected = {"check anew", "check on", "check on", "check on"};
  BOOST_TEST(fake.calls == expected, boost::test_tools::per_element());
  BOOST_TEST(get("/v1/status").body.at("last_check").at("ok") == true);
}

BOOST_AUTO_TEST_CASE(check_that_nobody_answers_is_unverified) {
  fake.checks_pending = 1000000;
  const Reply reply = post("/v1/check");  // the configured 400 ms
  BOOST_TEST(reply.body.at("ok") == false);
  BOOST_TEST(reply.body.at("unverified") == 1);
  BOOST_TEST(reply.body.at("checks")[4].at("verdict") == "unverified");
}

BOOST_AUTO_TEST_CASE(what_was_found_before_the_time_was_over_is_violated) {
  fake.checks_pending = 1000000;
  fake.report_now.results[VMSRS_CHECK_MIRROR].violation_count = 2;
  const Reply reply = post("/v1/check", R"({"timeout_ms":10})");
  BOOST_TEST(reply.body.at("checks")[4].at("verdict") == "violated");
  BOOST_TEST(reply.body.at("checks")[4].at("first_server") == "shop");
}

BOOST_AUTO_TEST_CASE(violation_is_told_and_counted) {
  fake.report_now.results[VMSRS_CHECK_CHAINS] = {VMSRS_VERDICT_VIOLATED, 1, 12, 2, 0x40};
  const Reply reply = post("/v1/check");
  BOOST_TEST(reply.body.at("ok") == false);
  BOOST_TEST(reply.body.at("violated") == 1);
  BOOST_TEST(reply.body.at("checks")[2].at("first_server") == "roster");
  BOOST_TEST(reply.body.at("checks")[2].at("first_detail") == "0x40");
  BOOST_TEST(ledger.totals()[VMSRS_CHECK_CHAINS] == 2u);
}

BOOST_AUTO_TEST_CASE(free_devices_are_told_in_words) {
  BOOST_TEST(post("/v1/check").body.at("checks")[0].at("reason").is_null());
  fake.report_now.results[VMSRS_CHECK_HIDDEN] = {VMSRS_VERDICT_VIOLATED, VMSRS_MAX_SERVERS, 12, 1,
                                                 VMSRS_DETAIL_DEVICES_FREE};
  const Reply reply = post("/v1/check");
  BOOST_TEST(reply.body.at("violated") == 1);
  BOOST_TEST(reply.body.at("checks")[0].at("reason") ==
             "no IOMMU keeps devices from hidden memory");
}

BOOST_AUTO_TEST_CASE(what_nobody_has_seen_is_told_and_is_no_violation) {
  fake.report_now.results[VMSRS_CHECK_HIDDEN] = {VMSRS_VERDICT_OK, VMSRS_MAX_SERVERS, 12, 0,
                                                 VMSRS_DETAIL_INIT_UNVERIFIED};
  const Reply reply = post("/v1/check");
  BOOST_TEST(reply.body.at("ok") == true);
  BOOST_TEST(reply.body.at("checks")[0].at("verdict") == "ok");
  BOOST_TEST(reply.body.at("checks")[0].at("first_detail").is_null());
  BOOST_TEST(reply.body.at("checks")[0].at("reason") ==
             "unverified: that a device's INIT is stopped (docs/hardware.md)");
}

BOOST_AUTO_TEST_CASE(unprotected_server_is_named_and_is_no_violation) {
  fake.report_now.results[VMSRS_CHECK_STORAGE] = {VMSRS_VERDICT_UNPROTECTED, 1, 12, 0, 14};
  const Reply reply = post("/v1/check");
  BOOST_TEST(reply.body.at("ok") == false);
  BOOST_TEST(reply.body.at("violated") == 0);
  BOOST_TEST(reply.body.at("unprotected") == 1);
  BOOST_TEST(reply.body.at("checks")[1].at("verdict") == "unprotected");
  BOOST_TEST(reply.body.at("checks")[1].at("first_server") == "roster");
  BOOST_TEST(reply.body.at("checks")[1].at("first_detail") == "0xe");
  BOOST_TEST(ledger.totals()[VMSRS_CHECK_STORAGE] == 0u);
  const Json shop = get("/v1/servers").body.at("servers")[0];
  BOOST_TEST(shop.at("unprotected_stores") == 14);
  BOOST_TEST(shop.at("eager_regions") == 1);
  BOOST_TEST(shop.at("users_exposed") == 15);
  BOOST_TEST(shop.at("kept_regions") == 1);
  BOOST_TEST(shop.at("kept_region_bytes") == 1 << 16);
}

BOOST_AUTO_TEST_CASE(other_documents_are_there) {
  BOOST_TEST(get("/v1/hypervisor/exits").body == get("/v1/exits").body);
  BOOST_TEST(get("/v1/exits").body.at("cpus")[1].at("reasons").at("cpuid").at("count") == 201);
  BOOST_TEST(get("/v1/version").body.at("isolation") == "hypervisor");
  const Json stats = get("/v1/stats").body;
  BOOST_TEST(stats.at("host").at("hidden_accesses_refused") == 2);
  BOOST_TEST(stats.at("servers")[0].at("suppressed_stores") == 33);
  BOOST_TEST(stats.at("exits").size() == 2u);
}

BOOST_AUTO_TEST_CASE(the_hypervisors_log) {
  const Json all = get("/v1/hypervisor/log").body;
  BOOST_REQUIRE(all.at("lines").size() == 3u);  // two answers of the hypervisor's
  BOOST_TEST(all.at("lost") == 0);              // nobody asked for older ones
  BOOST_TEST(all.at("next") == 10);
  const Json& warning = all.at("lines")[1];
  BOOST_TEST(warning.at("sequence") == 8);
  BOOST_TEST(warning.at("seconds") == 4.0);
  BOOST_TEST(warning.at("cpu") == 1);
  BOOST_TEST(warning.at("level") == "warning");
  BOOST_TEST(warning.at("text") ==
             R"(no IOMMU: whoever drives a device\x1b can have it change memory)");
  const Json later = get("/v1/hypervisor/log?since=9").body;
  BOOST_TEST(later.at("lines").size() == 1u);
  BOOST_TEST(get("/v1/hypervisor/log?since=4").body.at("lost") == 3);
  const Json end = get("/v1/hypervisor/log?since=10").body;
  BOOST_TEST(end.at("lines").empty());
  BOOST_TEST(end.at("next") == 10);
  BOOST_TEST(end.at("lost") == 0);
  for (const char* since : {"x", "-1", "1x", "99999999999999999999", ""}) {
    check_error(get(std::string("/v1/hypervisor/log?since=") + since), 400, "bad_request");
  }
}

BOOST_AUTO_TEST_CASE(starts_of_the_guest) {
  const Json status = get("/v1/status").body;
  BOOST_TEST(status.at("guest_start") == 3);
  BOOST_TEST(status.at("guest_watch").at("panic") == true);
  BOOST_TEST(status.at("guest_watch").at("hang") == false);
}

BOOST_AUTO_TEST_CASE(announced_resets) {
  BOOST_TEST(post("/v1/hypervisor/announce-reset").body.at("wanted") == true);
  BOOST_TEST(post("/v1/hypervisor/announce-reset", R"({"wanted":false})").body.at("wanted") ==
             false);
  const std::vector<std::string> expected = {"announce reset 1", "announce reset 0"};
  BOOST_TEST(fake.calls == expected, boost::test_tools::per_element());
  check_error(post("/v1/hypervisor/announce-reset", R"({"wanted":1})"), 400, "bad_request");
  fake.announce_status = VMSRS_NOT_FOUND;
  check_error(post("/v1/hypervisor/announce-reset"), 409, "wrong_state");
}

BOOST_AUTO_TEST_CASE(the_hypervisors_memory) {
  const Json ranges = get("/v1/hypervisor/memory").body.at("ranges");
  BOOST_REQUIRE(ranges.size() == 4u);
  BOOST_TEST(ranges[2].at("begin") == "0x3a200000");
  BOOST_TEST(ranges[2].at("end") == "0x3e000000");
  BOOST_TEST(ranges[2].at("bytes") == 0x3e00000);
  BOOST_TEST(ranges[2].at("use") == "storage");
  const Json exits = get("/v1/exits").body;
  BOOST_TEST(exits.at("cycles_per_second") == 2'000'000'000);
  BOOST_TEST(exits.at("uptime_seconds") == 3600.0);
  fake.stats_now.cycles_per_second = 0;
  BOOST_TEST(get("/v1/exits").body.at("cycles_per_second") == nullptr);
}

BOOST_AUTO_TEST_CASE(refusals_of_the_hypervisor_become_errors) {
  fake.stats_status = VMSRS_DENIED;
  check_error(get("/v1/status"), 403, "denied");
  fake.stats_status = VMSRS_BAD_ADDRESS;
  check_error(get("/v1/stats"), 502, "hypervisor_error");
}

BOOST_AUTO_TEST_CASE(an_abandoned_engine) {
  BOOST_TEST(get("/v1/status").body.at("protection") == true);
  fake.stats_now.engine_abandoned = 1;
  const Json status = get("/v1/status").body;
  BOOST_TEST(status.at("protection") == false);
  BOOST_TEST(status.at("mode") == "unprotected");
  BOOST_TEST(status.at("servers").empty());
  check_error(get("/v1/servers"), 503, "unprotected");
  check_error(post("/v1/check"), 503, "unprotected");
  BOOST_TEST(!get("/v1/hypervisor/log").body.at("lines").empty());
}

BOOST_AUTO_TEST_CASE(unknown_paths_and_methods_are_json_errors) {
  check_error(get("/v1/nothing"), 404, "no_such_path");
  check_error(post("/v1/status"), 404, "no_such_path");
}

BOOST_AUTO_TEST_CASE(server_names_cannot_break_the_document) {
  std::memset(fake.servers_now[0].name, 0xff, VMSRS_NAME_BYTES);
  BOOST_TEST(get("/v1/servers").body.at("servers")[0].at("name") ==
             std::string(VMSRS_NAME_BYTES, '?'));
}

BOOST_AUTO_TEST_CASE(many_clients_at_once) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      httplib::Client client(socket);
      client.set_address_family(AF_UNIX);
      client.set_default_headers({{"Host", "test"}});
      for (int n = 0; n < 10; ++n) {
        const auto result = n % 2 == 0 ? client.Get("/v1/users") : client.Post("/v1/check");
        if (result && result->status == 200) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(good == 80);
}

BOOST_AUTO_TEST_CASE(requests_that_wait_leave_room_for_others) {
  fake.change([](FakeChannel& f) { f.collections_pending = 1000000; });
  std::vector<std::thread> waiting;
  for (int i = 0; i < 20; ++i)
    waiting.emplace_back([&] {
      httplib::Client client(socket);
      client.set_address_family(AF_UNIX);
      client.set_default_headers({{"Host", "test"}});
      (void)client.Post("/v1/gc", R"({"server":"shop","timeout_ms":1500})", "application/json");
    });
  BOOST_TEST(eventually([&] {
    std::size_t calls = 0;
    fake.change([&](FakeChannel& f) { calls = f.calls.size(); });
    return calls > 20;
  }));
  const auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(get("/v1/status").status == 200);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds(1)));
  service.stop();
  for (std::thread& thread : waiting) thread.join();
}

BOOST_AUTO_TEST_CASE(socket_has_its_mode_and_goes_with_the_daemon) {
  struct stat status {};
  BOOST_REQUIRE(::stat(socket.c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 07777) == 0640u);
  BOOST_TEST(fails_with(socket, "", "another daemon answers there"));
  listener.reset();
  BOOST_TEST(::stat(socket.c_str(), &status) != 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(api_socket)

BOOST_AUTO_TEST_CASE(stale_socket_is_replaced) {
  const Scratch scratch;
  ::close(stale_socket(scratch.path("s"), false));
  BOOST_TEST(listen_at(scratch.path("s")) != nullptr);
}

BOOST_AUTO_TEST_CASE(silent_listener_is_somebody) {
  const Scratch scratch;
  const int descriptor = stale_socket(scratch.path("s"), true);
  BOOST_TEST(fails_with(scratch.path("s"), "", "another daemon answers there"));
  ::close(descriptor);
}

BOOST_AUTO_TEST_CASE(ordinary_file_is_left_alone) {
  const Scratch scratch;
  scratch.write("s", "precious");
  BOOST_TEST(fails_with(scratch.path("s"), "", "no socket"));
  BOOST_TEST(read_file(scratch.path("s")) == "precious");
}

BOOST_AUTO_TEST_CASE(group_is_a_name_or_a_number) {
  const Scratch scratch;
  BOOST_TEST(fails_with(scratch.path("s"), "no-such-group", "there is no group"));
  BOOST_TEST(listen_at(scratch.path("s"), std::to_string(::getegid())) != nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
