// SPDX-License-Identifier: Apache-2.0
#include "nvme.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "guest.hpp"

namespace guest {
namespace {

constexpr char kClass[] = "0x010802";
constexpr std::size_t kRegisterBytes = 0x2000;
constexpr std::size_t kConfiguration = 0x14, kState = 0x1c, kQueueSizes = 0x24,
                      kSubmissionQueue = 0x28, kCompletionQueue = 0x30, kSubmissionTail = 0x1000,
                      kCompletionHead = 0x1004;
constexpr std::uint32_t kEnabled = 1, kEntrySizes = 4u << 20 | 6u << 16, kReady = 1;
constexpr unsigned kEntries = 16;
constexpr std::uint32_t kIdentify = 0x06, kSetFeatures = 0x09, kGetFeatures = 0x0a;
constexpr std::uint32_t kController = 1, kTimestamp = 0x0e;
constexpr std::size_t kCommandWords = 8, kCompletionWords = 2;  // of 64 bits

std::string find_controller() {
  for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/pci/devices")) {
    std::string name;
    std::ifstream(entry.path() / "class") >> name;
    if (name == kClass) return entry.path();
  }
  fail("there is no NVMe controller");
}

// Memory space and bus mastering.
void let_it_work(const std::string& device) {
  constexpr off_t kCommand = 4;
  constexpr std::uint16_t kMemory = 2, kBusMaster = 4;
  const int file = open((device + "/config").c_str(), O_RDWR);
  std::uint16_t command = 0;
  EXPECT(pread(file, &command, sizeof command, kCommand) == sizeof command);
  command |= kMemory | kBusMaster;
  EXPECT(pwrite(file, &command, sizeof command, kCommand) == sizeof command);
  close(file);
}

template <typename Condition>
void until(Condition condition, const char* what) {
  for (int wait = 0; !condition(); ++wait) {
    if (wait == 5000) fail(std::string("the NVMe controller: ") + what);
    usleep(1000);
  }
}

}  // namespace

Nvme::Page Nvme::make_page() {
  void* const at = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
  EXPECT(at != MAP_FAILED);
  const int map = open("/proc/self/pagemap", O_RDONLY);
  std::uint64_t entry = 0;
  const auto place = static_cast<off_t>(reinterpret_cast<std::uint64_t>(at) / kPageBytes * 8);
  EXPECT(pread(map, &entry, sizeof entry, place) == sizeof entry);
  close(map);
  constexpr std::uint64_t kFrame = (std::uint64_t{1} << 55) - 1;
  EXPECT((entry & kFrame) != 0);
  return {static_cast<volatile std::uint64_t*>(at), (entry & kFrame) * kPageBytes};
}

Nvme::Nvme() : submissions_(make_page()), completions_(make_page()), answer_(make_page()) {
  const std::string device = find_controller();
  let_it_work(device);
  const int file = open((device + "/resource0").c_str(), O_RDWR | O_SYNC);
  void* const at = mmap(nullptr, kRegisterBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) fail("mapping the registers of " + device + ": " + std::to_string(errno));
  registers_ = static_cast<volatile std::uint32_t*>(at);
  word(kConfiguration) = 0;
  until([&] { return (word(kState) & kReady) == 0; }, "it does not stop");
  word(kQueueSizes) = (kEntries - 1) << 16 | (kEntries - 1);
  const auto set_queue = [&](std::size_t offset, const Page& page) {
    word(offset) = static_cast<std::uint32_t>(page.physical);
    word(offset + 4) = static_cast<std::uint32_t>(page.physical >> 32);
  };
  set_queue(kSubmissionQueue, submissions_);
  set_queue(kCompletionQueue, completions_);
  word(kConfiguration) = kEntrySizes | kEnabled;
  until([&] { return (word(kState) & kReady) != 0; }, "it does not start");
}

unsigned Nvme::execute(std::uint32_t operation, std::uint64_t address, std::uint32_t argument) {
  volatile std::uint64_t* const command =
      submissions_.words + submitted_ % kEntries * kCommandWords;
  for (std::size_t i = 0; i < kCommandWords; ++i) command[i] = 0;
  command[0] = operation;
  command[3] = address;   // where its data is
  command[5] = argument;  // of the operation
  word(kSubmissionTail) = ++submitted_ % kEntries;
  const volatile std::uint64_t* const completion =
      completions_.words + completed_ % kEntries * kCompletionWords;
  const std::uint64_t phase = completed_ / kEntries % 2 == 0 ? 1 : 0;
  until([&] { return (completion[1] >> 48 & 1) == phase; }, "it does not answer");
  const auto status = static_cast<unsigned>(completion[1] >> 49);
  word(kCompletionHead) = ++completed_ % kEntries;
  return status;
}

unsigned Nvme::write_to(std::uint64_t address) { return execute(kIdentify, address, kController); }

std::uint64_t Nvme::read_from(std::uint64_t address) {
  constexpr std::uint64_t kTold = (std::uint64_t{1} << 48) - 1;
  execute(kSetFeatures, address, kTimestamp);
  EXPECT_EQUAL(execute(kGetFeatures, answer_.physical, kTimestamp), 0u);
  return answer_.words[0] & kTold;
}

}  // namespace guest
