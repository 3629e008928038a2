# SPDX-License-Identifier: Apache-2.0
"""Runs vmsrs-study on server.c for a test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def run(build: Path, arguments: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(build / "study/vmsrs-study"), *arguments], capture_output=True, text=True,
                          check=False, timeout=200, **more)


def study(build: Path, requests: str, *options: str) -> dict[str, Any]:
    """What report.json holds."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        done = run(build, ["--port", str(port), "--load", f"/usr/bin/python3 {HERE}/client.py {port} {requests}",
                           "--start-limit", "60", "--load-limit", "60", "--output", folder, *options,
                           "--", str(build / "tests/study/study_server"), str(port)])
        if done.returncode != 0:
            raise AssertionError(f"vmsrs-study: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        for name in ("report.txt", "figure1.svg", "figure2.svg"):
            if os.path.getsize(Path(folder) / name) == 0:
                raise AssertionError(f"{name} is empty")
        return json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
