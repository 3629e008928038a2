#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds memcached's arms on the library as it is installed from the release preset, and measures them.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail

program=bench/memcached/run.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

usage() {
  cat <<USAGE
usage: bench/memcached/run.sh [--rounds N] [--requests N] [--keep]

  --rounds N    turns of all arms (15)
  --requests N  of each arm in a turn (20000)
  --keep        keep the figures in bench/results, under today's date
USAGE
}

options=()
while (($# > 0)); do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --rounds | --requests)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || wrong "$1: expected a number, got '${2:-}'"
      options+=("$1" "$2")
      shift 2
      ;;
    --keep) options+=(--csv "$top/bench/results/$(date -u +%F)-memcached.csv") && shift ;;
    *) wrong "unknown option '$1'" ;;
  esac
done

check_debian
preset=$top/build/release
mkdir -p "$top/build/logs"
need_packages "$top/build/logs/apt-bench.log" "${build_packages[@]}" clang dpkg-dev libevent-dev python3
[[ -f $preset/build.ninja ]] || (cd "$top" && quietly "$top/build/logs/configure-bench.log" cmake \
  cmake --preset release -DBUILD_TESTING=OFF)
say "building (release)"
quietly "$top/build/logs/build-bench.log" "the build" cmake --build "$preset"
quietly "$top/build/logs/install-bench.log" "installing" cmake --install "$preset" --prefix "$preset/prefix"
say "building memcached"
export PYTHONDONTWRITEBYTECODE=1
python3 "$top/tests/memcached/get.py" cmake "$preset/prefix" "$preset/memcached" \
  memcached-{plain,hooks,protected,chosen-hooks,chosen,by-hand,one-call}
say "measuring"
python3 "$top/bench/memcached/measure.py" "$preset" "$preset/memcached/programs" "${options[@]}"
