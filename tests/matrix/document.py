# SPDX-License-Identifier: Apache-2.0
"""The table of docs/matrix.md, and what came out when the matrix was played.

usage: document.py BUILD_DIR     writes the table from what was last played on both platforms
"""

from __future__ import annotations

import sys
from pathlib import Path

import cells

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/matrix.md"
KIND_COLUMNS = 4  # before the cells


def file_of(build: Path, platform: str, style: str) -> Path:
    return build / "matrix" / f"{platform}.{style}.lines"


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()
            if line.startswith("| ")]


def differences(text: str, kinds: list[cells.Kind], lines: cells.Lines, platform: str, style: str) -> list[str]:
    """Where the document has something else than what came out in that style; of kinds that were played."""
    rows = rows_of(cells.between_markers(text))
    right = rows_of(cells.table(kinds, {platform: lines}))
    if not rows or len(rows) != len(right):
        return [f"docs/matrix.md: {len(rows)} rows, there should be {len(right)}"]
    head = cells.head_of(platform, style)
    written_at, right_at = rows[0].index(head), right[0].index(head)
    found = []
    for written, expected in zip(rows, right):
        if written[:KIND_COLUMNS] != expected[:KIND_COLUMNS]:
            found.append(f"docs/matrix.md: {written[:KIND_COLUMNS]} should be {expected[:KIND_COLUMNS]}")
        elif expected[right_at] != "?" and written[written_at] != expected[right_at]:
            found.append(f"docs/matrix.md: {head}, {written[0]}: {written[written_at]}, it was {expected[right_at]}")
    return found


def main() -> int:
    from play import kinds_of
    build = Path(sys.argv[1])
    platforms = {platform: cells.Lines() for platform in cells.STYLES}
    for platform, lines in platforms.items():
        for style in cells.STYLES[platform]:
            lines.add(file_of(build, platform, style).read_text(encoding="ascii").splitlines())
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, _, rest = text.partition(cells.BEGIN)
    _, _, end = rest.partition(cells.END)
    table = cells.table(kinds_of(build), platforms)
    DOCUMENT.write_text(begin + cells.BEGIN + table + cells.END + end, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
