// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>

#include "svm/processor.hpp"

namespace vmsrs::svm {

// The last ends of guests, in the hypervisor's image and so out of every guest's reach. Records are
// added while no guest runs and read while one does: no lock.
class GuestEndRing {
 public:
  static constexpr std::uint64_t kRecords = VMSRS_GUEST_ENDS_KEPT;
  struct Record {
    vmsrs_guest_end head;
    vmsrs_guest_cpu cpus[kMaxProcessors];
  };

  // Gives it its number. The caller fills in the CPUs.
  Record& add(const vmsrs_guest_end& head) {
    const std::uint64_t sequence = ++written_;
    Record& record = records_[sequence % kRecords];
    record.head = head;
    record.head.sequence = sequence;
    ++counts_[head.kind % kKinds];
    __builtin_memcpy(record.head.counts, counts_, sizeof(counts_));
    return record;
  }

  // From number `cursor` on, or the oldest; `cursor` becomes the number of the next one.
  std::uint32_t read(std::uint64_t& cursor, vmsrs_guest_end* out, std::uint32_t room) const {
    if (cursor < oldest()) cursor = oldest();
    std::uint32_t count = 0;
    for (; count < room && cursor <= written_; ++count, ++cursor) out[count] = at(cursor).head;
    return count;
  }
  // False: no such record (any more), or no such CPU of it.
  bool read_cpu(std::uint64_t sequence, std::uint32_t cpu, vmsrs_guest_cpu& out) const {
    if (sequence < oldest() || sequence > written_ || cpu >= at(sequence).head.cpu_count)
      return false;
    out = at(sequence).cpus[cpu];
    return true;
  }

 private:
  std::uint64_t oldest() const { return written_ < kRecords ? 1 : written_ - kRecords + 1; }
  const Record& at(std::uint64_t sequence) const { return records_[sequence % kRecords]; }

  static constexpr std::size_t kKinds = sizeof(vmsrs_guest_end::counts) / sizeof(std::uint32_t);

  std::uint64_t written_ = 0;
  std::uint32_t counts_[kKinds] = {};
  Record records_[kRecords] = {};
};

}  // namespace vmsrs::svm
