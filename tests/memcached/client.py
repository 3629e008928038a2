# SPDX-License-Identifier: Apache-2.0
"""memcached's usual client (libmemcached's tools) against the protected server, and what lies in its region.

usage: client.py BUILD_DIR PROGRAM
"""

from __future__ import annotations

import contextlib
import random
import re
import sys
import tempfile
from pathlib import Path

from server import Client, Memcached, run

FILES = 20


def variables_outside(program: Path) -> list[str]:
    """Variables that protected.ld names and that are not in the region: the compiler calls them otherwise."""
    script = (Path(__file__).parent / "program/protected.ld").read_text(encoding="ascii")
    named = set(re.findall(r"\.bss\.(\w+)", script))
    at = {}
    for line in run("nm", str(program), seconds=20).stdout.splitlines():
        words = line.split()
        if len(words) == 3:
            at[words[2]] = int(words[0], 16)
    begin, end = at["protected_begin"], at["protected_end"]
    return [name for name in sorted(named) if not begin <= at.get(name, 0) < end]


def capable(port: int) -> list[str]:
    """memccapable: each command of both protocols, and what it should answer."""
    found = []
    for protocol in ("-a", "-b"):
        result = run("memccapable", "-h", "127.0.0.1", "-p", str(port), protocol, seconds=120)
        passed = len(re.findall(r"\[pass\]", result.stdout))
        print(f"memccapable {protocol}: {passed} pass, exit code {result.returncode}")
        if result.returncode != 0 or passed == 0:
            found.append(f"memccapable {protocol}: {result.stdout[-600:]}")
    return found


def copied(server: str, folder: Path) -> list[str]:
    """memccp, memccat, memcrm: files there and back."""
    contents = {f"file{i}": random.Random(i).randbytes(i * 5000 + 1) for i in range(FILES)}
    found = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        if (result := run("memccp", server, str(folder / name), seconds=60)).returncode != 0:
            found.append(f"memccp {name}: {result.stdout}")
    for name, content in contents.items():
        back = folder / f"{name}.back"
        run("memccat", server, f"--file={back}", name, seconds=60)
        if not back.exists() or back.read_bytes() != content:
            found.append(f"memccat {name}: not what memccp had put there")
        if run("memcrm", server, name, seconds=60).returncode != 0:
            found.append(f"memcrm {name}")
    print(f"memccp, memccat, memcrm: {len(contents)} files")
    return found


def hits(port: int) -> list[str]:
    """Whoever asks is told of an item's hits, though most of them are made up later."""
    client = Client(port)
    client.ask(b"set hit 0 0 2\r\nxx\r\n")
    client.get(b"hit")
    answer = client.ask(b"mg hit h\r\n")
    client.ask(b"delete hit\r\n")
    client.close()
    return [] if answer == b"HD h1" else [f"an item that was fetched once: {answer!r}, expected b'HD h1'"]


def main() -> int:
    build, program = Path(sys.argv[1]), Path(sys.argv[2])
    found = [f"{name} is not in the region" for name in variables_outside(program)]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        server = Memcached(build, program, Path(name), stack)
        address = f"--servers=127.0.0.1:{server.port}"
        found += copied(address, Path(name)) + capable(server.port) + hits(server.port)
        slap = run("memcslap", address, "--concurrency=8", "--execute-number=500", seconds=120)
        if slap.returncode != 0:
            found.append(f"memcslap: {slap.stdout}")
        info = server.host.server()
        print(f"{info['users_finished']} users finished")
        if info["users_finished"] < FILES or info["users_collected"] != 0:
            found.append(f"{info['users_finished']} users finished, {info['users_collected']} crashed")
        found += server.broken_invariants()
        if info["restores"]["sweep"] != 0:
            found.append(f"{info['restores']['sweep']} granules were stored to without a hook")
        if not server.is_alive():
            found.append("the server has ended")
    print("\n".join(found) or "all as it should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
