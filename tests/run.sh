#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is needed, builds, runs tests, and names the slowest.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=tests/run.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

labels=(abi engine library hosted ops machine hypervisor scenario paper deploy docs)

usage() {
  cat <<USAGE
usage: tests/run.sh [LABEL | nightly]

Without an argument: the quick part of every label (at most 12 minutes on two cores).
  LABEL      all tests of one label, the long ones included: ${labels[*]}
  nightly    the long tests of all labels, then the host tests again with sanitizers
USAGE
}

# Builds a preset; quiet unless it fails.
build() { # preset
  say "building ($1)"
  mkdir -p "$top/build/logs"
  (cd "$top" && quietly "$top/build/logs/configure-$1.log" cmake cmake --preset "$1")
  quietly "$top/build/logs/build-$1.log" "the build" cmake --build "$top/build/$1"
}

# ctest, with the ten slowest tests named before its closing lines.
run_tests() { # preset ctest-option...
  local preset=$1 code=0
  shift
  ctest --test-dir "$top/build/$preset" -j2 --output-on-failure --no-tests=error "$@" 2>&1 |
    awk '
      closing || /^[0-9]+% tests passed/ { closing = 1; end = end $0 "\n"; next }
      { print; fflush() }
      match($0, /[0-9.]+ sec *$/) && /Test +#[0-9]+: / {
        name = $0; sub(/.*Test +#[0-9]+: /, "", name); sub(/ .*/, "", name)
        print substr($0, RSTART, RLENGTH) + 0, name > times
      }
      END {
        close(times)
        print "\nThe ten slowest tests (seconds):"; fflush()
        system("sort -rn " times " | head -n 10")
        printf "\n%s", end
      }' times="$(mktemp "$top/build/times.XXXXXX")" || code=$?
  rm -f "$top"/build/times.??????
  return "$code"
}

main() {
  local what=${1:-} label
  case $what in
    --help | -h) usage && exit 0 ;;
    '' | nightly) ;;
    *)
      for label in "${labels[@]}"; do [[ $what != "$label" ]] || break; done
      [[ $what == "$label" ]] ||
        fail_code=2 fail "unknown label '$what': expected nothing, nightly or one of ${labels[*]}"
      ;;
  esac
  (($# <= 1)) || fail_code=2 fail "one argument at most, got $#"
  check_debian
  mkdir -p "$top/build/logs"
  need_packages "$top/build/logs/apt.log" \
    "${build_packages[@]}" "${machine_packages[@]}" "${test_packages[@]}" "${browser_packages[@]}"
  build dev
  case $what in
    '') run_tests dev -LE '^nightly$' ;;
    nightly)
      local code=0
      run_tests dev -L '^nightly$' || code=1
      build asan
      run_tests asan -LE '^nightly$' -L '^(abi|engine|library|hosted|ops)$' || code=1
      # ThreadSanitizer takes signals into its own hands: no test whose users really fault. Of vmsrsctl, a process
      # between two threads of the test, it knows no order.
      build tsan
      run_tests tsan -LE '^nightly$' -L '^(abi|engine|hosted|ops)$' -E '^(hosted\.(library|killed|scenario)|ops\.vmsrsctl)' || code=1
      return $code
      ;;
    *) run_tests dev -L "^$what\$" ;;
  esac
}

main "$@"
