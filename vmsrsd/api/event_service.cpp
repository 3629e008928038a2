// SPDX-License-Identifier: Apache-2.0
#include "api/event_service.hpp"

#include <ops_common/json_text.hpp>

#include "daemon/event_documents.hpp"

namespace vmsrs::api {
namespace {

constexpr std::size_t kEventsAtOnce = 100;

Answer unavailable(const store::Problem& problem) {
  return error_answer(503, "store_unavailable", problem.text,
                      "look at the log of vmsrsd and at the disk of events.store");
}

}  // namespace

Answer EventService::list(const store::Filter& filter, const store::Page& page) const {
  store::Found found;
  if (const auto problem = reader_.list(filter, page, found)) return unavailable(*problem);
  Json list = Json::array();
  for (const store::StoredEvent& stored : found.events)
    list.push_back(daemon::event_document(stored));
  Json before = nullptr;
  Json after = nullptr;
  if (!found.events.empty()) {
    if (found.more_before) before = found.events.front().id;
    after = found.events.back().id;
  } else if (page.after) {
    after = *page.after;
    if (found.more_before) before = *page.after + 1;
  } else if (page.before && found.more_after) {
    after = *page.before - 1;
  }
  return {200,
          {{"events", std::move(list)},
           {"before", before},
           {"after", after},
           {"more_after", found.more_after}}};
}

Answer EventService::get(std::int64_t id) const {
  std::optional<store::StoredEvent> stored;
  if (const auto problem = reader_.get(id, stored)) return unavailable(*problem);
  if (!stored)
    return error_answer(404, "not_found", "there is no event " + std::to_string(id),
                        "it may have been deleted for its age: look at the list of events");
  return {200, daemon::event_document(*stored)};
}

std::shared_ptr<EventService::Stream> EventService::follow(store::Filter filter,
                                                           std::optional<std::int64_t> last_id,
                                                           Answer& error) {
  std::int64_t newest = 0;
  const std::uint64_t round = feed_.round();
  if (const auto problem = reader_.newest(newest)) {
    error = unavailable(*problem);
    return nullptr;
  }
  if (streams_.fetch_add(1) >= kMostStreams) {
    --streams_;
    error = error_answer(503, "too_many_streams",
                         std::to_string(kMostStreams) + " clients follow the events already",
                         "end one of them, or ask for /v1/events?after=ID now and then");
    return nullptr;
  }
  const bool from_since = filter.since.has_value();
  std::shared_ptr<Stream> stream(new Stream(*this, std::move(filter)));
  stream->round_ = round;
  // An id that has not been given is one of another store: all there is comes after it.
  if (last_id) {
    stream->last_ = *last_id > newest ? 0 : *last_id;
  } else {
    stream->last_ = from_since ? 0 : newest;
  }
  return stream;
}

std::string EventService::Stream::next() {
  const store::EventFeed& feed = service_.feed_;
  if (feed.stopping()) return "";
  if (!begun_) {
    begun_ = true;
    return "retry: 2000\n\n";
  }
  const auto deadline = std::chrono::steady_clock::now() + service_.heartbeat_;
  for (;;) {
    const std::uint64_t round = feed.round();
    store::Found found;
    store::Page page;
    page.after = last_;
    page.limit = kEventsAtOnce;
    const auto problem = service_.reader_.list(filter_, page, found);
    std::string text;
    for (const store::StoredEvent& stored : found.events) {
      last_ = stored.id;
      text += "id: " + std::to_string(stored.id) + "\nevent: " + stored.event.type +
              "\ndata: " + ops::json_text(daemon::event_document(stored)) + "\n\n";
    }
    if (!text.empty()) return text;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return problem ? ": the store cannot be read now\n\n" : ": heartbeat\n\n";
    }
    feed.wait(round, left);
    if (feed.stopping()) return "";
  }
}

}  // namespace vmsrs::api
