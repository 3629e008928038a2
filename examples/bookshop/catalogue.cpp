// SPDX-License-Identifier: Apache-2.0
#include "catalogue.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "text.hpp"

namespace bookshop {

namespace {
constexpr std::size_t kMaxTitles = 100'000;
constexpr std::uint64_t kMaxPriceCents = 10'000'000;
constexpr std::uint64_t kMaxStock = 1'000'000;
constexpr const char* kHeader = "title,price_cents,stock";

bool parse_entry(const std::string& line, CatalogueEntry& entry) {
  const std::size_t second = line.rfind(',');
  if (second == std::string::npos || second == 0) return false;
  const std::size_t first = line.rfind(',', second - 1);
  if (first == std::string::npos || first == 0) return false;
  entry.title = line.substr(0, first);
  const std::string_view view(line);
  return parse_number(view.substr(first + 1, second - first - 1), 1, kMaxPriceCents,
                      entry.price_cents) &&
         parse_number(view.substr(second + 1), 0, kMaxStock, entry.stock);
}
}  // namespace

bool read_catalogue(const std::string& path, std::vector<CatalogueEntry>& entries,
                    std::string& error) {
  std::ifstream file(path);
  if (!file) {
    error = "cannot read the catalogue " + path + ": " + std::strerror(errno);
    return false;
  }
  std::string line;
  if (!std::getline(file, line) || line != kHeader) {
    error = path + ":1: expected the header " + kHeader;
    return false;
  }
  for (std::size_t number = 2; std::getline(file, line); ++number) {
    CatalogueEntry entry;
    if (!parse_entry(line, entry)) {
      error =
          path + ":" + std::to_string(number) +
          ": expected TITLE,PRICE,STOCK with a price of 1 to 10000000 cents and a stock of 0 to "
          "1000000";
      return false;
    }
    entries.push_back(std::move(entry));
    if (entries.size() > kMaxTitles) {
      error = path + ": more than 100000 titles";
      return false;
    }
  }
  if (entries.empty()) {
    error = path + ": no titles";
    return false;
  }
  return true;
}

}  // namespace bookshop
