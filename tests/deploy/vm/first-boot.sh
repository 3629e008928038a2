#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a new disk, once (make-image.sh): GRUB for both kinds of firmware, and its menu.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs run /run
modprobe vfat
mount -L HOST-EFI /boot/efi &&
  grub-install --target=i386-pc /dev/vda &&
  grub-install --target=x86_64-efi --removable --no-nvram --efi-directory=/boot/efi &&
  update-grub &&
  rm /root/first-boot &&
  umount /boot/efi &&
  echo "first-boot: done"
sync
echo u >/proc/sysrq-trigger
sleep 2
echo o >/proc/sysrq-trigger
sleep 60
