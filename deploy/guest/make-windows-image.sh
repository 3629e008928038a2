#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the windows image: a small ext4 file system with /server-00 to /server-15, five pages each,
# which the guest mounts read-only with DAX from persistent memory and the hypervisor writes. Every
# page begins with a mark (vmsrs_window_mark in the ABI) by which the hypervisor finds it.
# Usage: make-windows-image.sh OUT [GID]      GID: the group that may map the windows; default 0.
set -eu
fail() { echo "make-windows-image: error: $*" >&2; exit 1; }
case $# in
  1 | 2) ;;
  *) echo "usage: make-windows-image.sh OUT [GID]" >&2; exit 2 ;;
esac
out=$1
gid=${2:-0}
case $gid in *[!0-9]* | '') fail "not a group number: $gid" ;; esac
PATH=$PATH:/usr/sbin:/sbin
command -v mke2fs >/dev/null || fail "needs mke2fs (Debian package e2fsprogs)"
command -v debugfs >/dev/null || fail "needs debugfs (Debian package e2fsprogs)"

work=$(mktemp -d) || fail "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT INT TERM
mkdir "$work/root"

page() { # server page: 32 bytes of mark, zeroes to the page's end
  printf 'VMSRS-WINDOW-PG\000'
  printf '%b' "\\0$(printf %03o "$1")\\0000\\0000\\0000\\0$(printf %03o "$2")\\0000\\0000\\0000"
  head -c 4072 /dev/zero
}
server=0
: >"$work/commands"
while [ $server -lt 16 ]; do
  name=$(printf 'server-%02d' $server)
  for p in 0 1 2 3 4; do page $server $p; done >"$work/root/$name"
  # Owner and mode are written into the image: no root is needed to make it.
  {
    echo "set_inode_field $name uid 0"
    echo "set_inode_field $name gid $gid"
    echo "set_inode_field $name mode 0100440"
  } >>"$work/commands"
  server=$((server + 1))
done
{
  echo "set_inode_field / uid 0"
  echo "set_inode_field / gid 0"
  echo "set_inode_field / mode 040755"
} >>"$work/commands"

# 2 MiB: the size in which persistent memory is mapped.
mke2fs -q -F -t ext4 -b 4096 -O '^has_journal,^resize_inode' -m 0 -N 64 -L vmsrs-windows \
  -d "$work/root" "$work/image" 512 >"$work/log" 2>&1 || fail "mke2fs: $(tail -n 1 "$work/log")"
debugfs -w -f "$work/commands" "$work/image" >"$work/log" 2>&1 ||
  fail "debugfs: $(tail -n 1 "$work/log")"
mv "$work/image" "$out" || fail "cannot write $out"
