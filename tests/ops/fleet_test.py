#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmsrsctl over several hosts, and its questions to Prometheus: with fake servers, golden outputs."""
import contextlib
import json
import os
import pty
import re
import socket
import ssl
import subprocess
import threading
import time
import unittest

import yaml

from daemon_site import CTL, free_port
from fleet_site import FakeServer, Folder, query_in, vector

STATUS = {
    "mode": "normal", "isolation": "hypervisor", "devices": "confined", "protection": True,
    "guest_start": 1, "guest_watch": {"panic": True, "hang": False}, "uptime_seconds": 3600.0,
    "active_users": 3, "suppressed_users": 0, "stuck_users": 0, "users_collected": 5,
    "users_finished": 990, "faults": {"wild": 0, "null": 0}, "suppressed_stores": 0,
    "restores": {"demand": 0, "crash": 0, "collection": 0, "sweep": 0},
    "storage_used_bytes": 3145728, "storage_bytes": 62914560, "hidden_bytes": 67108864,
    "hidden_accesses_refused": 0, "window_writes_refused": 0, "denied_calls": 0, "refused_calls": 0,
    "last_check": None, "servers": []}
CRASHED = {**STATUS, "mode": "suppression", "suppressed_users": 2,
           "faults": {"wild": 4, "null": 1}, "suppressed_stores": 33,
           "restores": {"demand": 21, "crash": 13, "collection": 8, "sweep": 2},
           "last_check": {"ok": True, "violated": 0, "unverified": 0, "unprotected": 0}}


def user(slot):
    return {"server": "shop", "slot": slot, "label": str(slot), "label_text": None, "state": "crashed",
            "faults": 1, "first_fault": None, "age_seconds": 20.0, "suppressed_seconds": 10.0,
            "generation": 1, "suppressed_stores": 4, "restores": 2, "records": 3, "exposed": False,
            "crashed_seconds_ago": 10.0}


def region(number, restores, buckets):
    """A region of the server shop: 4 KiB of granules of 64 bytes, 16 a bucket of the map."""
    keys = ("owned", "recorded", "contended", "restored")
    return {"region": number, "name": "stock" if number == 0 else None, "state": "live", "bytes": 4096,
            "filled_bytes": 4096, "granule_bytes": 64, "claims": True, "eager": number == 1, "processes": 1,
            "process": 4711, "address": "0x7f0000000000", "records": 3, "mirror_pages": 1, "head_pages": 1,
            "restores": restores,
            "map": {"age_seconds": 0.5, "complete": True, "hidden_only": False, "unreadable": False,
                    "bucket_granules": 16, "buckets": [
                        {"granules": 16, **dict(zip(keys, bucket))} for bucket in buckets]}}


CALM = [region(0, 0, [(0, 0, 0, 0)] * 4)]
USED = [region(0, 5, [(0, 0, 0, 0), (2, 1, 0, 0), (1, 2, 1, 0), (0, 0, 0, 5)]),
        region(1, 0, [(0, 0, 0, 0)] * 4)]
RECORDS = [{"region": 0, "granule": 16 + i, "offset": (16 + i) * 64, "slot": 1 + 6 * i, "generation": 1,
            "state": "crashed", "sequence": 40 + i, "mask": "0xff", "written": None, "committed": None}
           for i in range(2)]


def daemon(status, users, posted=None, regions=(), records=()):
    """What a daemon would answer."""
    without_maps = [{key: value for key, value in one.items() if key != "map"} for one in regions]
    def answer(method, path, body):
        if method == "POST":
            posted.append((path, json.loads(body)))
            return 200, json.dumps({"complete": True, "scrubs": [], "server": "shop",
                                    "containment": "off"})
        documents = {"/v1/status": status, "/v1/users": {"users": users},
                     "/v1/servers": {"servers": [{"name": "shop"}] if regions else []},
                     "/v1/servers/shop/regions": {"server": "shop", "regions": without_maps},
                     "/v1/servers/shop/records": {"server": "shop", "records": records, "next": None},
                     **{f"/v1/servers/shop/regions/{one['region']}": one for one in regions}}
        document = documents.get(path.split("?")[0])
        if document is None:
            return 404, json.dumps({"error": {"code": "no_such_path", "message": "no such path",
                                              "hint": ""}})
        return 200, json.dumps(document)
    return answer


def refused(*_):
    return 403, json.dumps({"error": {"code": "denied", "message": "client not known",
                                      "hint": "add it to api.tls.clients"}})


class SeveralHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        other = cls.folder.path / "other"
        other.mkdir()
        cls.folder.authority.__class__(other).certify("host", "localhost", "DNS:localhost")
        for end in ("pem", "key"):
            (other / f"host.{end}").rename(cls.folder.path / f"stranger.{end}")
        cls.posted = []
        cls.servers = [
            FakeServer(daemon(STATUS, [], cls.posted, CALM), cls.folder.path),
            FakeServer(daemon(CRASHED, [user(1), user(7)], cls.posted, USED, RECORDS), cls.folder.path),
            FakeServer(refused, cls.folder.path),
            FakeServer(daemon(STATUS, []), cls.folder.path, "stranger")]
        cls.silent = socket.create_server(("127.0.0.1", 0))
        nobody = free_port()
        first, second, denied, stranger = (server.port for server in cls.servers)
        silent = cls.silent.getsockname()[1]
        cls.hosts = [("shop1", first, {"site": "berlin", "role": "shop"}),
                     ("denied", denied, {"site": "berlin"}),
                     ("silent", silent, {"site": "oslo"}),
                     ("stranger", stranger, {"site": "oslo"}),
                     ("nobody", nobody, {}),
                     ("shop2", second, {"site": "oslo", "role": "shop"})]
        cls.folder.ports = {port: name.upper() for name, port, _ in cls.hosts}
        cls.folder.write_fleet(cls.hosts)

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.stop()
        cls.silent.close()
        cls.folder.remove()

    def test_partial_failure_is_told_by_host(self):
        begin = time.monotonic()
        done = self.folder.ctl("--all", "--timeout", "1", "status")
        self.assertLess(time.monotonic() - begin, 10)  # the silent one held up nobody
        self.folder.expect(self, "status.txt", done)
        self.assertEqual(done.returncode, 6)
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()],
                         ["HOST", "shop1", "shop2"])

    def test_every_form_has_result_or_error(self):
        done = self.folder.ctl("--all", "--timeout", "1", "-o", "json", "users", "list")
        self.assertEqual(done.returncode, 6)
        hosts = json.loads(done.stdout)["hosts"]
        self.assertEqual([one["host"] for one in hosts], [name for name, _, _ in self.hosts])
        self.assertEqual([one.get("error", {}).get("exit_code") for one in hosts],
                         [None, 5, 4, 4, 4, None])
        self.assertEqual([user["slot"] for user in hosts[5]["result"]["users"]], [1, 7])
        self.assertNotIn("result", hosts[1])
        again = self.folder.ctl("--all", "--timeout", "1", "-o", "yaml", "users", "list")
        self.assertEqual(yaml.safe_load(again.stdout)["hosts"], hosts)

    def test_tables_have_a_host_column(self):
        self.folder.expect(self, "users.txt", self.folder.ctl("--hosts", "shop*", "users", "list"))
        done = self.folder.ctl("--hosts", "shop?", "users", "list", "--columns", "slot,state")
        self.assertEqual(done.stdout.split("\n")[2], "HOST   SLOT  STATE")
        self.assertEqual(done.returncode, 0)
        wrong = self.folder.ctl("--hosts", "shop?", "users", "list", "--columns", "slott")
        self.assertEqual(wrong.returncode, 2)

    def test_regions_and_records_of_several_hosts(self):
        for name, words in (("regions", ("regions", "list")), ("region_show", ("regions", "show", "shop", "0")),
                            ("region_map", ("regions", "map", "shop", "0")),
                            ("records", ("records", "list", "shop"))):
            self.folder.expect(self, f"{name}.txt", self.folder.ctl("--hosts", "shop*", *words))
        done = self.folder.ctl("--hosts", "shop*", "-o", "json", "regions", "map", "shop", "1")
        hosts = json.loads(done.stdout)["hosts"]
        self.assertEqual(done.returncode, 6)  # the first host has no such region
        self.assertEqual(hosts[0]["error"]["exit_code"], 1)
        self.assertEqual(hosts[1]["result"], USED[1])
        several = json.loads(self.folder.ctl("--hosts", "shop*", "-o", "json", "records", "list", "shop").stdout)
        self.assertEqual([one["result"]["records"] for one in several["hosts"]], [[], RECORDS])

    def test_a_map_on_a_terminal(self):
        for environment, lines, coloured in (
                ({"LC_ALL": "C.UTF-8"}, ["0x0000  ·▓█░", "█ contended", "▓ owned", "░ restored"], True),
                ({"LC_ALL": "C.UTF-8", "NO_COLOR": "1"}, ["0x0000  ·▓█░", "█ contended"], False),
                ({"LC_ALL": "C"}, ["0x0000  -+#.", "# contended", "+ owned"], True)):
            text = self.folder.ctl_on_terminal("--host", "shop2", "regions", "map", "shop", "0", environment=environment)
            self.assertEqual("\x1b[" in text, coloured, text)
            plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
            for line in lines:
                self.assertTrue(any(one.startswith(line) for one in plain.splitlines()), (line, plain))

    def test_filters(self):
        def names(*words):
            done = self.folder.ctl(*words, "-o", "json", "hosts", "list")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return [host["name"] for host in json.loads(done.stdout)["hosts"]]
        self.assertEqual(len(names("--all")), 6)
        self.assertEqual(len(names()), 6)
        self.assertEqual(names("--hosts", "shop*"), ["shop1", "shop2"])
        self.assertEqual(names("--hosts", "shop[!1]"), ["shop2"])
        self.assertEqual(names("--hosts", "s*", "--label", "site=oslo"),
                         ["silent", "stranger", "shop2"])
        self.assertEqual(names("--label", "site=oslo", "--label", "role=shop"), ["shop2"])
        self.assertEqual(names("--host", "denied"), ["denied"])
        self.folder.expect(self, "hosts.txt", self.folder.ctl("hosts", "list"))
        self.folder.expect(self, "hosts_wide.txt",
                           self.folder.ctl("--hosts", "shop*", "hosts", "list", "--wide"))

    def test_one_host_by_name(self):
        done = self.folder.ctl("--host", "shop2", "-o", "json", "status")
        self.assertEqual(json.loads(done.stdout), CRASHED)
        port = self.hosts[0][1]
        files = ("--cert", self.folder.path / "operator.pem", "--key",
                 self.folder.path / "operator.key", "--ca", self.folder.path / "ca.pem")
        self.assertEqual(self.folder.ctl("--host", f"localhost:{port}", *files, "status").returncode, 0)

    def test_failures_of_one_kind_keep_their_code(self):
        self.assertEqual(self.folder.ctl("--hosts", "denied", "status").returncode, 5)
        self.assertEqual(self.folder.ctl("--hosts", "[sn][to][rb]*", "status").returncode, 4)
        self.assertEqual(self.folder.ctl("--hosts", "*[eo][rd]*", "status").returncode, 6)
        self.assertEqual(self.folder.ctl("--hosts", "*o*", "status").returncode, 6)  # 4 and 0

    def test_change_is_confirmed_once_and_names_the_hosts(self):
        del self.posted[:]
        for verb in (("scrub",), ("containment", "shop", "off")):
            done = self.folder.ctl("--hosts", "shop*", *verb)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("on 2 hosts: shop1, shop2: give --yes", done.stderr)
        self.assertEqual(self.posted, [])
        done = self.folder.ctl("--hosts", "shop*", "scrub", "--yes")
        self.assertEqual((done.returncode, len(self.posted)), (0, 2))
        # On a terminal: one question.
        del self.posted[:]
        for answer, code, count in ((b"n\n", 1, 0), (b"y\n", 0, 2)):
            ours, theirs = pty.openpty()
            os.write(ours, answer)
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, ours)
                stack.callback(os.close, theirs)
                asked = subprocess.run(
                    [CTL, "--fleet", self.folder.path / "fleet.yaml", "--label", "role=shop", "scrub"],
                    stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(asked.stderr.count('Run "scrub" on 2 hosts: shop1, shop2? [y/N]'), 1)
            self.assertEqual((asked.returncode, len(self.posted)), (code, count))

    def test_at_most_so_many_at_a_time(self):
        now, most = [0], [0]

        def slow(*_):
            now[0] += 1
            most[0] = max(most[0], now[0])
            time.sleep(0.3)
            now[0] -= 1
            return 200, json.dumps(STATUS)
        server = FakeServer(slow, self.folder.path)
        folder = Folder()
        try:
            folder.write_fleet([(f"h{i}", server.port, {}) for i in range(9)],
                               defaults={"certificate": f"{self.folder.path}/operator.pem",
                                         "key": f"{self.folder.path}/operator.key",
                                         "ca": f"{self.folder.path}/ca.pem"})
            for parallel in (2, 9):
                most[0] = 0
                self.assertEqual(
                    folder.ctl("--all", "--parallel", str(parallel), "status").returncode, 0)
                self.assertLessEqual(most[0], parallel)
                self.assertGreater(most[0], 1)
        finally:
            server.stop()
            folder.remove()

    def test_an_answer_byte_by_byte_is_cut_off(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.folder.path / "host.pem", self.folder.path / "host.key")

            def drip():
                with contextlib.suppress(OSError), context.wrap_socket(
                        listener.accept()[0], server_side=True) as one:
                    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    while True:
                        one.sendall(b" ")
                        time.sleep(0.2)
            threading.Thread(target=drip, daemon=True).start()
            self.folder.write_fleet([*self.hosts, ("drip", listener.getsockname()[1], {})])
            try:
                begin = time.monotonic()
                done = self.folder.ctl("--hosts", "drip", "--timeout", "0.5", "status")
                self.assertLess(time.monotonic() - begin, 10)
                self.assertEqual(done.returncode, 4)
                self.assertIn("drip: did not answer in time (--timeout)", done.stderr)
            finally:
                self.folder.write_fleet(self.hosts)

    def test_watch_goes_on_with_a_host_missing(self):
        done = self.folder.ctl("--hosts", "*o*", "status", "--watch", "0.05", "--count", "2")
        self.assertEqual(done.stdout.count("HOST"), 2)

    def test_completion_and_manual_page_have_the_verbs(self):
        script = self.folder.ctl("completion", "bash").stdout
        page = self.folder.ctl("completion", "man").stdout.replace("\\", "")
        for words in ("hosts list", "fleet status", "fleet top", "fleet worst"):
            self.assertIn(f"|{words}|", script)
            self.assertIn(f"vmsrsctl {words}", page)
        for option in ("--hosts", "--label", "--all", "--fleet", "--parallel", "--prometheus"):
            self.assertIn(option, script)
            self.assertIn(option, page)

    def test_mistakes(self):
        for words, message in (
                (("--host", "shp1", "status"), 'is called "shp1", did you mean "shop1"?'),
                (("--hosts", "x*", "status"), 'is called "x*" (vmsrsctl hosts list shows all 6)'),
                (("--label", "site=rome", "status"), "has the label site=rome"),
                (("--label", "site", "status"), '"site" is no KEY=VALUE'),
                (("--all", "--hosts", "a", "status"), "--all"),
                (("--all", "--host", "shop1", "status"), "neither --socket nor --host"),
                (("--all", "report"), '"report" is of one host'),
                (("--all", "--parallel", "2", "events", "follow"), "give --parallel 6"),
                (("--parallel", "0", "--all", "status"), "--parallel"),
                (("fleet", "status"), "prometheus.url is missing"),
                (("fleet", "worst", "--by", "age"), "age not in {oldest,faults,overhead}")):
            done = self.folder.ctl(*words)
            self.assertEqual(done.returncode, 2, (words, done.stderr))
            self.assertIn(message, done.stderr)
            self.assertEqual(done.stdout, "")
        absent = self.folder.ctl("--fleet", "/nowhere.yaml", "--all", "status")
        self.assertIn("/nowhere.yaml:1: document: expected a readable file", absent.stderr)

    def test_bad_fleet_files_are_told_by_line_and_key(self):
        folder = Folder()
        try:
            for text, message in (
                    ("hots: []\n", 'fleet.yaml:1: hots: expected one of defaults, prometheus, hosts, '
                                   'found the unknown key "hots"; did you mean "hosts"?'),
                    ("hosts:\n - name: a\n   adress: b:1\n", '3: hosts[0].adress: expected one of name, '
                                                            'address, labels'),
                    ("hosts:\n - name: a\n", "2: hosts[0].address: expected HOST:PORT"),
                    ("hosts:\n - {name: a, address: b}\n", 'found "b"'),
                    ("hosts:\n - {name: a b, address: 'b:1'}\n", "hosts[0].name: expected a name of"),
                    ("hosts:\n - {name: a, address: 'b:1'}\n - {name: a, address: 'c:1'}\n",
                     '3: hosts[1].name: expected each name once, found "a" again'),
                    ("hosts:\n - name: a\n   address: b:1\n   labels: {server: x}\n",
                     '4: hosts[0].labels.server: expected a label that the metrics do not have'),
                    ("hosts:\n - name: a\n   address: b:1\n   labels: {a-b: x}\n", "a label's name"),
                    ("defaults: {ca: ca.pem}\n", "1: defaults.ca: expected an absolute path"),
                    ("prometheus: {uri: x}\n", 'did you mean "url"?'),
                    ("hosts: {}\n", "hosts: expected a list, found a mapping"),
                    ("a: [\n", "expected well-formed YAML")):
                (folder.path / "fleet.yaml").write_text(text)
                done = folder.ctl("--all", "status")
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(message, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
        finally:
            folder.remove()


class Questions(unittest.TestCase):
    """`vmsrsctl fleet` with a Prometheus that answers what the test says."""

    def setUp(self):
        self.folder = Folder()
        self.queries = []
        self.answers = []
        self.server = FakeServer(self.answer)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.folder.write_fleet([(f"shop{i}", 1, {"site": "oslo"}) for i in range(1, 5)],
                                prometheus={"url": self.url})

    def tearDown(self):
        self.server.stop()
        self.folder.remove()

    def answer(self, _method, path, body):
        if path != "/api/v1/query":
            return 404, "nothing here"
        self.queries.append(query_in(body))
        return self.answers.pop(0)

    def ask(self, *words, answers):
        self.answers = [(200, vector(one)) if isinstance(one, dict) else one for one in answers]
        self.queries = []
        return self.folder.ctl(*words)

    UP = [({"instance": "shop1"}, 1), ({"instance": "shop2"}, 1), ({"instance": "shop3"}, 0)]
    ANSWER = {
        "up": UP, "protecting": [({"instance": "shop1"}, 1), ({"instance": "shop2"}, 0)],
        "attached_servers": [({}, 3)], "active_users": [({}, 120)], "suppressed_users": [({}, 2)],
        "stuck_users": [({}, 1)], "oldest": [({"instance": "shop2", "server": "shop"}, 75.5)],
        "faults": [({"kind": "wild"}, 4.04), ({"kind": "null"}, 0), ({"kind": "arithmetic"}, 1)],
        "restores": [({"cause": "demand"}, 21.26), ({"cause": "sweep"}, 0)],
        "region_bytes": [({}, 125829120)], "region_used_bytes": [({}, 6291456)],
        "overhead": [({}, 0.00123)]}

    def test_status(self):
        done = self.ask("fleet", "status", answers=[self.ANSWER])
        self.folder.expect(self, "fleet_status.txt", done)
        self.assertEqual(len(self.queries), 1)
        self.folder.expect(self, "fleet_status.json.txt",
                           self.ask("-o", "json", "fleet", "status", answers=[self.ANSWER]))

    def test_status_of_a_calm_fleet_without_hypervisors(self):
        calm = {**self.ANSWER}
        for figure in ("oldest", "overhead"):
            del calm[figure]
        done = self.ask("-o", "json", "fleet", "status", answers=[calm])
        self.assertEqual(done.returncode, 0)
        document = json.loads(done.stdout)
        self.assertIsNone(document["oldest_suppression"])
        self.assertIsNone(document["overhead_share"])

    def test_filters_are_matchers(self):
        self.ask("--hosts", "shop[12]*", "--label", "site=oslo", "fleet", "status",
                 answers=[self.ANSWER])
        self.assertIn('up{job="vmsrs",instance=~"shop[12].*",site="oslo"}', self.queries[0])
        self.ask("--host", "shop1", "fleet", "status", answers=[self.ANSWER])
        self.assertIn('vmsrs_up{job="vmsrs",instance="shop1"}', self.queries[0])

    def test_top(self):
        rows = [({"server": "shop"}, 12.34), ({"server": "roster"}, 3)]
        first = {"up": [({}, 2)], "protecting": [({}, 2)], "first": rows[::-1]}
        figures = {name: rows for name in (
            "active_users", "suppressed_users", "stuck_users", "users_per_second",
            "faults_per_second", "restores_per_second", "dropped_stores_per_second")}
        done = self.ask("fleet", "top", "--limit", "2", answers=[first, figures])
        self.folder.expect(self, "fleet_top.txt", done)
        self.assertIn("topk(2, sum by (server) (rate(vmsrs_users_begun_total", self.queries[0])
        self.assertIn('server=~"shop|roster"', self.queries[1])
        self.assertEqual(len(self.queries), 2)
        done = self.ask("fleet", "top", "--by", "host", "--sort", "stuck_users", "--watch", "0.05",
                        "--count", "2", answers=[{**first, "first": []}] * 2)
        self.assertIn("topk(20, sum by (instance) (vmsrs_stuck_users", self.queries[1])
        self.assertEqual(done.stdout, "No server is defined on these hosts.\n" * 2)

    def test_worst(self):
        first = {"up": [({}, 2)], "protecting": [({}, 2)],
                 "first": [({"instance": "shop2"}, 5), ({"instance": "shop.1"}, 9)]}
        figures = {"oldest_suppression_seconds": [({"instance": "shop.1"}, 90)],
                   "faults_last_hour": [({"instance": "shop.1"}, 9), ({"instance": "shop2"}, 5)],
                   "overhead_share": [({"instance": "shop2"}, 0.01)]}
        done = self.ask("fleet", "worst", "--by", "faults", answers=[first, figures])
        self.folder.expect(self, "fleet_worst.txt", done)
        self.assertIn(r'instance=~"shop\\.1|shop2"', self.queries[1])
        for by, message in (("oldest", "Nobody is under suppression."),
                            ("faults", "No user has had a fault"),
                            ("overhead", "The overhead is not known")):
            done = self.ask("fleet", "worst", "--by", by, answers=[{**first, "first": []}])
            self.assertIn(message, done.stdout)
            self.assertEqual((done.returncode, len(self.queries)), (0, 1))

    def test_what_can_go_wrong(self):
        error = json.dumps({"status": "error", "errorType": "execution",
                            "error": "query processing would load too many samples"})
        for answer, code, message in (
                ((422, error), 1, "too many samples into memory"[:16]),
                ((503, "not ready"), 1, "is no Prometheus, or is not ready: HTTP status 503"),
                ((200, "<html>"), 1, "is no Prometheus"),
                ((401, "who?"), 5, "refuses this client: HTTP status 401"),
                ({}, 1, 'has nothing for up{job="vmsrs"}: is there a scrape job "vmsrs"'),
                ({"up": self.UP}, 1, "has no metric vmsrs_up of targets that are up")):
            for verb in ("status", "top", "worst"):
                done = self.ask("fleet", verb, answers=[answer])
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(message, done.stderr)
                self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))
        nobody = f"http://127.0.0.1:{free_port()}"
        done = self.folder.ctl("fleet", "status", "--prometheus", nobody)
        self.assertEqual(done.returncode, 4)
        self.assertIn(f"no Prometheus answers at {nobody}", done.stderr)
        done = self.folder.ctl("fleet", "status", "--prometheus", "prometheus:9090")
        self.assertEqual(done.returncode, 2)
        self.assertIn("is no URL", done.stderr)

    def test_url_without_a_fleet_file(self):
        self.answers = [(200, vector(self.ANSWER))]
        done = self.folder.ctl("--fleet", "/nowhere.yaml", "-o", "json", "fleet", "status",
                               environment={"VMSRS_PROMETHEUS": self.url})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIsNone(json.loads(done.stdout)["not_scraped"])

    def test_mutual_tls(self):
        server = FakeServer(self.answer, self.folder.path)
        try:
            self.answers = [(200, vector(self.ANSWER))]
            place = {"url": f"https://localhost:{server.port}",
                     "certificate": f"{self.folder.path}/operator.pem",
                     "key": f"{self.folder.path}/operator.key", "ca": f"{self.folder.path}/ca.pem"}
            self.folder.write_fleet([], prometheus=place)
            self.folder.write_fleet([("shop1", 1, {})], prometheus=place)
            self.assertEqual(self.folder.ctl("fleet", "status").returncode, 0)
            del place["ca"]
            self.folder.write_fleet([("shop1", 1, {})], prometheus=place)
            done = self.folder.ctl("fleet", "status")
            self.assertEqual(done.returncode, 4)
            self.assertIn("is not vouched for by this system", done.stderr)
        finally:
            server.stop()


if __name__ == "__main__":
    unittest.main()
