// SPDX-License-Identifier: Apache-2.0
#include "daemon/event_recorder.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "channel/lists.hpp"
#include "channel/names.hpp"
#include "daemon/event_documents.hpp"

namespace vmsrs::daemon {
namespace {

constexpr std::chrono::milliseconds kInterval{250};
constexpr std::size_t kBatch = 256;  // events in a transaction
constexpr std::size_t kEventsInPage = 16;
constexpr std::size_t kMostBatches = 4 * VMSRS_EVENTS_KEPT / kBatch;  // in a pass
constexpr std::size_t kMostOwn = 1000;                                // that wait for the store
constexpr double kRetrySeconds = 1;                                   // after a problem
constexpr double kRetainSeconds = 60;
constexpr double kJumpSeconds = 60;  // a smaller step of the clock is none
constexpr double kDay = 86400;

}  // namespace

EventRecorder::EventRecorder(channel::Channel& channel, Clock clock, Settings settings,
                             EventLedger& ledger, store::EventFeed& feed, Journal journal)
    : channel_(channel),
      clock_(std::move(clock)),
      settings_(std::move(settings)),
      ledger_(ledger),
      feed_(feed),
      journal_(std::move(journal)),
      store_(settings_.store) {}

void EventRecorder::start() {
  thread_ = std::thread([this] { run(); });
}

void EventRecorder::stop() {
  {
    const std::lock_guard lock(thread_mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void EventRecorder::run() {
  std::unique_lock lock(thread_mutex_);
  while (!stopping_) {
    lock.unlock();
    (void)pass();
    lock.lock();
    wake_.wait_for(lock, kInterval, [this] { return stopping_; });
  }
  lock.unlock();
  (void)pass();
}

bool EventRecorder::pass() {
  const std::lock_guard lock(mutex_);
  return pass_locked();
}

void EventRecorder::record_check(const vmsrs_check_report& report,
                                 const std::vector<vmsrs_server_info>& servers) {
  const std::lock_guard lock(mutex_);
  std::vector<store::Event> events = check_events(report, clock_.unix_time(), servers);
  if (events.empty()) return;
  for (store::Event& event : events) add_own(std::move(event));
  (void)pass_locked();
}

void EventRecorder::change_limits(std::uint32_t keep_days, std::uint64_t keep_bytes) {
  const std::lock_guard lock(mutex_);
  settings_.keep_days = keep_days;
  settings_.keep_bytes = keep_bytes;
  retain_again_ = 0;
}

bool EventRecorder::pass_locked() {
  look_at_clock();
  const double begin = clock_.steady_time();
  if (begin < try_again_) return false;
  stored_any_ = false;
  const std::optional<store::Problem> problem = take_over();
  const double duration = clock_.steady_time() - begin;
  try_again_ = problem ? begin + kRetrySeconds : 0;
  ledger_.change([&](EventLedger::Counts& counts) {
    counts.writable = !problem;
    counts.bytes = store_.bytes_on_disk();
    if (!problem) counts.last_drain = clock_.unix_time();
    if (!stored_any_) return;
    const auto* const bucket =
        std::lower_bound(EventLedger::kBuckets.begin(), EventLedger::kBuckets.end(), duration);
    ++counts.durations[static_cast<std::size_t>(bucket - EventLedger::kBuckets.begin())];
    counts.duration_sum += duration;
  });
  tell(problem);
  return !problem;
}

std::optional<store::Problem> EventRecorder::take_over() {
  if (store_.is_open() && !store_.is_in_place()) {
    spdlog::warn("{} is not the file any more that was opened: a new one is made", settings_.store);
    store_.close();
  }
  std::optional<store::Problem> problem;
  if (!store_.is_open()) {
    problem = store_.open();
    std::uint64_t kept = 0;
    if (!problem) problem = store_.count(kept);
    if (!problem) ledger_.change([&](EventLedger::Counts& counts) { counts.kept = kept; });
  }
  if (!problem) problem = take_own();
  if (!problem) problem = take_engine();
  if (!problem) problem = take_guest();
  if (!problem) problem = take_own();  // what these have added
  if (!problem) problem = retain();
  return problem;
}

std::optional<store::Problem> EventRecorder::store_events(std::vector<store::Event> events,
                                                          const std::string& boot,
                                                          store::Source source,
                                                          const store::Cursor& cursor) {
  std::vector<store::EventStore::Advance> advances;
  if (source != store::Source::kDaemon) advances.push_back({boot, source, cursor});
  // The daemon's own go with them, in the same transaction.
  store::Cursor own;
  if (auto problem = store_.cursor("", store::Source::kDaemon, own)) return problem;
  for (store::Event event : own_) {
    event.sequence = ++own.next;
    events.push_back(std::move(event));
  }
  advances.push_back({"", store::Source::kDaemon, own});
  store::Appended appended;
  if (auto problem = store_.append(events, advances, appended)) return problem;
  own_.clear();
  stored_any_ = true;
  ledger_.change([&](EventLedger::Counts& counts) {
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (appended.ids[i] == 0) continue;
      ++counts.stored[events[i].type];
      ++counts.kept;
    }
    counts.repeated += appended.repeated;
  });
  if (appended.repeated != 0) {
    spdlog::error("{} events were stored already, {} of them with another content: look at {}",
                  appended.repeated, appended.contradicted, settings_.store);
  }
  for (std::size_t i = 0; i < events.size(); ++i)
    if (appended.ids[i] != 0 && journal_) journal_(event_document({appended.ids[i], events[i]}));
  feed_.publish();
  return std::nullopt;
}

void EventRecorder::add_own(store::Event event) {
  if (own_.size() < kMostOwn) {
    own_.push_back(std::move(event));
    return;
  }
  ledger_.change([](EventLedger::Counts& counts) { ++counts.lost; });
}

// Numbers from `wanted` to before `first` are nowhere any more: told once, although the transaction
// that tells it may have to be tried again.
void EventRecorder::note_gap(const char* source, const std::string& boot, std::uint64_t wanted,
                             std::uint64_t first) {
  const std::string gap = std::string(source) + boot + std::to_string(wanted);
  if (first <= wanted || gap == told_gap_) return;
  told_gap_ = gap;
  const std::uint64_t count = first - wanted;
  spdlog::error("{} events of the {} are lost: they were overwritten, or somebody else took them",
                count, source);
  ledger_.change([&](EventLedger::Counts& counts) { counts.lost += count; });
  add_own(daemon_event("events_lost", clock_.unix_time(),
                       {{"source", source}, {"boot", boot}, {"count", count}}));
}

std::optional<store::Problem> EventRecorder::take_own() {
  if (own_.empty()) return std::nullopt;
  return store_events({}, "", store::Source::kDaemon, {});
}

double EventRecorder::boot_time() {
  vmsrs_stats stats{};
  const vmsrs_status status = channel_.stats(stats);
  if (status != VMSRS_OK) tell_status(status);
  return clock_.unix_time() - static_cast<double>(stats.uptime_ns) / 1e9;
}

// The oldest that nobody has acknowledged.
vmsrs_status EventRecorder::read_batch(std::vector<vmsrs_event>& batch) {
  std::array<vmsrs_event, kEventsInPage> records;
  std::uint64_t cursor = 0;
  while (batch.size() + records.size() <= kBatch) {
    channel::LogPage page;
    const vmsrs_status status = channel_.events(cursor, records, page);
    if (status != VMSRS_OK) return status;
    if (page.count == 0) break;
    batch.insert(batch.end(), records.begin(),
                 records.begin() + static_cast<std::ptrdiff_t>(page.count));
    cursor = page.next_cursor;
  }
  return VMSRS_OK;
}

std::optional<store::Problem> EventRecorder::take_engine() {
  for (std::size_t batches = 0; batches < kMostBatches; ++batches) {
    std::vector<vmsrs_event> batch;
    const vmsrs_status status = read_batch(batch);
    tell_status(status);
    if (status != VMSRS_OK || batch.empty()) return std::nullopt;
    const std::string boot = boot_text(batch.front().boot);
    store::Cursor cursor;
    if (auto problem = store_.cursor(boot, store::Source::kEngine, cursor)) return problem;
    // Stored by a daemon that was killed before it could acknowledge them.
    std::erase_if(batch, [&](const vmsrs_event& event) { return event.sequence < cursor.next; });
    if (!batch.empty()) {
      if (cursor.next != 0) note_gap("engine", boot, cursor.next, batch.front().sequence);
      std::vector<vmsrs_server_info> servers;  // only for names
      (void)channel::read_servers(channel_, servers);
      const double start = boot_time();
      store::Symbols symbols;
      std::vector<store::Event> events;
      for (const vmsrs_event& event : batch)
        events.push_back(engine_event(event, start, servers, symbols, settings_.dump_folder));
      cursor.next = batch.back().sequence + 1;
      if (auto problem = store_events(std::move(events), boot, store::Source::kEngine, cursor))
        return problem;
    }
    const vmsrs_status acknowledged = channel_.acknowledge_events(cursor.next - 1);
    tell_status(acknowledged);
    if (acknowledged != VMSRS_OK) return std::nullopt;
  }
  return std::nullopt;
}

std::optional<store::Problem> EventRecorder::take_guest() {
  std::vector<vmsrs_guest_end> ends;
  std::uint64_t next = 0;
  const vmsrs_status status = channel::read_guest_ends(channel_, guest_next_, ends, next);
  if (status != VMSRS_OK || ends.empty()) return std::nullopt;
  const std::string boot = boot_text(ends.front().boot);
  store::Cursor cursor;
  if (auto problem = store_.cursor(boot, store::Source::kGuest, cursor)) return problem;
  // (After damage the store is new, but what this daemon has stored is not lost.)
  const std::uint64_t wanted = std::max<std::uint64_t>({cursor.next, guest_seen_, 1});
  note_gap("guest", boot, wanted, ends.front().sequence);
  std::erase_if(ends, [&](const vmsrs_guest_end& end) { return end.sequence < cursor.next; });
  const double start = boot_time();
  std::vector<store::Event> events;
  for (const vmsrs_guest_end& end : ends) {
    std::vector<vmsrs_guest_cpu> cpus;
    for (std::uint32_t cpu = 0; cpu < end.cpu_count; ++cpu) {
      vmsrs_guest_cpu state;
      if (channel_.guest_cpu(end.sequence, cpu, state) != VMSRS_OK) break;  // overwritten meanwhile
      cpus.push_back(state);
    }
    events.push_back(guest_event(end, cpus, start));
  }
  cursor.next = std::max(cursor.next, next);
  if (!events.empty()) {
    if (auto problem = store_events(std::move(events), boot, store::Source::kGuest, cursor))
      return problem;
  }
  guest_next_ = guest_seen_ = next;
  return std::nullopt;
}

void EventRecorder::look_at_clock() {
  const double steady = clock_.steady_time();
  const double now = clock_.unix_time();
  const double offset = now - steady;
  if (clock_offset_ && std::abs(offset - *clock_offset_) > kJumpSeconds) {
    const double jump = offset - *clock_offset_;
    spdlog::warn("the clock has jumped by {:.0f} s: no event is deleted for its age for a day",
                 jump);
    jumped_ = steady;
    add_own(daemon_event("clock_jumped", now, {{"seconds", std::round(jump)}}));
  }
  clock_offset_ = offset;
}

std::optional<store::Problem> EventRecorder::retain() {
  const double steady = clock_.steady_time();
  if (steady < retain_again_) return std::nullopt;
  store::Limits limits{settings_.keep_bytes, std::nullopt};
  const bool trusted = !jumped_ || steady - *jumped_ >= kDay;
  if (settings_.keep_days != 0 && trusted)
    limits.keep_from = clock_.unix_time() - kDay * settings_.keep_days;
  std::uint64_t deleted = 0;
  bool more = false;
  if (auto problem = store_.retain(limits, deleted, more)) return problem;
  retain_again_ = more ? 0 : steady + kRetainSeconds;
  if (deleted != 0) {
    spdlog::debug("{} old events are deleted", deleted);
    ledger_.change(
        [&](EventLedger::Counts& counts) { counts.kept -= std::min(counts.kept, deleted); });
  }
  return std::nullopt;
}

void EventRecorder::tell(const std::optional<store::Problem>& problem) {
  if (!problem) {
    if (!told_.empty()) spdlog::info("events are stored again");
    told_.clear();
    return;
  }
  if (told_ != problem->text) {
    spdlog::error("events are not stored, and stay in the hypervisor: {}", problem->text);
    told_ = problem->text;
  }
  if (!problem->damaged) {
    store_.close();
    return;
  }
  const std::string aside = store_.move_aside(clock_.unix_time());
  if (aside.empty()) return;
  spdlog::error("the damaged store is now {}; a new one begins", aside);
  add_own(daemon_event("store_damaged", clock_.unix_time(),
                       {{"moved_to", aside}, {"problem", problem->text}}));
  ledger_.change([](EventLedger::Counts& counts) { counts.kept = 0; });
  guest_next_ = 0;  // what is still kept goes into the new one
  try_again_ = 0;
}

void EventRecorder::tell_status(vmsrs_status status) {
  if (status != told_status_ && status != VMSRS_OK)
    spdlog::error("taking over the events of the engine: {}", channel::status_name(status));
  told_status_ = status;
}

}  // namespace vmsrs::daemon
