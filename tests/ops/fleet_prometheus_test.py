#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmsrsctl over a fleet of daemons, above the monitor, that a real Prometheus scrapes; mutual TLS throughout.

usage: fleet_prometheus_test.py HOSTS [PROMETHEUS]"""
import contextlib
import json
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

from daemon_site import CTL, Site, eventually, free_port
from fleet_site import Folder

HOSTS = 5
PROMETHEUS = "prometheus"
# SHA-256 of 32 times 0x11, the secret of the server in the daemon's process.
SECRET_SHA256 = "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc"


class Fleet(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.folder = Folder()
        cls.stack.callback(cls.folder.remove)
        cls.sites, hosts = {}, []
        ports = set()
        while len(ports) < HOSTS:
            ports.add(free_port())
        for number, port in enumerate(sorted(ports), 1):
            name = f"shop{number:02}"
            cls.sites[name] = cls.site(number, port)
            hosts.append((name, port, {"site": "oslo" if number % 2 else "berlin"}))
        for site in cls.sites.values():
            cls.stack.enter_context(site)
        cls.prometheus_port = free_port()
        cls.url = f"http://127.0.0.1:{cls.prometheus_port}"
        cls.folder.write_fleet(hosts, prometheus={"url": cls.url})
        cls.start_prometheus(hosts)

    @classmethod
    def site(cls, number, port):
        tls = {"listen": f"127.0.0.1:{port}", "certificate": f"{cls.folder.path}/host.pem",
               "key": f"{cls.folder.path}/host.key", "client_ca": f"{cls.folder.path}/ca.pem",
               "clients": [{"name": "control.example", "role": "operate"},
                           {"name": "prometheus", "role": "observe"}]}
        site = Site(config={"metrics": {"tls": True}, "api": {"tls": tls}},
                    environment={"VMSRS_TEST_USER": "1"} if number == 2 else {})
        site.config["servers"] = [{"name": "shop", "attach_secret_sha256": SECRET_SHA256}]
        return site

    @classmethod
    def start_prometheus(cls, hosts):
        path = cls.folder.path
        (path / "targets.json").write_text(json.dumps(
            [{"targets": [f"localhost:{cls.sites[name].metrics_port}"],
              "labels": {"instance": name, **labels}} for name, _, labels in hosts]))
        (path / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{
                "job_name": "vmsrs", "scheme": "https",
                "tls_config": {"ca_file": f"{path}/ca.pem", "cert_file": f"{path}/prometheus.pem",
                               "key_file": f"{path}/prometheus.key"},
                "file_sd_configs": [{"files": [f"{path}/targets.json"]}]}]}))
        log = cls.stack.enter_context(open(path / "prometheus.log", "wb"))
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={path}/prometheus.yml", f"--storage.tsdb.path={path}/data",
             f"--web.listen-address=127.0.0.1:{cls.prometheus_port}", "--log.level=warn"],
            stderr=log, stdout=log)

        def stop():
            process.terminate()
            process.wait(30)
        cls.stack.callback(stop)
        if not eventually(cls.ready, 30):
            raise RuntimeError("Prometheus does not come up: " +
                               (path / "prometheus.log").read_text())

    @classmethod
    def ready(cls):
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            with urllib.request.urlopen(cls.url + "/-/ready", timeout=1) as answer:
                return answer.status == 200
        return False

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def json(self, *words, code=0):
        done = self.folder.ctl("-o", "json", *words)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout)

    def fleet_status_that(self, condition, *words):
        """The first `fleet status` for which the condition holds, or the last after 30 s."""
        seen = []

        def look():
            done = self.folder.ctl(*words, "-o", "json", "fleet", "status")
            if done.returncode == 0:
                seen.append(json.loads(done.stdout))
            return bool(seen) and condition(seen[-1])
        eventually(look, 30)
        return seen[-1]

    def test_fleet(self):
        names = list(self.sites)
        # Everybody up: what Prometheus says is what the daemons say.
        fleet = self.fleet_status_that(lambda status: status["protected"] == HOSTS)
        each = self.json("--all", "status")["hosts"]
        self.assertEqual([one["host"] for one in each], names)
        documents = [one["result"] for one in each]
        self.assertEqual((fleet["hosts"], fleet["up"], fleet["down"], fleet["not_scraped"]),
                         (HOSTS, HOSTS, [], []))
        fleet = self.fleet_status_that(lambda status: status["active_users"] == 1)
        for theirs, ours in (("active_users", "active_users"), ("suppressed_users", "suppressed_users"),
                             ("recovery_region_bytes", "storage_bytes"),
                             ("recovery_region_used_bytes", "storage_used_bytes")):
            self.assertEqual(fleet[theirs], sum(one[ours] for one in documents), theirs)
        self.assertEqual(fleet["attached_servers"], 1)
        self.assertIsNone(fleet["oldest_suppression"])
        self.assertEqual(sum(fleet["faults_last_hour"].values()), 0)
        # Filters go into the question.
        berlin = self.json("--label", "site=berlin", "fleet", "status")
        self.assertEqual(berlin["hosts"], HOSTS // 2)
        self.assertEqual(self.json("--hosts", "shop0[13]", "fleet", "status")["hosts"], 2)
        # A user of one host is crashed.
        self.json("--host", names[1], "users", "suppress", "shop", "0", "--yes")
        crashed = self.json("--all", "users", "list", "--crashed")["hosts"]
        self.assertEqual([len(one["result"]["users"]) for one in crashed],
                         [int(name == names[1]) for name in names])
        fleet = self.fleet_status_that(lambda status: status["suppressed_users"] == 1 and
                                       sum(status["faults_last_hour"].values()) > 0)
        self.assertEqual(fleet["suppressed_users"], 1)
        self.assertEqual((fleet["oldest_suppression"]["host"], fleet["oldest_suppression"]["server"]),
                         (names[1], "shop"))
        self.assertGreaterEqual(fleet["faults_last_hour"]["operator"], 1)
        self.assertLess(fleet["faults_last_hour"]["operator"], 3)
        for by in ("oldest", "faults"):
            worst = self.json("fleet", "worst", "--by", by)["hosts"]
            self.assertEqual([one["host"] for one in worst], [names[1]], by)
            self.assertGreater(worst[0]["oldest_suppression_seconds"], 0)
            self.assertLess(worst[0]["oldest_suppression_seconds"], 300)
        top = self.json("fleet", "top", "--by", "host", "--sort", "suppressed_users", "--limit", "3")
        self.assertEqual([one["suppressed_users"] for one in top["hosts"]], [1, 0, 0])
        self.assertEqual(top["hosts"][0]["host"], names[1])
        (server,) = self.json("fleet", "top")["servers"]
        self.assertEqual((server["server"], server["suppressed_users"]), ("shop", 1))
        # Of all hosts at once, a table.
        begin = time.monotonic()
        done = self.folder.ctl("--all", "status")
        print(f"--all status of {HOSTS} hosts: {time.monotonic() - begin:.2f} s")
        self.assertEqual(done.returncode, 0)
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()], ["HOST", *names])
        # A daemon dies.
        self.sites[names[2]].process.kill()
        self.sites[names[2]].process.wait()
        done = self.folder.ctl("--all", "status")
        self.assertEqual(done.returncode, 6)
        self.assertIn(f"1 of {HOSTS} hosts failed: {names[2]}\n", done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), HOSTS)
        fleet = self.fleet_status_that(lambda status: status["down"] != [])
        self.assertEqual((fleet["down"], fleet["up"], fleet["protected"]),
                         ([names[2]], HOSTS - 1, HOSTS - 1))

    def test_follow(self):
        """Events of several hosts in one stream, each with its host."""
        with subprocess.Popen(
                [CTL, "--fleet", self.folder.path / "fleet.yaml", "--hosts",
                 "shop0[12]", "-o", "json", "events", "follow", "--since", "1h"],
                stdout=subprocess.PIPE, text=True) as follower:
            try:
                # The server was refused until the daemon had defined it.
                events = [json.loads(follower.stdout.readline()) for _ in range(2)]
                self.assertEqual({event["host"] for event in events}, {"shop02"})
                self.assertIn("attached", [event["type"] for event in events])
            finally:
                follower.terminate()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        HOSTS = int(sys.argv.pop(1))
    if len(sys.argv) > 1:
        PROMETHEUS = sys.argv.pop(1)
    unittest.main()
