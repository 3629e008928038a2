/* SPDX-License-Identifier: Apache-2.0
 *
 * For who puts hooks before a program's own stores, as vmsrs_protect() of CMake does with those of
 * clang, or calls by hand. Other programs need none of this.
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

/* Makes the granules of these bytes the calling thread's user's, for plain stores of the program's
 * that follow. What is in no region is left alone. Thread-safe. True: the stores may be made.
 *
 * False: they may not. There is no user, it has crashed or is a reader, a granule is another
 * user's, or the write set is full. What becomes of it:
 *   - A hook gives the address that it returns to: `resume`. There one store follows, before any
 *     call or return, and the library makes it by value or drops it, or crashes its user.
 *   - A call by hand gives NULL: nothing has been done about it. The caller stores through the
 *     library (vmsrs_store_range), or gives its request up (abort()).
 *
 * What a call by hand has announced stays announced to the user's end, if the server sees to it
 * that nobody else stores to these granules until then (a lock that is held so long), and that a
 * user which has crashed does not run on (fault_limit 1). Otherwise the stores must come before the
 * next call or return. */
bool vmsrs_reserve_store(const void* to, size_t bytes, const void* resume);

/* Where the hooks' own code is; once, before the first store. */
void vmsrs_hooks_are_at(const void* begin, const void* end);

#ifdef __cplusplus
}
#endif

#endif /* VMSRS_PROTECT_H_ */
