#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What only hardware can show (docs/hardware.md): a boot image for a spare AMD machine, and the report of what its serial
# line said.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=hardware-report
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"

# Cases of tests/machine/microkernel. Those of the first list are compared with the bare machine.
compared=(exceptions exceptions_ring3 interrupts processors nmi single_step registers)
attacks=(hypercalls svm_instructions msrs cpuid memory page_tables apic_stores init_messages mtrr interrupted_events
  hold fuzz)
ends=(hidden_stack shutdown page_tables_root interrupt_table descriptor_table) # of the machine
secret='vmsrs machine tests: the secret.' # tests/machine/guests/guest.hpp
windows_gid=990

usage() {
  cat <<'USAGE'
usage: deploy/hardware-report.sh image FILE [ENTRY]
       deploy/hardware-report.sh judge LOG

  image FILE   builds the hypervisor and its tests, and makes a boot image of them for a BIOS or UEFI: to a USB stick
               with dd. Its menu starts with the first entry, or with ENTRY: `report` (Linux on the hypervisor: the
               processor, what an exit takes, checks, processors offline and online, random calls), then each case of
               the suite as `below CASE` (the hypervisor) and `bare CASE` (the same without it). The machine's first
               serial port (115200 baud) says what comes out; whoever is at the other end keeps it in a file. After
               each entry: reset, next entry. Not on a machine whose memory or disks matter.
  judge LOG    reads that file: each entry by what is expected. Exit code 0: all that was run is as expected.
USAGE
}

build_everything() {
  local build=${VMSRS_BUILD_DIR:-$top/build/dev} logs=$top/build/logs
  mkdir -p "$logs"
  need_packages "$logs/apt.log" "${build_packages[@]}" "${machine_packages[@]}" \
    grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools libboost-test-dev
  say "building"
  [[ -f $build/build.ninja ]] || (cd "$top" && quietly "$logs/configure-dev.log" cmake cmake --preset dev)
  quietly "$logs/build-hardware.log" "the build" cmake --build "$build" \
    --target vmsrs-hypervisor machine-microkernel machine-guest bench_transparency
  quietly "$logs/kernel.log" "fetching Debian's kernel" "$top/deploy/guest/fetch-kernel.sh" "$build/guest-generic" generic
  local boot=$folder/boot
  mkdir -p "$boot/grub"
  cp "$build/hypervisor/vmsrs-hypervisor.elf32" "$boot/hypervisor"
  cp "$build/tests/machine/microkernel.bin" "$boot/microkernel"
  cp "$build/guest-generic/vmlinuz" "$boot/linux"
  "$top/deploy/guest/make-windows-image.sh" "$boot/windows" "$windows_gid"
  "$top/deploy/guest/make-initramfs.sh" -o "$boot/initrd" -k "$build/guest-generic" \
    -i "$top/deploy/lib/report-init.sh" "$build/tests/machine/machine-guest" "$build/bench/bench_transparency"
}

# An entry; the mark in front tells the judge whose lines follow.
entry() { # name
  printf 'menuentry "%s" --id "%s" {\n  echo "vmsrs-report: begin %s"\n' "$1" "$1" "$1"
  cat
  printf '}\n'
}

on_hypervisor() { # kernel options [hypervisor's options]
  printf '  multiboot2 /boot/hypervisor hidden=256M secret_sha256=%s %s\n' "$hash" "${3-}"
  printf '  module2 /boot/%s %s\n  module2 /boot/initrd\n  module2 /boot/windows\n' "$1" "$2"
}

menu() { # first entry
  local case
  printf 'serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n'
  printf 'insmod all_video\nset timeout=3\nset default="%s"\n' "$1"
  on_hypervisor linux "console=tty0 console=ttyS0,115200 iomem=relaxed calls=20000 quiet" | entry report
  for case in "${compared[@]}" "${attacks[@]}" "${ends[@]}"; do
    on_hypervisor microkernel "test=$case" restart=off | entry "below $case"
  done
  for case in "${compared[@]}"; do
    printf '  linux16 /boot/microkernel test=%s\n  initrd16 /boot/microkernel\n' "$case" | entry "bare $case"
  done
}

make_image() { # file entry
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  build_everything
  hash=$(printf '%s' "$secret" | sha256sum | cut -d ' ' -f 1)
  menu "$2" >"$folder/boot/grub/grub.cfg"
  grep -qF "menuentry \"$2\"" "$folder/boot/grub/grub.cfg" || wrong "no entry '$2' in the menu"
  quietly "$top/build/logs/grub.log" "making the image" grub-mkrescue -o "$1" "$folder"
  say "made $1: copy it to a USB stick (dd if=$1 of=/dev/STICK bs=1M), and start the machine from it"
}

main() {
  case ${1:-} in
    --help | -h) usage ;;
    image)
      (($# == 2 || $# == 3)) || wrong "image: expected a file, and at most an entry"
      check_debian
      make_image "$2" "${3:-report}"
      ;;
    judge)
      (($# == 2)) || wrong "judge: expected one file"
      [[ -r $2 ]] || fail "cannot read $2"
      exec python3 "$top/deploy/lib/hardware_report.py" "$2" "${compared[*]}" "${attacks[*]}" "${ends[*]}"
      ;;
    *) wrong "expected image or judge, got '${1:-nothing}'" ;;
  esac
}

main "$@"
