#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The preflight: its rules, what it reads of a host, and what becomes of the hosts of a run."""
import pathlib
import sys
import time
import unittest

from playbook_site import ANSIBLE, Site, recap

sys.path.insert(0, str(ANSIBLE / "filter_plugins"))
from vmsrs import AnsibleFilterError, vmsrs_alternative_names, vmsrs_facts, vmsrs_fleet, vmsrs_preflight  # noqa: E402

NOW = 1_700_000_000
GOOD = {"clock": str(NOW), "release": "debian 12", "machine": "x86_64", "systemd": "yes", "entry": "", "fallback": "", "xen": "",
        "vendor": "AuthenticAMD", "flags": "svm npt nx lm", "cpus": "8", "vm_cr": "", "memory_kib": str(8 << 20), "efi": "no",
        "secure_boot": "", "grub": "yes", "boot_filesystem": "ext4", "boot_device": "part disk", "free/boot": "900", "free/usr": "9000",
        "free/var": "9000", "dpkg": "", "apt": "", "kvm_users": "", "kvm_defined": "", "vfio": "", "mem_sleep": "[s2idle]",
        "sleep_target": "static", "crash_kernel": "0"}
SETTINGS = {"hypervisor": True, "release": "debian 12", "hidden": "10%", "linux_mib": 512, "clock_skew_s": 30, "accept_losses": [],
            "free_mib": {"/boot": 128, "/usr": 256, "/var": 512}, "begin": NOW - 1, "end": NOW + 1}
BELOW = {"entry": "vmsrs-6.1.0-9-amd64", "flags": "nx lm", "memory_kib": str(300 << 10), "secure_boot": "1", "efi": "yes"}


def judge(settings=None, **facts):
    return vmsrs_preflight({**GOOD, **facts}, {**SETTINGS, **(settings or {})})


class Rules(unittest.TestCase):
    def test_a_good_host(self):
        self.assertEqual(judge(), {"errors": [], "losses": {}, "not_accepted": []})

    def test_each_reason_to_refuse(self):
        for word, settings, facts in [
                ("the processor is GenuineIntel", {}, {"vendor": "GenuineIntel", "flags": "nx lm"}),
                ("offers no SVM", {}, {"flags": "nx lm npt"}),
                ("SVM is switched off", {}, {"vm_cr": "16"}),
                ("no nested paging", {}, {"flags": "svm nx lm"}),
                ("no NX", {}, {"flags": "svm npt lm"}),
                ("64 at most", {}, {"cpus": "65"}),
                ("Xen: xen", {}, {"xen": "xen"}),
                ("Secure Boot is on", {}, {"secure_boot": "1"}),
                ("GRUB does not start this host", {}, {"grub": "no"}),
                ("GRUB cannot write to /boot/grub (lvm)", {}, {"boot_device": "lvm part disk"}),
                ("GRUB cannot write to /boot/grub (raid1)", {}, {"boot_device": "raid1 part part"}),
                ("GRUB cannot write to /boot/grub (btrfs)", {}, {"boot_filesystem": "btrfs"}),
                ("expected debian 12 on x86_64, found debian 11", {}, {"release": "debian 11"}),
                ("found debian 12 on aarch64", {}, {"machine": "aarch64"}),
                ("systemd is not the first process", {}, {"systemd": "no"}),
                ("the clock is 69 s off", {}, {"clock": str(NOW - 70)}),
                ("the clock is 3599 s off", {}, {"clock": str(NOW + 3600)}),
                ("/boot has 20 MiB free, 128 are needed", {}, {"free/boot": "20"}),
                ("/var has no MiB free", {}, {"free/var": ""}),
                ("half-installed", {}, {"dpkg": "The following packages are only half configured"}),
                ("apt is broken: E: Unmet dependencies", {}, {"apt": "E: Unmet dependencies"}),
                ("too little memory: of 1024 MiB 768 would be hidden", {"hidden": "768M"}, {"memory_kib": str(1 << 20)}),
                ("too little memory", {}, {"memory_kib": str(550 << 10)})]:
            with self.subTest(word):
                errors = judge(settings, **facts)["errors"]
                self.assertEqual(len(errors), 1, errors)
                self.assertIn(word, errors[0])

    def test_all_reasons_at_once(self):
        self.assertEqual(len(judge(secure_boot="1", release="debian 11", dpkg="x")["errors"]), 3)

    def test_a_clock_within_bounds(self):
        self.assertEqual(judge(clock=str(NOW - 31))["errors"], [])
        self.assertEqual(judge(clock=str(NOW + 31))["errors"], [])

    def test_each_loss(self):
        for name, facts in [("kvm", {"kvm_users": "qemu-system-x86(2)"}), ("kvm", {"kvm_defined": "mail"}), ("vfio", {"vfio": "0000:01:00.0"}),
                            ("sleep", {"mem_sleep": "s2idle [deep]"}), ("kdump", {"crash_kernel": "268435456"}), ("efi", {"efi": "yes"})]:
            with self.subTest(name):
                self.assertEqual(judge(**facts)["not_accepted"], [name])
                accepted = judge({"accept_losses": [name]}, **facts)
                self.assertEqual((accepted["not_accepted"], list(accepted["losses"])), ([], [name]))
                self.assertEqual(judge({"accept_losses": sorted({"kvm", "vfio", "sleep", "kdump", "efi"} - {name})},
                                       **facts)["not_accepted"], [name])

    def test_masked_sleep_is_no_loss(self):
        self.assertEqual(judge(mem_sleep="s2idle [deep]", sleep_target="masked")["losses"], {})

    def test_a_loss_that_there_is_not(self):
        with self.assertRaisesRegex(AnsibleFilterError, "expected some of efi, kdump, kvm, sleep, vfio, got s3"):
            judge({"accept_losses": ["s3"]})

    def test_hidden_that_is_no_size(self):
        with self.assertRaisesRegex(AnsibleFilterError, "got 'much'"):
            judge({"hidden": "much"})

    def test_a_host_below_vmsrs_is_not_asked_for_what_that_hides(self):
        self.assertEqual(judge(**BELOW), {"errors": [], "losses": {}, "not_accepted": []})
        self.assertNotEqual(judge(**BELOW, fallback="no SVM")["errors"], [])
        self.assertNotEqual(judge(**BELOW, dpkg="half")["errors"], [])

    def test_the_hosted_platform_needs_no_processor(self):
        hosted = judge({"hypervisor": False}, vendor="GenuineIntel", flags="", secure_boot="1", kvm_users="qemu(1)")
        self.assertEqual((hosted["errors"], hosted["losses"]), ([], {}))
        self.assertNotEqual(judge({"hypervisor": False}, release="debian 11")["errors"], [])

    def test_names_of_certificates(self):
        self.assertEqual(vmsrs_alternative_names(["shop1", "10.0.0.1", "", "shop1", "fd00::1"]),
                         ["DNS:shop1", "IP:10.0.0.1", "IP:FD00:0:0:0:0:0:0:1"])

    def test_the_fleet(self):
        fleet = vmsrs_fleet(["a", "b", "c", "d"], {"a": {"ansible_host": "10.0.0.1", "vmsrs_labels": {"rack": 7}}, "b": {
            "vmsrs_address": "fd00::1", "ansible_host": "x"}, "c": {"vmsrs_platform": "hosted"}, "d": {"other": "gate:1"}}, 9471, "other")
        self.assertEqual([host["address"] for host in fleet], ["10.0.0.1:9471", "[fd00::1]:9471", "c:9471", "gate:1"])
        self.assertEqual([host["platform"] for host in fleet], ["hypervisor", "hypervisor", "hosted", "hypervisor"])
        self.assertEqual(fleet[0]["labels"], {"rack": "7"})


class OnAHost(unittest.TestCase):
    """A host made of files and stand-ins."""

    def setUp(self):
        self.site = Site()
        for name, text in {
                "findmnt": 'case "$*" in *FSTYPE*) echo ext4 ;; *) echo /dev/vda3 ;; esac', "lsblk": "printf 'part\\n└─disk\\n'",
                "df": "printf 'h\\n/dev/vda3 9000 100 8900 2%% /\\n'", "dpkg": ":", "apt-get": ":", "update-grub": ":", "uname": "echo x86_64",
                "systemctl": "echo static"}.items():
            self.site.stand_in(name, text)
        self.root("etc/os-release", 'NAME="Debian"\nVERSION_ID="12"\nID=debian\n')
        self.root("proc/cmdline", "root=UUID=1 ro quiet\n")
        self.root("proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu nx lm svm npt\n\nprocessor\t: 1\n")
        self.root("proc/meminfo", "MemTotal:        4000000 kB\n")
        self.root("boot/grub/grub.cfg", "")
        self.root("run/systemd/system/x", "")

    def tearDown(self):
        self.site.remove()

    def root(self, name, text, host="root"):
        path = self.site.folder / host / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text)
        return path

    def read(self, host="root"):
        done = self.site.run("sh", ANSIBLE / "roles/hypervisor/files/preflight.sh", VMSRS_PREFLIGHT_ROOT=self.site.folder / host)
        self.assertEqual(done.returncode, 0, done.stdout)
        return vmsrs_facts(done.stdout.splitlines())

    def test_what_is_read_of_a_good_host(self):
        facts = self.read()
        self.assertEqual(set(facts), set(GOOD))
        self.assertEqual({key: facts[key] for key in ("release", "machine", "vendor", "flags", "cpus", "memory_kib", "grub", "boot_filesystem",
                                                      "boot_device", "free/boot", "systemd")},
                         {"release": "debian 12", "machine": "x86_64", "vendor": "AuthenticAMD", "flags": "nx lm svm npt", "cpus": "2",
                          "memory_kib": "4000000", "grub": "yes", "boot_filesystem": "ext4", "boot_device": "part disk",
                          "free/boot": "8900", "systemd": "yes"})
        self.assertEqual(vmsrs_preflight(facts, {**SETTINGS, "begin": time.time() - 60, "end": time.time()})["errors"], [])

    def test_what_is_read_of_a_bad_one(self):
        self.root("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\6\0\0\0\1")
        self.root("proc/cmdline", 'vmsrs.fallback="no SVM here" root=UUID=1 vmsrs.entry=vmsrs-6.1 ro\n')
        self.root("sys/bus/pci/drivers/vfio-pci/0000:01:00.0", "")
        self.root("sys/bus/pci/drivers/vfio-pci/bind", "")
        self.root("sys/power/mem_sleep", "s2idle [deep]\n")
        self.root("sys/kernel/kexec_crash_size", "268435456\n")
        self.root("etc/libvirt/qemu/mail.xml", "")
        self.root("proc/77/comm", "qemu-system-x86\n")
        (self.site.folder / "root/proc/77/fd").mkdir()
        for number in (3, 4):
            (self.site.folder / f"root/proc/77/fd/{number}").symlink_to("/dev/kvm")
        # MSR 0xc0010114, at its place in the file.
        with open(self.root("dev/cpu/0/msr", ""), "r+b") as registers:
            registers.seek(0xC0010114)
            registers.write(b"\x10\0\0\0\0\0\0\0")
        self.site.stand_in("dpkg", "echo 'The following packages are half configured'")
        self.site.stand_in("apt-get", "echo 'E: Unmet dependencies.' >&2; exit 100")
        facts = self.read()
        self.assertEqual({key: facts[key] for key in ("secure_boot", "efi", "entry", "fallback", "vfio", "mem_sleep", "crash_kernel",
                                                      "kvm_defined", "kvm_users", "vm_cr", "dpkg", "apt")},
                         {"secure_boot": "1", "efi": "yes", "entry": "vmsrs-6.1", "fallback": "no SVM here", "vfio": "0000:01:00.0",
                          "mem_sleep": "s2idle [deep]", "crash_kernel": "268435456", "kvm_defined": "mail", "kvm_users": "qemu-system-x86(1)",
                          "vm_cr": "16", "dpkg": "The following packages are half configured", "apt": "E: Unmet dependencies."})

    # One host after the other: each reads the folder that its variable names.
    def preflight(self, hosts, *options, **variables):
        plays = [{"hosts": "vmsrs_hosts", "gather_facts": False,
                  "environment": {"VMSRS_PREFLIGHT_ROOT": f"{self.site.folder}/{{{{ root }}}}"},
                  "tasks": [{"include_role": {"name": "hypervisor", "tasks_from": "preflight.yml"}}]},
                 {"hosts": "vmsrs_hosts", "gather_facts": False, "tasks": [
                     {"include_tasks": str(ANSIBLE / "tasks/policy.yml")}, {"debug": {"msg": "goes on: {{ inventory_hostname }}"}}]}]
        self.site.inventory(hosts, **variables)
        return self.site.play(plays, *options)

    def hosts(self):
        self.root("etc/os-release", 'VERSION_ID="11"\nID=debian\n', "old")
        self.root("sys/power/mem_sleep", "[deep]\n", "sleeper")
        for host in ("old", "sleeper"):
            for path in pathlib.Path(self.site.folder / "root").rglob("*"):
                other = self.site.folder / host / path.relative_to(self.site.folder / "root")
                if path.is_file() and not other.exists():
                    self.root(path.relative_to(self.site.folder / "root"), path.read_text(), host)
        return {name: {"root": root} for name, root in (("good", "root"), ("old", "old"), ("sleeper", "sleeper"))}

    def test_refused_hosts_stop_and_others_go_on(self):
        done = self.preflight(self.hosts())
        counts = recap(done.stdout)
        self.assertEqual({name: count["failed"] for name, count in counts.items()}, {"good": 0, "old": 1, "sleeper": 1}, done.stdout)
        self.assertTrue(all(count["changed"] == 0 for count in counts.values()), done.stdout)
        said = " ".join(done.stdout.split())
        self.assertIn("old cannot run VMSRS, and nothing was changed: expected debian 12 on x86_64, found debian 11", said)
        self.assertIn("sleeper would lose under VMSRS, and nothing was changed: sleep - ", said)
        self.assertIn('hypervisor_accept_losses: ["sleep"]', done.stdout)
        self.assertIn("goes on: good", done.stdout)
        self.assertNotEqual(done.returncode, 0)

    def test_with_the_other_policy_all_stop(self):
        done = self.preflight(self.hosts(), vmsrs_on_failure="stop")
        self.assertNotIn("goes on: good", done.stdout)
        self.assertRegex(" ".join(done.stdout.split()),
                         "good is left as it is, because another host has failed: (old, sleeper|sleeper, old) ")

    def test_accepted_losses_and_check_mode(self):
        hosts = self.hosts()
        del hosts["old"]
        hosts["sleeper"]["hypervisor_accept_losses"] = ["sleep"]
        done = self.preflight(hosts, "--check")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("sleep: sleep and hibernation", done.stdout)
        self.assertIn("goes on: sleeper", done.stdout)

    def test_a_host_that_cannot_be_reached(self):
        hosts = {"good": {"root": "root"}, "gone": {"root": "root", "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9,
                                                     "ansible_ssh_common_args": "-o ConnectTimeout=5 -o BatchMode=yes"}}
        done = self.preflight(hosts)
        self.assertEqual({name: count["unreachable"] for name, count in recap(done.stdout).items()}, {"good": 0, "gone": 1}, done.stdout)
        self.assertIn("goes on: good", done.stdout)
        done = self.preflight(hosts, vmsrs_on_failure="stop")
        self.assertNotIn("goes on: good", done.stdout)
        self.assertIn("another host has failed: gone", " ".join(done.stdout.split()))


if __name__ == "__main__":
    unittest.main()
