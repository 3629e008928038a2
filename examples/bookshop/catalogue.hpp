// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bookshop {

struct CatalogueEntry {
  std::string title;
  std::uint64_t price_cents;
  std::uint64_t stock;
};

// Reads a CSV file with the header `title,price_cents,stock`. False: `error` names the file, the
// line and what was expected there.
bool read_catalogue(const std::string& path, std::vector<CatalogueEntry>& entries,
                    std::string& error);

}  // namespace bookshop
