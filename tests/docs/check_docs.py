#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the documentation to the tree: figures, links, licence lines.

usage: check_docs.py ROOT          run all checks, exit 1 if one fails
       check_docs.py --self-test   break a copy of each input once and see its check fail
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FIGURE = re.compile(r"(?<![\w#./-])\d[\d,.]*\d|(?<![\w#./-])\d")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SOURCE_ENDINGS = {".c", ".cpp", ".h", ".hpp", ".S", ".ld", ".py", ".sh", ".cmake", ".yaml", ".svg"}


def figures(text: str) -> set[str]:
    """Every number of a text, without the ordinals of numbered lists and without links' targets."""
    text = re.sub(r"^\s*\d+\.\s", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return {number.replace(",", "").rstrip(".") for number in FIGURE.findall(text)}


def unclaimed_figures(readme: str, claims: str) -> list[str]:
    missing = sorted(figures(readme) - figures(claims))
    return [f"README.md: the figure {number} is not in docs/claims.md" for number in missing]


def anchors(text: str) -> set[str]:
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+\s+(.*)$", text, flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(slug)
    return found


def broken_links(name: str, text: str, root: Path) -> list[str]:
    problems = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (root / name).parent / path if path else root / name
        if not file.exists():
            problems.append(f"{name}: link to {target}: no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            problems.append(f"{name}: link to {target}: no such heading or anchor")
    return problems


def missing_licence(name: str, text: str) -> list[str]:
    if "SPDX-License-Identifier: Apache-2.0" in "\n".join(text.splitlines()[:4]):
        return []
    return [f"{name}: no SPDX-License-Identifier in its first four lines"]


def is_source(path: Path) -> bool:
    return path.suffix in SOURCE_ENDINGS or path.name == "CMakeLists.txt"


def check(root: Path) -> list[str]:
    tracked = subprocess.run(
        ["git", "-C", str(root), "ls-files"], check=True, capture_output=True, text=True
    ).stdout.split("\n")
    problems = unclaimed_figures(
        (root / "README.md").read_text(), (root / "docs/claims.md").read_text()
    )
    for name in filter(None, tracked):
        path = root / name
        if not path.is_file():
            continue
        if path.suffix == ".md":
            problems += broken_links(name, path.read_text(), root)
        if is_source(path):
            problems += missing_licence(name, path.read_text())
    return problems


def self_test(root: Path) -> list[str]:
    failures = []
    if not unclaimed_figures("took 12,345 traps", "took 12,344 traps"):
        failures.append("an unclaimed figure was not found")
    if unclaimed_figures("1. took 12,345 traps.", "| 12345 |"):
        failures.append("a claimed figure was reported")
    if not broken_links("README.md", "[x](no/such/file.md)", root):
        failures.append("a broken link was not found")
    if not broken_links("README.md", "[x](docs/glossary.md#nowhere)", root):
        failures.append("a broken anchor was not found")
    if not missing_licence("x.cpp", "int x;\n"):
        failures.append("a missing licence line was not found")
    return failures


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    problems = self_test(root) if sys.argv[1:] == ["--self-test"] else check(root)
    for problem in problems:
        print(problem)
    print(f"documentation: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
