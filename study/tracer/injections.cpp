// SPDX-License-Identifier: Apache-2.0
#include "injections.hpp"

#include <algorithm>
#include <bit>

namespace vmsrs::study {
namespace {

template <typename Visit>
void for_each_injection(Labels labels, const Visit& visit) {
  for (Labels rest = labels; rest != 0;) {
    const unsigned index = static_cast<unsigned>(std::countr_zero(rest)) / 2;
    visit(index);
    rest &= ~Injection::labels(index);
  }
}

Spread now(unsigned index, const Shadow& memory) {
  return {.data = memory.count(2 * index), .addresses = memory.count(2 * index + 1)};
}

}  // namespace

Injections::Injections(const InjectionOptions& options)
    : options_(options), random_(options.seed), injections_(options.count) {
  for (unsigned i = 0; i < options.count; ++i) {
    injections_[i].request =
        i * options.spacing + 1 + static_cast<RequestNumber>(random_() % options.spacing);
    injections_[i].stores = options.stores[i % options.stores.size()];
  }
}

bool Injections::chooses(RequestNumber request) const {
  return request != 0 && std::ranges::any_of(injections_, [&](const Injection& injection) {
           return injection.request == request && injection.state <= Injection::State::choosing;
         });
}

Labels Injections::stored(RequestNumber request, UserNumber user, std::uint64_t instruction,
                          PlaceKind place, std::span<const Access> accesses, Shadow& memory) {
  Labels forgotten = 0;
  const auto in_range = [&](const Access& access) {
    return access.store && (options_.range_bytes == 0 ||
                            (access.address + access.bytes > options_.range_start &&
                             access.address < options_.range_start + options_.range_bytes));
  };
  const auto first = std::ranges::find_if(accesses, in_range);
  if (first == accesses.end()) return forgotten;
  for (unsigned index = 0; index < injections_.size(); ++index) {
    Injection& injection = injections_[index];
    if (injection.request != request || injection.state > Injection::State::choosing) continue;
    const Labels labels = Injection::labels(index);
    // One of a stream of unknown length, each as likely: the n-th takes the place of the one before
    // with probability 1/n. What followed from that one is forgotten.
    if (random_() % ++injection.stores_seen == 0) {
      if (injection.state == Injection::State::choosing) {
        memory.forget(labels);
        forgotten |= labels;
      }
      Injection fresh;
      fresh.state = Injection::State::choosing;
      fresh.request = request;
      fresh.stores = fresh.stores_left = injection.stores;
      fresh.stores_seen = injection.stores_seen;
      fresh.instruction = instruction;
      fresh.address = first->address;
      fresh.place = place;
      fresh.user = user;
      injection = fresh;
      followed_ |= labels;
    }
    if (injection.stores_left == 0) continue;
    --injection.stores_left;
    for (const Access& access : accesses) {
      if (!in_range(access)) continue;
      for (std::uint64_t at = access.address; at < access.address + access.bytes; ++at) {
        if ((memory.at(at) & labels) == 0) ++injection.marked_bytes;
        memory.set(at, memory.at(at) | labels);
      }
    }
  }
  return forgotten;
}

void Injections::loaded(UserNumber user, Labels labels) {
  for_each_injection(labels & followed_, [&](unsigned index) {
    Injection& injection = injections_[index];
    if (user == kNobody || user == injection.user || user == injection.last_reader) return;
    injection.last_reader = user;
    ++injection.readers;
  });
}

void Injections::sent(Labels labels) {
  for_each_injection(labels & followed_, [&](unsigned index) { ++injections_[index].bytes_sent; });
}

void Injections::decided(const Decisions& decisions) {
  for_each_injection(decisions.addresses & followed_,
                     [&](unsigned index) { ++injections_[index].addresses; });
  for_each_injection(decisions.branches & followed_,
                     [&](unsigned index) { ++injections_[index].branches; });
}

Labels Injections::finished(RequestNumber request, RequestNumber begun, Shadow& memory) {
  Labels forgotten = 0;
  for (unsigned index = 0; index < injections_.size(); ++index) {
    Injection& injection = injections_[index];
    if (injection.state == Injection::State::waiting && injection.request <= request) {
      injection.request = begun + 1;  // that request stored nothing that could be marked
    } else if (injection.state == Injection::State::choosing && injection.request == request) {
      injection.state = Injection::State::followed;
    }
    if (injection.state != Injection::State::followed) continue;
    injection.after.push_back(now(index, memory));
    injection.peak = {.data = memory.peak(2 * index), .addresses = memory.peak(2 * index + 1)};
    if (injection.after.size() <= options_.follow) continue;
    injection.state = Injection::State::complete;
    memory.forget(Injection::labels(index));
    forgotten |= Injection::labels(index);
    followed_ &= ~Injection::labels(index);
  }
  return forgotten;
}

}  // namespace vmsrs::study
