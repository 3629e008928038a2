# SPDX-License-Identifier: Apache-2.0
"""Runs playbooks without a host of their own: an inventory in a folder that goes away, programs that stand in for a host's.

Nothing here names a play of deploy/ansible whose tasks would install, write outside of that folder, or restart.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[3]
ANSIBLE = TREE / "deploy/ansible"


class Site:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmsrs-playbooks-"))
        (self.folder / "bin").mkdir()

    def remove(self):
        shutil.rmtree(self.folder)

    def stand_in(self, name, text):
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def inventory(self, hosts, control=(), **variables):
        """`hosts`: names with their variables. All are this machine, by connection, unless they say otherwise."""
        local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "/usr/bin/python3"}
        return self.write("hosts.json", {"all": {"vars": {**local, **variables}, "children": {
            "vmsrs_hosts": {"hosts": hosts}, "vmsrs_control": {"hosts": {name: {} for name in control}}}}})

    def run(self, *command, timeout=300, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("VMSRS_", "ANSIBLE_"))}
        return subprocess.run(
            [str(word) for word in command], cwd=self.folder, timeout=timeout, check=False, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**clean, "HOME": str(self.folder), "ANSIBLE_HOME": str(self.folder / "home"), "ANSIBLE_NOCOLOR": "1",
                 "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"), "ANSIBLE_REMOTE_TMP": str(self.folder / "tmp"),
                 "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
                 "ANSIBLE_FILTER_PLUGINS": str(ANSIBLE / "filter_plugins"), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8",
                 "XDG_CACHE_HOME": str(self.folder / "cache"), "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                 **{name: str(value) for name, value in environment.items()}})

    def play(self, plays, *options, **environment):
        """A playbook written here: roles by name, tasks."""
        self.write("play.json", plays)
        return self.run("ansible-playbook", "-i", self.folder / "hosts.json", self.folder / "play.json", *options, **environment)

    def role(self, name, *options, tasks_from="main", hosts="vmsrs_hosts", values=None, **environment):
        return self.play([{"hosts": hosts, "gather_facts": False, "tasks": [
            {"include_role": {"name": name, "tasks_from": f"{tasks_from}.yml"}, "vars": values or {}}]}], *options, **environment)


def recap(output):
    """Of each host its counts, as the last lines of a run have them."""
    counts = {}
    for line in output.partition("PLAY RECAP")[2].splitlines():
        name, colon, rest = line.partition(":")
        if colon and "ok=" in rest:
            counts[name.strip()] = {key: int(value) for key, value in (pair.split("=") for pair in rest.split())}
    return counts


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.site = Site()

    def tearDown(self):
        self.site.remove()

    def succeed(self, done):
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout
