#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may do what: two unix sockets with the credentials of their clients, and TLS with certificates."""
import http.client
import os
import pathlib
import shutil
import socket
import ssl
import tempfile
import unittest

from daemon_site import NOBODY, Authority, Site, ask, eventually, free_port


def as_account(account, groups, work):
    """What `work` gives in a child with that account; its exit code tells an HTTP status less 200."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            os.setgroups(groups)
            os.setgid(account)
            os.setuid(account)
            code = work() - 200
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + 200


class Sockets(unittest.TestCase):
    def test_read_only_socket_takes_get_only(self):
        with Site() as site:
            self.assertEqual(site.read_only.stat().st_mode & 0o7777, 0o666)
            self.assertEqual(site.socket.stat().st_mode & 0o7777, 0o660)
            self.assertEqual(site.get("/v1/status", where=site.read_only)[0], 200)
            for path in ("/v1/gc", "/v1/check", "/v1/containment", "/v1/no-such-path"):
                status, _, answer = site.post(path, {}, where=site.read_only)
                self.assertEqual((status, answer["error"]["code"]), (403, "denied"))
                self.assertIn(f"{site.socket}", answer["error"]["hint"])
                self.assertIn("group vmsrs", answer["error"]["hint"])
            self.assertNotIn("POST", site.log_text())

    def test_values_of_records_are_for_operators(self):
        with Site() as site:
            path = "/v1/servers/shop/records"
            self.assertEqual(site.get(path, where=site.read_only)[0], 200)
            self.assertEqual(site.get(path + "?values=false", where=site.read_only)[0], 200)
            self.assertEqual(site.get(path + "?values=true")[0], 200)
            for query in ("values=true", "limit=1&values=tru%65", "v%61lues=true"):
                status, _, answer = site.get(f"{path}?{query}", where=site.read_only)
                self.assertEqual((status, answer["error"]["code"]), (403, "denied"), query)
                self.assertIn("api.socket", answer["error"]["hint"])

    def test_changing_requests_are_logged_with_their_peer(self):
        with Site() as site:
            site.get("/v1/status")
            site.post("/v1/scrub")
            peer = f"uid {os.getuid()}, gid {os.getgid()}, pid {os.getpid()}"
            self.assertTrue(eventually(lambda: f"POST /v1/scrub by {peer}: 200" in site.log_text()))
            self.assertNotIn("GET", site.log_text())
            site.post("/v1/a%0aforged")
            self.assertTrue(eventually(lambda: r"POST /v1/a\x0aforged by" in site.log_text()))

    def test_no_read_only_socket(self):
        with Site({"api": {"read_only_socket": ""}}) as site:
            self.assertFalse(site.read_only.exists())

    @unittest.skipIf(os.getuid() != 0, "needs root, to become somebody else")
    def test_credentials_count_whatever_the_mode_says(self):
        with Site({"api": {"socket_mode": "0666", "socket_group": "4711"}}) as site:
            self.assertEqual(site.socket.stat().st_gid, 4711)
            get = lambda: site.get("/v1/status")[0]
            post = lambda: site.post("/v1/scrub")[0]
            self.assertEqual(as_account(NOBODY, [], get), 403)
            self.assertEqual(as_account(NOBODY, [], post), 403)
            self.assertEqual(as_account(NOBODY, [4712], post), 403)
            self.assertEqual(as_account(NOBODY, [4711], post), 200)
            self.assertEqual(as_account(4711, [], post), 200)
            self.assertEqual(as_account(NOBODY, [], lambda: site.get(
                "/v1/status", where=site.read_only)[0]), 200)

    @unittest.skipIf(os.getuid() != 0, "needs root, to become somebody else")
    def test_vmsrsctl_looks_at_the_read_only_socket_where_it_must(self):
        with Site() as site:
            looked = site.ctl("status", account=NOBODY)
            self.assertEqual((looked.returncode, looked.stderr), (0, ""))
            refused = site.ctl("scrub", "--yes", account=NOBODY)
            self.assertEqual(refused.returncode, 5)
            self.assertIn("this socket is read-only", refused.stderr)
            self.assertIn(str(site.socket), refused.stderr)
            self.assertEqual(site.ctl("scrub", "--yes").returncode, 0)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmsrs-tls-"))
        cls.folder.chmod(0o755)
        cls.authority = Authority(cls.folder)
        cls.authority.certify("host", "localhost", "DNS:localhost,IP:127.0.0.1")
        cls.authority.certify("operator", "control", "DNS:control.example")
        cls.authority.certify("observer", "prometheus")
        cls.authority.certify("stranger", "mallory")
        other = cls.folder / "other"
        other.mkdir()
        Authority(other).certify("control", "control", "DNS:control.example")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def site(self, **more):
        self.port = free_port()
        tls = {"listen": f"127.0.0.1:{self.port}", "certificate": f"{self.folder}/host.pem",
               "key": f"{self.folder}/host.key", "client_ca": f"{self.folder}/ca.pem",
               "clients": [{"name": "control.example", "role": "operate"},
                           {"name": "prometheus", "role": "observe"}], **more}
        site = Site()
        site.config["api"] = {"socket": str(site.socket), "tls": tls}
        return site

    def ask(self, client, method, path, port=None, authority=None):
        context = (authority or self.authority).context(client)
        return ask(http.client.HTTPSConnection("localhost", port or self.port, timeout=10,
                                               context=context), method, path)

    def test_roles(self):
        with self.site() as site:
            self.assertEqual(self.ask("operator", "GET", "/v1/status")[0], 200)
            self.assertEqual(self.ask("operator", "POST", "/v1/scrub")[0], 200)
            self.assertTrue(eventually(
                lambda: "POST /v1/scrub by certificate control.example: 200" in site.log_text()))
            self.assertEqual(self.ask("observer", "GET", "/v1/status")[0], 200)
            status, _, answer = self.ask("observer", "POST", "/v1/scrub")
            self.assertEqual((status, answer["error"]["code"]), (403, "denied"))
            self.assertIn("role observe", answer["error"]["message"])
            records = "/v1/servers/none/records?values=true"
            self.assertEqual(self.ask("observer", "GET", records)[0], 403)
            self.assertEqual(self.ask("operator", "GET", records)[0], 404)
            for method in ("GET", "POST"):
                status, _, answer = self.ask("stranger", method, "/v1/status")
                self.assertEqual(status, 403)
                self.assertIn('"mallory"', answer["error"]["message"])

    def test_no_certificate_is_refused_in_the_handshake(self):
        with self.site() as site:
            for context in (self.authority.context(),
                            self.with_certificate_of("other/control")):
                with self.assertRaises((ssl.SSLError, ConnectionResetError)):
                    # TLS 1.3 tells a client of the refusal when it first reads.
                    with context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)),
                                             server_hostname="localhost") as one:
                        one.sendall(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n")
                        if one.recv(100) == b"":
                            raise ConnectionResetError
            with self.assertRaises((http.client.HTTPException, OSError)):
                ask(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10), "GET", "/")
            self.assertTrue(site.answers())

    def with_certificate_of(self, name):
        context = self.authority.context()
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def test_old_versions_of_tls_are_refused(self):
        with self.site():
            context = self.authority.context("operator")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            with self.assertRaises((ssl.SSLError, ConnectionResetError)):
                context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)),
                                    server_hostname="localhost")

    def served_until(self):
        with self.authority.context("operator").wrap_socket(
                socket.create_connection(("127.0.0.1", self.port)),
                server_hostname="localhost") as one:
            return ssl.cert_time_to_seconds(one.getpeercert()["notAfter"])

    def test_reload_rereads_certificates_and_clients(self):
        with self.site() as site:
            before = self.served_until()
            self.authority.certify("host", "localhost", "DNS:localhost", days=3)
            site.config["api"]["tls"]["clients"] = [{"name": "mallory", "role": "observe"}]
            site.reload()
            after = self.served_until()
            self.assertLess(after, before - 86400)
            self.assertIn('vmsrs_certificate_expiry_timestamp_seconds{certificate="certificate"} '
                          f"{int(after)}", site.metrics()[2].replace(".0\n", "\n"))
            self.assertIn('{certificate="client_ca"}', site.metrics()[2])
            self.assertEqual(self.ask("stranger", "GET", "/v1/status")[0], 200)
            self.assertEqual(self.ask("operator", "GET", "/v1/status")[0], 403)
            # Nothing of a file that is no good is taken.
            site.config["api"]["tls"]["key"] = f"{self.folder}/operator.key"
            site.config["log"] = {"level": "off"}
            site.reload("not reloaded: api.tls.key: ")
            self.assertEqual(self.ask("stranger", "GET", "/v1/status")[0], 200)
            site.config["api"]["tls"]["key"] = f"{self.folder}/host.key"
            site.config["log"] = {"level": "info"}
            site.reload()

    def test_metrics_over_tls(self):
        site = self.site()
        site.config["metrics"]["tls"] = True
        with site:
            status, _, text = self.ask("observer", "GET", "/metrics", site.metrics_port)
            self.assertEqual(status, 200)
            self.assertIn("vmsrs_up 1", text)
            self.assertEqual(self.ask("stranger", "GET", "/metrics", site.metrics_port)[0], 403)
            with self.assertRaises((http.client.HTTPException, OSError)):
                site.metrics()

    def test_vmsrsctl_over_tls(self):
        with self.site() as site:
            files = lambda name: ("--cert", self.folder / f"{name}.pem", "--key",
                                  self.folder / f"{name}.key", "--ca", self.folder / "ca.pem")
            host = ("--host", f"localhost:{self.port}")
            done = site.ctl(*host, *files("operator"), "scrub", "--yes", socket_path="")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(site.ctl(*host, *files("observer"), "status", socket_path="").returncode, 0)
            refused = site.ctl(*host, *files("observer"), "scrub", "--yes", socket_path="")
            self.assertEqual(refused.returncode, 5)
            self.assertIn("role observe", refused.stderr)
            wrong = site.ctl(*host, "--cert", self.folder / "other/control.pem", "--key",
                             self.folder / "other/control.key", "--ca", self.folder / "ca.pem",
                             "status", socket_path="")
            self.assertEqual(wrong.returncode, 4)
            wrong = site.ctl(*host, *files("operator")[:4], "--ca", self.folder / "other/ca.pem",
                             "status", socket_path="")
            self.assertEqual(wrong.returncode, 4)
            self.assertIn("is not vouched for", wrong.stderr)
            self.assertEqual(site.ctl(*host, "status", socket_path="").returncode, 2)
            # The same from the environment, and from the file.
            place = {"VMSRS_HOST": f"localhost:{self.port}", "VMSRS_CA": f"{self.folder}/ca.pem",
                     "VMSRS_CERT": f"{self.folder}/operator.pem",
                     "VMSRS_KEY": f"{self.folder}/operator.key"}
            self.assertEqual(site.ctl("scrub", "--yes", socket_path="", environment=place).returncode, 0)
            file = site.folder / ".config/vmsrs/client.yaml"
            file.parent.mkdir(parents=True)
            file.write_text("".join(f"{name[6:].lower()}: {value}\n" for name, value in place.items()))
            self.assertEqual(site.ctl("scrub", "--yes", socket_path="").returncode, 0)
            file.write_text("hots: a:1\n")
            broken = site.ctl("status", socket_path="")
            self.assertEqual(broken.returncode, 2)
            self.assertIn('client.yaml:1: hots: expected one of', broken.stderr)
            self.assertIn('the unknown key "hots"; did you mean "host"?', broken.stderr)


if __name__ == "__main__":
    unittest.main()
