// SPDX-License-Identifier: Apache-2.0
// What a tracer has found, as JSON: report.py says it in words.
#include <cinttypes>

#include "tracer.hpp"

namespace vmsrs::study {
namespace {

void write_sharing(std::FILE* file, const Sharing& sharing) {
  std::fprintf(file,
               "{\"touched\":%" PRIu64 ",\"shared\":%" PRIu64 ",\"shared_and_written\":%" PRIu64
               ",\"written_by_several\":%" PRIu64 ",\"passed\":%" PRIu64 "}",
               sharing.touched, sharing.shared, sharing.shared_and_written,
               sharing.written_by_several, sharing.passed);
}

void write_use(std::FILE* file, const Use& use) {
  std::fprintf(file, "\"loads\":%" PRIu64 ",\"stores\":%" PRIu64 ",\"words\":", use.loads,
               use.stores);
  write_sharing(file, use.sharing);
}

void write_callers(std::FILE* file, const Site& site) {
  std::fputc('[', file);
  for (std::size_t i = 0; i < site.callers.size(); ++i)
    std::fprintf(file, "%s%" PRIu64, i > 0 ? "," : "", site.callers[i]);
  std::fputc(']', file);
}

void write_spread(std::FILE* file, const Spread& spread) {
  std::fprintf(file, "[%" PRIu64 ",%" PRIu64 "]", spread.data, spread.addresses);
}

void write_injection(std::FILE* file, const Injection& injection) {
  static constexpr const char* kPlaces[] = {"stack", "heap", "other"};
  std::fprintf(file,
               "{\"request\":%u,\"complete\":%s,\"stores\":%u,\"stores_of_request\":%" PRIu64
               ",\"instruction\":%" PRIu64 ",\"address\":%" PRIu64
               ",\"place\":\"%s\",\"marked\":%" PRIu64 ",\"readers\":%" PRIu64
               ",\"bytes_sent\":%" PRIu64 ",\"used_as_address\":%" PRIu64
               ",\"decided_branches\":%" PRIu64 ",\"peak\":",
               injection.request, injection.state == Injection::State::complete ? "true" : "false",
               injection.stores, injection.stores_seen, injection.instruction, injection.address,
               kPlaces[static_cast<unsigned>(injection.place)], injection.marked_bytes,
               injection.readers, injection.bytes_sent, injection.addresses, injection.branches);
  write_spread(file, injection.peak);
  std::fputs(",\"after\":[", file);
  for (std::size_t i = 0; i < injection.after.size(); ++i) {
    if (i > 0) std::fputc(',', file);
    write_spread(file, injection.after[i]);
  }
  std::fputs("]}", file);
}

}  // namespace

void Tracer::write(std::FILE* file) {
  const std::lock_guard held(lock_);
  if (snapshots_.empty() || snapshots_.back().requests != requests_.finished())
    snapshots_.push_back({requests_.finished(), granules_.totals(), stack_words_});
  std::fprintf(file,
               "{\"requests\":%u,\"connections\":%u,\"threads\":%u,\"instructions\":%" PRIu64
               ",\"loads\":%" PRIu64 ",\"stores\":%" PRIu64 ",\"unseen_accesses\":%" PRIu64
               ",\n\"snapshots\":[",
               requests_.finished(), requests_.connections(), threads_begun_, instructions_, loads_,
               stores_, unseen_accesses_);
  const char* separator = "\n";
  for (const Snapshot& snapshot : snapshots_) {
    std::fprintf(file, "%s{\"requests\":%u,\"stack_words\":%" PRIu64, separator, snapshot.requests,
                 snapshot.stack_words);
    for (std::size_t i = 0; i < kGranuleBytes.size(); ++i) {
      std::fprintf(file, ",\"%" PRIu64 "\":", kGranuleBytes[i]);
      write_sharing(file, snapshot.sharing[i]);
    }
    std::fputc('}', file);
    separator = ",\n";
  }
  std::fputs("],\n\"injections\":[", file);
  separator = "\n";
  for (const Injection& injection : injections_.all()) {
    if (injection.state < Injection::State::followed) continue;
    std::fputs(separator, file);
    write_injection(file, injection);
    separator = ",\n";
  }
  allocations_.close(granules_);
  std::fputs("],\n\"sites\":[", file);
  separator = "\n";
  for (const auto& [site, used] : allocations_.sites()) {
    if (used.use.sharing.touched == 0) continue;
    std::fprintf(file, "%s{\"callers\":", separator);
    write_callers(file, site);
    std::fprintf(file,
                 ",\"size_class\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64
                 ",\"live_bytes\":%" PRIu64 ",",
                 site.size_class, used.blocks, used.bytes, used.live_bytes);
    write_use(file, used.use);
    std::fputc('}', file);
    separator = ",\n";
  }
  std::fputs("],\n\"mapped\":[", file);
  separator = "\n";
  for (const auto& [address, site] : mapped_) {
    std::fprintf(file, "%s[%" PRIu64 ",%" PRIu64 ",", separator, address, site.size_class);
    write_callers(file, site);
    std::fputc(']', file);
    separator = ",\n";
  }
  // What is no block of the heap, by words: [address, loads, stores, shared, shared and written,
  // passed].
  std::fputs("],\n\"words\":[", file);
  separator = "\n";
  granules_.for_each([&](std::uint64_t address, const Use& use) {
    std::fprintf(file,
                 "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]",
                 separator, address, use.loads, use.stores, use.sharing.shared,
                 use.sharing.shared_and_written, use.sharing.passed);
    separator = ",\n";
  });
  std::fputs("]}\n", file);
}

}  // namespace vmsrs::study
