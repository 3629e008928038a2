#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long the hypervisor is: lines of each part, and the calls that it takes. Code: lines that are neither empty nor
comment alone, as clang-format has laid them out."""
import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PARTS = {"boot": "up to Linux's first instruction", "svm": "the platform: exits, tables, devices",
         "monitor": "decodes and checks calls", "recovery": "the engine"}
SOURCES = (".cpp", ".hpp", ".S", ".ld")


def lines_of(folder):
    """Files, lines, and lines of code."""
    files = all_lines = code = 0
    for path in sorted(folder.iterdir()):
        if path.suffix not in SOURCES:
            continue
        text = path.read_text(encoding="utf-8")
        files += 1
        all_lines += text.count("\n")
        # No string of ours has a comment's beginning in it but behind code, where the line counts anyway.
        text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.S)
        code += sum(bool(line.strip()) and not line.strip().startswith("//") for line in text.splitlines())
    return files, all_lines, code


def main():
    total = [0, 0, 0]
    print(f"{'part':<10}{'files':>6}{'lines':>8}{'code':>8}")
    for part, what in PARTS.items():
        counts = lines_of(TOP / "hypervisor" / part)
        total = [left + right for left, right in zip(total, counts)]
        print(f"{part:<10}{counts[0]:>6}{counts[1]:>8}{counts[2]:>8}  {what}")
    print(f"{'all':<10}{total[0]:>6}{total[1]:>8}{total[2]:>8}")
    abi = (TOP / "abi/include/vmsrs/abi.h").read_text(encoding="utf-8")
    calls = [int(number, 16) for number in re.findall(r"^\s*VMSRS_CALL_\w+ = (0x[0-9a-f]+)", abi, re.M)]
    management = sum(number >= 0x200 for number in calls)
    print(f"calls: {len(calls)}, of them {management} of management")


if __name__ == "__main__":
    main()
