#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generator of GRUB's menu (deploy/grub/11_vmsrs), in a folder in place of /boot."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
HASH = "ab" * 32
# A multiboot 2 header, and nothing behind it: architecture i386, length, checksum, the tag that ends it.
MAGIC, LENGTH = 0xE85250D6, 24
IMAGE = b"".join(number.to_bytes(4, "little")
                 for number in (MAGIC, 0, LENGTH, -(MAGIC + LENGTH) & 0xFFFFFFFF, 0, 8)) + bytes(1 << 16)
# Of the machine below: one disk with one partition.
PROBE = """#!/bin/sh
case "$*" in
  *target=device*) echo /dev/vda1 ;;
  *target=fs_uuid*) echo 1111-2222 ;;
  *target=hints_string*) echo --hint-bios=hd0,msdos1 ;;
  *target=partmap*) echo msdos ;;
  *target=fs*) echo ext2 ;;
esac
"""


class Menu(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.boot = pathlib.Path(self.folder.name) / "boot"
        self.boot.mkdir()
        self.hash = self.boot / "hash"
        self.hash.write_text(HASH + "\n")
        (self.boot / "vmsrs-hypervisor.elf32").write_bytes(IMAGE)
        (self.boot / "vmsrs-windows.img").write_bytes(b"windows")
        self.probe = self.boot / "probe"
        self.probe.write_text(PROBE)
        self.relative = self.boot / "relative"
        self.relative.write_text('#!/bin/sh\necho /boot\n')
        for program in (self.probe, self.relative):
            program.chmod(0o755)
        self.kernel("6.1.0-9-amd64")
        self.kernel("6.1.0-10-amd64")
        self.environment = {"GRUB_CMDLINE_VMSRS": "hidden=10% fallback=native"}

    def tearDown(self):
        self.folder.cleanup()

    def kernel(self, version, initrd=True):
        (self.boot / f"vmlinuz-{version}").write_bytes(b"kernel")
        if initrd:
            (self.boot / f"initrd.img-{version}").write_bytes(b"initrd")

    def generate(self):
        environment = {
            "PATH": os.environ["PATH"], "grub_probe": str(self.probe), "grub_mkrelpath": str(self.relative),
            "grub_file": "/usr/bin/grub-file", "VMSRS_BOOT_FOLDER": str(self.boot),
            "VMSRS_SECRET_HASH": str(self.hash), "GRUB_DEVICE": "/dev/vda1", "GRUB_DEVICE_UUID": "3333-4444",
            "GRUB_DISABLE_LINUX_UUID": "", "GRUB_FS": "ext2", "GRUB_DISTRIBUTOR": "Debian",
            "GRUB_CMDLINE_LINUX": "console=ttyS0", "GRUB_CMDLINE_LINUX_DEFAULT": "quiet", **self.environment}
        made = subprocess.run([TREE / "deploy/grub/11_vmsrs"], env=environment, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        if not made.stdout:  # of which grub-script-check says that it does nothing
            return made.stdout, made.stderr
        checked = subprocess.run(["grub-script-check"], input=made.stdout, capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stderr + made.stdout)
        return made.stdout, made.stderr

    def identities(self):
        return re.findall(r"menuentry_id_option '([^']*)'", self.generate()[0])

    def test_an_entry_has_all_that_the_hypervisor_needs(self):
        menu, _ = self.generate()
        first = menu[:menu.index("\n}\n")]
        self.assertIn("menuentry 'Debian GNU/Linux on VMSRS, with Linux 6.1.0-10-amd64'", first)
        loaded = [" ".join(line.split()) for line in first.splitlines() if re.match(r"\s*(multiboot2|module2)\s", line)]
        self.assertEqual(loaded, [
            f"multiboot2 /boot/vmsrs-hypervisor.elf32 hidden=10% fallback=native secret_sha256={HASH}",
            "module2 /boot/vmlinuz-6.1.0-10-amd64 root=UUID=3333-4444 ro console=ttyS0 quiet "
            "vmsrs.entry=vmsrs-6.1.0-10-amd64",
            "module2 --nounzip /boot/initrd.img-6.1.0-10-amd64",
            "module2 --nounzip /boot/vmsrs-windows.img"])
        self.assertIn("1111-2222", first)  # where /boot lies
        self.assertIn("set fallback=0", first)  # or GRUB waits at its menu when it refuses an image

    def test_newest_kernel_first_and_a_new_one_leaves_the_old_entry(self):
        self.assertEqual(self.identities(), ["vmsrs-6.1.0-10-amd64", "vmsrs-6.1.0-9-amd64"])
        self.kernel("6.1.0-11-amd64")  # as an upgrade by apt brings it
        self.assertEqual(self.identities(), ["vmsrs-6.1.0-11-amd64", "vmsrs-6.1.0-10-amd64", "vmsrs-6.1.0-9-amd64"])

    def test_what_is_no_kernel_is_no_entry(self):
        self.kernel("6.1.0-10-amd64.dpkg-dist")
        self.kernel("6.1.0-12-amd64", initrd=False)
        self.assertEqual(len(self.identities()), 2)
        self.assertIn("no entry for Linux 6.1.0-12-amd64: no ", self.generate()[1])

    def test_a_secret_of_the_administrator_s_own(self):
        self.environment["GRUB_CMDLINE_VMSRS"] = "secret_sha256=" + "cd" * 32
        menu, _ = self.generate()
        self.assertIn("cd" * 32, menu)
        self.assertNotIn(HASH, menu)

    def test_root_without_uuid_and_on_btrfs(self):
        self.environment["GRUB_DISABLE_LINUX_UUID"] = "true"
        self.assertIn(" root=/dev/vda1 ro ", self.generate()[0])
        self.environment["GRUB_FS"] = "btrfs"
        self.assertIn(" rootflags=subvol=boot console=ttyS0 ", self.generate()[0])

    def refused(self, word):
        menu, said = self.generate()
        self.assertEqual(menu, "")
        self.assertIn(f"vmsrs: no boot entries: {word}", said)

    def test_without_image(self):
        (self.boot / "vmsrs-hypervisor.elf32").unlink()
        self.refused("no ")

    def test_an_image_that_is_none(self):
        (self.boot / "vmsrs-hypervisor.elf32").write_bytes(b"\x7fELF" + bytes(1000))
        self.refused(f"{self.boot}/vmsrs-hypervisor.elf32 is not a multiboot 2 image")

    def test_without_windows(self):
        (self.boot / "vmsrs-windows.img").unlink()
        self.refused("no ")

    def test_without_the_secret_s_hash(self):
        self.hash.write_text("not a hash\n")
        self.refused("no hash of the management secret")

    def test_grub_mkconfig_hands_the_options_on(self):
        settings = (TREE / "deploy/grub/vmsrs.cfg").read_text()
        shown = subprocess.run(["sh", "-c", settings + '\nenv; echo "default $GRUB_DEFAULT"'], capture_output=True,
                               text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout
        self.assertIn("\nGRUB_CMDLINE_VMSRS=hidden=10% fallback=native give_up=reset\n", "\n" + shown)
        self.assertIn("default saved\n", shown)


if __name__ == "__main__":
    unittest.main()
