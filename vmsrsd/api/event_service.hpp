// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/answer.hpp"
#include "store/event_feed.hpp"
#include "store/event_reader.hpp"

namespace vmsrs::api {

// What the API tells of the stored events, without HTTP. Any thread.
class EventService {
 public:
  // Streams at a time: each keeps a thread of the listener.
  static constexpr int kMostStreams = 8;
  static constexpr std::chrono::milliseconds kHeartbeat{10000};

  EventService(std::string store, const store::EventFeed& feed,
               std::chrono::milliseconds heartbeat = kHeartbeat)
      : reader_(std::move(store)), feed_(feed), heartbeat_(heartbeat) {}

  [[nodiscard]] Answer list(const store::Filter& filter, const store::Page& page) const;
  [[nodiscard]] Answer get(std::int64_t id) const;

  // A client that follows the events. Used by one thread.
  class Stream {
   public:
    ~Stream() { --service_.streams_; }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    // What to send next, in the form of server-sent events: waits for it, at most until the next
    // heartbeat. Empty: the daemon is being stopped.
    [[nodiscard]] std::string next();

   private:
    friend class EventService;
    Stream(EventService& service, store::Filter filter)
        : service_(service), filter_(std::move(filter)) {}
    EventService& service_;
    store::Filter filter_;
    std::int64_t last_ = 0;    // id of the last event that was sent, or passed over
    std::uint64_t round_ = 0;  // of the feed, when it was last looked
    bool begun_ = false;
  };
  // `last_id`: of the last event that the client has seen. Without one it begins with
  // `filter.since`, and without that with what is stored from now on. Null: `error` says why not.
  [[nodiscard]] std::shared_ptr<Stream> follow(store::Filter filter,
                                               std::optional<std::int64_t> last_id, Answer& error);

 private:
  store::EventReader reader_;
  const store::EventFeed& feed_;
  std::chrono::milliseconds heartbeat_;
  std::atomic<int> streams_ = 0;
};

}  // namespace vmsrs::api
