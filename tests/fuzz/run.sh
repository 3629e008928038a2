#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the decoder of hypercalls and the engine for so many minutes.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail

program=tests/fuzz/run.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$top/deploy/lib/messages.sh"

usage() {
  cat <<USAGE
usage: tests/fuzz/run.sh [MINUTES [FUZZER-OPTION...]]

Builds (preset dev) and runs libFuzzer, 10 minutes if none are given, from the corpus and from what
earlier runs have found. An input that fails is kept in build/dev/tests/fuzz/found; it is run again
by: build/dev/tests/fuzz/fuzz_calls FILE
USAGE
}

main() {
  local minutes=${1:-10}
  [[ $minutes != --help && $minutes != -h ]] || { usage && exit 0; }
  [[ $minutes =~ ^[1-9][0-9]*$ ]] ||
    fail_code=2 fail "expected a number of minutes, got '$minutes'"
  local folder=$top/build/dev/tests/fuzz
  (cd "$top" && cmake --preset dev >/dev/null)
  cmake --build "$top/build/dev" --target engine_fuzz
  "$folder/fuzz_calls" -max_total_time=$((minutes * 60)) -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$folder/found/" "${@:2}" "$folder/found" "$top/tests/fuzz/corpus"
}

main "$@"
