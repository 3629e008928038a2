#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a guest's initramfs: busybox, the kernel's modules, an init and whatever else is named.
# Usage: make-initramfs.sh -o OUT -k KERNELDIR -i INIT [SOURCE[:TARGET]]...
#   KERNELDIR   made by fetch-kernel.sh; its modules go to /lib/modules/VERSION, beside `load-order`
#   INIT        an executable or script that becomes /init
#   SOURCE      a file or directory; TARGET is its absolute path in the guest (default: /bin/NAME for
#               files, /NAME for directories). Dynamic programs get their libraries with them.
set -eu
usage() { sed -n 's/^# \(Usage.*\)/\1/p' "$0" >&2; exit 2; }
fail() { echo "make-initramfs: error: $*" >&2; exit 1; }
out='' kernel='' init=''
while getopts o:k:i: option; do
  case $option in
    o) out=$OPTARG ;;
    k) kernel=$OPTARG ;;
    i) init=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
if [ -z "$out" ] || [ -z "$kernel" ] || [ -z "$init" ]; then usage; fi
[ -d "$kernel/modules" ] || fail "no modules in $kernel: run fetch-kernel.sh first"
[ -f "$init" ] || fail "no such init: $init"
command -v cpio >/dev/null || fail "needs cpio (Debian package cpio)"
busybox=
for candidate in /bin/busybox /usr/bin/busybox; do
  # The dynamic busybox of the package `busybox` would want libraries before anything runs.
  if [ -x $candidate ] && ! ldd $candidate >/dev/null 2>&1; then busybox=$candidate; fi
done
[ -n "$busybox" ] || fail "needs a static busybox (Debian package busybox-static)"

root=$(mktemp -d) || fail "cannot make a temporary directory"
trap 'rm -rf "$root"' EXIT INT TERM
chmod 755 "$root"
(cd "$root" && mkdir -p bin sbin etc dev proc sys run tmp root lib usr/bin usr/sbin var)
ln -s lib "$root/lib64"
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cp -r "$kernel/modules" "$root/lib/modules"

libraries() { # of one program or library
  ldd "$1" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p;s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' |
    while read -r library; do
      target=$root$library
      case $library in /lib64/*) target=$root/lib/${library#/lib64/} ;; esac
      [ -e "$target" ] && continue
      mkdir -p "$(dirname "$target")"
      cp -L "$library" "$target"
    done
}
add() { # source target
  mkdir -p "$root$(dirname "$2")"
  # Into a directory that is there already: its contents.
  if [ -d "$1" ]; then
    mkdir -p "$root$2"
    cp -r "$1/." "$root$2/"
  else
    rm -f "$root$2"
    cp -L "$1" "$root$2"
  fi
  find "$1" -type f \( -perm -100 -o -name '*.so*' \) | while read -r file; do libraries "$file"; done
}
for entry in "$@"; do
  source=${entry%%:*}
  [ -e "$source" ] || fail "no such file: $source"
  case $entry in
    *:*) target=${entry#*:} ;;
    *) if [ -d "$source" ]; then target=/$(basename "$source"); else target=/bin/$(basename "$source"); fi ;;
  esac
  case $target in /*) ;; *) fail "not an absolute path: $target" ;; esac
  add "$source" "$target"
done
add "$init" /init
chmod 755 "$root/init"
# Stored fast rather than small: the guest unpacks it under emulation.
(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >"$out.new" ||
  fail "cannot write $out"
mv "$out.new" "$out"
