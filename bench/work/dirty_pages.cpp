// SPDX-License-Identifier: Apache-2.0
#include "dirty_pages.hpp"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <iterator>
#include <thread>

#include "measure.hpp"

namespace vmsrs::bench {
namespace {

constexpr std::size_t kPage = 4096;
using Bytes = std::uint64_t;

Bytes address_of(const void* pointer) { return reinterpret_cast<Bytes>(pointer); }

// A flag for each page; set by whoever sees the first write.
class Flags {
 public:
  explicit Flags(std::size_t pages) : flags_(pages) {}
  void set(std::size_t page) { flags_[page].store(true, std::memory_order_relaxed); }
  std::vector<PageRange> list(bool clear = false) {
    std::vector<PageRange> ranges;
    for (std::size_t page = 0; page < flags_.size(); ++page) {
      if (!flags_[page].load(std::memory_order_relaxed)) continue;
      if (clear) flags_[page].store(false, std::memory_order_relaxed);
      if (!ranges.empty() && ranges.back().offset + ranges.back().bytes == page * kPage)
        ranges.back().bytes += kPage;
      else
        ranges.push_back({page * kPage, kPage});
    }
    return ranges;
  }

 private:
  std::vector<std::atomic<bool>> flags_;
};

// An open userfaultfd with write protection for the region; -1 if the kernel refuses.
int open_userfaultfd(void* region, std::size_t bytes, Bytes features) {
  const int file = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (file < 0) return -1;
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = features;
  uffdio_register range{};
  range.range = {address_of(region), bytes};
  range.mode = UFFDIO_REGISTER_MODE_WP;
  if (ioctl(file, UFFDIO_API, &api) == 0 && ioctl(file, UFFDIO_REGISTER, &range) == 0) return file;
  close(file);
  return -1;
}

bool set_protection(int file, Bytes address, std::size_t bytes, bool on) {
  uffdio_writeprotect range{};
  range.range = {address, bytes};
  range.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  return ioctl(file, UFFDIO_WRITEPROTECT, &range) == 0;
}

class Uffd : public DirtyPages {
 public:
  Uffd(int file, void* region, std::size_t bytes)
      : file_(file), region_(address_of(region)), bytes_(bytes), flags_(bytes / kPage) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Uffd() override {
    suspend();
    if (eventfd_write(over_, 1) == 0) thread_.join();
    close(over_);
    close(file_);
  }
  std::vector<PageRange> list() override { return flags_.list(); }
  std::vector<PageRange> take() override {
    std::vector<PageRange> ranges = flags_.list(true);
    std::size_t dirty = 0;
    for (const PageRange& range : ranges) dirty += range.bytes;
    // One call for all, or one for each piece where those are few.
    if (suspended_ || dirty > bytes_ / 16)
      set_protection(file_, region_, bytes_, true);
    else
      for (const PageRange& range : ranges)
        set_protection(file_, region_ + range.offset, range.bytes, true);
    suspended_ = false;
    return ranges;
  }
  void suspend() override {
    set_protection(file_, region_, bytes_, false);
    flags_.list(true);
    suspended_ = true;
  }

 private:
  void serve() {
    pin_to(kEngineCpu);
    pollfd files[2] = {{file_, POLLIN, 0}, {over_, POLLIN, 0}};
    while (poll(files, 2, -1) >= 0 && files[1].revents == 0) {
      uffd_msg message;
      if (read(file_, &message, sizeof message) != sizeof message) continue;
      const Bytes page = message.arg.pagefault.address / kPage * kPage;
      flags_.set((page - region_) / kPage);
      set_protection(file_, page, kPage, false);  // and wakes the writer
    }
  }

  int file_;
  Bytes region_;
  std::size_t bytes_;
  Flags flags_;
  bool suspended_ = true;
  int over_ = eventfd(0, EFD_CLOEXEC);
  std::thread thread_;
};

// Of newer kernels' headers: PAGEMAP_SCAN, in linux/fs.h since 6.7.
struct ScanRegion {
  Bytes start, end, categories;
};
struct ScanArguments {
  Bytes size, flags, start, end, walk_end, vec, vec_len, max_pages;
  Bytes category_inverted, category_mask, category_anyof_mask, return_mask;
};
constexpr unsigned long kScan = _IOWR('f', 16, ScanArguments);
constexpr Bytes kScanProtect = 1;               // PM_SCAN_WP_MATCHING
constexpr Bytes kScanCheckAsync = 2;            // PM_SCAN_CHECK_WPASYNC
constexpr Bytes kIsWritten = 2;                 // PAGE_IS_WRITTEN
constexpr Bytes kFeatureUnpopulated = 1 << 13;  // UFFD_FEATURE_WP_UNPOPULATED
constexpr Bytes kFeatureAsync = 1 << 15;        // UFFD_FEATURE_WP_ASYNC

class UffdAsync : public DirtyPages {
 public:
  UffdAsync(int file, void* region, std::size_t bytes)
      : file_(file), region_(address_of(region)), bytes_(bytes) {}
  ~UffdAsync() override {
    close(file_);
    close(pagemap_);
  }
  std::vector<PageRange> list() override { return scan_pages(0); }
  std::vector<PageRange> take() override { return scan_pages(kScanProtect); }
  void suspend() override { set_protection(file_, region_, bytes_, false); }

 private:
  std::vector<PageRange> scan_pages(Bytes flags) {
    std::vector<PageRange> ranges;
    ScanRegion found[512];
    ScanArguments scan{};
    scan.size = sizeof scan;
    scan.flags = flags | kScanCheckAsync;
    scan.start = region_;
    scan.end = region_ + bytes_;
    scan.vec = address_of(found);
    scan.vec_len = std::size(found);
    scan.category_mask = scan.return_mask = kIsWritten;
    while (scan.start < scan.end) {
      const int count = ioctl(pagemap_, kScan, &scan);
      if (count < 0) break;
      for (int i = 0; i < count; ++i)
        ranges.push_back({found[i].start - region_, found[i].end - found[i].start});
      scan.start = scan.walk_end;
    }
    return ranges;
  }

  int file_;
  int pagemap_ = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  Bytes region_;
  std::size_t bytes_;
};

class Mprotect;
Mprotect* watched;  // by the handler

class Mprotect : public DirtyPages {
 public:
  Mprotect(void* region, std::size_t bytes)
      : region_(static_cast<std::byte*>(region)), bytes_(bytes), flags_(bytes / kPage) {
    watched = this;
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t* info, void*) { watched->written(info->si_addr); };
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_);
  }
  ~Mprotect() override {
    suspend();
    sigaction(SIGSEGV, &before_, nullptr);
  }
  std::vector<PageRange> list() override { return flags_.list(); }
  std::vector<PageRange> take() override {
    std::vector<PageRange> ranges = flags_.list(true);
    mprotect(region_, bytes_, PROT_READ);
    return ranges;
  }
  void suspend() override {
    mprotect(region_, bytes_, PROT_READ | PROT_WRITE);
    flags_.list(true);
  }

 private:
  void written(void* where) {
    const Bytes offset = address_of(where) - address_of(region_);
    if (offset >= bytes_) {
      sigaction(SIGSEGV, &before_, nullptr);  // not ours: it happens again
      return;
    }
    const std::size_t page = offset / kPage;
    flags_.set(page);
    if (mprotect(region_ + page * kPage, kPage, PROT_READ | PROT_WRITE) == 0) return;
    // Too many pieces for the kernel: from here on all of it is dirty.
    for (std::size_t i = 0; i < bytes_ / kPage; ++i) flags_.set(i);
    mprotect(region_, bytes_, PROT_READ | PROT_WRITE);
  }

  std::byte* region_;
  std::size_t bytes_;
  Flags flags_;
  struct sigaction before_ {};
};

}  // namespace

std::unique_ptr<DirtyPages> watch_pages(std::string_view way, void* region, std::size_t bytes) {
  if (way == "mprotect") return std::make_unique<Mprotect>(region, bytes);
  const bool async = way == "uffd-async";
  const int file = open_userfaultfd(region, bytes, async ? kFeatureAsync | kFeatureUnpopulated : 0);
  if (file < 0) return nullptr;
  if (async) return std::make_unique<UffdAsync>(file, region, bytes);
  return std::make_unique<Uffd>(file, region, bytes);
}

}  // namespace vmsrs::bench
