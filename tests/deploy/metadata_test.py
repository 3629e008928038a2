#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the packages are made of, without building them: lintian on the source, shellcheck, components."""
import pathlib
import re
import subprocess
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = TREE / "debian"


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=False, text=True, timeout=110,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def packages():
    return set(re.findall(r"^Package: (\S+)$", (DEBIAN / "control").read_text(), re.MULTILINE))


class Metadata(unittest.TestCase):
    def test_lintian_finds_no_error_in_the_source(self):
        with tempfile.TemporaryDirectory() as folder:
            # The packaging alone: lintian reads no C++.
            source = pathlib.Path(folder) / "vmsrs"
            source.mkdir()
            copied = run("cp", "-a", DEBIAN, TREE / "CMakeLists.txt", TREE / "LICENSE", source)
            self.assertEqual(copied.returncode, 0, copied.stdout)
            built = run("dpkg-source", "-b", source, cwd=folder)
            self.assertEqual(built.returncode, 0, built.stdout)
            (description,) = pathlib.Path(folder).glob("*.dsc")
            checked = run("lintian", "--fail-on", "error", "--allow-root", description)
            self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_each_package_is_filled_by_components_that_there_are(self):
        rules = (DEBIAN / "rules").read_text().replace("\\\n", " ")
        pairs = re.search(r"^components = (.*)$", rules, re.MULTILINE)[1].split()
        self.assertEqual({pair.split(":")[0] for pair in pairs}, packages())
        files = [TREE / "guestlib/install/CMakeLists.txt", TREE / "study/CMakeLists.txt",
                 TREE / "deploy/CMakeLists.txt"]
        there = {name for file in files for name in re.findall(r"COMPONENT (\w+)", file.read_text())}
        self.assertEqual({pair.split(":")[1] for pair in pairs}, there)

    def test_scripts_are_of_packages_and_clean(self):
        scripts = sorted(DEBIAN.glob("*.p*"))
        self.assertGreaterEqual(len(scripts), 6)
        for script in scripts:
            self.assertIn(script.name.rsplit(".", 1)[0], packages())
        checked = run("shellcheck", *scripts, TREE / "deploy/grub/11_vmsrs", TREE / "deploy/grub/vmsrs-boot",
                      TREE / "deploy/guest/make-windows-image.sh", TREE / "tests/deploy/packages_test.sh")
        self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_page_without_warnings(self):
        checked = run("mandoc", "-Tlint", "-Wwarning", TREE / "deploy/grub/vmsrs-boot.8")
        self.assertEqual((checked.returncode, checked.stdout), (0, ""))

    def test_accounts_of_units_are_made(self):
        units = TREE / "deploy/systemd"
        made = {(kind, name) for file in units.glob("*.sysusers")
                for kind, name in re.findall(r"^([ug]) (\S+)", file.read_text(), re.MULTILINE)}
        wanted = {(kind, name) for file in units.glob("*.service") for kind, key in (("u", "User"), ("g", "Group"))
                  for name in re.findall(rf"^{key}=(\S+)$", file.read_text(), re.MULTILINE)}
        self.assertTrue(wanted)
        self.assertEqual(wanted - made, set())

    def test_version_is_the_project_s(self):
        project = re.search(r"project\(vmsrs VERSION (\S+)", (TREE / "CMakeLists.txt").read_text())[1]
        self.assertRegex((DEBIAN / "changelog").read_text(), rf"\Avmsrs \({re.escape(project)}\)")


if __name__ == "__main__":
    unittest.main()
