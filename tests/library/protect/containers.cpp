// SPDX-License-Identifier: Apache-2.0
#include "containers.hpp"

#include <iterator>
#include <new>
#include <random>

namespace vmsrs::test {
namespace {

// Too long to lie in the object itself.
std::pmr::string text_of(std::uint64_t key) {
  return "a text that is as long as a text has to be " + std::pmr::string(std::to_string(key));
}

template <typename Map>
void erase_near(Map& map, const typename Map::key_type& key) {
  auto found = map.lower_bound(key);
  if (found != map.end()) map.erase(found);
}

}  // namespace

Containers::Containers(std::pmr::memory_resource* memory)
    : hashed(memory), sorted(memory), texts(memory), links(memory), row(memory), queue(memory) {}
Containers::~Containers() = default;
bool Containers::operator==(const Containers&) const = default;

Containers* make_containers(void* at, std::pmr::memory_resource* memory) {
  return ::new (at) Containers(memory);
}

void change(Containers& all, std::uint64_t seed, unsigned changes) {
  std::mt19937_64 random(seed);
  for (unsigned i = 0; i < changes; ++i, ++all.changes) {
    const std::uint64_t key = random() % 97;
    const std::uint64_t value = random();
    switch (random() % 12) {
      case 0:
      case 1:
        all.hashed[key] = value;
        break;
      case 2:
        all.hashed.erase(key);
        break;
      case 3:
      case 4:
        all.sorted[key] = value;
        break;
      case 5:
        erase_near(all.sorted, key);
        break;
      case 6:
        all.texts.insert(text_of(key));
        break;
      case 7:
        erase_near(all.texts, text_of(key));
        break;
      case 8:
        all.links.insert(all.links.empty() ? all.links.end() : std::next(all.links.begin()), value);
        if (all.links.size() > 20) all.links.pop_back();
        if (key % 10 == 0) all.links.reverse();
        if (key % 10 == 1)
          all.links.splice(all.links.begin(), all.links, std::prev(all.links.end()));
        break;
      case 9:
        if (all.row.size() < 60)
          all.row.insert(all.row.begin(), value);
        else
          all.row.resize(key % 20);
        break;
      case 10:
        all.queue.push_back(value);
        break;
      default:
        if (!all.queue.empty()) all.queue.pop_front();
        break;
    }
  }
}

}  // namespace vmsrs::test
