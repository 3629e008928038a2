// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vmsrs/access.hpp>

// Profiled variables that behave like plain ones.
namespace vmsrs {

// A T in profiled memory. Reading it is a monitored load, writing it a monitored store, by the
// calling thread's user. A default-constructed one leaves the memory as it is, so a structure of
// them can be laid over memory that has a content: new (memory) Shop. Synchronisation is the
// program's own, as with a plain T, but for compare_exchange and what is said to use it.
template <typename T>
requires std::is_trivially_copyable_v<T>
class Shared {
 public:
  Shared() = default;
  Shared(const T& value) { set(value); }
  Shared(const Shared& other) { assign(&value_, &other.value_); }
  Shared& operator=(const Shared& other) {
    if (this != &other) assign(&value_, &other.value_);
    return *this;
  }
  T operator=(const T& value) {
    set(value);
    return value;
  }

  T get() const { return load(&value_); }
  operator T() const { return get(); }
  void set(const T& value) { store(&value_, value); }
  // Of what a T is made of, where that is a structure: book.member(&Book::stock) = 3.
  template <typename Member, typename Of = T>
  requires std::is_class_v<Of> Shared<Member>
  &member(Member Of::*which) { return reinterpret_cast<Shared<Member>&>(value_.*which); }
  template <typename Member, typename Of = T>
  requires std::is_class_v<Of>
  const Shared<Member>& member(Member Of::*which) const {
    return reinterpret_cast<const Shared<Member>&>(value_.*which);
  }

  // If it is `expected`, byte for byte, it becomes `desired`, and no other store comes between.
  // Else `expected` becomes what it is. Words only.
  bool compare_exchange(T& expected, const T& desired) requires detail::Word<T> {
    return vmsrs_compare_exchange(&value_, &expected, &desired, sizeof(T));
  }
  // It becomes change(what it was); no other store comes between; change may be called more than
  // once. Returns what it was. Words only.
  template <typename Change>
  T update(Change change) requires detail::Word<T> {
    T before = get();
    while (!compare_exchange(before, change(before))) {
    }
    return before;
  }
  T exchange(const T& value) requires detail::Word<T> {
    return update([&](const T&) { return value; });
  }
  T fetch_add(const T& value) requires detail::Word<T> {
    return update([&](const T& was) { return static_cast<T>(was + value); });
  }

  // A load and a store, as of a plain T.
#define VMSRS_COMPOUND(op)                                          \
  template <typename Other>                                         \
  T operator op##=(const Other& other) requires requires(T value) { \
    value op other;                                                 \
  }                                                                 \
  { return *this = static_cast<T>(get() op other); }
  VMSRS_COMPOUND(+)
  VMSRS_COMPOUND(-)
  VMSRS_COMPOUND(*)
  VMSRS_COMPOUND(/)
  VMSRS_COMPOUND(%)
  VMSRS_COMPOUND(&)
  VMSRS_COMPOUND(|)
  VMSRS_COMPOUND(^)
  VMSRS_COMPOUND(<<)
  VMSRS_COMPOUND(>>)
#undef VMSRS_COMPOUND
  T operator++() requires requires(T value) { ++value; }
  {
    T value = get();
    return *this = ++value;
  }
  T operator--() requires requires(T value) { --value; }
  {
    T value = get();
    return *this = --value;
  }
  T operator++(int) requires requires(T value) { ++value; }
  {
    const T before = get();
    ++*this;
    return before;
  }
  T operator--(int) requires requires(T value) { --value; }
  {
    const T before = get();
    --*this;
    return before;
  }
  // Of a pointer: what it points to need not be profiled.
  T operator->() const requires std::is_pointer_v<T> { return get(); }

  // The profiled memory itself.
  T* address() { return &value_; }
  const T* address() const { return &value_; }

 private:
  T value_;
};

// N of them. An index that is none is an error of the user: it crashes, and goes on with the first.
template <typename T, std::size_t N>
requires(N > 0) class Array {
 public:
  using value_type = T;
  Shared<T>& operator[](std::size_t index) { return items_[checked(index)]; }
  const Shared<T>& operator[](std::size_t index) const { return items_[checked(index)]; }
  static constexpr std::size_t size() { return N; }
  Shared<T>* begin() { return items_; }
  Shared<T>* end() { return items_ + N; }
  const Shared<T>* begin() const { return items_; }
  const Shared<T>* end() const { return items_ + N; }
  T* data() { return items_->address(); }
  const T* data() const { return items_->address(); }

  void fill(const T& value) {
    for (Shared<T>& item : *this) item = value;
  }
  // All of it in one range: a copy, and what becomes of a copy.
  std::array<T, N> get() const {
    std::array<T, N> copy;
    vmsrs_load_range(copy.data(), data(), sizeof copy);
    return copy;
  }
  void set(const std::array<T, N>& values) {
    vmsrs_store_range(data(), values.data(), sizeof values);
  }

 private:
  static_assert(sizeof(Shared<T>) == sizeof(T));
  std::size_t checked(std::size_t index) const {
    if (index < N) [[likely]]
      return index;
    vmsrs_report_misuse("vmsrs::Array", data() + index, "the index is past the end");
    return 0;
  }
  Shared<T> items_[N];
};

}  // namespace vmsrs
