// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

// Class 4 of the library: pointers that are checked against their object's bounds and life.
namespace vmsrs {

// A pointer into an object of one or more Ts. It may be moved anywhere; what it points to is looked
// at when it is used. A use outside of the object, or after it was freed, is an error of the user
// (VMSRS_FAULT_CHECK): the user crashes, and goes on with the object's begin. Trivially copyable,
// so one can be a Shared<Ptr<T>> in profiled memory. 32 bytes.
template <typename T>
class Ptr {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using pointer = T*;

  // To nothing: every use is an error.
  Ptr() : word_{} {}
  Ptr(std::nullptr_t) : Ptr() {}
  // To an object that outlives it.
  Ptr(T* object, std::size_t count) : word_(vmsrs_pointer_to(plain(object), count * sizeof(T))) {}
  template <std::size_t kCount>
  explicit Ptr(T (&objects)[kCount]) : Ptr(objects, kCount) {}
  // To what was allocated there, the begin of a heap's block: its bounds and its life.
  static Ptr of(T* allocated) {
    Ptr made;
    made.word_ = vmsrs_pointer_of(plain(allocated));
    return made;
  }
  // A pointer to what cannot be changed, to the same.
  template <typename Other>
  requires std::is_same_v<T, const Other> Ptr(const Ptr<Other>& other) : word_(other.word()) {}

  T& operator*() const { return *check(sizeof(T)); }
  T* operator->() const { return check(sizeof(T)); }
  T& operator[](std::ptrdiff_t index) const { return *(*this + index); }
  // `count` of them from here on lie in the object: else the same error.
  T* checked_range(std::size_t count) const { return check(count * sizeof(T)); }

  Ptr& operator+=(std::ptrdiff_t count) {
    word_.at = reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(word_.at) +
                                       static_cast<std::uintptr_t>(count) * sizeof(T));
    return *this;
  }
  Ptr& operator-=(std::ptrdiff_t count) { return *this += -count; }
  Ptr& operator++() { return *this += 1; }
  Ptr& operator--() { return *this -= 1; }
  Ptr operator++(int) { return std::exchange(*this, *this + 1); }
  Ptr operator--(int) { return std::exchange(*this, *this - 1); }
  friend Ptr operator+(Ptr from, std::ptrdiff_t count) { return from += count; }
  friend Ptr operator+(std::ptrdiff_t count, Ptr from) { return from += count; }
  friend Ptr operator-(Ptr from, std::ptrdiff_t count) { return from -= count; }
  friend std::ptrdiff_t operator-(const Ptr& left, const Ptr& right) {
    return left.get() - right.get();
  }
  friend bool operator==(const Ptr& left, const Ptr& right) { return left.get() == right.get(); }
  friend auto operator<=>(const Ptr& left, const Ptr& right) { return left.get() <=> right.get(); }
  explicit operator bool() const { return word_.at != nullptr; }

  // Unchecked.
  T* get() const { return reinterpret_cast<T*>(word_.at); }
  const vmsrs_pointer& word() const { return word_; }

 private:
  static void* plain(T* object) { return const_cast<std::remove_cv_t<T>*>(object); }
  T* check(std::size_t bytes) const { return static_cast<T*>(vmsrs_pointer_check(word_, bytes)); }
  vmsrs_pointer word_;
};

// `count` default-constructed Ts in new memory of the process's first heap: members of theirs that
// are to be protected are Shared. To nothing if there is no room.
template <typename T>
requires std::is_trivially_destructible_v<T> Ptr<T> make(std::size_t count = 1) {
  std::size_t bytes;
  if (__builtin_mul_overflow(count, sizeof(T), &bytes)) return {};
  void* memory = nullptr;
  constexpr std::size_t kAlignment = alignof(T) > sizeof(void*) ? alignof(T) : sizeof(void*);
  if (vmsrs_posix_memalign(&memory, kAlignment, bytes) != 0) return {};
  for (std::size_t i = 0; i < count; ++i) new (static_cast<T*>(memory) + i) T;
  return Ptr<T>::of(static_cast<T*>(memory));
}

// Of what make() gave; freed when the user finishes. A wrong pointer is an error of the user.
template <typename T>
void destroy(const Ptr<T>& pointer) {
  vmsrs_free(const_cast<std::remove_cv_t<T>*>(pointer.get()));
}

}  // namespace vmsrs
