# SPDX-License-Identifier: Apache-2.0
"""The tutorial's code is the examples', and protecting takes the lines that it says.

usage: tutorial_code_test.py
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from installation import report
from tutorial import EXAMPLES, PAGE, TWENTY, blocks

FILES = {"cpp": ["plain.cpp", "protected.cpp", "hooked.cpp"], "c": ["plain.c", "protected.c"], "make": ["Makefile"],
         "cmake": ["CMakeLists.txt"]}


def has_lines(file: Path, text: str) -> bool:
    return f"\n{text}" in f"\n{file.read_text()}"


def main() -> int:
    found = blocks(PAGE.read_text())
    code = [(language, text) for language, text in found if language in FILES]
    complaints = [f"in none of {FILES[language]}:\n{text}" for language, text in code
                  if not any(has_lines(EXAMPLES / name, text) for name in FILES[language])]
    plain, protected = ((EXAMPLES / name).read_text().splitlines() for name in FILES["cpp"][:2])
    added = [line[2:] for line in difflib.ndiff(plain, protected) if line.startswith("+ ")]
    if len(added) > TWENTY:
        complaints.append(f"protected.cpp has {len(added)} lines that plain.cpp has not")
    shown = "".join(text for _, text in code)
    complaints += [f"the tutorial does not show: {line}" for line in added if f"{line}\n" not in shown]
    if {language for language, _ in found} - set(FILES) - {"", "sh", "text"}:
        complaints.append("a block of a language that nothing looks at")
    return report("tutorial's code", len(code), complaints)


if __name__ == "__main__":
    sys.exit(main())
