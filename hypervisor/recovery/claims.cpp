// SPDX-License-Identifier: Apache-2.0
#include "recovery/claims.hpp"

namespace vmsrs::recovery {

namespace {

// A bit of a mask for each byte becomes all bits of that byte.
constexpr std::uint64_t byte_wide(std::uint64_t bits) {
  bits = (bits | bits << 28) & 0x0000000f0000000full;
  bits = (bits | bits << 14) & 0x0003000300030003ull;
  bits = (bits | bits << 7) & 0x0101010101010101ull;
  return bits * 0xff;
}
static_assert(byte_wide(0xff) == ~0ull && byte_wide(0x81) == 0xff000000000000ffull);

}  // namespace

bool commit_bytes(std::uint8_t* mirror, const std::uint8_t* granule, ByteMask mask,
                  std::uint32_t granule_bytes) {
  std::uint64_t others = 0;  // differences outside the mask
  for (std::uint32_t i = 0; i < granule_bytes; i += 8, mask >>= 8) {
    std::uint64_t word, committed;
    copy_bytes(&word, granule + i, 8);
    copy_bytes(&committed, mirror + i, 8);
    const std::uint64_t own = (mask & 0xff) == 0 ? 0 : byte_wide(mask & 0xff);
    others |= (word ^ committed) & ~own;
    if (own == 0) continue;
    committed ^= (word ^ committed) & own;
    copy_bytes(mirror + i, &committed, 8);
  }
  return others == 0;
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
