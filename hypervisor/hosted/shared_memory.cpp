// SPDX-License-Identifier: Apache-2.0
#include "hosted/shared_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <mutex>
#include <set>
#include <utility>

namespace vmsrs::hosted {
namespace {

constexpr int kFixed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::mutex census_lock;
std::set<std::pair<int, int>> census_list;  // descriptor, seals that it must have

bool has_seals(int descriptor, int seals) {
  const int present = fcntl(descriptor, F_GET_SEALS);
  return present >= 0 && (present & seals) == seals;
}

}  // namespace

SharedMemory SharedMemory::create(const char* name, std::size_t bytes, ClientMay access) {
  SharedMemory memory;
  memory.descriptor_ = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory.descriptor_ < 0) return {};
  if (ftruncate(memory.descriptor_, static_cast<off_t>(bytes)) != 0) return {};
  void* const data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.descriptor_, 0);
  if (data == MAP_FAILED) return {};
  memory.data_ = static_cast<std::byte*>(data);
  memory.bytes_ = bytes;
  madvise(data, bytes, MADV_DONTDUMP);
  memory.seals_ = kFixed | (access == ClientMay::kRead ? F_SEAL_FUTURE_WRITE : 0);
  if (fcntl(memory.descriptor_, F_ADD_SEALS, memory.seals_) != 0) return {};
  memory.list();
  return memory;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      seals_(other.seals_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(seals_, other.seals_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SharedMemory::~SharedMemory() {
  unlist();
  if (data_ != nullptr) munmap(data_, bytes_);
  if (descriptor_ >= 0) close(descriptor_);
}

bool SharedMemory::is_sealed() const { return has_seals(descriptor_, seals_); }

void SharedMemory::list() {
  const std::scoped_lock lock(census_lock);
  census_list.insert({descriptor_, seals_});
}

void SharedMemory::unlist() {
  if (descriptor_ < 0) return;
  const std::scoped_lock lock(census_lock);
  census_list.erase({descriptor_, seals_});
}

SharedMemory::Census SharedMemory::census() {
  const std::scoped_lock lock(census_lock);
  Census census{census_list.size(), 0};
  for (const auto& [descriptor, seals] : census_list)
    census.unsealed += !has_seals(descriptor, seals);
  return census;
}

void* take_hidden_memory(std::size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (madvise(memory, bytes, MADV_DONTDUMP) == 0 && madvise(memory, bytes, MADV_DONTFORK) == 0)
    return memory;
  munmap(memory, bytes);
  return nullptr;
}

// Every mapping that overlaps it must be private and without a file (proc(5), maps).
bool is_hidden(const void* memory, std::size_t bytes) {
  if (prctl(PR_GET_DUMPABLE) != 0) return false;
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return false;
  const auto first = reinterpret_cast<std::uint64_t>(memory);
  std::uint64_t found = 0;
  bool good = true;
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    std::uint64_t begin = 0, end = 0, inode = 0;
    char mode[5] = {};
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64, &begin, &end, mode,
                    &inode) != 4)
      continue;
    if (end <= first || begin >= first + bytes) continue;
    good &= mode[3] == 'p' && inode == 0;
    found += (end < first + bytes ? end : first + bytes) - (begin > first ? begin : first);
  }
  std::fclose(maps);
  return good && found == bytes;
}

}  // namespace vmsrs::hosted
