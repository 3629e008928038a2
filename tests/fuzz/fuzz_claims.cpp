// SPDX-License-Identifier: Apache-2.0
#include "fuzz_claims.hpp"

namespace vmsrs::fuzz {
namespace {

constexpr std::uint64_t kRegionNumber = 0;  // a server's first one
constexpr std::uint64_t kWordBytes = 8;

std::uint64_t claim_of(std::uint64_t granule) {
  return FuzzClaims::kClaims + granule * sizeof(vmsrs_claim);
}

std::uint64_t own_tag(const FuzzClaims::User& user) {
  return vmsrs_tag_body(VMSRS_TAG_OWN, user.slot, user.generation);
}

}  // namespace

FuzzClaims::User& FuzzClaims::user(std::uint64_t slot, std::uint64_t generation) {
  User& user = users_[slot % kUsers];
  if (user.generation != generation || user.set.sum == 0) {
    user = {slot % kUsers, generation, {}, {}};
    user.set.sum = own_tag(user);
  }
  return user;
}

void FuzzClaims::store(FuzzMemory& memory, User& user, std::uint64_t granule_bytes,
                       std::uint64_t word, std::uint64_t value, const Over& over) {
  const std::uint64_t at = word * kWordBytes % kRegionBytes;
  const std::uint64_t granule = at / granule_bytes;
  const std::uint64_t tag = vmsrs_tag(own_tag(user), granule);
  vmsrs_claim claim = memory.load<vmsrs_claim>(claim_of(granule));
  if (claim.tag != tag) {
    const vmsrs_tag_kind kind = vmsrs_tag_kind_of(claim.tag, granule);
    const bool nobodys =
        kind == VMSRS_TAG_UNOWNED ||
        (kind == VMSRS_TAG_OWN && over(vmsrs_tag_slot(claim.tag), vmsrs_tag_generation(claim.tag)));
    if (!nobodys) return;
    const std::uint64_t entry = vmsrs_entry(kRegionNumber, granule, user.generation);
    const std::uint64_t place = sizeof(vmsrs_user_area) + user.entries.size() * sizeof entry;
    if (place + sizeof entry > kAreaBytes) return;
    memory.put(area_of(user.slot) + place, entry | VMSRS_ENTRY_CONFIRMED);
    user.entries.push_back(entry);
    user.set.sum = vmsrs_write_set_sum(user.set.sum, entry);
    user.set.count = user.entries.size();
    memory.put(area_of(user.slot) + offsetof(vmsrs_user_area, count), user.set.count);
    claim = {tag, 0};
  }
  const std::uint64_t mask = 0xffull << at % granule_bytes;
  user.set.masked += vmsrs_masked_sum(kRegionNumber, granule, mask & ~claim.mask);
  claim.mask |= mask;
  memory.put(claim_of(granule), claim);
  memory.put(kRegion + at, value);
}

FuzzClaims::HandedOver FuzzClaims::hand_over(FuzzMemory& memory, const User& user,
                                             std::uint64_t granule_bytes) const {
  HandedOver over{0, own_tag(user)};
  const auto append = [&](std::uint64_t word) {
    memory.put(kHandedOver + over.bytes, word);
    over.bytes += sizeof word;
    over.sum = vmsrs_handed_over_sum(over.sum, word);
  };
  for (const std::uint64_t entry : user.entries) {
    const auto granule = static_cast<std::uint32_t>(entry);
    const auto claim = memory.load<vmsrs_claim>(claim_of(granule));
    const std::uint64_t mask = claim.tag == vmsrs_tag(own_tag(user), granule) ? claim.mask : 0;
    append(entry);
    append(mask);
    for (std::uint64_t i = 0; i < granule_bytes / kWordBytes; ++i)
      if ((vmsrs_written_words(mask) >> 8 * i & 1) != 0)
        append(memory.load<std::uint64_t>(kRegion + granule * granule_bytes + i * kWordBytes));
  }
  return over;
}

}  // namespace vmsrs::fuzz
