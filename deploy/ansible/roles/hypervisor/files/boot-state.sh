#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What boots on this host, a line NAME=VALUE each. With `newest` the entry to be proven is that of the newest kernel,
# else the default if it is one of VMSRS. With `proven` it is kept that this entry, with the image and the options that
# it has now, has been proven.
#
# For tests: VMSRS_BOOT_FOLDER (in place of /boot), VMSRS_PROVEN (of the file that keeps it).
set -eu
boot=${VMSRS_BOOT_FOLDER:-/boot}
kept=${VMSRS_PROVEN:-/var/lib/vmsrs-hypervisor/proven}
menu=$boot/grub/grub.cfg

if ! command -v vmsrs-boot >/dev/null; then
  echo "installed=no"
  exit 0
fi
echo "installed=yes"
status=$(vmsrs-boot status)
of() { echo "$status" | sed -n "s/^$1 *//p"; }
for name in running default next; do echo "$name=$(of $name)"; done

entries=$(sed -n "s/^menuentry .*menuentry_id_option '\(vmsrs-[^']*\)'.*/\1/p" "$menu")
entry=$(of default)
if [ "${1:-}" = newest ] || ! echo "$entries" | grep -qxF "$entry"; then
  entry=$(echo "$entries" | head -n 1)
fi
[ "${1:-}" != proven ] || entry=$(of running)
# What the entry says, and the image behind it.
now=$({
  sha256sum <"$boot/vmsrs-hypervisor.elf32"
  awk -v id="'$entry'" 'index($0, "menuentry ") == 1 { on = index($0, id) } on; /^}/ { on = 0 }' "$menu"
} | sha256sum | cut -d ' ' -f 1)
if [ "${1:-}" = proven ]; then
  mkdir -p "$(dirname "$kept")"
  echo "$now" >"$kept"
fi
echo "entry=$entry"
echo "kernel=${entry#vmsrs-}"
echo "proven=$([ "$(cat "$kept" 2>/dev/null)" = "$now" ] && echo yes || echo no)"
