// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory_resource>
#include <random>
#include <thread>
#include <vector>
#include <vmsrs/allocator.hpp>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"
#include "heap/buddy.hpp"

// Memory from a region, which follows its users.
using namespace vmsrs::test;
using vmsrs::guest::Buddy;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

struct ServerWithHeap : DefaultServer {
  static constexpr std::size_t kBytes = kRegionBytes / 2;
  vmsrs_heap* heap = vmsrs_heap_create(words(), kBytes, false);
  ServerWithHeap() { BOOST_REQUIRE(heap != nullptr); }
  ~ServerWithHeap() {
    if (heap != nullptr) BOOST_CHECK_EQUAL(vmsrs_heap_destroy(heap), 0);
  }
  std::size_t taken() const { return kBytes - vmsrs_heap_free_bytes(heap); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(buddy)

// Any order of taking and giving back: no two blocks overlap, and all come together again.
BOOST_AUTO_TEST_CASE(blocks_never_overlap) {
  constexpr std::uint32_t kUnits = 1000;  // no power of two
  std::vector<std::uint64_t> memory(Buddy::bytes_for(kUnits) / 8 + 1);
  Buddy buddy(memory.data(), kUnits);
  std::mt19937 random(7);
  std::map<std::uint32_t, std::uint32_t> taken;  // first, units
  std::size_t refused = 0;
  for (unsigned i = 0; i < 20'000; ++i) {
    const bool takes = random() % 2 == 0 || taken.empty();
    if (takes) {
      const std::uint32_t wanted = 1 + static_cast<std::uint32_t>(random() % 40);
      const std::uint32_t first = buddy.take(wanted);
      if (first == Buddy::kNone) {
        ++refused;
        continue;
      }
      const std::uint32_t units = buddy.units_of(first);
      BOOST_REQUIRE(units >= wanted && units == Buddy::block_units(wanted));
      BOOST_REQUIRE(first + units <= kUnits);
      const auto next = taken.lower_bound(first);
      BOOST_REQUIRE(next == taken.end() || next->first >= first + units);
      BOOST_REQUIRE(next == taken.begin() ||
                    std::prev(next)->first + std::prev(next)->second <= first);
      taken[first] = units;
      BOOST_REQUIRE_EQUAL(buddy.block_of(first + units - 1), first);
    } else {
      auto which = taken.begin();
      std::advance(which, random() % taken.size());
      buddy.give_back(which->first);
      BOOST_REQUIRE(!buddy.is_taken(which->first));
      taken.erase(which);
    }
  }
  BOOST_CHECK(refused > 0);
  for (const auto& [first, units] : taken) buddy.give_back(first);
  BOOST_CHECK_EQUAL(buddy.free_units(), kUnits);
  BOOST_CHECK_EQUAL(buddy.take(512), 0u);  // the largest block is whole again
}

BOOST_AUTO_TEST_CASE(a_block_at_its_place) {
  std::vector<std::uint64_t> memory(Buddy::bytes_for(64) / 8 + 1);
  Buddy buddy(memory.data(), 64);
  BOOST_CHECK(buddy.take_at(20, 4));
  BOOST_CHECK(buddy.take_at(16, 3));
  BOOST_CHECK(!buddy.take_at(16, 8));
  BOOST_CHECK(!buddy.take_at(22, 2));
  BOOST_CHECK(!buddy.take_at(2, 4));  // not where such a block can be
  BOOST_CHECK(!buddy.take_at(64, 1));
  BOOST_CHECK_EQUAL(buddy.free_units(), 56u);
  buddy.give_back(20);
  buddy.give_back(16);
  BOOST_CHECK_EQUAL(buddy.take(64), 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(heap, ServerWithHeap)

BOOST_AUTO_TEST_CASE(blocks_as_of_malloc) {
  char* const text = static_cast<char*>(vmsrs_malloc(100));
  BOOST_REQUIRE(text != nullptr);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(text), 100u);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(text + 16), 0u);
  vmsrs_fill_range(text, 'a', 100);
  auto* const numbers = static_cast<std::uint64_t*>(vmsrs_calloc(10, 8));
  BOOST_CHECK_EQUAL(numbers[9], 0u);
  char* const longer = static_cast<char*>(vmsrs_realloc(text, 1000));
  BOOST_CHECK(longer != text);
  BOOST_CHECK_EQUAL(longer[99], 'a');
  BOOST_CHECK_EQUAL(vmsrs_realloc(longer, 900), longer);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(longer), 900u);
  void* aligned = nullptr;
  BOOST_CHECK_EQUAL(vmsrs_posix_memalign(&aligned, 4096, 100), 0);
  BOOST_CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(aligned) % 4096, 0u);
  BOOST_CHECK_EQUAL(vmsrs_posix_memalign(&aligned, 24, 100), EINVAL);
  for (void* const block : {static_cast<void*>(longer), static_cast<void*>(numbers), aligned})
    vmsrs_free(block);
  vmsrs_free(nullptr);
  BOOST_CHECK_EQUAL(taken(), 0u);
  BOOST_CHECK(vmsrs_malloc(kBytes) == nullptr);  // its head has no room
  BOOST_CHECK_EQUAL(errno, ENOMEM);
  BOOST_CHECK(vmsrs_calloc(~std::size_t{0}, 2) == nullptr);
}

BOOST_AUTO_TEST_CASE(what_a_user_frees_is_free_at_its_finish) {
  auto* const word = static_cast<std::uint64_t*>(vmsrs_malloc(8));
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_free(word);
                      BOOST_CHECK_EQUAL(taken(), 64u);
                      std::thread([&] { BOOST_CHECK(vmsrs_malloc(8) != word); }).join();
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(taken(), 64u);  // the other thread's
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(word), 0u);
}

// The service thread tells the hypervisor ten times a second.
BOOST_AUTO_TEST_CASE(frees_that_wait_are_told) {
  const auto told = [](std::uint32_t wanted) {
    for (int i = 0; i < 500 && server_info().quarantined_free_count != wanted; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return server_info().quarantined_free_count;
  };
  void* const first = vmsrs_malloc(8);
  void* const second = vmsrs_malloc(8000);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_free(first);
                      vmsrs_free(second);
                      BOOST_CHECK_EQUAL(told(2), 2u);
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(told(0), 0u);
  void* const third = vmsrs_malloc(8);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_free(third);
                      BOOST_CHECK_EQUAL(told(1), 1u);
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(told(0), 0u);
}

BOOST_AUTO_TEST_CASE(a_crash_takes_back_what_was_taken_and_freed) {
  auto* const kept = static_cast<std::uint64_t*>(vmsrs_malloc(8));
  vmsrs::store(kept, std::uint64_t{77});
  const std::size_t before = taken();
  BOOST_CHECK_EQUAL(run([&] {
                      for (int i = 0; i < 10; ++i)
                        vmsrs::store(static_cast<std::uint64_t*>(vmsrs_malloc(3000)),
                                     std::uint64_t{1});
                      vmsrs_free(kept);
                      fault(wild());
                      vmsrs_free(vmsrs_malloc(50));
                      BOOST_CHECK(vmsrs_malloc(50) != nullptr);
                      vmsrs_free(kept);  // its second time: of a crashed user that is nothing
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(taken(), before);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(kept), 8u);
  BOOST_CHECK_EQUAL(vmsrs::load(kept), 77u);
  vmsrs_free(kept);
  BOOST_CHECK_EQUAL(taken(), 0u);
}

// One user frees what another took and has not finished; whichever ends first, it is freed once.
BOOST_AUTO_TEST_CASE(freed_by_another_user_before_its_taker_crashes) {
  for (const bool freed_first : {true, false}) {
    void* block = nullptr;
    void* next = nullptr;
    const int outcome = run([&] {
      block = vmsrs_malloc(8);
      const auto free_it = [&] {
        std::thread([&] {
          BOOST_CHECK_EQUAL(run([&] { vmsrs_free(block); }), VMSRS_FINISHED);
          next = vmsrs_malloc(8);
        }).join();
      };
      if (freed_first) free_it();
      fault(wild());
    });
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    if (freed_first) {
      BOOST_CHECK_EQUAL(next, block);   // it was free
      BOOST_CHECK_EQUAL(taken(), 64u);  // and is not taken back from its new owner
      vmsrs_free(next);
    }
    BOOST_CHECK_EQUAL(taken(), 0u);
  }
}

BOOST_AUTO_TEST_CASE(wrong_frees_are_errors_of_the_user) {
  auto* const block = static_cast<std::uint64_t*>(vmsrs_malloc(200));
  auto* const other = static_cast<std::uint64_t*>(vmsrs_malloc(200));
  vmsrs::store(block, std::uint64_t{5});
  const auto freeing = [](void* memory) { return run([=] { vmsrs_free(memory); }); };
  BOOST_CHECK_EQUAL(freeing(block + 1), VMSRS_SUPPRESSED);
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "not the begin of what was allocated") != nullptr);
  BOOST_CHECK_EQUAL(freeing(&heap), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_free(block);
                      vmsrs_free(block);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "freed already") != nullptr);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(block), 200u);  // neither of the two counts
  // A store past the block before it, by a user that finishes.
  run([&] { vmsrs::store(&other[-1], std::uint64_t{1}); });
  BOOST_CHECK_EQUAL(freeing(other), VMSRS_SUPPRESSED);
  BOOST_CHECK(std::strstr(vmsrs_error_message(), "written over") != nullptr);
  BOOST_CHECK_EQUAL(freeing(block), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(freeing(block), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(taken(), 256u);  // the one whose head is gone
}

BOOST_AUTO_TEST_CASE(heaps_and_their_places) {
  BOOST_CHECK(vmsrs_heap_create(words(), 64, false) == nullptr);  // another has it
  BOOST_CHECK(vmsrs_heap_create(words() + kBytes / 8, 100, false) == nullptr);
  BOOST_CHECK(vmsrs_heap_create(words() + kBytes / 8, 0, false) == nullptr);
  vmsrs_heap* const second = vmsrs_heap_create(words() + kBytes / 8, 4096, false);
  BOOST_REQUIRE(second != nullptr);
  void* const block = vmsrs_heap_alloc(second, 40, 0);
  BOOST_CHECK(block >= words() + kBytes / 8);
  BOOST_CHECK(vmsrs_heap_alloc(second, 40, 3) == nullptr);
  BOOST_CHECK_EQUAL(vmsrs_heap_free_bytes(second), 4032u);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_heap_destroy(second), VMSRS_ERROR_STATE);
                      vmsrs_free(block);
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(vmsrs_heap_free_bytes(second), 4096u);
  BOOST_CHECK_EQUAL(vmsrs_heap_destroy(second), 0);
  BOOST_CHECK_EQUAL(vmsrs_heap_destroy(second), VMSRS_ERROR_ARGUMENT);
}

// What was committed is there again; what was freed, or never finished, is not.
BOOST_AUTO_TEST_CASE(a_heap_that_was_kept) {
  auto* const small = static_cast<std::uint64_t*>(vmsrs_malloc(8));
  auto* const freed = static_cast<std::uint64_t*>(vmsrs_malloc(8));
  auto* const large = static_cast<std::uint64_t*>(vmsrs_malloc(5000));
  void* aligned = nullptr;
  BOOST_REQUIRE_EQUAL(vmsrs_posix_memalign(&aligned, 1024, 100), 0);
  vmsrs_free(freed);
  run([&] {
    vmsrs_malloc(100);
    fault(wild());
  });
  const std::size_t before = taken();
  BOOST_REQUIRE_EQUAL(vmsrs_heap_destroy(heap), 0);
  heap = vmsrs_heap_create(words(), kBytes, true);
  BOOST_REQUIRE(heap != nullptr);
  BOOST_CHECK_EQUAL(taken(), before);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(small), 8u);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(large), 5000u);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(aligned), 100u);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(freed), 0u);
  for (void* const block : {static_cast<void*>(small), static_cast<void*>(large), aligned})
    BOOST_CHECK_EQUAL(run([&] { vmsrs_free(block); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(taken(), 0u);
}

// Threads that take, store, free and crash: blocks are nobody else's, and none is lost.
BOOST_AUTO_TEST_CASE(threads) {
  constexpr unsigned kThreads = 4;
  constexpr unsigned kUsers = 150;
  std::vector<std::vector<std::uint64_t*>> owned(kThreads);
  std::atomic<unsigned> crashes{0}, wrong{0};
  std::vector<std::thread> running;
  for (unsigned thread = 0; thread < kThreads; ++thread)
    running.emplace_back([&, thread] {
      std::mt19937 random(thread);
      std::vector<std::uint64_t*>& mine = owned[thread];
      for (unsigned user = 0; user < kUsers; ++user) {
        std::vector<std::uint64_t*> now = mine;
        const bool crash = random() % 4 == 0;
        const int outcome = run([&] {
          for (unsigned i = 0; i < 4; ++i) {
            if (random() % 2 == 0 || now.empty()) {
              const std::size_t bytes = 8 + random() % 300;
              auto* const block = static_cast<std::uint64_t*>(vmsrs_malloc(bytes));
              if (block == nullptr) continue;
              vmsrs::store(block, reinterpret_cast<std::uint64_t>(block) + thread);
              now.push_back(block);
            } else {
              std::swap(now[random() % now.size()], now.back());
              vmsrs_free(now.back());
              now.pop_back();
            }
          }
          if (crash) fault(wild());
        });
        if (crash) ++crashes;
        wrong += outcome != (crash ? VMSRS_SUPPRESSED : VMSRS_FINISHED);
        if (!crash) mine = now;
        for (const std::uint64_t* const block : mine)
          wrong += vmsrs::load(block) != reinterpret_cast<std::uint64_t>(block) + thread;
      }
    });
  for (std::thread& thread : running) thread.join();
  BOOST_CHECK_EQUAL(wrong, 0u);
  BOOST_CHECK(crashes > 50);
  std::size_t blocks = 0;
  for (const auto& mine : owned) {
    blocks += mine.size();
    for (std::uint64_t* const block : mine) vmsrs_free(block);
  }
  BOOST_CHECK(blocks > 0);
  BOOST_CHECK_EQUAL(taken(), 0u);
}

// The allocators' part: what a container does with the memory is not looked at here.
BOOST_AUTO_TEST_CASE(memory_for_containers) {
  vmsrs::MemoryResource resource(heap);
  vmsrs::MemoryResource same(heap);
  BOOST_CHECK(resource == same);
  void* const block = resource.allocate(100, 256);
  BOOST_CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(block) % 256, 0u);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_THROW((void)resource.allocate(kBytes), std::bad_alloc);
                      resource.deallocate(block, 100, 256);
                      BOOST_CHECK(taken() > 0);
                    }),
                    VMSRS_FINISHED);
  vmsrs::Allocator<std::uint64_t> allocator(heap);
  vmsrs::Allocator<char> rebound(allocator);
  BOOST_CHECK(rebound == allocator);
  std::uint64_t* const words = allocator.allocate(10);
  BOOST_CHECK_EQUAL(vmsrs_malloc_size(words), 80u);
  allocator.deallocate(words, 10);
  BOOST_CHECK_THROW((void)allocator.allocate(~std::size_t{0} / 4), std::bad_alloc);
  BOOST_CHECK_EQUAL(taken(), 0u);
}

BOOST_AUTO_TEST_SUITE_END()
