# SPDX-License-Identifier: Apache-2.0
"""The tutorial, taken apart: its blocks of code, of commands, and of what they print."""

from __future__ import annotations

import re

from installation import TREE

PAGE = TREE / "docs/tutorial.md"
EXAMPLES = TREE / "examples/tutorial"
TWENTY = 20


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
