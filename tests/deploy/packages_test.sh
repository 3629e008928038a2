#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the packages twice, compares them, and takes them through their life in a Debian 12 root of its own:
# install, use, upgrade, downgrade, remove, purge. Needs root.
#
# shellcheck disable=SC2016  # commands for the root's own shell
#
# Usage: packages_test.sh [FOLDER]   FOLDER: keeps both builds and the root there, and takes up what it finds
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=$(dpkg-parsechangelog -l "$top/debian/changelog" -S Version)

say() { echo "-- $*"; }
failures=0
complain() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
# What follows the description must succeed.
check() { # description command...
  local what=$1
  shift
  if "$@" >"$work/check.log" 2>&1; then
    echo "ok: $what"
  else
    complain "$what"
    tail -n 20 "$work/check.log"
  fi
}

[[ $(id -u) == 0 ]] || { echo "error: needs root, for mmdebstrap and chroot" >&2 && exit 1; }
# Whatever happens, nothing stays mounted and nothing goes on running.
if [[ ${VMSRS_PACKAGES_INSIDE:-} != yes ]]; then
  VMSRS_PACKAGES_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc bash "$0" "$@"
fi
mount --make-rprivate /
if (($# > 0)); then
  work=$1
  mkdir -p "$work"
else
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/vmsrs-packages.XXXXXX")
  trap 'umount -R "$work/root"/{proc,dev,run} 2>/dev/null || true; grep -q " $work/root/" /proc/self/mounts || rm -rf --one-file-system "$work"' EXIT
fi
build() { # folder
  say "building in $1"
  "$top/tests/deploy/build-packages.sh" "$1" || { echo "FAILED: the build" && exit 1; }
}
build "$work/first"
build "$work/second-with-another-name"
first=$work/first

say "two builds"
count=0
for package in "$first"/*.deb; do
  other=$work/second-with-another-name/${package##*/}
  count=$((count + 1))
  if ! cmp -s "$package" "$other"; then
    complain "${package##*/}: two builds differ"
    ! command -v diffoscope >/dev/null || diffoscope --max-report-size 4000 "$package" "$other" || true
  fi
done
packages=$(grep -c '^Package:' "$top/debian/control")
check "$packages packages are built" [ "$count" = "$packages" ]

say "lintian"
check "no error of lintian" lintian --allow-root --fail-on error "$first"/*.changes

# The same content under a higher number: its files, and the number that the scripts compare with.
newer=$version+next
make_newer() {
  local package folder
  mkdir -p "$work/newer"
  for package in "$first"/{vmsrsd,vmsrs-hypervisor,vmsrsctl}_*.deb; do
    folder=$work/unpacked
    rm -rf "$folder"
    dpkg-deb -R "$package" "$folder"
    sed -i "s/^Version: .*/Version: $newer/" "$folder/DEBIAN/control"
    [[ ! -e $folder/DEBIAN/preinst ]] || sed -i "s/${version//./\\.}/$newer/g" "$folder/DEBIAN/preinst"
    dpkg-deb --root-owner-group -b "$folder" "$work/newer/$(basename "${package%%_*}").deb" >/dev/null
  done
}
make_newer

root=$work/root
if [[ ! -e $root/etc/debian_version ]]; then
  say "a Debian 12 root"
  sources=/etc/apt/sources.list.d/debian.sources
  [[ -s $sources ]] || sources=/etc/apt/sources.list
  mapfile -t needed < <(for package in "$first"/*.deb; do dpkg-deb -f "$package" Depends Pre-Depends; done |
    sed 's/([^)]*)//g; s/[,|]/\n/g; s/^[A-Za-z-]*: //' | sed 's/[A-Za-z-]*: //; s/:any//; s/ //g' | sort -u |
    grep -v -e vmsrs -e default-systemd -e systemd-sysusers -e standalone -e '^$')
  apt-config dump --format '%f "%v";%n' Acquire::http Acquire::https Acquire::Check-Valid-Until \
    Acquire::Retries >"$work/90host"
  mmdebstrap --variant=minbase --aptopt="$work/90host" \
    --include="$(IFS=, && echo "${needed[*]}"),systemd,procps" bookworm "$root" "$sources" >"$work/root.log" 2>&1 ||
    { tail -n 20 "$work/root.log" && echo "FAILED: mmdebstrap" && exit 1; }
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mkdir -p "$root/packages"
cp "$first"/*.deb "$work/newer"/*.deb "$root/packages/"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
in_shell() { inside bash -c "$1"; }

say "install"
install_all() { in_shell "dpkg -i /packages/*_*.deb" >"$work/install.log" 2>&1; }
check "all packages install" install_all
ours=$(for package in "$first"/*.deb; do dpkg-deb -f "$package" Package; done)
# shellcheck disable=SC2086
check "nothing is left half-done" test "$(inside dpkg-query -W -f '${db:Status-Abbrev}\n' $ours | sort | uniq -c | tr -s ' ')" = " $packages ii "
check "accounts" in_shell 'id -u vmsrsd && id -u vmsrs-hosted && getent group vmsrs vmsrs-servers'
check "the secret: 64 digits, 0600, root's" in_shell '[ "$(stat -c "%a %U %s" /etc/vmsrs/management.secret)" = "600 root 65" ] && grep -qxE "[0-9a-f]{64}" /etc/vmsrs/management.secret'
hash=$(python3 -c 'import hashlib, sys; print(hashlib.sha256(bytes.fromhex(open(sys.argv[1]).read())).hexdigest())' "$root/etc/vmsrs/management.secret")
check "its hash, for engines" test "$hash" = "$(cat "$root/etc/vmsrs/management.sha256")"
check "units are enabled" in_shell 'systemctl is-enabled vmsrsd.service vmsrs-hosted.socket vmsrs-announce-reset.service vmsrs-boot-confirm.service vmsrs-boot-watchdog.service run-vmsrs-windows.mount'
check "units are sound" in_shell 'systemd-analyze verify --man=no /lib/systemd/system/{vmsrsd,vmsrs-hosted,vmsrs-announce-reset,vmsrs-boot-confirm,vmsrs-boot-watchdog,vmsrs-bookshop}.service /lib/systemd/system/vmsrs-hosted.socket /lib/systemd/system/run-vmsrs-windows.mount'
check "windows for the group of servers" in_shell '[ "$(debugfs -R "stat server-15" /boot/vmsrs-windows.img 2>/dev/null | sed -n "s/.*Group: *\([0-9]*\) .*/\1/p")" = "$(getent group vmsrs-servers | cut -d: -f3)" ]'
check "a multiboot 2 image" in_shell 'grub-file --is-x86-multiboot2 /boot/vmsrs-hypervisor.elf32'
check "completions, pages" in_shell 'bash -n /usr/share/bash-completion/completions/vmsrsctl && [ -s /usr/share/zsh/vendor-completions/_vmsrsctl ] && ls /usr/share/man/man1/vmsrsctl.1.gz /usr/share/man/man8/vmsrs-boot.8.gz'
check "rules of Prometheus" in_shell '[ -n "$(ls /usr/share/vmsrs-monitoring/rules/*.yaml)" ]'
check "the shop to try it with is not started by itself" in_shell '/usr/lib/vmsrs/bookshop --help && [ -s /usr/share/vmsrs/catalogue.csv ] && [ "$(systemctl is-enabled vmsrs-bookshop.service)" = static ]'
check "vmsrs-run finds its library" in_shell 'vmsrs-run --help'

say "vmsrsd of the package, on vmsrs-hosted of the package, each under its account"
use() {
  mkdir -p "$root/run/vmsrs" "$root/var/lib/vmsrs"
  in_shell 'chown vmsrs-hosted /run/vmsrs; chown vmsrsd:vmsrs /var/lib/vmsrs; chmod 777 /run/vmsrs
    setpriv --reuid=vmsrs-hosted --regid=vmsrs-hosted --clear-groups vmsrs-hosted --socket /run/vmsrs/hosted.sock --secret-hash-file /etc/vmsrs/management.sha256 & engine=$!
    for i in $(seq 300); do [ ! -S /run/vmsrs/hosted.sock ] || break; sleep 0.1; done
    setpriv --reuid=vmsrsd --regid=vmsrs --clear-groups --inh-caps=+dac_read_search,+sys_ptrace --ambient-caps=+dac_read_search,+sys_ptrace vmsrsd --config /etc/vmsrs/vmsrs.yaml & daemon=$!
    for i in $(seq 300); do [ ! -S /run/vmsrs/api.sock ] || break; sleep 0.1; done
    vmsrsctl check && vmsrsctl --output json version; code=$?
    kill $daemon; wait $daemon; kill $engine; wait $engine
    exit $code' >"$work/use.log" 2>&1
}
check "vmsrsctl check" use
check "it says what it is: a process" grep -q '"isolation": *"process"' "$work/use.log"
[[ $failures == 0 ]] || cat "$work/use.log"

say "upgrade"
before=$(cat "$root/etc/vmsrs/management.secret")
echo '# the operator was here' >>"$root/etc/vmsrs/vmsrs.yaml"
upgrade() { in_shell "dpkg -i /packages/{vmsrsd,vmsrs-hypervisor,vmsrsctl}.deb" >"$work/upgrade.log" 2>&1; }
check "to $newer" upgrade
check "the secret is kept" test "$before" = "$(cat "$root/etc/vmsrs/management.secret")"
check "the configuration is kept" grep -q 'the operator was here' "$root/etc/vmsrs/vmsrs.yaml"

say "downgrade"
for package in vmsrsd vmsrs-hypervisor; do
  ! in_shell "dpkg -i /packages/${package}_*.deb" >"$work/downgrade.log" 2>&1 || complain "$package is downgraded"
  check "$package says why not" grep -q "$package: error: $newer is installed" "$work/downgrade.log"
  check "$package is as it was" in_shell "[ \"\$(dpkg-query -W -f '\${db:Status-Abbrev}\${Version}' $package)\" = 'ii $newer' ]"
done

say "remove"
# shellcheck disable=SC2086
remove() { inside dpkg -r $ours >"$work/remove.log" 2>&1; }
check "all packages" remove
check "the secret and the configuration stay" in_shell '[ -e /etc/vmsrs/management.secret ] && [ -e /etc/vmsrs/vmsrs.yaml ]'
check "nothing to boot is left" in_shell '! ls /boot/vmsrs* 2>/dev/null'
echo secret >"$root/etc/vmsrs/of-a-server.secret"

say "purge"
# shellcheck disable=SC2086
purge() { inside dpkg -P $ours >"$work/purge.log" 2>&1; }
check "all packages" purge
check "secret, hash and events are gone" in_shell '! ls -d /etc/vmsrs/management.* /var/lib/vmsrs /etc/vmsrs/vmsrs.yaml /etc/grub.d/11_vmsrs /etc/default/grub.d/vmsrs.cfg 2>/dev/null'
check "what the operator put there stays" test -e "$root/etc/vmsrs/of-a-server.secret"
rm "$root/etc/vmsrs/of-a-server.secret"
left=$(in_shell 'find / -xdev -iname "*vmsrs*" -not -path "/packages*" -not -path "/proc*" -not -path "/var/lib/vmsrs-*" | grep -vx -e /etc/vmsrs' || true)
check "nothing else is left${left:+: $left}" test -z "$left"

umount -R "$root"/{proc,dev,run}
echo "packages: $failures failures"
((failures == 0))
