// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "served_api.hpp"
#include "shared_ring.hpp"

namespace vmsrs::test {
namespace {

using Json = nlohmann::json;

struct Reply {
  int status = 0;
  Json body;
};

// A client that reads a stream on a thread of its own, until it is told to stop.
class Follower {
 public:
  Follower(const std::string& socket, const std::string& path, const std::string& last_id = "")
      : http_(socket) {
    http_.set_address_family(AF_UNIX);
    http_.set_read_timeout(20);
    httplib::Headers headers = {{"Host", "test"}};
    if (!last_id.empty()) headers.emplace("Last-Event-ID", last_id);
    thread_ = std::thread([this, path, headers] {
      (void)http_.Get(
          path, headers,
          [this](const httplib::Response& response) {
            status_ = response.status;
            return true;
          },
          [this](const char* data, std::size_t length) {
            const std::lock_guard lock(mutex_);
            text_.append(data, length);
            return !stop_;
          });
      ended_ = true;
    });
  }
  ~Follower() {
    stop_ = true;
    thread_.join();
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  int status() const { return status_; }
  bool ended() const { return ended_; }
  bool sees(const std::string& part) const {
    return eventually([&] { return text().find(part) != std::string::npos; });
  }

 private:
  httplib::Client http_;
  mutable std::mutex mutex_;
  std::string text_;
  std::atomic<int> status_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

struct Fixture : ServedApi {
  httplib::Client http{socket};
  Fixture() {
    http.set_address_family(AF_UNIX);
    http.set_default_headers({{"Host", "test"}});
    fake.guest_ends_now.clear();
    add(1, 26);
  }
  Reply get(const std::string& path) {
    const httplib::Result result = http.Get(path);
    BOOST_REQUIRE(result);
    Reply reply{result->status, Json::parse(result->body)};
    // As api_test.cpp does, for openapi_test.py.
    if (const char* file = std::getenv("VMSRS_ANSWERS"); file != nullptr)
      std::ofstream(file, std::ios::app)
          << Json{{"method", "GET"}, {"path", path}, {"status", reply.status}, {"body", reply.body}}
          << "\n";
    return reply;
  }
  void add(std::uint64_t from, std::uint64_t to) {
    fake.change([&](FakeChannel& f) {
      for (; from <= to; ++from) f.events_now.push_back(event_number(from));
    });
    BOOST_TEST(recorder.pass());
  }
};

void check_error(const Reply& reply, int status, const std::string& code) {
  BOOST_TEST(reply.status == status);
  BOOST_TEST(reply.body.at("error").at("code") == code);
  BOOST_TEST(!reply.body.at("error").at("message").get<std::string>().empty());
  BOOST_TEST(!reply.body.at("error").at("hint").get<std::string>().empty());
}

std::vector<int> ids(const Json& body) {
  std::vector<int> all;
  for (const Json& event : body.at("events")) all.push_back(event.at("id"));
  return all;
}

using Ids = std::vector<int>;

}  // namespace

BOOST_FIXTURE_TEST_SUITE(event_api, Fixture)

BOOST_AUTO_TEST_CASE(pages_lead_through_all_events_in_both_directions) {
  for (const std::string filter : {"", "&type=crash,stuck,attached&server=shop"}) {
    const Ids all = ids(get("/v1/events?limit=1000" + filter).body);
    Ids down;
    Json page = get("/v1/events?limit=4" + filter).body;
    for (;;) {
      const Ids some = ids(page);
      down.insert(down.begin(), some.begin(), some.end());
      if (page.at("before").is_null()) break;
      page = get("/v1/events?limit=4&before=" + page.at("before").dump() + filter).body;
    }
    BOOST_TEST(down == all, boost::test_tools::per_element());
    Ids up;
    page = get("/v1/events?limit=4&after=0" + filter).body;
    while (!page.at("events").empty()) {
      const Ids some = ids(page);
      up.insert(up.end(), some.begin(), some.end());
      BOOST_TEST(page.at("more_after") == (up.size() < all.size()));
      page = get("/v1/events?limit=4&after=" + page.at("after").dump() + filter).body;
    }
    BOOST_TEST(up == all, boost::test_tools::per_element());
    BOOST_TEST(all.size() == (filter.empty() ? 26u : 6u));
  }
}

BOOST_AUTO_TEST_CASE(filters_are_checked_and_hold) {
  BOOST_TEST(ids(get("/v1/events?type=crash").body) == (Ids{13, 26}),
             boost::test_tools::per_element());
  BOOST_TEST(ids(get("/v1/events?user=8").body) == (Ids{8}), boost::test_tools::per_element());
  BOOST_TEST(ids(get("/v1/events?server=nobody").body).empty());
  // Since the hypervisor's start, an hour ago, one event a millisecond.
  BOOST_TEST(
      ids(get("/v1/events?since=1699996400.0205&until=1699996400.0225").body) == (Ids{21, 22}),
      boost::test_tools::per_element());
  for (const char* query :
       {"type=crahs", "user=x", "user=1024", "since=now", "until=", "since=nan", "limit=0",
        "limit=1001", "before=-1", "after=x", "before=1&after=2", "colour=red"})
    check_error(get(std::string("/v1/events?") + query), 400, "bad_request");
}

BOOST_AUTO_TEST_CASE(an_event_by_its_id) {
  const Reply reply = get("/v1/events/13");
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body.at("type") == "crash");
  BOOST_TEST(reply.body.at("fault").at("kind") == "wild");
  BOOST_TEST(reply.body.at("fault").at("address") == "0xd000");
  BOOST_TEST(reply.body.at("label_text") == R"(user \x1b 13)");
  check_error(get("/v1/events/27"), 404, "not_found");
  check_error(get("/v1/events/x"), 404, "no_such_path");
}

BOOST_AUTO_TEST_CASE(a_store_that_cannot_be_read_is_503) {
  for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(store_path + ending);
  for (const char* path : {"/v1/events", "/v1/events/1", "/v1/events/stream"})
    check_error(get(path), 503, "store_unavailable");
}

BOOST_AUTO_TEST_CASE(a_stream_has_what_comes_and_heartbeats) {
  const Follower follower(socket, "/v1/events/stream");
  BOOST_TEST(follower.sees("retry: 2000\n\n"));
  BOOST_TEST(follower.sees(": heartbeat\n\n"));
  add(27, 28);
  BOOST_TEST(follower.sees("id: 27\nevent: suppression_began\ndata: {\"id\":27,"));
  BOOST_TEST(follower.sees("id: 28\n"));
  BOOST_TEST(follower.text().find("id: 26\n") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stream_goes_on_after_the_last_event_that_was_seen) {
  const Follower follower(socket, "/v1/events/stream", "20");
  BOOST_TEST(follower.sees("id: 26\n"));
  const std::string text = follower.text();
  BOOST_TEST(text.find("id: 20\n") == std::string::npos);
  BOOST_TEST(text.find("id: 21\n") != std::string::npos);
  // Of another store: all there is has not been seen.
  const Follower stranger(socket, "/v1/events/stream", "1000");
  BOOST_TEST(stranger.sees("id: 1\n"));
  const Follower since(socket, "/v1/events/stream?since=1699996400.0205&type=crash");
  BOOST_TEST(since.sees("id: 26\n"));
  BOOST_TEST(since.text().find("id: 21\n") == std::string::npos);
  httplib::Headers headers = {{"Last-Event-ID", "x"}};
  BOOST_TEST(http.Get("/v1/events/stream", headers)->status == 400);
}

BOOST_AUTO_TEST_CASE(streams_are_capped_and_leave_room_for_requests) {
  {
    std::vector<std::unique_ptr<Follower>> followers;
    for (int i = 0; i < api::EventService::kMostStreams; ++i) {
      followers.push_back(std::make_unique<Follower>(socket, "/v1/events/stream"));
      BOOST_TEST(followers.back()->sees("retry: "));
    }
    const httplib::Result result = http.Get("/v1/events/stream");
    BOOST_REQUIRE(result);
    check_error({result->status, Json::parse(result->body)}, 503, "too_many_streams");
    BOOST_TEST(result->get_header_value("Retry-After") == "5");
    BOOST_TEST(get("/v1/status").status == 200);
    add(27, 27);
    for (const auto& follower : followers) BOOST_TEST(follower->sees("id: 27\n"));
  }
  // Clients that have gone leave their places.
  BOOST_TEST(eventually([&] {
    const Follower follower(socket, "/v1/events/stream");
    return eventually([&] { return follower.status() != 0; }) && follower.status() == 200;
  }));
}

BOOST_AUTO_TEST_CASE(streams_end_when_the_daemon_is_stopped) {
  const Follower follower(socket, "/v1/events/stream");
  BOOST_TEST(follower.sees("retry: "));
  feed.stop();
  BOOST_TEST(eventually([&] { return follower.ended(); }));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
