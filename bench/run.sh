#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is needed, builds the release preset, runs benchmarks, and prints what they gave.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=bench/run.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

output=table
names=()

usage() {
  cat <<USAGE
usage: bench/run.sh [NAME...] [--output table|json] [--keep] [--quick]

Runs all native benchmarks, or those named: $(known_names | tr '\n' ' ')
  --output FORMAT  table (the default), or json: one object, the names with their figures
  --keep           keep the figures and the plots in bench/results, under today's date
  --quick          fewer rounds: whether it works, not how fast it is

Native, hosted platform, no nested paging: nothing here says what the hypervisor costs. But figure14_icount and
transparency, which run only when they are named: the hypervisor in QEMU, where instructions and exits are counted,
and no time is taken.
USAGE
}

# Debian's Python, as the plots come from its matplotlib.
report() { PYTHONPATH=$top/bench PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m report "$@"; }

known_names() { report --names; }

parse_options() {
  local option known
  while (($# > 0)); do
    option=$1
    shift
    case $option in
      --help | -h) usage && exit 0 ;;
      --quick) export VMSRS_BENCH_QUICK=1 ;;
      --keep) report_options+=(--keep "$top/bench/results") ;;
      --output=*) set -- --output "${option#*=}" "$@" ;;
      --output)
        [[ ${1:-} == table || ${1:-} == json ]] ||
          wrong "--output: expected table or json, got '${1:-}'"
        output=$1
        shift
        ;;
      -*) wrong "unknown option '$option'" ;;
      *)
        known=$(known_names)
        grep -qxF -- "$option" <<<"$known" ||
          wrong "unknown benchmark '$option': expected one of ${known//$'\n'/ }"
        names+=("$option")
        ;;
    esac
  done
}

build() {
  local preset=$top/build/release
  mkdir -p "$top/build/logs"
  exec 9>"$preset.lock" # one build at a time in one clone
  flock 9
  if [[ ! -f $preset/build.ninja ]]; then
    say "configuring the build"
    (cd "$top" && quietly "$top/build/logs/configure-bench.log" cmake \
      cmake --preset release -DBUILD_TESTING=OFF)
  fi
  say "building (release)"
  quietly "$top/build/logs/build-bench.log" "the build" cmake --build "$preset" --target bench
  exec 9>&-
}

report_options=()

main() {
  [[ -x /usr/bin/python3 ]] || need_packages /dev/null python3
  parse_options "$@"
  check_debian
  mkdir -p "$top/build/logs"
  local packages=("${build_packages[@]}" "${bench_packages[@]}")
  [[ " ${names[*]} " != *" figure14_icount "* ]] || packages+=("${machine_packages[@]}")
  [[ " ${names[*]} " != *" transparency "* ]] || packages+=("${machine_packages[@]}" stress-ng)
  need_packages "$top/build/logs/apt-bench.log" "${packages[@]}"
  build
  report --build "$top/build/release" --output "$output" \
    "${report_options[@]}" "${names[@]}"
}

main "$@"
