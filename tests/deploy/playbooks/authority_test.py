#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The role pki by ansible-playbook, on hosts that are folders: certificates, renewal, another authority."""
import json
import os
import shutil
import subprocess
import unittest

from playbook_site import ANSIBLE, Case, recap

PKI = ANSIBLE / "roles/pki/files/pki.sh"


class Authority(Case):
    """The role pki, on two hosts that are folders."""

    def setUp(self):
        super().setUp()
        for host in ("one", "two"):
            (self.site.folder / host).mkdir()
        self.site.inventory({"one": {}, "two": {"vmsrs_address": "10.0.0.2"}}, pki_folder=f"{self.site.folder}/pki",
                            pki_operators=["operator"], pki_owner=os.environ.get("USER", "root"),
                            pki_target_folder=f"{self.site.folder}/{{{{ inventory_hostname }}}}/tls")

    def go(self, *options, code=0, **values):
        plays = [{"hosts": "vmsrs_hosts", "gather_facts": False, "tasks": [
            {"include_role": {"name": "pki", "tasks_from": f"{point}.yml"}} for point in ("authority", "main")]}]
        done = self.site.play(plays, *options, "-e", json.dumps(values))
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def changed(self, output):
        return sum(count["changed"] for count in recap(output).values())

    def trusts(self, host, certificate):
        return self.site.run("openssl", "verify", "-CAfile", self.site.folder / host / "tls/ca.pem", certificate).returncode == 0

    def certificate(self, host):
        return self.site.folder / host / "tls/host.pem"

    def test_certificates(self):
        self.assertGreater(self.changed(self.go("--check")), 0)
        self.assertFalse((self.site.folder / "pki").exists() or (self.site.folder / "one/tls").exists())
        self.go()
        self.assertEqual(self.changed(self.go()), 0)
        self.assertEqual(self.changed(self.go("--check")), 0)
        self.assertTrue(self.trusts("one", self.certificate("two")) and self.trusts("one", self.site.folder / "pki/operators/operator.pem"))
        text = self.succeed(self.site.run("openssl", "x509", "-in", self.certificate("two"), "-noout", "-text"))
        self.assertRegex(text, "DNS:two, IP Address:10.0.0.2")
        for key in (self.site.folder / "one/tls/host.key", self.site.folder / "pki/ca.key", self.site.folder / "pki/operators/operator.key"):
            self.assertEqual(oct(key.stat().st_mode & 0o777), "0o600", key)
        self.assertEqual(list((self.site.folder / "pki").rglob("host.key")), [])

    def test_renewal_and_replacement(self):
        self.go()
        first = self.certificate("one").read_text()
        self.go(pki_renew_days=400)  # of 365
        second = self.certificate("one").read_text()
        self.assertNotEqual(first, second)
        key = (self.site.folder / "one/tls/host.key").read_text()
        self.go(pki_renew=True)
        self.assertNotEqual(key, (self.site.folder / "one/tls/host.key").read_text())
        # What is kept of the key's certificate is worth nothing once the key is another.
        (self.site.folder / "one/tls/host.key").unlink()
        self.go()
        public = self.succeed(self.site.run("openssl", "pkey", "-in", self.site.folder / "one/tls/host.key", "-pubout"))
        self.assertEqual(public, self.succeed(self.site.run("openssl", "x509", "-in", self.certificate("one"), "-noout", "-pubkey")))

    def test_a_new_authority_in_three_runs(self):
        self.go()
        self.assertIn("has no successor: prepare it first", " ".join(self.go(pki_rotation="switch", code=2).split()))
        old = self.certificate("one").read_text()
        (self.site.folder / "old.pem").write_text(old)
        self.go(pki_rotation="prepare")
        self.assertEqual(self.certificate("one").read_text(), old)
        self.assertIn("does not sign yet: switch first", " ".join(self.go(pki_rotation="finish", code=2).split()))
        shutil.copytree(self.site.folder / "two", self.site.folder / "late")  # a host that the next run has not come to
        self.go(pki_rotation="switch")
        self.assertNotEqual(self.certificate("one").read_text(), old)
        self.assertTrue(self.trusts("late", self.certificate("one")) and self.trusts("one", self.certificate("late").with_name("host.pem")))
        self.assertEqual(self.changed(self.go(pki_rotation="switch")), 0)
        self.go(pki_rotation="finish")
        self.assertFalse(self.trusts("one", self.site.folder / "old.pem"))
        self.assertTrue(self.trusts("one", self.certificate("two")))

    def test_names_are_the_inventory_s_not_the_request_s(self):
        self.go()
        request = self.site.run("openssl", "req", "-new", "-key", self.site.folder / "one/tls/host.key", "-subj", "/CN=operator",
                                "-addext", "subjectAltName=DNS:operator").stdout
        subprocess.run([PKI, "sign", self.site.folder / "pki", "evil", "DNS:evil", "1", "0"], input=request, text=True, check=True,
                       capture_output=True)
        text = self.succeed(self.site.run("openssl", "x509", "-in", self.site.folder / "pki/issued/evil.pem", "-noout", "-text"))
        self.assertNotIn("operator", text)


if __name__ == "__main__":
    unittest.main()
