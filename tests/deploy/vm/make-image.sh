#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the disk of a Debian 12 host for vm.py: GPT, started by GRUB under a BIOS and under UEFI, ssh for root by a key
# that vm.py hands in, what the packages of VMSRS depend on, and no source of packages but those a test adds. Needs root.
#
# Its kernel is the last but one that Debian has, so that there is one to go on to: FOLDER/newer-kernel.deb.
#
# Usage: make-image.sh FOLDER     FOLDER/debian.img; does nothing if it is there, and made by this script as it is now
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "make-image: error: $*" >&2
  exit 1
}
(($# == 1)) || { echo "usage: make-image.sh FOLDER" >&2 && exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
made_by=$(cat "$here/make-image.sh" "$here/first-boot.sh" | sha256sum)
exec 9>"$folder/debian.img.lock"
flock 9
if [[ -s $folder/debian.img && $(cat "$folder/debian.img.made-by" 2>/dev/null) == "$made_by" ]]; then
  exit 0
fi
[[ $(id -u) == 0 ]] || fail "needs root, for mmdebstrap"
for program in mmdebstrap mke2fs sfdisk mformat mmd qemu-system-x86_64; do
  command -v "$program" >/dev/null || fail "no $program (Debian packages mmdebstrap e2fsprogs fdisk mtools qemu-system-x86)"
done

work=$(mktemp -d "$folder/making.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

mapfile -t kernels < <(apt-cache pkgnames linux-image-6.1.0- | grep -xE 'linux-image-6\.1\.0-[0-9]+-cloud-amd64' | sort -V)
((${#kernels[@]} >= 2)) || fail "apt knows of ${#kernels[@]} cloud kernels; two are needed (apt-get update?)"
chmod 755 "$work" # apt's own account downloads
(cd "$work" && apt-get -q download "${kernels[-1]}") >"$work/download.log" 2>&1 ||
  { tail -n 3 "$work/download.log" >&2 && fail "cannot download ${kernels[-1]}"; }

packages=(
  # A host: kernel, boot loader for both kinds of firmware, login.
  "${kernels[-2]}" initramfs-tools zstd systemd-sysv udev dbus kmod grub-pc grub-efi-amd64-bin openssh-server
  # What administrators and Ansible expect.
  python3 python3-apt sudo procps iproute2 less openssl ca-certificates adduser e2fsprogs gpgv
  # What the packages of VMSRS depend on: the machine has no other place to get them from.
  libstdc++6 libssl3 libyaml-cpp0.7 libzydis4.0 libspdlog1.10-fmt9 libfmt9 libsqlite3-0 libprometheus-cpp-core1.0
  libcpp-httplib0.11 libelf1 libarchive13)

# As this machine gets Debian's packages, so does the new root; its own lists are empty afterwards.
sources=/etc/apt/sources.list.d/debian.sources
[[ -s $sources ]] || sources=/etc/apt/sources.list
apt-config dump --format '%f "%v";%n' Acquire::http Acquire::https Acquire::Check-Valid-Until \
  Acquire::Retries >"$work/90host"
root=$work/root
# GRUB reads slowly where its processor is emulated: what is needed to find the root, and no more.
printf '%s\n' virtio_pci virtio_blk ext4 crc32c_generic >"$work/modules"
echo 'MODULES=list' >"$work/initramfs.conf"
echo 'grub-pc grub-pc/install_devices_empty boolean true' >"$work/answers"
mmdebstrap --variant=minbase --aptopt="$work/90host" --include="$(IFS=, && echo "${packages[*]}")" \
  --essential-hook="chroot \"\$1\" debconf-set-selections <\"$work/answers\"" \
  --essential-hook="mkdir -p \"\$1/etc/initramfs-tools/conf.d\" && cp \"$work/modules\" \"\$1/etc/initramfs-tools/modules\" &&
    cp \"$work/initramfs.conf\" \"\$1/etc/initramfs-tools/conf.d/few-modules\"" \
  bookworm "$root" "$sources" >"$work/mmdebstrap.log" 2>&1 ||
  { tail -n 20 "$work/mmdebstrap.log" >&2 && fail "mmdebstrap failed"; }

: >"$root/etc/apt/sources.list"
rm -f "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/*mmdebstrap* "$root"/etc/apt/apt.conf.d/90host
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
echo vmsrs-host >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vmsrs-host\n' >"$root/etc/hosts"
echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf" # there is nobody to ask
cat >"$root/etc/fstab" <<'FSTAB'
LABEL=host-root / ext4 errors=remount-ro 0 1
LABEL=HOST-EFI /boot/efi vfat umask=0077,nofail 0 0
FSTAB
mkdir -p "$root/boot/efi"
cat >"$root/etc/systemd/network/80-any.network" <<'NETWORK'
[Match]
Type=ether
[Network]
DHCP=ipv4
NETWORK
# Emulated time on a busy machine may look dead to Linux's check at boot.
cat >>"$root/etc/default/grub" <<'GRUB'
GRUB_TIMEOUT=1
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=ttyS0 panic=-1 no_timer_check"
GRUB_DISABLE_OS_PROBER=true
GRUB
rm -f "$root"/etc/ssh/ssh_host_* # made when it is first started
mkdir -p "$root/etc/systemd/system/ssh.service.d"
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
  >"$root/etc/systemd/system/ssh.service.d/host-keys.conf"
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim; do
  rm -f "$root/etc/systemd/system/timers.target.wants/$timer.timer"
done
ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
: >"$root/etc/machine-id"
install -m 755 "$here/first-boot.sh" "$root/root/first-boot"
cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/initrd.img"

# The disk: 1 MiB for GRUB's core under a BIOS, the EFI system partition, the root.
disk=$work/debian.img
truncate -s 4G "$disk"
sfdisk --quiet "$disk" <<'TABLE'
label: gpt
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
size=65536, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
TABLE
start_of() { sfdisk --json "$disk" | python3 -c 'import json, sys; print(json.load(sys.stdin)["partitiontable"]["partitions"][int(sys.argv[1])]["start"])' "$1"; }
sectors_of() { sfdisk --json "$disk" | python3 -c 'import json, sys; print(json.load(sys.stdin)["partitiontable"]["partitions"][int(sys.argv[1])]["size"])' "$1"; }
truncate -s "$(($(sectors_of 1) * 512))" "$work/efi.img"
mformat -i "$work/efi.img" -v HOST-EFI ::
# What mformat puts there looks like a table of partitions to GRUB.
dd if=/dev/zero of="$work/efi.img" bs=1 seek=446 count=64 conv=notrunc status=none
dd if="$work/efi.img" of="$disk" bs=1M seek=$(($(start_of 1) / 2048)) conv=notrunc,sparse status=none
mke2fs -q -t ext4 -L host-root -m 0 -d "$root" -E "offset=$(($(start_of 2) * 512))" "$disk" "$(($(sectors_of 2) / 2))k"

# GRUB writes itself from inside, once: by its own means on the disk as the machine sees it.
timeout 600 qemu-system-x86_64 -machine q35 -accel tcg,thread=single -cpu EPYC -m 1024 -nodefaults -display none -no-reboot \
  -serial "file:$work/first-boot.log" -kernel "$work/vmlinuz" -initrd "$work/initrd.img" \
  -append "console=ttyS0 panic=-1 no_timer_check root=LABEL=host-root rw init=/root/first-boot" \
  -drive "file=$disk,format=raw,if=virtio,cache=unsafe" </dev/null >"$work/qemu.log" 2>&1 ||
  { tail -n 5 "$work/qemu.log" "$work/first-boot.log" >&2 && fail "the first boot did not end"; }
grep -aq 'first-boot: done' "$work/first-boot.log" ||
  { tail -n 30 "$work/first-boot.log" >&2 && fail "the first boot did not install GRUB"; }

mv "$work"/linux-image-*.deb "$folder/newer-kernel.deb"
mv "$disk" "$folder/debian.img"
echo "$made_by" >"$folder/debian.img.made-by"
echo "make-image: $folder/debian.img" >&2
