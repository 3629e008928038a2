#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The playbooks without a host: lint, variables that are documented, what boots, and each file that a role
writes, read by the program that it is for.

VMSRSD, VMSRSCTL: the programs; promtool and amtool in PATH (with_monitoring.sh).
"""
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import unittest

import yaml

import rendering
from playbook_site import ANSIBLE, TREE, Case, recap

PKI = ANSIBLE / "roles/pki/files/pki.sh"
BOOT_STATE = ANSIBLE / "roles/hypervisor/files/boot-state.sh"
PLAYBOOKS = ["site.yml", "upgrade.yml", "rollback.yml", "verify.yml", "uninstall.yml"]


class Sources(Case):
    def test_lint(self):
        # A copy: ansible-lint keeps a cache beside what it reads.
        shutil.copytree(ANSIBLE, self.site.folder / "copy")
        self.succeed(self.site.run("ansible-lint", "--offline", "--nocolor", "--profile", "production", "copy"))

    def test_syntax(self):
        self.assertEqual(sorted(PLAYBOOKS), sorted(path.name for path in ANSIBLE.glob("*.yml")))
        done = self.site.run("ansible-playbook", "-i", ANSIBLE / "inventory/example", "--syntax-check",
                             *(ANSIBLE / name for name in PLAYBOOKS))
        self.assertNotIn("WARNING", self.succeed(done))

    def test_scripts(self):
        self.succeed(self.site.run("shellcheck", "-x", *ANSIBLE.glob("roles/*/files/*.sh"), *pathlib.Path(__file__).parent.glob("*.sh")))

    def test_variables_of_roles(self):
        self.succeed(self.site.run(sys.executable, pathlib.Path(__file__).with_name("role_tables.py")))

    def test_variables_of_playbooks(self):
        """Each vmsrs_ variable has a row in README.md, and each row a use."""
        files = [*ANSIBLE.glob("*.yml"), *ANSIBLE.glob("tasks/*.yml"), *ANSIBLE.glob("roles/*/*/*.*"), *ANSIBLE.glob("filter_plugins/*.py")]
        text = "".join(path.read_text() for path in files)
        filters = set(re.findall(r"^def (vmsrs_\w+)", (ANSIBLE / "filter_plugins/vmsrs.py").read_text(), re.MULTILINE))
        used = set(re.findall(r"\bvmsrs_[a-z_]+", text)) - filters
        internal = {"vmsrs_hosts", "vmsrs_control", "vmsrs_there", "vmsrs_failure", "vmsrs_up", "vmsrs_build_info"}  # groups, metrics, the plays' own
        rows = [name for line in (ANSIBLE / "README.md").read_text().splitlines() if line.startswith("| `vmsrs_")
                for name in re.findall(r"`(vmsrs_\w+)`", line.split("|")[1])]
        self.assertEqual(sorted(rows), sorted(used - internal))

    def test_the_example_s_variables_are_known(self):
        known = set(re.findall(r"`(vmsrs_\w+)`", (ANSIBLE / "README.md").read_text()))
        for role in (ANSIBLE / "roles").iterdir():
            known |= set(yaml.safe_load((role / "defaults/main.yml").read_text()))
        example = ANSIBLE / "inventory/example"
        named = {name for file in example.glob("group_vars/*.yml") for name in yaml.safe_load(file.read_text())}
        hosts = yaml.safe_load((example / "hosts.yml").read_text())["all"]["children"]["vmsrs_hosts"]["hosts"]
        named |= {name for variables in hosts.values() for name in variables or {}}
        self.assertGreater(len(named), 8)
        self.assertEqual(named - known, set())


class Boot(Case):
    """boot-state.sh over a folder that stands for /boot."""

    def setUp(self):
        super().setUp()
        self.site.write("boot/vmsrs-hypervisor.elf32", "image")
        self.menu("hidden=10%")
        self.state(running="Linux alone", default="the first entry: Linux alone", next="the default")

    def menu(self, options):
        self.site.write("boot/grub/grub.cfg", "menuentry 'Debian' $menuentry_id_option 'gnulinux' {\n}\n" + "".join(
            f"menuentry 'x' --class os $menuentry_id_option 'vmsrs-{kernel}' {{\n\tmultiboot2 /image {options}\n}}\n" for kernel in ("6.2", "6.1")))

    def state(self, **values):
        self.site.stand_in("vmsrs-boot", "cat <<'END'\n" + "".join(f"{name}  {value}\n" for name, value in values.items()) + "END")

    def read(self, *words):
        done = self.site.run("sh", BOOT_STATE, *words, VMSRS_BOOT_FOLDER=self.site.folder / "boot", VMSRS_PROVEN=self.site.folder / "proven")
        return dict(line.split("=", 1) for line in self.succeed(done).splitlines())

    def test_without_the_package(self):
        (self.site.folder / "bin/vmsrs-boot").unlink()
        self.assertEqual(self.read(), {"installed": "no"})

    def test_back_to_linux_alone_where_there_is_nothing_else(self):
        (self.site.folder / "bin/vmsrs-boot").unlink()
        self.site.inventory({"bare": {}})
        done = self.site.role("hypervisor", tasks_from="native")
        self.succeed(done)
        self.assertEqual(recap(done.stdout)["bare"]["changed"], 0)

    def test_the_newest_kernel_unless_another_is_proven(self):
        self.assertEqual(self.read()["entry"], "vmsrs-6.2")
        self.state(running="vmsrs-6.1", default="vmsrs-6.1", next="the default")
        self.assertEqual(self.read()["kernel"], "6.1")
        self.assertEqual(self.read("newest")["kernel"], "6.2")
        self.state(running="vmsrs-6.0", default="vmsrs-6.0", next="the default")  # removed since
        self.assertEqual(self.read()["entry"], "vmsrs-6.2")

    def test_proven_is_this_image_with_these_options_on_this_kernel(self):
        self.state(running="vmsrs-6.1", default="vmsrs-6.1", next="the default")
        self.assertEqual(self.read()["proven"], "no")
        self.read("proven")
        self.assertEqual(self.read()["proven"], "yes")
        self.assertEqual(self.read("newest")["proven"], "no")
        self.menu("hidden=20%")
        self.assertEqual(self.read()["proven"], "no")
        self.menu("hidden=10%")
        self.site.write("boot/vmsrs-hypervisor.elf32", "newer")
        self.assertEqual(self.read()["proven"], "no")


class Files(Case):
    """What roles write, read by the programs that it is for. Rendered with the roles' defaults and variables into a folder."""

    def setUp(self):
        super().setUp()
        self.site.inventory({"shop1": {"vmsrs_labels": {"site": "berlin"}}, "shop2": {"vmsrs_address": "fd00::2"},
                             "dev1": {"vmsrs_platform": "hosted"}}, control=["control"])

    def render(self, role, templates, host="shop1", **values):
        """Of each template its text; it is in the folder out, too."""
        texts = [rendering.render(self.site.folder / "hosts.json", host, role, template, **values) for template in templates]
        for template, text in zip(templates, texts):
            self.site.write(f"out/{template[:-3]}", text)
        return texts

    def certify(self):
        for name in ("one", "two"):
            subprocess.run([PKI, "ca", self.site.folder / "pki", "Test", "10"], check=True, capture_output=True)
            subprocess.run([PKI, "operator", self.site.folder / "pki", name, "10", "1"], check=True, capture_output=True)
        return self.site.folder / "pki"

    def test_prometheus(self):
        pki = self.certify()
        files = {"monitoring_certificate": f"{pki}/operators/one.pem", "monitoring_key": f"{pki}/operators/one.key",
                 "monitoring_ca": f"{pki}/ca.pem"}
        extra = [{"job_name": "node", "static_configs": [{"targets": ["shop1:9100"]}]}]
        for values in ({}, {"monitoring_tls": False}, {"monitoring_state": "absent"}, {"monitoring_prometheus_tls": True},
                       {"monitoring_extra_scrape_configs": extra}):
            with self.subTest(values):
                text, hosts, _ = self.render("monitoring", ["prometheus.yml.j2", "hosts.json.j2", "web.yml.j2"], "control", **files, **values)
                self.site.write("out/prometheus.yml", text.replace("/etc/prometheus/vmsrs/", f"{self.site.folder}/out/"))
                self.assertIn("SUCCESS", self.succeed(self.site.run("promtool", "check", "config", "out/prometheus.yml")))
                self.succeed(self.site.run("promtool", "check", "web-config", "out/web.yml"))
                jobs = [job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]]
                self.assertEqual("vmsrs" in jobs, values.get("monitoring_state") != "absent")
                self.assertEqual("node" in jobs, "monitoring_extra_scrape_configs" in values)
        self.assertEqual(json.loads(hosts), [
            {"targets": ["shop1:9470"], "labels": {"instance": "shop1", "site": "berlin", "expects": "hypervisor"}},
            {"targets": ["[fd00::2]:9470"], "labels": {"instance": "shop2", "expects": "hypervisor"}},
            {"targets": ["dev1:9470"], "labels": {"instance": "dev1"}}])
        self.site.write("out/prometheus.yml", text + "  - {job_name: vmsrs}\n")
        self.assertNotEqual(self.site.run("promtool", "check", "config", "out/prometheus.yml").returncode, 0)

    def test_alertmanager(self):
        example = yaml.safe_load((ANSIBLE / "inventory/example/group_vars/vmsrs_control.yml").read_text())
        for values in ({}, example):
            text, = self.render("monitoring", ["alertmanager.yml.j2"], "control", **values)
            self.succeed(self.site.run("amtool", "check-config", "out/alertmanager.yml"))
        routed = self.site.run("amtool", "config", "routes", "test", "--config.file=out/alertmanager.yml", "severity=info")
        self.assertEqual(self.succeed(routed).splitlines()[-1], "nobody")
        routed = self.site.run("amtool", "config", "routes", "test", "--config.file=out/alertmanager.yml", "severity=critical")
        self.assertEqual(self.succeed(routed).splitlines()[-1], "mail")

    def test_inhibitions_name_alerts_that_there_are(self):
        rules = yaml.safe_load((TREE / "dashboards/rules/vmsrs.rules.yaml").read_text())
        severity = {rule["alert"]: rule["labels"]["severity"] for group in rules["groups"] for rule in group["rules"]}
        inhibitions = yaml.safe_load((ANSIBLE / "roles/monitoring/vars/main.yml").read_text())["monitoring_inhibitions"]
        for louder, quieter, _ in inhibitions:
            for name in quieter.split("|"):
                self.assertIn(name, severity)
                # Nobody is spared an alert by a lesser one.
                order = ["info", "warning", "critical"]
                self.assertGreaterEqual(order.index(severity[louder]), order.index(severity[name]), (louder, name))

    def test_grafana(self):
        source, dashboards = self.render("monitoring", ["grafana-datasource.yaml.j2", "grafana-dashboards.yaml.j2"], "control")
        self.assertEqual(yaml.safe_load(source)["datasources"][0]["type"], "prometheus")
        self.assertIn("${CMAKE_INSTALL_DATADIR}/vmsrs-monitoring", (TREE / "deploy/CMakeLists.txt").read_text())
        self.assertEqual(yaml.safe_load(dashboards)["providers"][0]["options"]["path"], "/usr/share/vmsrs-monitoring/json")

    def test_vmsrs_yaml(self):
        pki = self.certify()
        for name in ("secret", "management"):
            self.site.write(name, "ab" * 32 + "\n").chmod(0o400)
        # The example's accounts are of its hosts.
        own = {"attach_secret_file": f"{self.site.folder}/secret", "account": pwd.getpwuid(os.getuid()).pw_name}
        example = yaml.safe_load((ANSIBLE / "inventory/example/group_vars/vmsrs_hosts.yml").read_text())
        servers = [{**server, **own} for server in example["vmsrsd_servers"]]
        values = {"vmsrsd_certificate": f"{pki}/operators/one.pem", "vmsrsd_key": f"{pki}/operators/one.key", "vmsrsd_client_ca": f"{pki}/ca.pem",
                  "vmsrsd_clients": [{"name": "operator", "role": "operate"}],
                  "vmsrsd_settings": {"management": {"secret_file": f"{self.site.folder}/management"}, "api": {"limits": {"burst": 50}}}}
        for host, platform in (("shop1", "auto"), ("dev1", "hosted")):
            text, = self.render("vmsrsd", ["vmsrs.yaml.j2"], host, vmsrsd_servers=servers, **values)
            self.succeed(self.site.run(os.environ["VMSRSD"], "--check-config", "--config", "out/vmsrs.yaml"))
            read = yaml.safe_load(text)
            self.assertEqual((read["platform"], read["api"]["limits"], read["servers"][0]["name"]), (platform, {"burst": 50}, "cache"))
        self.render("vmsrsd", ["vmsrs.yaml.j2"], **{**values, "vmsrsd_settings": {"sokcet": 1}})
        wrong = self.site.run(os.environ["VMSRSD"], "--check-config", "--config", "out/vmsrs.yaml")
        self.assertEqual((wrong.returncode, "sokcet" in wrong.stdout), (2, True), wrong.stdout)

    def test_the_fleet_file(self):
        pki = self.certify()
        values = {"fleet_file": f"{self.site.folder}/fleet.yaml", "fleet_certificate": f"{pki}/operators/one.pem",
                  "fleet_key": f"{pki}/operators/one.key", "fleet_ca": f"{pki}/ca.pem", "fleet_vmsrsctl": os.environ["VMSRSCTL"],
                  "fleet_prometheus": {"url": "http://127.0.0.1:9090"}}
        self.succeed(self.site.role("fleet", "-e", json.dumps(values), hosts="control"))
        again = self.site.role("fleet", "-e", json.dumps(values), hosts="control")
        self.assertEqual(recap(again.stdout)["control"]["changed"], 0)
        listed = self.succeed(self.site.run(os.environ["VMSRSCTL"], "--fleet", "fleet.yaml", "--output", "json", "hosts", "list"))
        self.assertEqual([(host["name"], host["address"]) for host in json.loads(listed)["hosts"]],
                         [("shop1", "shop1:9471"), ("shop2", "[fd00::2]:9471"), ("dev1", "dev1:9471")])
        values["fleet_prometheus"] = {"adress": "x"}
        refused = self.site.role("fleet", "-e", json.dumps(values), hosts="control")
        self.assertIn('found the unknown key "adress"', refused.stdout)
        self.assertNotEqual(refused.returncode, 0)

    def verify_unit(self, services):
        """systemd's word on a unit with the drop-in of the service."""
        text, = self.render("server_protection", ["vmsrs.conf.j2"], item=services)
        self.site.write("units/cache.service", "[Service]\nExecStart=/bin/true\n")
        self.site.write("units/cache.service.d/50-vmsrs.conf", text)
        return text, self.site.run("systemd-analyze", "verify", "--man=no", "units/cache.service")

    def test_drop_ins(self):
        preload = {"service": "cache", "server": "cache", "secret_file": "/etc/x", "users": "events", "program": "/usr/bin/cache", "region_bytes": [4096, 8192],
                   "fault_limit": 1, "environment": {"VMSRS_DUMPS": "/var/lib/a b%c"}, "limits": {"MemoryMax": "2G", "TasksMax": 512}}
        text, done = self.verify_unit(preload)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        for line in ('Environment="VMSRS_REGION_BYTES=4096,8192"', 'Environment="VMSRS_DUMPS=/var/lib/a b%%c"', "MemoryMax=2G", "TasksMax=512",
                     "SupplementaryGroups=vmsrs-servers", 'Environment="VMSRS_PROGRAM=/usr/bin/cache"', 'Environment="VMSRS_FAULT_LIMIT=1"'):
            self.assertIn(f"\n{line}\n", text)
        self.assertNotIn("SUPPRESSION_LIMIT", text)
        text, done = self.verify_unit({"service": "cache", "mode": "library"})
        self.assertEqual((done.returncode, done.stdout, "Environment" in text), (0, "", False))
        _, done = self.verify_unit({**preload, "limits": {"MemroyMax": "2G"}})
        self.assertIn("MemroyMax", done.stdout)

    def test_what_becomes_of_services(self):
        self.site.stand_in("systemctl", f'echo "$@" >>{self.site.folder}/asked')
        self.site.inventory({"shop1": {}})
        for state, verb in (("present", "restart"), ("absent", "try-restart")):
            self.succeed(self.site.play([{"hosts": "vmsrs_hosts", "gather_facts": False, "tasks": [
                {"include_tasks": str(ANSIBLE / "roles/server_protection/handlers/main.yml")}], "vars": {
                    "server_protection_state": state, "server_protection_restart": True, "server_protection_services": [{"service": "cache"}]}}]))
            asked = (self.site.folder / "asked").read_text().splitlines()
            self.assertEqual((asked[0], asked[-1]), ("daemon-reload", f"{verb} cache.service"))

    def test_each_variable_of_a_drop_in_is_one_of_vmsrs_run(self):
        template = (ANSIBLE / "roles/server_protection/templates/vmsrs.conf.j2").read_text()
        page = (TREE / "guestlib/man/vmsrs-run.1").read_text()
        names = set(re.findall(r"'(VMSRS_\w+)'", template))
        self.assertGreater(len(names), 7)
        self.assertEqual({name for name in names if f".Ev {name}" not in page}, set())

    def test_the_preloaded_library_is_where_the_package_puts_it(self):
        template = (ANSIBLE / "roles/server_protection/templates/vmsrs.conf.j2").read_text()
        installed = re.search(r"install\(TARGETS vmsrs_preload LIBRARY DESTINATION \$\{CMAKE_INSTALL_LIBDIR\}(\S*) ",
                              (TREE / "guestlib/install/CMakeLists.txt").read_text())[1]
        self.assertIn(f"'/usr/lib/x86_64-linux-gnu{installed}/libvmsrs-preload.so'", template)

    def test_the_options_are_the_package_s_unless_told_otherwise(self):
        package, own = (re.search('^GRUB_CMDLINE_VMSRS="(.*)"$', text, re.MULTILINE)[1] for text in (
            (TREE / "deploy/grub/vmsrs.cfg").read_text(), self.render("hypervisor", ["vmsrs.local.cfg.j2"])[0]))
        self.assertEqual(own, package)

    def test_grub_takes_the_options_over_the_package_s(self):
        text, = self.render("hypervisor", ["vmsrs.local.cfg.j2"], hypervisor_hidden="256M", hypervisor_options="kdump=skipped")
        folder = self.site.folder / "grub.d"
        folder.mkdir()
        shutil.copy(TREE / "deploy/grub/vmsrs.cfg", folder)
        (folder / "vmsrs.local.cfg").write_text(text)
        # As grub-mkconfig reads them.
        for locale in ("C", "C.UTF-8"):
            shown = self.site.run("sh", "-c", 'for file in grub.d/*.cfg; do . "./$file"; done; env', LC_ALL=locale).stdout
            self.assertIn("\nGRUB_CMDLINE_VMSRS=hidden=256M kdump=skipped\n", "\n" + shown)


if __name__ == "__main__":
    unittest.main()
