#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The paper's figures 1 and 2, on memcached and MariaDB as Debian packages them.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=study/paper.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

work=$top/build/study
requests=3000
kept=
names=()

usage() {
  cat <<USAGE
usage: study/paper.sh [memcached | mariadb]... [--requests N] [--keep]

Gets the servers' Debian packages (they are unpacked below build/study, not installed), builds vmsrs-study,
and studies each server on 127.0.0.1 twice: with each request as a user, which is both
figures, and with each connection, which is figure 2 again and the proposal.
  --requests N   traced requests ($requests); fewer than 2,600 leave injections without an end
  --keep         keep reports and plots in study/results, under today's date
USAGE
}

parse_options() {
  local option
  while (($# > 0)); do
    option=$1
    shift
    case $option in
      --help | -h) usage && exit 0 ;;
      --keep) kept=$top/study/results ;;
      --requests=*) set -- --requests "${option#*=}" "$@" ;;
      --requests)
        [[ ${1:-} =~ ^[1-9][0-9]*$ ]] || wrong "--requests: expected a number, got '${1:-}'"
        requests=$1
        shift
        ;;
      memcached | mariadb) names+=("$option") ;;
      *) wrong "unknown argument '$option': expected memcached, mariadb or an option" ;;
    esac
  done
  ((${#names[@]} > 0)) || names=(memcached mariadb)
}

# Unpacks Debian packages into a folder of their own: no service is started.
unpack() { # folder package...
  local folder=$1
  shift
  [[ ! -e $folder/complete ]] || return 0
  rm -rf "$folder"
  mkdir -p "$folder/packages"
  (cd "$folder/packages" && quietly "$work/get.log" "getting ${1}" apt-get -q download "$@")
  local package
  for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$folder"; done
  touch "$folder/complete"
}

# The program, with the libraries that were unpacked beside it.
check_libraries() { # program
  local missing
  missing=$(ldd "$1" | awk '/not found/ { print $1 }')
  [[ -z $missing ]] || fail "libraries that ${1##*/} needs are missing: ${missing//$'\n'/ }"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

study() { # name port load warm-up user server...
  local name=$1 port=$2 load=$3 warm_up=$4 user=$5 file wanted=(report.txt report.json figure2.svg) injections=0
  shift 5
  if [[ $user == request ]]; then
    injections=32
    wanted+=(figure1.svg)
  fi
  say "$name: $requests requests, a user is a $user"
  "$top/build/dev/study/vmsrs-study" --port "$port" --load "$load" --warm-up "$warm_up" --user "$user" \
    --injections "$injections" --spacing 50 --follow 1000 --output "$work/$name" -- "$@"
  [[ -n $kept ]] || return 0
  mkdir -p "$kept"
  for file in "${wanted[@]}"; do
    sed "s|$top/||g" "$work/$name/$file" >"$kept/$(date -u +%F)-$name-$file"
  done
}

study_memcached() {
  local load="/usr/bin/python3 $top/study/loads/memcached.py" port user
  unpack "$work/packages-memcached" memcached libevent-2.1-7
  export LD_LIBRARY_PATH=$work/packages-memcached/usr/lib/x86_64-linux-gnu
  check_libraries "$work/packages-memcached/usr/bin/memcached"
  for user in request connection; do
    port=$(free_port)
    study "memcached-${user}s" "$port" "$load $port $requests" "$load $port 1000 --fill --seed 2" "$user" \
      "$work/packages-memcached/usr/bin/memcached" -u "$(id -un)" -l 127.0.0.1 -p "$port" -U 0 -t 2
  done
}

study_mariadb() {
  local load="/usr/bin/python3 $top/study/loads/mariadb.py" port files=$work/packages-mariadb user
  unpack "$files" mariadb-server-core liburing2 libaio1 libsnappy1v5
  export LD_LIBRARY_PATH=$files/usr/lib/x86_64-linux-gnu
  check_libraries "$files/usr/sbin/mariadbd"
  # Without a bound to its size the buffer pool reserves terabytes of addresses, for each page of which QEMU keeps notes.
  for user in request connection; do
    port=$(free_port)
    rm -rf "$work/data"
    mkdir -p "$work/data"
    study "mariadb-${user}s" "$port" "$load $port $requests" "$load $port 1000 --create --seed 2" "$user" \
      "$files/usr/sbin/mariadbd" --no-defaults --user="$(id -un)" --datadir="$work/data" \
      --lc-messages-dir="$files/usr/share/mysql" --character-sets-dir="$files/usr/share/mysql/charsets" \
      --plugin-dir="$files/usr/lib/mysql/plugin" --skip-grant-tables --bind-address=127.0.0.1 \
      --port="$port" --socket="$work/data/socket" --pid-file="$work/data/pid" --skip-log-bin \
      --innodb-buffer-pool-size=8M --innodb-buffer-pool-size-max=8M --innodb-log-file-size=4M \
      --innodb-use-native-aio=0 --thread-cache-size=32
  done
}

main() {
  parse_options "$@"
  check_debian
  mkdir -p "$work" "$top/build/logs"
  need_packages "$top/build/logs/apt.log" "${build_packages[@]}" "${study_packages[@]}"
  say "building vmsrs-study"
  (cd "$top" && quietly "$top/build/logs/configure-dev.log" cmake cmake --preset dev &&
    quietly "$top/build/logs/build-study.log" "the build" \
      cmake --build build/dev --target vmsrs_study_tracer vmsrs_study_allocations)
  local name
  for name in "${names[@]}"; do "study_$name"; done
}

main "$@"
