/* SPDX-License-Identifier: Apache-2.0
 *
 * Not installed, not part of the interface: for attack tests. Names all memory of this process that
 * the library keeps, so that a test can write over each byte of it that it can reach.
 */
#ifndef VMSRS_INTERNAL_H_
#define VMSRS_INTERNAL_H_

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmsrs_internal_range {
  const char* name;
  void* address;
  size_t bytes;
  bool writable; /* false: a write to it faults, and that fault is the writing user's crash */
};

/* Fills up to `capacity` ranges of the calling thread and of the process; returns how many there
 * are. Nothing else that the library writes outlives a call of it: what recovery rests on is in the
 * hypervisor, and its users are known there by their threads. */
size_t vmsrs_internal_ranges(struct vmsrs_internal_range* ranges, size_t capacity);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* VMSRS_INTERNAL_H_ */
