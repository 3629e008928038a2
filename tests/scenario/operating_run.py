# SPDX-License-Identifier: Apache-2.0
"""Holds docs/operating.md to what happens: the night that it tells of, with vmsrs-hosted, vmsrsd and the
book shop as processes, and each command of its transcript, in its order.

usage: operating_run.py BUILD_DIR CATALOGUE DOCUMENT [--write]

A line `$ vmsrsctl ...` in a block ```console is carried out, and what the block shows below it must be
what comes: numbers, addresses and the width of columns may differ, and a line `[...]` stands for any lines.
A line `# the order ends` in a block is an event of the night, below. With --write the document gets what
comes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from host_run import free_port
from hosted_run import require, start, start_stack

BLOCK = re.compile(r"^```console\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
ANY_LINES = "[...]"


class Shopper:
    """A client of the book shop; `ask` gives the answer, one line."""

    def __init__(self, port: int, user: int) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=60).makefile(
            "rw", newline="\n")
        self.user = user
        require(self.ask(f"HELLO {user}").startswith("WELCOME"), "the shop knows its users")

    def ask(self, line: str) -> str:
        self.stream.write(line + "\n")
        self.stream.flush()
        return self.stream.readline().strip()

    def buy(self, title: int) -> str:
        self.ask("BEGIN")
        self.ask(f"ADD {title} 1")
        return self.ask("CHECKOUT")


class Night:
    """What happens beside the operator's commands."""

    def __init__(self, build: Path, catalogue: str, folder: Path,
                 stack: contextlib.ExitStack) -> None:
        dumps = folder / "dumps"
        dumps.mkdir()
        hosted_socket, self.api, _ = start_stack(build, folder, stack, "", f", dumps: {dumps}",
                                                 stderr=subprocess.DEVNULL)
        port = free_port()
        self.folder = folder
        self.shop = build / "examples/bookshop/bookshop"
        shop = start(stack, str(self.shop), "--catalogue", catalogue,
                     "--port", str(port), "--secret-file", str(folder / "shop.secret"), "--inject",
                     "3:wild:2", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                     env={**os.environ, "VMSRS_HOSTED_SOCKET": str(hosted_socket),
                          "VMSRS_DUMPS": str(dumps)})
        assert shop.stdout is not None
        require(bool(shop.stdout.readline()), "the shop starts")
        self.ctl = build / "cli/vmsrsctl"
        self.victim, self.other = Shopper(port, 3), Shopper(port, 9)
        require(self.other.buy(7).startswith("ORDER"), "others buy before it")
        self.victim.ask("BEGIN")
        self.victim.ask("ADD 3 1")
        self.victim.ask("ADD 4 1")  # the bug; the client sends nothing more for now
        require(self.other.buy(7).startswith("ORDER"), "others buy behind it")
        time.sleep(2)

    def the_order_ends(self) -> None:
        require(self.victim.ask("CHECKOUT").startswith("FAILED"), "the crashed user is told")
        require(self.other.ask("AUDIT").endswith("agree yes"), "the totals agree")
        time.sleep(2)

    def carry_out(self, command: str) -> str:
        """What the command prints. `vmsrsctl` is the one of the build."""
        done = subprocess.run(["sh", "-c", command], check=False, timeout=60, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "VMSRS_SOCKET": str(self.api), "COLUMNS": "110",
                                   "PATH": f"{self.ctl.parent}:{os.environ['PATH']}"})
        require(done.returncode == 0, f"`{command}` ends with 0, not {done.returncode}:\n{done.stdout}")
        return done.stdout.replace(f"{self.shop.parent}/", "/usr/local/bin/").replace(
            str(self.folder), "/var/lib/vmsrs")


def skeleton(line: str) -> str:
    """What of a line does not differ from night to night."""
    line = re.sub(r"\b(?:0x[0-9a-f]+|[0-9a-f]{6,})\b|(?<=\+)[0-9a-f]+(?=\.core\b)", "#", line)
    line = re.sub(r"\d+(?:[.,:]\d+)*", "#", line)
    line = re.sub(r"/\S*/", "/", line)  # where programs lie
    line = re.sub(r"(?<=# )(?:ns|us|µs|ms|s|m|h)\b", "s", line)
    return re.sub(r"[\s\-─]+", " ", line).strip()


def agree(shown: list[str], came: list[str]) -> bool:
    if not shown:
        return not came
    if shown[0].strip() == ANY_LINES:
        return any(agree(shown[1:], came[i:]) for i in range(len(came) + 1))
    return bool(came) and skeleton(shown[0]) == skeleton(came[0]) and agree(shown[1:], came[1:])


def steps(block: str) -> Iterator[tuple[str, list[str]]]:
    """Commands and events of a block, each with the lines below it."""
    head, below = "", []
    for line in block.splitlines():
        if line.startswith(("$ ", "# ")):
            if head:
                yield head, below
            head, below = line, []
        else:
            below.append(line)
    if head:
        yield head, below


def play(document: str, night: Night, *, write: bool) -> tuple[str, list[str]]:
    """The document as it comes, and what differs from what it says."""
    problems: list[str] = []
    events: dict[str, Callable[[], None]] = {"# the order ends": night.the_order_ends}

    def played(match: re.Match[str]) -> str:
        text = ""
        for head, below in steps(match.group(1)):
            text += head + "\n"
            if head.startswith("# "):
                events[head]()
                continue
            came = [line.rstrip() for line in night.carry_out(head[2:]).splitlines()]
            if not agree(below, came):
                problems.append("\n".join([head, "  the document:", *below, "  now:", *came]))
            text += "".join(line + "\n" for line in (came if write and ANY_LINES not in below else below))
        return f"```console\n{text}```"

    return BLOCK.sub(played, document), problems


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("build", type=Path)
    parser.add_argument("catalogue")
    parser.add_argument("document", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    document = options.document.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        night = Night(options.build.resolve(), options.catalogue, Path(folder), stack)
        now, problems = play(document, night, write=options.write)
    if options.write:
        options.document.write_text(now, encoding="utf-8")
        return
    require("$ vmsrsctl" in document, "the document has a transcript")
    for problem in problems:
        print(problem, file=sys.stderr)
    require(not problems, f"{len(problems)} of the commands print something else")


if __name__ == "__main__":
    main()
