#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmsrs-boot: trial, confirmation and the way back, on GRUB's own environment file. vmsrsctl, systemctl,
grub-probe and ipmitool are stand-ins."""
import os
import pathlib
import subprocess
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
OLD, NEW = "vmsrs-6.1.0-9-amd64", "vmsrs-6.1.0-10-amd64"
STAND_INS = {
    "vmsrsctl": """echo "vmsrsctl $*" >>"$SITE/calls"
case "$*" in
  *version) echo "{\\"isolation\\": \\"$(cat "$SITE/isolation")\\"}" ;;
  status) [ -e "$SITE/serves" ] ;;
  "hypervisor announce-reset") [ -e "$SITE/serves" ] ;;
esac""",
    "vmsrsd": 'echo "vmsrsd $*" >>"$SITE/calls"; [ -e "$SITE/announces" ]',
    "systemctl": 'echo "systemctl $*" >>"$SITE/calls"',
    "modprobe": '[ ! -e "$SITE/driver" ] || touch "$SITE/ipmi0"; false',
    "ipmitool": """echo "ipmitool $*" >>"$SITE/calls"
case "$*" in
  "mc watchdog get") cat "$SITE/watchdog" ;;
  *) [ ! -e "$SITE/refuses" ] ;;
esac""",
    "grub-probe": 'case "$*" in *abstraction*) cat "$SITE/abstraction" ;; *) cat "$SITE/kind" ;; esac'}


class Boot(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.site = pathlib.Path(self.folder.name)
        (self.site / "grub").mkdir()
        for name, text in STAND_INS.items():
            (self.site / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.site / name).chmod(0o755)
        self.write(isolation="hypervisor", abstraction="", kind="ext2", serves="", calls="",
                   cmdline=f"root=UUID=1 ro vmsrs.entry={NEW} quiet\n")
        self.menu(NEW, OLD)
        self.environment_file = self.site / "grub/grubenv"
        subprocess.run(["grub-editenv", self.environment_file, "create"], check=True)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, **files):
        for name, text in files.items():
            (self.site / name).write_text(text)

    def menu(self, *entries):
        (self.site / "grub/grub.cfg").write_text(
            "menuentry 'Debian GNU/Linux' --class os $menuentry_id_option 'gnulinux-simple-1' {\n}\n" +
            "".join(f"menuentry 'x' --class os $menuentry_id_option '{name}' {{\n}}\n" for name in entries))

    def variables(self):
        listed = subprocess.run(["grub-editenv", self.environment_file, "list"], check=True, capture_output=True,
                                text=True).stdout
        return {name: value for name, _, value in (line.partition("=") for line in listed.splitlines())
                if value and name in ("saved_entry", "next_entry")}

    def set(self, **values):
        subprocess.run(["grub-editenv", self.environment_file, "set", *(f"{k}={v}" for k, v in values.items())],
                       check=True)

    def boot(self, *arguments, code=0):
        ended = subprocess.run([TREE / "deploy/grub/vmsrs-boot", *arguments], check=False, capture_output=True,
                               text=True, timeout=60, env={
                                   "PATH": f"{self.site}:{os.environ['PATH']}", "SITE": str(self.site),
                                   "VMSRS_BOOT_FOLDER": str(self.site), "VMSRS_CONFIRM_SECONDS": "1",
                                   "VMSRS_IPMI": str(self.site / "ipmi0"), "VMSRS_WATCHDOG_SECONDS": "77",
                                   "VMSRS_COMMAND_LINE": str(self.site / "cmdline")})
        self.assertEqual(ended.returncode, code, ended.stdout + ended.stderr)
        return ended.stdout + ended.stderr

    def calls(self):
        return (self.site / "calls").read_text().splitlines()

    def test_a_trial_is_of_the_newest_kernel_and_changes_no_default(self):
        self.boot("trial")
        self.assertEqual(self.variables(), {"next_entry": NEW})

    def test_a_trial_of_another_kernel(self):
        self.boot("trial", "6.1.0-9-amd64")
        self.assertEqual(self.variables(), {"next_entry": OLD})

    def test_no_trial_of_what_is_not_there(self):
        self.assertIn(f"no entry of VMSRS for Linux 5; it has: {NEW} {OLD}", self.boot("trial", "5", code=1))
        self.menu()
        self.assertIn("run update-grub", self.boot("trial", code=1))
        self.assertEqual(self.variables(), {})

    def test_no_trial_that_would_never_end(self):
        self.write(abstraction="lvm\n")
        self.assertIn("GRUB cannot write", self.boot("trial", code=1))
        self.write(abstraction="", kind="btrfs\n")
        self.assertIn("GRUB cannot write", self.boot("trial", code=1))
        self.assertEqual(self.variables(), {})

    def test_a_healthy_trial_becomes_the_default(self):
        self.boot("confirm")
        self.assertEqual(self.variables(), {"saved_entry": NEW})
        self.assertNotIn("systemctl reboot", self.calls())

    def test_a_new_kernel_is_confirmed_by_itself_and_the_proven_one_stays_till_then(self):
        self.set(saved_entry=OLD)
        self.boot("trial")
        self.assertEqual(self.variables(), {"saved_entry": OLD, "next_entry": NEW})
        (self.site / "serves").unlink()
        self.boot("confirm", code=1)
        self.assertEqual(self.variables()["saved_entry"], OLD)

    def test_an_unhealthy_trial_goes_back_with_an_announcement(self):
        self.write(isolation="process")
        self.boot("confirm", code=1)
        self.assertEqual(self.variables(), {})
        self.assertEqual([call for call in self.calls() if "reset" in call or "reboot" in call],
                         ["vmsrsctl hypervisor announce-reset", "systemctl reboot"])

    def test_where_no_daemon_answers_the_restart_is_announced_without_it(self):
        (self.site / "serves").unlink()
        self.write(announces="")
        self.assertNotIn("not announced", self.boot("confirm", code=1))
        self.assertEqual(self.calls()[-3:],
                         ["vmsrsctl hypervisor announce-reset", "vmsrsd --announce-reset", "systemctl reboot"])

    def test_where_nobody_can_announce_it_a_restart_is_tried_once(self):
        (self.site / "serves").unlink()
        self.assertIn("not announced", self.boot("confirm", code=1))
        self.assertEqual(self.calls()[-1], "systemctl reboot")
        self.write(calls="")
        self.assertIn("power the machine off", self.boot("confirm", code=1))
        self.assertNotIn("systemctl reboot", self.calls())
        self.boot("trial")  # another one has its own
        self.assertNotIn("power the machine off", self.boot("confirm", code=1))
        self.assertEqual(self.variables(), {"next_entry": NEW})

    def test_what_is_the_default_already_is_left_alone(self):
        self.set(saved_entry=NEW)
        (self.site / "serves").unlink()
        self.boot("confirm")
        self.assertEqual((self.variables(), self.calls()), ({"saved_entry": NEW}, []))

    def test_a_hypervisor_that_gave_up_is_not_confirmed(self):
        self.write(cmdline=f'vmsrs.fallback="no SVM" root=1 vmsrs.entry={NEW}\n')
        self.assertIn("the hypervisor gave up", self.boot("confirm", code=1))
        self.assertEqual((self.variables(), self.calls()), ({}, []))

    # What ipmitool 1.8.19 prints of QEMU's controller, but for the figures.
    RUNNING = "Watchdog Timer Use:     OS Load (0x43)\nWatchdog Timer Is:      Started/Running\n"
    OURS, OFF = "ipmitool mc watchdog set timeout=77 use=osload clear=osload action=reset", "ipmitool mc watchdog off"

    def ipmi_calls(self):
        calls = [call for call in self.calls() if call.startswith("ipmitool") and not call.endswith("get")]
        self.write(calls="")
        return calls

    def test_a_trial_that_hangs_is_reset_by_the_management_controller(self):
        self.assertIn("nothing resets a trial that hangs", self.boot("trial"))
        self.write(driver="", watchdog=self.RUNNING)
        self.assertIn("resets the machine 77 s after", self.boot("trial"))  # the driver is loaded for it
        self.assertEqual(self.ipmi_calls(), [])
        self.boot("watchdog", "start")
        self.assertEqual(self.ipmi_calls(), [self.OURS, "ipmitool mc watchdog reset"])
        self.boot("watchdog", "stop")  # in the trial
        self.assertEqual(self.ipmi_calls(), [])
        self.boot("confirm")
        self.assertEqual(self.ipmi_calls(), [self.OFF])

    def test_the_watchdog_goes_on_for_nobody_else(self):
        self.write(ipmi0="", watchdog=self.RUNNING)
        self.boot("watchdog", "start")  # no trial is next
        self.assertEqual(self.ipmi_calls(), [])
        for cmdline, saved in (("root=1\n", {}), (f'vmsrs.fallback="no SVM" vmsrs.entry={NEW}\n', {}),
                               (f"root=1 vmsrs.entry={NEW}\n", {"saved_entry": NEW})):
            self.write(cmdline=cmdline)
            if saved:
                self.set(**saved)
            self.boot("watchdog", "stop")
            self.assertEqual(self.ipmi_calls(), [self.OFF])
        self.write(watchdog=self.RUNNING.replace("OS Load", "SMS/OS"))  # an administrator's
        self.boot("watchdog", "stop")
        self.write(watchdog=self.RUNNING.replace("Started/Running", "Stopped"))
        self.boot("watchdog", "stop")
        self.assertEqual(self.ipmi_calls(), [])

    def test_an_unhealthy_trial_is_not_reset_on_its_way_back(self):
        self.write(ipmi0="", watchdog=self.RUNNING, isolation="process")
        self.boot("confirm", code=1)
        self.assertEqual(self.ipmi_calls(), [self.OFF])

    def test_a_watchdog_that_refuses_is_told(self):
        self.write(ipmi0="", refuses="")
        self.boot("trial")
        self.assertIn("cannot be set", self.boot("watchdog", "start", code=1))

    def test_native(self):
        self.set(saved_entry=NEW, next_entry=OLD)
        self.boot("native")
        self.assertEqual(self.variables(), {})
        self.set(saved_entry="gnulinux-advanced")  # the administrator's own choice
        self.boot("native")
        self.assertEqual(self.variables(), {"saved_entry": "gnulinux-advanced"})

    def test_status(self):
        self.assertEqual(self.boot("status"), f"running  {NEW}\ndefault  the first entry: Linux alone\n"
                                              "next     the default\n")
        self.set(saved_entry=NEW, next_entry=OLD)
        self.write(cmdline="root=1\n")
        self.assertEqual(self.boot("status"), f"running  Linux alone\ndefault  {NEW}\nnext     {OLD}\n")

    def test_usage(self):
        for arguments in ((), ("now",), ("trial", "a", "b"), ("confirm", "x"), ("watchdog",), ("watchdog", "now")):
            self.assertIn("usage:", self.boot(*arguments, code=2))


if __name__ == "__main__":
    unittest.main()
