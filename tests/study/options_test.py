#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What vmsrs-study refuses, before anything is run: exit code 2, and a sentence that says what to do.

usage: options_test.py BUILD
"""

import os
import socket
import sys
import tempfile
import unittest
from pathlib import Path

from study import free_port, run

BUILD = Path(sys.argv.pop())
SERVER = str(BUILD / "tests/study/study_server")


class Refused(unittest.TestCase):
    def refused(self, expected: str, *arguments: str, **more: object) -> None:
        done = run(BUILD, list(arguments), **more)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(expected, done.stderr)
        self.assertEqual(done.stdout, "")

    def refused_with(self, expected: str, *options: str, server: str = SERVER) -> None:
        self.refused(expected, "--port", str(free_port()), "--load", "true", *options, "--", server)

    def test_what_must_be_said(self) -> None:
        self.refused("--port", "--load", "true", "--", SERVER)
        self.refused("--load", "--port", "1234", "--", SERVER)
        self.refused("server", "--port", "1234", "--load", "true")

    def test_numbers(self) -> None:
        self.refused_with("expected 0 to 32, got '33'", "--injections", "33")
        self.refused_with("expected numbers from 1 on, as in 1,4,16, got '1,0'", "--stores", "1,0")
        self.refused_with("expected a number from 1 on, got '0'", "--spacing", "0")
        self.refused("expected a TCP port, got '70000'", "--port", "70000", "--load", "true", "--", SERVER)
        self.refused_with("invalid choice: 'session'", "--user", "session")

    def test_programs(self) -> None:
        self.refused_with("no program '/no/such/program'", server="/no/such/program")
        self.refused_with("no x86-64 ELF file", server=str(BUILD / "study/vmsrs-study"))
        self.refused_with("linked statically", server=str(BUILD / "tests/study/study_static"))

    def test_variables(self) -> None:
        self.refused_with("has no variable 'no_such'", "--corrupt", "no_such")

    def test_a_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.refused(f"port {held.getsockname()[1]} is in use already", "--port",
                         str(held.getsockname()[1]), "--load", "true", "--", SERVER)

    def test_missing_packages(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            self.refused("apt-get install qemu-user", "--port", str(free_port()), "--load", "true", "--", SERVER,
                         env=dict(os.environ, PATH=empty))


class Failed(unittest.TestCase):
    def failed(self, expected: str, load: str, *server: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            port = server[1] if len(server) > 1 else str(free_port())
            done = run(BUILD, ["--port", port, "--load", load, "--start-limit", "20", "--load-limit", "3",
                               "--output", folder, "--", *server])
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(expected, done.stderr)

    def test_a_server_that_does_not_start(self) -> None:
        self.failed("the server ended while waiting for port", "true", SERVER)

    def test_a_load_that_fails(self) -> None:
        self.failed("the command failed while tracing: 'exit 3' (exit code 3)", "exit 3", SERVER, str(free_port()))

    def test_a_load_that_does_not_end(self) -> None:
        self.failed("gave up after 3 s while tracing", "sleep 60", SERVER, str(free_port()))


if __name__ == "__main__":
    unittest.main()
