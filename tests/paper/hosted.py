# SPDX-License-Identifier: Apache-2.0
"""Runs of the roster on this host: vmsrs-hosted, vmsrsd, and the roster as their server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from runs import Run, is_end

sys.path.insert(0, str(Path(__file__).parents[1] / "scenario"))
from host_run import free_port  # noqa: E402
from hosted_run import new_secret, start, wait_for  # noqa: E402

RUN_SECONDS = 120


class Hosted:
    """A vmsrs-hosted and a vmsrsd of their own; ended with the stack."""

    def __init__(self, build: Path, folder: Path, stack: contextlib.ExitStack, server: str = "roster",
                 storage: str = "256MiB") -> None:
        self.build, self.folder = build, folder
        self.secret = folder / f"{server}.secret"
        self.socket, self.api = folder / "hosted.sock", folder / "api.sock"
        (folder / "hash").write_text(new_secret(folder / "management.secret"), encoding="ascii")
        new_secret(self.secret)
        (folder / "vmsrs.yaml").write_text(
            f"platform: hosted\nhosted: {{socket: {self.socket}}}\n"
            f"management: {{secret_file: {folder}/management.secret}}\n"
            f"events: {{store: {folder}/events.db}}\n"
            f"metrics: {{listen: '127.0.0.1:{free_port()}'}}\napi: {{socket: {self.api}}}\n"
            f"log: {{level: warn}}\n"
            f"servers:\n  - {{name: {server}, attach_secret_file: {self.secret}}}\n",
            encoding="ascii")
        hosted = start(stack, str(build / "hypervisor/hosted/vmsrs-hosted"), "--socket",
                       str(self.socket), "--secret-hash-file", str(folder / "hash"), "--storage", storage,
                       stderr=subprocess.DEVNULL)
        wait_for(self.socket, hosted)
        wait_for(self.api, start(stack, str(build / "vmsrsd/vmsrsd"), "--config",
                                 str(folder / "vmsrs.yaml")))

    def ctl(self, *words: str) -> dict[str, Any]:
        command = [str(self.build / "cli/vmsrsctl"), "--socket", str(self.api), *words]
        answer = subprocess.run([*command, "--output", "json"], check=False, capture_output=True,
                                text=True, timeout=60)
        return json.loads(answer.stdout)

    def server(self) -> dict[str, Any]:
        return self.ctl("servers", "list")["servers"][0]

    def play(self, words: list[str], folder: str = "examples/roster", seconds: int = RUN_SECONDS) -> Run:
        """A command of `folder`, which at the end says that it waits, and does."""
        run = Run(words, "hosted")
        run.before = self.server()
        command = [str(self.build / folder / words[0]), *words[1:], "--wait", "--secret-file", str(self.secret)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "VMSRS_HOSTED_SOCKET": str(self.socket)}) as server:
            assert server.stdin is not None and server.stdout is not None
            for line in server.stdout:
                if is_end(line):
                    checks = self.ctl("check")["checks"]
                    run.verdicts = {check["name"]: check["verdict"] for check in checks}
                    server.stdin.close()
                else:
                    run.lines.append(line.rstrip("\n"))
            code = server.wait(seconds)
        run.status = code if code >= 0 else 128 - code
        run.after = self.server()
        return run


def play(build: Path, commands: list[list[str]]) -> list[Run]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        hosted = Hosted(build, Path(folder), stack)
        return [hosted.play(words) for words in commands]
