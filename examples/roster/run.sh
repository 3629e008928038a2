#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Plays the paper's experiments (5.1) with the roster and prints what its figures 8 to 13 show.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail

program=examples/roster/run.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

usage() {
  cat <<'USAGE'
usage: examples/roster/run.sh hosted|svm [SCENARIO ...]

Builds, plays the scenarios (all: 5.1.1 5.1.2 5.1.3-1 5.1.3-2 5.1.3-3), and prints for each what its users
did and saw, what the engine counted, and whether that is as the paper says. Exit code 1: something is not.
  hosted   on this host, with vmsrs-hosted
  svm      in the machine: one boot of Debian's kernel on the hypervisor, in QEMU

VMSRS_BUILD_DIR: build there instead of build/release.
USAGE
}

main() {
  case ${1:-} in
    --help | -h) usage && exit 0 ;;
    hosted | svm) ;;
    *) wrong "expected hosted or svm, got '${1:-}'" ;;
  esac
  check_debian
  mkdir -p "$top/build/logs"
  need_packages "$top/build/logs/apt.log" "${build_packages[@]}" "${machine_packages[@]}"
  local build=${VMSRS_BUILD_DIR:-$top/build/release}
  local targets=(roster roster-plain vmsrs-hosted vmsrs-hypervisor vmsrsd vmsrsctl)
  exec 9>"$build.lock" # one build at a time in one clone
  flock 9
  if [[ ! -f $build/build.ninja ]]; then
    say "configuring the build"
    (cd "$top" && quietly "$top/build/logs/configure.log" cmake \
      cmake --preset release -DBUILD_TESTING=OFF)
  fi
  say "building ${targets[*]}"
  quietly "$top/build/logs/build.log" "the build" cmake --build "$build" --target "${targets[@]}"
  exec 9>&-
  say "playing"
  PYTHONDONTWRITEBYTECODE=1 exec python3 "$top/tests/paper/figures.py" "$build" "$@"
}

main "$@"
