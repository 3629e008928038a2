#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: no_hooks.sh HOOKED PRODUCT...
# Nothing of vmsrs/test_hooks.hpp may be in what is shipped; in the tests' own build it must be found.
set -eu
hooks() { nm -C "$1" | grep -c 'vmsrs::hooks::\(step\|open_hole\)' || true; }
[ "$(hooks "$1")" -gt 0 ] || { echo "$1 has no hooks: this test would see nothing"; exit 1; }
shift
for product in "$@"; do
  nm "$product" > /dev/null
  [ "$(hooks "$product")" -eq 0 ] || { echo "$product has test hooks"; exit 1; }
done
