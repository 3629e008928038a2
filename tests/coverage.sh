#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How much of the engine the tests of label engine run.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=tests/coverage.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"

usage() {
  cat <<USAGE
usage: tests/coverage.sh [PERCENT]

Builds the engine and its tests with gcov (preset coverage), runs label engine, prints the lines
that were run of each file of hypervisor/recovery, and fails below PERCENT of all (95).
USAGE
}

main() {
  local percent=${1:-95} build=$top/build/coverage
  [[ $percent != --help && $percent != -h ]] || { usage && exit 0; }
  [[ $percent =~ ^[0-9]+$ ]] || fail_code=2 fail "expected a percentage, got '$percent'"
  (cd "$top" && cmake --preset coverage >/dev/null)
  cmake --build "$build" --target engine_tests
  find "$build" -name '*.gcda' -delete
  # The model and the fuzzer are not this build's code.
  ctest --test-dir "$build" -L '^engine$' -E '^engine\.(protocol_model|fuzz_)' --output-on-failure
  python3 "$top/tests/coverage.py" "$build" "$top/hypervisor/recovery" "$percent"
}

main "$@"
