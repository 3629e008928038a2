// SPDX-License-Identifier: Apache-2.0
#include "protect/hook_page.hpp"

#include <algorithm>

#include "sealed_page.hpp"

namespace {

struct Range {
  std::uint64_t begin, bytes;
};
struct HookPage {
  Range regions;
  Range text;
};
constinit std::atomic<std::uint32_t> page_lock{0};

}  // namespace

// What vmsrs/protect.h declares as vmsrs_bounds: the page's first words.
extern "C" {
// The library's own part of a hook (reserve.cpp), which a program without hooks is linked without.
[[gnu::weak, gnu::visibility("hidden")]] extern const char __start_vmsrs_reserve[],
    __stop_vmsrs_reserve[];
alignas(VMSRS_PAGE_BYTES) constinit vmsrs::guest::SealedPage<HookPage> vmsrs_region_bounds{};
}

namespace vmsrs::guest {

void note_region_bounds(const fast::Region* regions, std::uint32_t count) {
  std::uint64_t begin = ~0ull, end = 0;
  for (const fast::Region* region = regions; region != regions + count; ++region) {
    if (region->bytes == 0) continue;
    begin = std::min(begin, region->begin);
    end = std::max(end, region->begin + region->bytes);
  }
  Writing writing(vmsrs_region_bounds, page_lock);
  // A hook may look in between: then it looks at a region's place, or at none that is new.
  writing->regions.begin = begin;
  writing->regions.bytes = end > begin ? end - begin : 0;
}

void note_hook_text(std::uint64_t begin, std::uint64_t bytes) {
  Writing writing(vmsrs_region_bounds, page_lock);
  writing->text = {begin, bytes};
}

bool is_in_hook(std::uint64_t instruction) {
  const Range& text = vmsrs_region_bounds.value.text;
  const auto begin = reinterpret_cast<std::uint64_t>(__start_vmsrs_reserve);
  const auto end = reinterpret_cast<std::uint64_t>(__stop_vmsrs_reserve);
  return instruction - text.begin < text.bytes || instruction - begin < end - begin;
}

}  // namespace vmsrs::guest
