#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What this host is, a line NAME=VALUE each, for the rules in filter_plugins/vmsrs.py. Reads, and changes nothing.
#
# For tests: VMSRS_PREFLIGHT_ROOT (in front of /proc, /sys, /etc, /boot, /dev).
set -u
root=${VMSRS_PREFLIGHT_ROOT:-}

fact() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ' | sed 's/ *$//')"; }
first_line_of() { [ ! -r "$1" ] || head -n 1 "$1"; }

fact clock "$(date +%s)"
fact release "$(sed -n 's/^ID="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$root/etc/os-release") $(sed -n 's/^VERSION_ID="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$root/etc/os-release")"
fact machine "$(uname -m)"
fact systemd "$([ -d "$root/run/systemd/system" ] && echo yes || echo no)"
fact entry "$(tr ' ' '\n' <"$root/proc/cmdline" | sed -n 's/^vmsrs\.entry=//p')"
fact fallback "$(grep -o 'vmsrs\.fallback="[^"]*"' "$root/proc/cmdline" | head -n 1 | cut -d '"' -f 2)"
fact xen "$(first_line_of "$root/sys/hypervisor/type")"

# The processor. A bit of MSR VM_CR says that the firmware has switched SVM off, if Linux lets us look.
fact vendor "$(sed -n 's/^vendor_id[[:space:]]*: //p' "$root/proc/cpuinfo" | head -n 1)"
fact flags "$(sed -n 's/^flags[[:space:]]*: //p' "$root/proc/cpuinfo" | head -n 1 | tr ' ' '\n' | grep -x -e svm -e npt -e nx -e lm)"
fact cpus "$(grep -c '^processor' "$root/proc/cpuinfo")"
vm_cr=
[ ! -r "$root/dev/cpu/0/msr" ] ||
  vm_cr=$(dd if="$root/dev/cpu/0/msr" bs=8 count=1 iflag=skip_bytes skip=3221291284 2>/dev/null | od -An -tu1 | awk '{ print $1 }')
fact vm_cr "$vm_cr"
fact memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' "$root/proc/meminfo")"

# Firmware, boot loader.
fact efi "$([ -d "$root/sys/firmware/efi" ] && echo yes || echo no)"
secure_boot=$root/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
fact secure_boot "$([ ! -r "$secure_boot" ] || od -An -tu1 -j4 -N1 "$secure_boot" | tr -d ' ')"
fact grub "$(command -v update-grub >/dev/null && [ -e "$root/boot/grub/grub.cfg" ] && echo yes || echo no)"
fact boot_filesystem "$(findmnt -n -o FSTYPE -T "$root/boot/grub" 2>/dev/null | tail -n 1)"
fact boot_device "$(lsblk -s -n -o TYPE "$(findmnt -n -v -o SOURCE -T "$root/boot/grub" 2>/dev/null | tail -n 1)" 2>/dev/null | tr -d '└─ ')"

# Space: MiB free where packages and images go.
for folder in /boot /usr /var; do
  fact "free$folder" "$(df -P -m "$root$folder" 2>/dev/null | awk 'NR == 2 { print $4 }')"
done
# Packages: a word of what is wrong, or nothing.
fact dpkg "$(dpkg --audit 2>&1 | grep -v '^$' | head -n 1)"
fact apt "$(apt-get check 2>&1 >/dev/null | grep '^E:' | head -n 1)"

# What would be lost.
fact kvm_users "$(find "$root"/proc/[0-9]*/fd -lname '*/dev/kvm' 2>/dev/null | sed "s,^$root/proc/\([0-9]*\)/.*,\1," | sort -nu | while read -r process; do
  first_line_of "$root/proc/$process/comm"
done | sort | uniq -c | awk '{ print $2 "(" $1 ")" }')"
fact kvm_defined "$(find "$root/etc/libvirt/qemu" -maxdepth 1 -name '*.xml' 2>/dev/null | sed 's,.*/,,; s,\.xml$,,' | sort)"
fact vfio "$(find "$root/sys/bus/pci/drivers/vfio-pci" -maxdepth 1 -name '*:*' 2>/dev/null | sed 's,.*/,,' | sort)"
fact mem_sleep "$(first_line_of "$root/sys/power/mem_sleep")"
fact sleep_target "$(systemctl is-enabled sleep.target 2>/dev/null)"
fact crash_kernel "$(first_line_of "$root/sys/kernel/kexec_crash_size")"
