// SPDX-License-Identifier: Apache-2.0
// The paper's figures 4 and 5 as a run of the engine and of the library's own loads and stores,
// step by step: P1, P2 and P3 work on one datum, P3 faults. P0 was there before them. After each
// operation: the user data, and the recovery data that belongs to it. usage: paper_trace [--steps]
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "probe.hpp"
#include "support/claim_server.hpp"
#include "support/scheduler.hpp"

namespace vmsrs::test {
namespace {

constexpr std::size_t kDatum = 0;  // its offset; granule 0
constexpr std::size_t kBytes = 4096;

class Trace {
 public:
  Trace(bool claimed, bool steps)
      : claimed_(claimed),
        with_steps_(steps),
        server_({{kBytes, 64, claimed}}),
        threads_{{server_, 0xa000}, {server_, 0xb000}, {server_, 0xc000}, {server_, 0xd800}} {
    scheduler_.on_step = [this](hooks::Step step) {
      if (!steps_.empty()) steps_ += ' ';
      steps_ += test::name_of(step);
    };
  }

  // What figures 4 and 5 tell, from left to right. False: some load gave another value.
  bool run() {
    begin(0);
    right_ &= threads_[0].store_as_compiled(0, kDatum, 10) == guest::Access::kDone;
    right_ &= threads_[0].end() == VMSRS_OK;
    show("P0  has finished");
    std::printf("-- normal mode\n");
    for (const unsigned p : {1u, 2u, 3u}) begin(p);
    load(1, 10);
    store(3, 30);
    load(2, 30);  // nobody holds a lock: P3 may still be taken back
    store(3, 31);
    fault(3);
    std::printf("-- suppression mode\n");
    load(1, 10);  // restored first
    store(2, 20);
    store(3, 32);  // suppressed
    load(1, 20);
    load(3);  // may give anything
    load(2, 20);
    end(2);
    end(3);
    std::printf("-- normal mode\n");
    load(1, 20);
    end(1);
    const vmsrs_server_info info = server_.info();
    std::printf(
        "restored on demand %llu, at collection %llu; suppressed stores %llu; calls to store "
        "%llu\n",
        static_cast<unsigned long long>(info.demand_restore_count),
        static_cast<unsigned long long>(info.collect_restore_count),
        static_cast<unsigned long long>(info.suppressed_store_count),
        static_cast<unsigned long long>(info.store_count));
    return right_ && server_.sound() && info.demand_restore_count > 0;
  }

 private:
  void begin(unsigned p) {
    if (threads_[p].begin() != VMSRS_OK) right_ = false;
    const std::uint64_t slot = threads_[p].slot;
    users_[{slot, server_.generation(slot) & VMSRS_TAG_GENERATION_MASK}] = p;
  }

  void store(unsigned p, std::uint64_t value) {
    perform(p, "store " + std::to_string(value), [&] {
      const guest::Access access = threads_[p].store_as_compiled(0, kDatum, value);
      return access == guest::Access::kDone ? "" : "does nothing";
    });
  }
  void load(unsigned p, std::uint64_t expected) {
    perform(p, "load", [&] {
      std::uint64_t value = 0;
      (void)threads_[p].load_as_compiled(0, kDatum, value);
      right_ &= value == expected;
      return "gives " + std::to_string(value);
    });
  }
  void load(unsigned p) {
    perform(p, "load", [&] {
      std::uint64_t value = 0;
      (void)threads_[p].load_as_compiled(0, kDatum, value);
      return "gives " + std::to_string(value) + ", of no account";
    });
  }
  void fault(unsigned p) {
    perform(p, "fault", [&] {
      right_ &= threads_[p].crash() == VMSRS_OK;
      return "";
    });
  }
  void end(unsigned p) {
    perform(p, "end", [&] {
      if (threads_[p].end() == VMSRS_OK) return "finished";
      right_ &= threads_[p].collect() == VMSRS_OK;
      return "told that it failed";
    });
  }

  template <typename Operation>
  void perform(unsigned p, const std::string& what, Operation operation) {
    AllChoices none;
    std::string outcome;
    steps_.clear();
    (void)scheduler_.run({[&] { outcome = operation(); }}, none, 0);
    show("P" + std::to_string(p) + "  " + what + std::string(11 - what.size(), ' ') + outcome);
    if (with_steps_ && !steps_.empty()) std::printf("      %s\n", steps_.c_str());
  }

  void show(const std::string& what) {
    std::printf(
        "%-40s user data %2llu   recovery data %2llu%s%s   %s\n", what.c_str(),
        static_cast<unsigned long long>(word(server_.region(0))),
        static_cast<unsigned long long>(word(ledger().regions[0].mirror)), records().c_str(),
        owner().c_str(),
        (server_.window().status.mode & VMSRS_MODE_SUPPRESSION) != 0 ? "suppression" : "normal");
  }

  static std::uint64_t word(const std::uint8_t* from) {
    std::uint64_t value = 0;
    std::memcpy(&value, from + kDatum, sizeof value);
    return value;
  }
  static recovery::Ledger& ledger() { return recovery::EngineProbe::ledger(0); }
  std::string name_of(std::uint64_t slot, std::uint64_t generation) const {
    const auto found = users_.find({slot, generation});
    return found == users_.end() ? "?" : "P" + std::to_string(found->second);
  }
  // The chain of the datum's granule, newest first.
  std::string records() const {
    std::string text;
    for (recovery::RecordId id = ledger().regions[0].heads[0]; id != recovery::kNoRecord;
         id = ledger().at(id).older)
      text += ", " + name_of(ledger().at(id).slot, ledger().at(id).generation) + " wrote " +
              std::to_string(word(ledger().at(id).bytes));
    return text;
  }
  // What the tag in the server's memory says, where there is one.
  std::string owner() {
    if (!claimed_) return "";
    const std::uint64_t tag = server_.claim(0, 0).tag;
    const std::uint64_t slot = vmsrs_tag_slot(tag), generation = vmsrs_tag_generation(tag);
    switch (vmsrs_tag_kind_of(tag, 0)) {
      case VMSRS_TAG_OWN:
        return ", tag " + name_of(slot, generation) +
               ((server_.generation(slot) & VMSRS_TAG_GENERATION_MASK) != generation ? " (ended)"
                                                                                     : "");
      case VMSRS_TAG_CONTENDED:
        return ", tag contended";
      case VMSRS_TAG_UNOWNED:
        return ", tag nobody";
      default:
        return ", tag other";
    }
  }

  const bool claimed_, with_steps_;
  ClaimServer server_;
  Scheduler scheduler_;
  ClaimThread threads_[4];
  std::map<std::pair<std::uint64_t, std::uint64_t>, unsigned> users_;  // by slot and generation
  std::string steps_;
  bool right_ = true;
};

}  // namespace
}  // namespace vmsrs::test

int main(int count, char** arguments) {
  const bool steps = count == 2 && std::strcmp(arguments[1], "--steps") == 0;
  if (count > 1 && !steps) {
    std::fputs("usage: paper_trace [--steps]\n", stderr);
    return 2;
  }
  bool right = true;
  for (const bool claimed : {false, true}) {
    std::printf("== %s\n",
                claimed ? "claims: the usual mechanism" : "every store a call, as in the paper");
    right &= vmsrs::test::Trace(claimed, steps).run();
  }
  if (!right) std::puts("NOT as figures 4 and 5 say");
  return right ? 0 : 1;
}
