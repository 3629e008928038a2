# SPDX-License-Identifier: Apache-2.0
"""The installed examples, built outside of the tree as a user would, each run under vmsrs-hosted.

usage: consumers_test.py CMAKE BUILD PREFIX

Built with find_package and with pkg-config, in C and in C++, with the shared library and the archive.
Plain ones die of a client's request; protected ones tell that client, and serve the others on: also the one
whose stores nobody changed (clang: vmsrs_protect of a target and of a file, pkg-config vmsrs-protect).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from installation import TREE, output_of, report

sys.path.insert(0, str(TREE / "tests/scenario"))
from host_run import free_port  # noqa: E402
from hosted_run import PATIENCE_SECONDS, new_secret, start, wait_for  # noqa: E402

BOOK, NO_BOOK = 3, 10**12


class Client:
    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        end = time.monotonic() + PATIENCE_SECONDS
        while self._socket.connect_ex(str(path)) != 0 and time.monotonic() < end:
            time.sleep(0.02)  # the server has bound it, and does not listen yet
        self._lines = self._socket.makefile("r", encoding="ascii")

    def buy(self, book: int) -> str:
        try:
            self._socket.sendall(f"{book}\n".encode("ascii"))
            return self._lines.readline().strip()
        except OSError:
            return ""

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Host:
    """vmsrs-hosted and vmsrsd, with one server: shop."""

    def __init__(self, build: Path, folder: Path, stack: contextlib.ExitStack) -> None:
        self.socket, self.secret = folder / "hosted.sock", folder / "shop.secret"
        self._ctl = [str(build / "cli/vmsrsctl"), "--socket", str(folder / "api.sock"), "--output", "json"]
        (folder / "hash").write_text(new_secret(folder / "management.secret"), encoding="ascii")
        new_secret(self.secret)
        (folder / "vmsrs.yaml").write_text(
            f"platform: hosted\nhosted: {{socket: {self.socket}}}\n"
            f"management: {{secret_file: {folder}/management.secret}}\n"
            f"events: {{store: {folder}/events.db}}\n"
            f"metrics: {{listen: '127.0.0.1:{free_port()}'}}\napi: {{socket: {folder}/api.sock}}\n"
            f"servers:\n  - {{name: shop, attach_secret_file: {self.secret}}}\n", encoding="ascii")
        hosted = start(stack, str(build / "hypervisor/hosted/vmsrs-hosted"), "--socket", str(self.socket),
                       "--secret-hash-file", str(folder / "hash"))
        wait_for(self.socket, hosted)
        daemon = start(stack, str(build / "vmsrsd/vmsrsd"), "--config", str(folder / "vmsrs.yaml"))
        wait_for(folder / "api.sock", daemon)

    def ask(self, *verb: str) -> dict[str, object]:
        return json.loads(output_of(*self._ctl, *verb))

    def faults_and_restores(self) -> tuple[int, int]:
        status = self.ask("status")
        return sum(status["faults"].values()), sum(status["restores"].values())  # type: ignore[attr-defined]


def build_all(cmake: str, prefix: Path, folder: Path) -> list[Path]:
    """All programs, by both ways."""
    installed = prefix / "share/doc/vmsrs/examples/tutorial"
    by_cmake, by_make, by_clang, by_file = (folder / name for name in ("cmake", "make", "clang", "clang-file"))
    ways = (by_cmake, by_make, by_clang)
    for way in ways:
        shutil.copytree(installed, way)
    for way, compilers in ((by_cmake, ()), (by_clang, ("-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++"))):
        output_of(cmake, "-S", way, "-B", way, f"-DCMAKE_PREFIX_PATH={prefix}",
                  "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror",
                  "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror", *compilers)
    output_of(cmake, "--build", by_cmake)
    output_of(cmake, "--build", by_clang, "--target", "protected-cpp-hooked")
    # The same, one file of the program named.
    shutil.copytree(installed, by_file)
    text = (by_file / "CMakeLists.txt").read_text(encoding="utf-8")
    named = text.replace("vmsrs_protect(protected-cpp-hooked)", "vmsrs_protect(protected-cpp-hooked hooked.cpp)")
    (by_file / "CMakeLists.txt").write_text(named, encoding="utf-8")
    output_of(cmake, "-S", by_file, "-B", by_file, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
              "-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++")
    output_of(cmake, "--build", by_file, "--target", "protected-cpp-hooked")
    for target in ("all", "protected-cpp-hooked"):
        output_of("env", f"PKG_CONFIG_PATH={prefix}/lib/pkgconfig", "make", "-C", by_make, target,
                  "CFLAGS=-O2 -Wall -Wextra -Werror", "CXXFLAGS=-O2 -Wall -Wextra -Werror")
    return sorted(path for way in (*ways, by_file) for path in way.iterdir()
                  if re.fullmatch(r"(plain|protected)-(c|cpp)(-static|-hooked)?", path.name))


def check_linked(program: Path, prefix: Path) -> list[str]:
    if program.name.startswith("plain"):
        return []
    loaded = output_of("env", f"LD_LIBRARY_PATH={prefix}/lib", "ldd", program)
    if program.name.endswith("-static"):
        return ["linked with the shared library"] if "libvmsrs" in loaded else []
    complaints = [] if f"libvmsrs.so.1 => {prefix}/lib/" in loaded else [f"not linked with what is installed: {loaded}"]
    if program.name.endswith("-c") and "libstdc++" in loaded:
        complaints.append("a C program needs libstdc++")
    return complaints


def differences(what: str, found: object, expected: object) -> list[str]:
    return [] if found == expected else [f"{what}: {found!r}, expected {expected!r}"]


def run(program: Path, prefix: Path, host: Host, place: Path) -> list[str]:
    before = host.faults_and_restores()
    with contextlib.ExitStack() as stack:
        server = start(stack, str(program), str(place), cwd=place.parent,
                       env={**os.environ, "VMSRS_HOSTED_SOCKET": str(host.socket),
                            "LD_LIBRARY_PATH": f"{prefix}/lib"})
        wait_for(place, server)
        good, bad = (stack.enter_context(contextlib.closing(Client(place))) for _ in range(2))
        complaints = differences("the first order", good.buy(BOOK), "one of 1 sold")
        answer = bad.buy(NO_BOOK)
        if program.name.startswith("plain"):
            server.wait(PATIENCE_SECONDS)
            return (complaints + differences("the bad order", answer, "") +
                    differences("exit code", server.returncode, -signal.SIGSEGV) +
                    differences("the next order", good.buy(BOOK), ""))
        complaints += differences("the bad order", answer, "your order failed, nothing was changed")
        complaints += differences("the next order", good.buy(BOOK), "one of 2 sold")
        complaints += differences("the same client's next order", bad.buy(BOOK), "one of 3 sold")
        after = host.faults_and_restores()
        if after[0] <= before[0] or after[1] <= before[1]:
            complaints.append(f"no fault, or no restore, was counted: {before}, then {after}")
        complaints += differences("alive", server.poll(), None)
        complaints += differences("check", host.ask("check")["ok"], True)
    return complaints


def main() -> int:
    cmake, build, prefix = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    complaints = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        programs = build_all(cmake, prefix, folder)
        host = Host(build, folder, stack)
        for program in programs:
            place = folder / "shop.sock"
            place.unlink(missing_ok=True)
            here = check_linked(program, prefix) + run(program, prefix, host, place)
            title = f"{program.parent.name}/{program.name}"
            print(f"{title}: {'; '.join(here) if here else 'ok'}", flush=True)
            complaints += [f"{title}: {complaint}" for complaint in here]
    if len(programs) != 10 + 5:
        complaints.append(f"{len(programs)} programs were built")
    return report("consumers", len(programs), complaints)


if __name__ == "__main__":
    sys.exit(main())
