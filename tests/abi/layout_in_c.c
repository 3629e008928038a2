/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

static const struct layout_line lines[] = {
#include "golden.inc"
};

const struct layout_line* layout_in_c(size_t* count) {
  *count = sizeof lines / sizeof lines[0];
  return lines;
}
