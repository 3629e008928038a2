// SPDX-License-Identifier: Apache-2.0
#include "kinds.hpp"

#include <cstring>

namespace matrix {

const std::vector<Kind>& all_kinds() {
  static const std::vector<Kind> kinds = [] {
    std::vector<Kind> all;
    for (const auto& some :
         {address_kinds(), processor_kinds(), program_kinds(), library_kinds(), endless_kinds()})
      all.insert(all.end(), some.begin(), some.end());
    return all;
  }();
  return kinds;
}

const Kind* find_kind(const char* name) {
  for (const Kind& kind : all_kinds())
    if (std::strcmp(kind.name, name) == 0) return &kind;
  return nullptr;
}

}  // namespace matrix
