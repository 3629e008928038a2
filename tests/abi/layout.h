/* SPDX-License-Identifier: Apache-2.0
 *
 * golden.inc as a table of what the compiler makes of the header, and what it should. */
#ifndef VMSRS_TESTS_ABI_LAYOUT_H_
#define VMSRS_TESTS_ABI_LAYOUT_H_

#include <stddef.h>
#include <stdint.h>
#include <vmsrs/abi.h>
#include <vmsrs/claims.h>

struct layout_line {
  const char* name;
  uint64_t actual;
  uint64_t golden;
};

#define VALUE(constant, golden) {#constant, (uint64_t)(constant), golden},
#define SIZE(structure, golden) {#structure, sizeof(struct structure), golden},
#define OFFSET(structure, field, golden) \
  {#structure "." #field, offsetof(struct structure, field), golden},

#ifdef __cplusplus
extern "C" {
#endif
/* As the C compiler sees it; *count lines. */
const struct layout_line* layout_in_c(size_t* count);
#ifdef __cplusplus
}
#endif
#endif /* VMSRS_TESTS_ABI_LAYOUT_H_ */
