// SPDX-License-Identifier: Apache-2.0
#include "recovery/claims.hpp"

namespace vmsrs::recovery {

void commit_words(std::uint8_t* mirror, const void* words, ByteMask mask) {
  const auto* from = static_cast<const std::uint8_t*>(words);
  for (std::uint64_t of = vmsrs_written_words(mask); of != 0; of &= of - 1, from += 8) {
    const auto first = static_cast<unsigned>(__builtin_ctzll(of));
    copy_masked_word(mirror + first, from, mask >> first & 0xff);
  }
}

MemoryOutcome MappedGranule::map(const Region& region, std::uint32_t granule, GuestMemory& memory,
                                 MappedGranule& out) {
  out.granule_ = granule;
  out.bytes_ = region.granule_bytes();
  out.granule_mask_ = region.granule_mask();
  std::uint8_t* at = nullptr;
  const GuestVirtual claim{region.claims + std::uint64_t{granule} * sizeof(vmsrs_claim)};
  if (const auto outcome = memory.map(claim, sizeof(vmsrs_claim), Access::kWrite, at); !outcome)
    return outcome;
  out.claim_ = reinterpret_cast<vmsrs_claim*>(at);
  const auto outcome = memory.map(region.address_of(granule), out.bytes_, Access::kWrite, at);
  out.words_ = reinterpret_cast<std::uint64_t*>(at);
  return outcome;
}

void MappedGranule::fetch(const Region& region, std::uint32_t granule, GuestMemory& memory) {
  MappedGranule coming;
  if (!map(region, granule, memory, coming)) return;
  __builtin_prefetch(coming.claim_);
  __builtin_prefetch(coming.words_);
  __builtin_prefetch(region.mirror_of(granule), 1);
}

void MappedGranule::read(std::uint8_t* to) const {
  for (std::uint32_t i = 0; i < bytes_ / 8; ++i) {
    const std::uint64_t word = __atomic_load_n(&words_[i], __ATOMIC_RELAXED);
    copy_bytes(to + 8 * i, &word, 8);
  }
}

void MappedGranule::write(const std::uint8_t* from) {
  for (std::uint32_t i = 0; i < bytes_ / 8; ++i) {
    std::uint64_t word;
    copy_bytes(&word, from + 8 * i, 8);
    if (__atomic_load_n(&words_[i], __ATOMIC_RELAXED) != word)
      __atomic_store_n(&words_[i], word, __ATOMIC_RELAXED);
  }
}

bool MappedGranule::restore_outside(ByteMask mask, const std::uint8_t* mirror) {
  if (mask == granule_mask_) return false;
  alignas(8) std::uint8_t bytes[64];
  read(bytes);
  if (equal_bytes(bytes, mirror, bytes_)) return false;
  alignas(8) std::uint8_t wanted[64];
  copy_bytes(wanted, mirror, bytes_);
  copy_masked(wanted, bytes, mask);
  if (equal_bytes(bytes, wanted, bytes_)) return false;
  write(wanted);
  return true;
}

}  // namespace vmsrs::recovery
