// SPDX-License-Identifier: Apache-2.0
#include "monitor/tokens.hpp"

namespace vmsrs::monitor {

Tokens::Entry* Tokens::find(std::uint64_t token, std::uint64_t address_space) {
  if (token == 0) return nullptr;
  for (Entry& entry : entries_)
    if (entry.token == token && entry.address_space == address_space) return &entry;
  return nullptr;
}

std::uint64_t Tokens::open(std::uint64_t address_space, std::uint32_t capabilities,
                           recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  Entry* oldest = &entries_[0];
  for (Entry& entry : entries_)
    if (entry.number < oldest->number) oldest = &entry;
  std::uint64_t token = 0;
  while (token == 0) token = platform.random();
  *oldest = Entry{token, address_space, ++opened_, capabilities};
  return token;
}

bool Tokens::close(std::uint64_t token, std::uint64_t address_space,
                   const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  Entry* const entry = find(token, address_space);
  if (entry != nullptr) *entry = Entry{};
  return entry != nullptr;
}

void Tokens::close_all(std::uint64_t address_space, const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  for (Entry& entry : entries_)
    if (entry.address_space == address_space) entry = Entry{};
}

void Tokens::close_all(const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  for (Entry& entry : entries_) entry = Entry{};
}

std::uint32_t Tokens::capabilities(std::uint64_t token, std::uint64_t address_space,
                                   const recovery::Platform& platform) {
  const recovery::LockGuard guard(lock_, platform);
  return last_capabilities(token, address_space);
}

std::uint32_t Tokens::last_capabilities(std::uint64_t token, std::uint64_t address_space) {
  const Entry* const entry = find(token, address_space);
  return entry != nullptr ? entry->capabilities : 0;
}

}  // namespace vmsrs::monitor
