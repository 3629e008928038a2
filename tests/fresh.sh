#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proves the two commands of the README where nothing is installed: in a minimal Debian 12 root with
# nothing but git, from a clean clone of the last commit.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=tests/fresh.sh
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

usage() {
  cat <<'USAGE'
usage: tests/fresh.sh [COMMAND...]

Makes a minimal Debian 12 root (mmdebstrap) with the package sources of this machine, clones the last
commit into it, and runs there: deploy/quickstart.sh, tests/run.sh; or the given command instead.
The root is removed afterwards.
USAGE
}

# The rest of this script runs in a mount and process namespace of its own: whatever happens,
# nothing stays mounted and nothing goes on running.
enter_namespace() {
  [[ ${VMSRS_FRESH_INSIDE:-} != yes ]] || return 0
  VMSRS_FRESH_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc \
    bash "${BASH_SOURCE[0]}" "$@"
}

# Debian's sources as this machine has them, and how it reaches them.
debian_sources() {
  local file
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [[ -s $file ]] && grep -q bookworm "$file"; then
      echo "$file"
      return
    fi
  done
  fail "found no package sources of Debian 12 (bookworm) in /etc/apt"
}

make_root() { # directory
  local sources
  sources=$(debian_sources)
  apt-config dump --format '%f "%v";%n' Acquire::http Acquire::https Acquire::Check-Valid-Until \
    Acquire::Check-Date Acquire::Retries Acquire::ftp >"$work/90host"
  quietly "$work/mmdebstrap.log" mmdebstrap mmdebstrap --variant=minbase --include=git,ca-certificates \
    --aptopt="$work/90host" --skip=cleanup/apt bookworm "$1" "$sources"
  cp "$work/90host" "$1/etc/apt/apt.conf.d/90host"
  # No service is to be started in there.
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  cp -L /etc/resolv.conf "$1/etc/resolv.conf" 2>/dev/null || true
  cp -L /etc/hosts "$1/etc/hosts" 2>/dev/null || true
  # Whom this machine trusts by its own decision the root trusts, too.
  if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/"
    quietly "$work/certificates.log" update-ca-certificates chroot "$1" update-ca-certificates
  fi
}

mount_in() { # root
  mount -t proc proc "$1/proc"
  mount --rbind /sys "$1/sys"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs tmpfs "$1/run"
}

inside() { # root command...
  local root=$1
  shift
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 \
    ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt} \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    chroot "$root" /bin/sh -c 'cd /root/vmsrs && exec "$@"' sh "$@"
}

work=''
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  local code=$?
  trap - EXIT
  if [[ -n $work ]]; then
    umount -R "$work/root"/{proc,sys,dev,run} 2>/dev/null || true
    # Never into something that is still mounted.
    if grep -q " $work/root/" /proc/self/mounts; then
      say "still mounted, so not removed: $work"
    else
      rm -rf --one-file-system "$work"
    fi
  fi
  exit "$code"
}

main() {
  [[ ${1:-} != --help && ${1:-} != -h ]] || { usage && exit 0; }
  check_root
  check_debian
  enter_namespace "$@"
  need_packages /dev/null mmdebstrap git
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/vmsrs-fresh.XXXXXX")
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  check_disk "$work"
  mount --make-rprivate /
  say "making a minimal Debian 12 root"
  make_root "$work/root"
  say "cloning $(git -C "$top" rev-parse --short HEAD)"
  git clone -q "file://$top" "$work/root/root/vmsrs"
  mount_in "$work/root"
  local code=0 command
  if (($# > 0)); then
    say "in the root: $*"
    inside "$work/root" "$@" || code=$?
  else
    for command in deploy/quickstart.sh tests/run.sh; do
      say "in the root: $command"
      inside "$work/root" "$command" || {
        code=$?
        say "$command failed: $code"
        break
      }
      say "$command is done"
    done
  fi
  ((code != 0)) || say "done: it works on a minimal Debian 12"
  exit "$code"
}

main "$@"
