// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <memory_resource>
#include <new>

// Whole containers in a region. Their memory comes from a heap (vmsrs_heap_create), and goes back
// to it when the user that freed it has finished. A container of the standard library reads and
// writes its own links with plain loads and stores: compile the code that uses it with
// vmsrs_protect, and profile the region as eager; otherwise what it stores counts as a wild store,
// and is undone.
namespace vmsrs {

// For std::pmr. Throws std::bad_alloc when the heap is full.
class MemoryResource : public std::pmr::memory_resource {
 public:
  explicit MemoryResource(vmsrs_heap* heap) : heap_(heap) {}
  vmsrs_heap* heap() const { return heap_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const memory = vmsrs_heap_alloc(heap_, bytes, alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  void do_deallocate(void* memory, std::size_t, std::size_t) override { vmsrs_free(memory); }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    const auto* const same = dynamic_cast<const MemoryResource*>(&other);
    return same != nullptr && same->heap_ == heap_;
  }

  vmsrs_heap* heap_;
};

// The standard allocator model. Throws std::bad_alloc when the heap is full.
template <typename T>
class Allocator {
 public:
  using value_type = T;
  explicit Allocator(vmsrs_heap* heap) : heap_(heap) {}
  template <typename Other>
  Allocator(const Allocator<Other>& other) : heap_(other.heap()) {}

  T* allocate(std::size_t count) {
    std::size_t bytes;
    void* memory = nullptr;
    if (!__builtin_mul_overflow(count, sizeof(T), &bytes))
      memory = vmsrs_heap_alloc(heap_, bytes, alignof(T));
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t) { vmsrs_free(memory); }
  vmsrs_heap* heap() const { return heap_; }
  template <typename Other>
  bool operator==(const Allocator<Other>& other) const {
    return heap_ == other.heap();
  }

 private:
  vmsrs_heap* heap_;
};

}  // namespace vmsrs
