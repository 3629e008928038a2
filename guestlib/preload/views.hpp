// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

// Regions of a program whose plain stores nobody announces. The library writes to the region
// itself, which the program does not know; what the program has of it is a view, the same memory at
// another address, where it can only read. So nothing but the memory functions can change a region:
// a plain store faults before it has stored, and never is there a store that a sweep would take
// back.
namespace vmsrs::preload {

// The next blocks of these sizes that the program allocates are views. Attached; once.
void open_views(const std::size_t* bytes, std::size_t count);
// How many of them there are.
std::size_t view_count();
// In a child of fork: copies of the views, its own and writable, in their places.
void make_views_private();

}  // namespace vmsrs::preload
