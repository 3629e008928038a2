// SPDX-License-Identifier: Apache-2.0
#include "buddy.hpp"

#include <bit>
#include <cstring>

namespace vmsrs::guest {
namespace {

unsigned order_for(std::uint32_t units) {
  return static_cast<unsigned>(std::bit_width(units > 0 ? units - 1 : 0u));
}

}  // namespace

std::size_t Buddy::bytes_for(std::uint32_t units) {
  return std::size_t{units} * (sizeof(Link) + sizeof(std::uint8_t));
}

std::uint32_t Buddy::block_units(std::uint32_t units) {
  const unsigned order = order_for(units);
  return order < kOrders ? 1u << order : 0;
}

Buddy::Buddy(void* memory, std::uint32_t units)
    : units_(units),
      states_(static_cast<std::uint8_t*>(memory) + std::size_t{units} * sizeof(Link)),
      links_(static_cast<Link*>(memory)) {
  clear();
}

void Buddy::clear() {
  std::memset(states_, 0, units_);
  for (std::uint32_t& head : heads_) head = kNone;
  free_units_ = units_;
  std::uint32_t first = 0;
  while (first < units_) {
    unsigned order = kOrders - 1;
    while (!fits(first, order)) --order;
    push(first, order);
    first += 1u << order;
  }
}

void Buddy::push(std::uint32_t first, unsigned order) {
  mark(first, order, kFree);
  links_[first] = {heads_[order], kNone};
  if (heads_[order] != kNone) links_[heads_[order]].previous = first;
  heads_[order] = first;
}

void Buddy::remove(std::uint32_t first, unsigned order) {
  const Link link = links_[first];
  if (link.next < units_) links_[link.next].previous = link.previous;
  if (link.previous < units_)
    links_[link.previous].next = link.next;
  else
    heads_[order] = link.next < units_ ? link.next : kNone;
}

std::uint32_t Buddy::take(std::uint32_t units) {
  const unsigned wanted = order_for(units);
  unsigned order = wanted;
  while (order < kOrders && heads_[order] >= units_) ++order;
  if (order >= kOrders) return kNone;
  const std::uint32_t first = heads_[order];
  remove(first, order);
  while (order > wanted) {
    --order;
    push(first + (1u << order), order);
  }
  mark(first, wanted, kTaken);
  links_[first] = {0, 0};
  free_units_ -= 1u << wanted;
  return first;
}

bool Buddy::take_at(std::uint32_t first, std::uint32_t units) {
  const unsigned wanted = order_for(units);
  if (wanted >= kOrders || !fits(first, wanted)) return false;
  unsigned order = wanted;
  std::uint32_t from = first;
  while (order < kOrders && (state_of(from) != kFree || order_of(from) != order)) {
    ++order;
    if (order == kOrders) return false;
    from = first & ~((1u << order) - 1);
    if (!fits(from, order)) return false;
  }
  remove(from, order);
  while (order > wanted) {
    --order;
    const std::uint32_t half = from + (1u << order);
    const std::uint32_t other = first >= half ? from : half;
    push(other, order);
    from = first >= half ? half : from;
  }
  mark(first, wanted, kTaken);
  links_[first] = {0, 0};
  free_units_ -= 1u << wanted;
  return true;
}

void Buddy::give_back(std::uint32_t first) {
  unsigned order = order_of(first);
  free_units_ += 1u << order;
  mark(first, 0, kWithin);
  while (order + 1 < kOrders) {
    const std::uint32_t other = first ^ (1u << order);
    if (!fits(first & ~(1u << order), order + 1)) break;
    if (state_of(other) != kFree || order_of(other) != order) break;
    remove(other, order);
    mark(other, 0, kWithin);
    first &= ~(1u << order);
    ++order;
  }
  push(first, order);
}

bool Buddy::is_taken(std::uint32_t first) const {
  return first < units_ && state_of(first) == kTaken && fits(first, order_of(first));
}

std::uint32_t Buddy::block_of(std::uint32_t unit) const {
  if (unit >= units_) return kNone;
  for (unsigned order = 0; order < kOrders; ++order) {
    const std::uint32_t first = unit & ~((1u << order) - 1);
    if (state_of(first) != kWithin)
      return is_taken(first) && first + units_of(first) > unit ? first : kNone;
  }
  return kNone;
}

}  // namespace vmsrs::guest
