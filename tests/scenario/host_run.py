# SPDX-License-Identifier: Apache-2.0
"""Runs a shop on this host and the judge against it, without any machine.

usage: host_run.py SHOP_BINARY CATALOGUE MODE [SHOP_OPTION ...]
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    binary, catalogue, mode, *shop_options = sys.argv[1:]
    port = free_port()
    command = [binary, "--catalogue", catalogue, "--port", str(port), *shop_options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        if not server.stdout.readline():
            return 1
        try:
            return subprocess.run(
                [sys.executable, "-m", "judge", "--shop", f"127.0.0.1:{port}", "--mode", mode,
                 "--catalogue", catalogue, "--output", "json"],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, check=False,
                timeout=300).returncode
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
