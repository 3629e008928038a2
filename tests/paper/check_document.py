# SPDX-License-Identifier: Apache-2.0
"""Holds docs/paper.md to the tree: its paths, names, commands and tests are there, its trace is the trace's,
and no section, figure or table of the paper is left out.

usage: check_document.py BUILD_DIR
"""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LABELS = "abi|engine|library|hosted|ops|machine|scenario|paper|docs"
SECTIONS = ("1, 2", "2.3", "3.1", "3.2", "3.3", "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "5", "5.1",
            "5.1.1", "5.1.2", "5.1.3-1", "5.1.3-2", "5.1.3-3", "5.2", "5.3", "5.4", "6")
FIGURES = ("1, 2", "3", "4, 5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "table 1", "table 2")


def output_of(*words: object) -> str:
    return subprocess.run([str(word) for word in words], check=True, cwd=TOP, capture_output=True,
                          text=True).stdout


class Tree:
    """What there is to be named."""

    def __init__(self, build: Path) -> None:
        self.build = build
        listing = json.loads(output_of("ctest", "--test-dir", build, "--show-only=json-v1"))
        self.tests = {test["name"] for test in listing["tests"]}
        self.files = output_of("git", "ls-files").split("\n")
        self.labels = re.search(r"labels=\((.*)\)", (TOP / "tests/run.sh").read_text())[1].split()
        self.benchmarks = output_of("env", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=bench", "python3", "-m", "report",
                                    "--names").split()
        self.quickstart = output_of("deploy/quickstart.sh", "--help")
        self.roster = output_of("examples/roster/run.sh", "--help")
        self.code = {name: (TOP / name).read_text(encoding="utf-8", errors="replace") for name in self.files
                     if re.match(r"(guestlib|bench|abi)/.*\.(h|hpp|cpp|py)$", name) and (TOP / name).is_file()}
        self.trace = output_of(build / "tests/paper/paper_trace")

    def has_path(self, path: str) -> bool:
        return any(name == path or name.startswith(path + "/") for name in self.files)

    def has_command(self, words: list[str]) -> bool:
        program, arguments = words[0], words[1:]
        if program.startswith("build/dev/"):
            return not arguments and (self.build / program.removeprefix("build/dev/")).exists()
        if program == "tests/run.sh":
            return set(arguments) <= {*self.labels, "nightly"}
        if program == "bench/run.sh":
            return set(arguments) <= set(self.benchmarks)
        help_text = {"deploy/quickstart.sh": self.quickstart, "examples/roster/run.sh": self.roster}.get(program)
        return help_text is not None and all(
            re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", help_text) for word in arguments)

    def has(self, span: str) -> bool:
        words = span.split()
        if re.match(r"--|\$ ", span):  # an option of what the sentence is about; a command of a block
            return True
        if len(words) > 1 or re.match(r"(build/dev/|tests/run.sh$|bench/run.sh$|deploy/quickstart.sh$)", span):
            return self.has_command(words)
        if re.match(rf"({LABELS})[._]", span):
            return any(fnmatch.fnmatchcase(test, span) for test in self.tests)
        if "/" in span:
            path, _, name = span.partition(":")
            if not self.has_path(path):
                return False
            return not name or re.search(rf"\b{re.escape(name)}\b", (TOP / path).read_text()) is not None
        return any(re.search(rf"\b{re.escape(span)}\b", text) for text in self.code.values())


def first_cells(text: str) -> set[str]:
    return {match[1] for match in re.finditer(r"^\| ([^|]+?) \|", text, flags=re.MULTILINE)}


def problems(text: str, tree: Tree) -> list[str]:
    found = []
    blocks = re.findall(r"```\n(.*?)```", text, flags=re.DOTALL)
    command, _, shown = blocks[0].partition("\n") if blocks else ("", "", "")
    if not tree.has_command(command.removeprefix("$ ").split() or ["none"]) or shown != tree.trace:
        found.append("the trace is not what the command prints")
    prose = re.sub(r"```\n.*?```", "", text, flags=re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        if not tree.has(span):
            found.append(f"there is no `{span}`")
    cells = first_cells(prose)
    for section in SECTIONS:
        if not any(cell == section or cell.startswith(section + " ") for cell in cells):
            found.append(f"section {section} is left out")
    found += [f"figure {figure} is left out" for figure in FIGURES if figure not in cells]
    return found


def self_test(text: str, tree: Tree) -> list[str]:
    """Each check must see what it is for."""
    missed = []
    for right, wrong in (("`paper.svm_5.1.2`", "`paper.svm_5.1.9`"), ("`bench/work`", "`bench/play`"),
                         ("server_collect.cpp:user_collect", "server_collect.cpp:user_forget"),
                         ("bench/run.sh figure14", "bench/run.sh figure15"), ("hosted 5.1.1`", "hosted 5.1.7`"),
                         ("tests/run.sh paper", "tests/run.sh papers"), ("| 5.3 Book", "| 9.3 Book"),
                         ("quickstart.sh --without-vmsrs", "quickstart.sh --with-vmsrs"), ("| 13 |", "| 31 |"),
                         ("P3  fault ", "P2  fault "), ("`vmsrs_assign`", "`vmsrs_resign`"),
                         ("tests/paper/paper_trace\n", "tests/paper/paper_track\n")):
        if right not in text or not problems(text.replace(right, wrong), tree):
            missed.append(f"'{wrong}' for '{right}' is not seen")
    return missed


def main() -> int:
    tree = Tree(Path(sys.argv[1]).resolve())
    text = (TOP / "docs/paper.md").read_text(encoding="utf-8")
    found = problems(text, tree) + self_test(text, tree)
    print("\n".join(found))
    print(f"docs/paper.md: {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
