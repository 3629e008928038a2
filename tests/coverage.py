#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the lines of each source file of a folder that were run, from gcov's counts.

usage: coverage.py BUILD FOLDER PERCENT   exit 1 if fewer than PERCENT of all lines were run
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def counts(build: Path, folder: Path) -> dict[Path, dict[int, int]]:
    """For each file of the folder how often each line was run, summed over all objects."""
    files: dict[Path, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for data in sorted(build.rglob("*.gcda")):
        output = subprocess.run(["gcov", "--json-format", "--stdout", str(data)], cwd=build,
                                check=True, capture_output=True, text=True).stdout
        for document in output.splitlines():
            report = json.loads(document)
            for file in report["files"]:
                path = (Path(report["current_working_directory"]) / file["file"]).resolve()
                if path.parent != folder:
                    continue
                for line in file["lines"]:
                    files[path][line["line_number"]] += line["count"]
    return files


def ranges(lines: list[int]) -> str:
    """[1, 2, 3, 7] as "1-3 7"."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def main() -> int:
    build, folder, least = Path(sys.argv[1]), Path(sys.argv[2]).resolve(), float(sys.argv[3])
    run = total = 0
    for path, lines in sorted(counts(build, folder).items()):
        missed = sorted(line for line, count in lines.items() if count == 0)
        run += len(lines) - len(missed)
        total += len(lines)
        share = 100 * (len(lines) - len(missed)) / len(lines)
        print(f"{path.name:24} {len(lines):5} lines {share:6.1f} %  {ranges(missed)}".rstrip())
    share = 100 * run / total if total else 0
    print(f"{'all':24} {total:5} lines {share:6.1f} %")
    if share < least:
        print(f"fewer than {least:g} % of the lines were run", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
