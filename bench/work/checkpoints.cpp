// SPDX-License-Identifier: Apache-2.0
#include "checkpoints.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "dirty_pages.hpp"
#include "hosted_bench.hpp"
#include "measure.hpp"

namespace vmsrs::bench {
namespace {

std::byte* shared_memory(std::size_t bytes) {
  void* const place =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) give_up("no memory for checkpoints");
  std::memset(place, 0, bytes);
  return static_cast<std::byte*>(place);
}

// Two images in turn, as a fault may come while one is being written.
class ForkCheckpoints : public Checkpoints {
 public:
  ForkCheckpoints(std::byte* region, std::size_t bytes)
      : region_(region), bytes_(bytes), good_(shared_memory(bytes)), next_(shared_memory(bytes)) {}
  ~ForkCheckpoints() override {
    suspend();
    munmap(good_, bytes_);
    munmap(next_, bytes_);
  }
  void take() override {
    suspend();
    child_ = fork();
    if (child_ < 0) give_up("cannot fork");
    if (child_ > 0) return;
    pin_to(kEngineCpu);
    std::memcpy(next_, region_, bytes_);
    _exit(0);
  }
  bool complete() override {
    if (child_ > 0 && waitpid(child_, nullptr, WNOHANG) == child_) saved();
    return child_ <= 0;
  }
  void roll_back() override { std::memcpy(region_, good_, bytes_); }
  void suspend() override {
    if (child_ > 0 && waitpid(child_, nullptr, 0) == child_) saved();
  }

 private:
  void saved() {
    child_ = 0;
    std::swap(good_, next_);
  }
  std::byte* region_;
  std::size_t bytes_;
  std::byte* good_;
  std::byte* next_;
  pid_t child_ = 0;
};

// One image that is brought up to date, at once: faults do not come within take().
class IncrementalCheckpoints : public Checkpoints {
 public:
  IncrementalCheckpoints(std::unique_ptr<DirtyPages> dirty, bool waits, std::byte* region,
                         std::size_t bytes)
      : dirty_(std::move(dirty)),
        waits_(waits),
        region_(region),
        bytes_(bytes),
        image_(shared_memory(bytes)) {}
  ~IncrementalCheckpoints() override { munmap(image_, bytes_); }
  void take() override {
    const std::vector<PageRange> written = dirty_->take();
    if (std::exchange(suspended_, false)) {  // nobody knows what was written
      std::memcpy(image_, region_, bytes_);
      return;
    }
    for (const PageRange& range : written)
      std::memcpy(image_ + range.offset, region_ + range.offset, range.bytes);
  }
  bool complete() override { return true; }
  bool waits() const override { return waits_; }
  void roll_back() override {
    for (const PageRange& range : dirty_->list())
      std::memcpy(region_ + range.offset, image_ + range.offset, range.bytes);
  }
  void suspend() override {
    dirty_->suspend();
    suspended_ = true;
  }

 private:
  std::unique_ptr<DirtyPages> dirty_;
  bool waits_;
  std::byte* region_;
  std::size_t bytes_;
  std::byte* image_;
  bool suspended_ = true;
};

}  // namespace

std::unique_ptr<Checkpoints> make_checkpoints(std::string_view way, std::byte* region,
                                              std::size_t bytes) {
  if (way == "fork") return std::make_unique<ForkCheckpoints>(region, bytes);
  std::unique_ptr<DirtyPages> dirty = watch_pages(way, region, bytes);
  if (dirty == nullptr) return nullptr;
  return std::make_unique<IncrementalCheckpoints>(std::move(dirty), way == "uffd", region, bytes);
}

}  // namespace vmsrs::bench
