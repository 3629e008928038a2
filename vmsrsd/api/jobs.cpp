// SPDX-License-Identifier: Apache-2.0
#include "api/jobs.hpp"

#include <algorithm>

namespace vmsrs::api {

Jobs::~Jobs() {
  for (Job& job : jobs_) job.thread.join();
}

std::optional<std::uint64_t> Jobs::start(std::string kind, std::function<Answer()> work) {
  const std::lock_guard lock(mutex_);
  if (running_ >= kMostRunning) return std::nullopt;
  forget_oldest();
  Job& job = jobs_.emplace_back(
      Job{next_++, std::move(kind), clock_.unix_time(), std::nullopt, std::nullopt, {}});
  ++running_;
  job.thread = std::thread([this, &job, work = std::move(work)] {
    Answer outcome = work();
    const std::lock_guard guard(mutex_);
    job.outcome = std::move(outcome);
    job.ended = clock_.unix_time();
    --running_;
  });
  return job.number;
}

// With the lock held: a thread that has told its outcome takes it no more.
void Jobs::forget_oldest() {
  while (jobs_.size() >= kMostKept + running_) {
    const auto oldest = std::find_if(jobs_.begin(), jobs_.end(),
                                     [](const Job& job) { return job.outcome.has_value(); });
    oldest->thread.join();
    jobs_.erase(oldest);
  }
}

Json Jobs::document_of(const Job& job) {
  const bool failed = job.outcome && job.outcome->http_status != 200;
  return {{"job", job.number},
          {"kind", job.kind},
          {"state", !job.outcome ? "running"
                    : failed     ? "failed"
                                 : "done"},
          {"began", job.began},
          {"ended", job.ended ? Json(*job.ended) : Json(nullptr)},
          {"result", job.outcome && !failed ? job.outcome->body : Json(nullptr)},
          {"error", failed ? job.outcome->body.at("error") : Json(nullptr)}};
}

Answer Jobs::list() const {
  const std::lock_guard lock(mutex_);
  Json list = Json::array();
  for (const Job& job : jobs_) list.push_back(document_of(job));
  return {200, {{"jobs", std::move(list)}}};
}

Answer Jobs::get(std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  for (const Job& job : jobs_)
    if (job.number == number) return {200, document_of(job)};
  return error_answer(404, "not_found", "there is no job " + std::to_string(number),
                      "the last " + std::to_string(kMostKept) +
                          " that have ended are remembered, until vmsrsd is started again");
}

}  // namespace vmsrs::api
