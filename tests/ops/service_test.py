#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""service_test.py UNIT: vmsrsd under a service manager: watchdog, sockets that are handed over, hardening."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from daemon_site import NOBODY, Site, eventually

UNIT = pathlib.Path(sys.argv[1])


class ServiceManager:
    """Hears what the daemon tells."""

    def __init__(self, site):
        self.path = site.folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(10)
        site.environment["NOTIFY_SOCKET"] = str(self.path)

    def __del__(self):
        self.socket.close()

    def hear(self):
        return self.socket.recv(256).decode()

    def heard_within(self, seconds):
        end = time.monotonic() + seconds
        words = []
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                words.append(self.hear())
            except TimeoutError:
                break
        return words


class Watchdog(unittest.TestCase):
    def test_pings_while_it_lives(self):
        site = Site(environment={"WATCHDOG_USEC": "400000"})
        manager = ServiceManager(site)
        with site:
            self.assertEqual(manager.hear(), "READY=1")
            self.assertGreaterEqual(manager.heard_within(2).count("WATCHDOG=1"), 6)
            site.process.send_signal(signal.SIGSTOP)  # as one that hangs
            manager.heard_within(0.3)
            self.assertEqual(manager.heard_within(1), [])
            site.process.send_signal(signal.SIGCONT)
            self.assertIn("WATCHDOG=1", manager.heard_within(2))

    def test_only_where_it_is_asked_for(self):
        for variables in ({}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}):
            site = Site(environment=variables)
            manager = ServiceManager(site)
            with site:
                self.assertEqual(manager.hear(), "READY=1")
                self.assertEqual(manager.heard_within(0.5), [])

    def test_the_unit_asks_for_it(self):
        text = UNIT.read_text()
        self.assertRegex(text, r"(?m)^Type=notify$")
        self.assertRegex(text, r"(?m)^WatchdogSec=\d+")


def listens(path):
    """Not only bound: its file is there a little earlier."""
    sockets = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()]
    return any(words[-1] == str(path) and words[3] == "00010000" for words in sockets)


@unittest.skipUnless(shutil.which("systemd-socket-activate"), "systemd-socket-activate is missing")
class SocketActivation(unittest.TestCase):
    def activated(self, names):
        site = Site()
        places = {"api": site.folder / "handed.sock", "api-read-only": site.folder / "looking.sock",
                  "metrics": f"127.0.0.1:{site.metrics_port}", "other": site.folder / "other.sock"}
        site.command = ["systemd-socket-activate", "--fdname=" + ":".join(names)]
        for name in names:
            site.command += ["-l", str(places[name])]
        return site, places

    def test_sockets_are_taken_by_name(self):
        site, places = self.activated(["metrics", "api-read-only", "api"])
        with site:
            self.assertTrue(eventually(lambda: listens(places["api"])))
            self.assertEqual(site.get("/v1/status", where=places["api"])[0], 200)  # starts it
            self.assertEqual(site.post("/v1/scrub", where=places["api"])[0], 200)
            self.assertEqual(site.get("/v1/status", where=places["api-read-only"])[0], 200)
            self.assertEqual(site.post("/v1/scrub", where=places["api-read-only"])[0], 403)
            self.assertIn("vmsrs_up 1", site.metrics()[2])
            self.assertFalse(site.socket.exists())
            site.stop()
            self.assertTrue(places["api"].exists())  # it is not the daemon's to remove

    def test_unknown_name_is_refused(self):
        site, places = self.activated(["other"])
        with site:
            self.assertTrue(eventually(lambda: listens(places["other"])))
            with site.raw(places["other"]) as one:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
                self.assertEqual(site.process.wait(10), 1)
            self.assertIn('a socket called "other"', site.log_text())


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing")
class Hardening(unittest.TestCase):
    def test_exposure(self):
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20",
                               "--no-pager", str(UNIT)], capture_output=True, text=True,
                              check=False, env={**os.environ, "SYSTEMD_COLORS": "0"})
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr)
        level = re.search(r"Overall exposure level for \S+: (\S+)", done.stdout)
        self.assertIsNotNone(level, done.stdout[-500:])
        self.assertLessEqual(float(level.group(1)), 2.0)

    @unittest.skipUnless(os.geteuid() == 0, "only root may become another account")
    def test_account_and_capabilities_of_the_unit_are_enough(self):
        def words(key):
            return re.search(rf"(?m)^{key}=(.*)$", UNIT.read_text()).group(1).split()

        def names(capabilities):
            return [one.removeprefix("CAP_").lower() for one in capabilities]

        def listed(capabilities):
            return ",".join("+" + one for one in names(capabilities))

        self.assertNotIn(words("User"), ([], ["root"], ["0"]))
        held = listed(words("AmbientCapabilities"))
        as_service = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs",
                      "--bounding-set=-all," + listed(words("CapabilityBoundingSet")),
                      "--inh-caps=-all," + held, "--ambient-caps=-all," + held]
        # The modules of a process of root's.
        done = subprocess.run([*as_service, "cat", f"/proc/{os.getpid()}/maps"], capture_output=True, text=True,
                              check=False)
        self.assertIn(" r-xp ", done.stdout, done.stderr)
        site = Site(command=as_service)  # its secret is root's alone
        (site.folder / "secret").chmod(0o600)
        os.chown(site.folder, NOBODY, NOBODY)
        with site:
            self.assertTrue(eventually(site.answers), site.log_text())
            self.assertEqual(os.stat(f"/proc/{site.process.pid}").st_uid, NOBODY)
            self.assertEqual(site.post("/v1/check")[0], 200)
            self.assertEqual(os.stat(site.folder / "events.db").st_uid, NOBODY)

    def test_gate_can_close(self):
        bare = Site().folder / "vmsrsd.service"
        bare.write_text("[Service]\nExecStart=/usr/sbin/vmsrsd\n")
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20",
                               "--no-pager", str(bare)], capture_output=True, check=False)
        shutil.rmtree(bare.parent)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
