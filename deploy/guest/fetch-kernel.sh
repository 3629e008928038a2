#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches Debian's cloud or generic kernel for guests, without installing it: OUTDIR/vmlinuz and
# OUTDIR/modules/VERSION with the modules that the guest needs and their dependencies.
# Usage: fetch-kernel.sh OUTDIR [cloud | generic]        Does nothing when OUTDIR is complete already.
set -eu

# What the guest loads: the window device and its file system, the network of the demo, a disk.
wanted='nd_e820 nd_pmem crc32c_generic ext4 virtio_net virtio_blk virtio_pci failover net_failover'

fail() { echo "fetch-kernel: error: $*" >&2; exit 1; }
usage() { echo "usage: fetch-kernel.sh OUTDIR [cloud | generic]" >&2; exit 2; }
case ${2:-cloud} in
  cloud) flavour=cloud-amd64 ;;
  generic) flavour=amd64 ;;
  *) usage ;;
esac
case $# in 1 | 2) ;; *) usage ;; esac
out=$1
case $out in /*) ;; *) out=$PWD/$out ;; esac
if [ -f "$out/complete" ] && [ "$(cat "$out/complete")" = "$wanted" ] && [ -s "$out/vmlinuz" ]; then
  case $(cat "$out/version") in *[0-9]-"$flavour") exit 0 ;; esac
fi
command -v apt-get >/dev/null || fail "needs Debian's apt-get"
command -v dpkg-deb >/dev/null || fail "needs Debian's dpkg-deb"

mkdir -p "$out" || fail "cannot make $out"
work=$(mktemp -d "$out/fetch.XXXXXX") || fail "cannot write to $out"
trap 'rm -rf "$work"' EXIT INT TERM
# apt's sandbox user must be able to write where the package goes.
chmod 755 "$work"

resolve() {
  apt-cache depends --no-recommends --no-suggests "linux-image-$flavour" 2>/dev/null |
    sed -n "s/^ *Depends: *\\(linux-image-[0-9].*-$flavour\\)\$/\\1/p" | head -n 1
}
package=$(resolve)
if [ -z "$package" ]; then
  # A source that cannot be reached may be another's: what counts is whether the package is known now.
  apt-get -q update >"$work/log" 2>&1 || true
  package=$(resolve)
fi
[ -n "$package" ] || fail "no package linux-image-$flavour: is this Debian, with its main archive?" \
  "$(grep -m1 '^[EW]:' "$work/log" 2>/dev/null || true)"

download() { (cd "$work" && apt-get -q download "$package") >"$work/log" 2>&1; }
if ! download; then
  # A stale list names files that the mirror no longer has.
  apt-get -q update >>"$work/log" 2>&1 || true
  download || fail "cannot download $package: $(grep -m1 '^E:' "$work/log")"
fi
dpkg-deb -x "$work"/linux-image-*.deb "$work/root" || fail "cannot unpack $package"
version=${package#linux-image-}
source=$work/root/lib/modules/$version
[ -d "$source" ] || source=$work/root/usr/lib/modules/$version
[ -f "$work/root/boot/vmlinuz-$version" ] || fail "$package holds no kernel"

# A module's dependencies are named in its own .modinfo section: no depmod, no kmod needed.
target=$work/modules/$version
mkdir -p "$target"
find "$source" -name '*.ko' >"$work/all"
order=$work/order
: >"$order"
take() ( # in a shell of its own: each call has its own variables
  name=$(echo "$1" | tr - _)
  grep -qx "$name" "$order" && exit 0
  file=$(awk -v want="$name" '{ n = $0; sub(/.*\//, "", n); sub(/\.ko$/, "", n); gsub(/-/, "_", n)
                                if (n == want) { print; exit } }' "$work/all")
  [ -n "$file" ] || exit 0 # built in
  needs=$(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p;s/^softdep=pre: *//p' | tr ', ' '[\n*]' |
            sed '/:$/d;/^post/d')
  for need in $needs; do take "$need"; done
  cp "$file" "$target/$name.ko"
  echo "$name" >>"$order"
)
for module in $wanted; do take "$module"; done
cp "$order" "$target/load-order"

rm -rf "$out/modules" "$out/vmlinuz"
mv "$work/modules" "$out/modules"
cp "$work/root/boot/vmlinuz-$version" "$out/vmlinuz"
echo "$version" >"$out/version"
echo "$wanted" >"$out/complete"
echo "fetch-kernel: Debian's $package in $out" >&2
