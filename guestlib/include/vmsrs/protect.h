/* SPDX-License-Identifier: Apache-2.0
 *
 * For who puts hooks before a program's own stores, as vmsrs_protect() of CMake does with those of
 * clang. Programs need none of this.
 */
#ifndef VMSRS_PROTECT_H_
#define VMSRS_PROTECT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* From the lowest byte of this process's regions to the highest: what lies outside needs no hook.
 * In a page that is read-only but while regions come and go. */
struct vmsrs_bounds {
  uint64_t begin, bytes;
};
extern const struct vmsrs_bounds vmsrs_region_bounds;

/* Is any of these bytes in a region of this process? */
bool vmsrs_is_in_region(const void* at, size_t bytes);

/* Called before the instruction that stores these bytes, on its thread, with the address that the
 * hook returns to: `resume`. There the store follows, before any call or return. Whatever the
 * bytes: what is in no region is left alone. No error: a store that may not be made as it stands is
 * made by value or dropped, or its user is crashed. */
void vmsrs_reserve_store(const void* to, size_t bytes, const void* resume);

/* Where the hooks' own code is; once, before the first store. */
void vmsrs_hooks_are_at(const void* begin, const void* end);

#ifdef __cplusplus
}
#endif

#endif /* VMSRS_PROTECT_H_ */
