# SPDX-License-Identifier: Apache-2.0
"""The manual pages: formatted without a warning, one for each public function, the header's prototypes.

usage: manual_test.py PREFIX
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from installation import TREE, normal, public_functions, report

PAGES = TREE / "guestlib/man"
COMMANDS = (PAGES / "vmsrs-run.1", TREE / "study/vmsrs-study.1")


def prototypes_of_page(text: str) -> dict[str, str]:
    """The functions of a page's SYNOPSIS: name to prototype."""
    found: dict[str, str] = {}
    synopsis = re.search(r"^\.Sh SYNOPSIS\n(.*?)^\.Sh", text, flags=re.MULTILINE | re.DOTALL)
    kind, name, arguments = "", "", []
    for line in (synopsis[1] if synopsis else "").splitlines():
        macro, *words = shlex.split(line)
        if macro == ".Ft":
            kind = " ".join(words)
        elif macro in (".Fn", ".Fo"):
            name, arguments = words[0], words[1:]
        elif macro == ".Fa":
            arguments += words
        if macro in (".Fn", ".Fc"):
            found[name] = normal(f"{kind} {name}({', '.join(arguments)})")
    return found


def warnings_of(page: Path) -> str:
    mandoc = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(page)], check=False,
                            capture_output=True, text=True, timeout=60)
    # As lintian does it.
    groff = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)],
                           check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                           timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "",
                                            "MANWIDTH": "80"})
    failed = mandoc.returncode != 0 or groff.returncode != 0
    return mandoc.stdout + mandoc.stderr + groff.stderr if failed or groff.stderr else ""


def found_by_man(prefix: Path, name: str) -> str:
    """What `man 3 NAME` shows of the installed pages."""
    shown = subprocess.run(["man", "-M", str(prefix / "share/man"), "3", name], check=False,
                           capture_output=True, text=True, timeout=60,
                           env={**os.environ, "MANPAGER": "cat", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    return re.sub(".\b", "", shown.stdout)


def main() -> int:
    prefix = Path(sys.argv[1])
    functions = public_functions()
    complaints = []
    documented: dict[str, str] = {}
    for page in sorted(PAGES.iterdir()):
        if warnings := warnings_of(page):
            complaints.append(f"{page.name}: {warnings.strip()}")
        here = prototypes_of_page(page.read_text())
        named = set(re.findall(r"^\.Nm (\w+)", page.read_text(), flags=re.MULTILINE))
        complaints += [f"{page.name}: {name} is in SYNOPSIS, not in NAME" for name in here if name not in named]
        documented |= here
    for page in COMMANDS:
        if warnings := warnings_of(page):
            complaints.append(f"{page.name}: {warnings.strip()}")
        shown = subprocess.run([prefix / "bin" / page.stem, "--help"], check=True, capture_output=True, text=True, timeout=60)
        described = {name for _, name in re.findall(r"^\.It Fl (Fl )?-?([\w-]+)", page.read_text(), flags=re.MULTILINE)}
        options = set(re.findall(r"--([\w-]+)", shown.stdout))
        complaints += [f"{page.name}: --{name}: the page and --help differ"
                       for name in sorted((described ^ options) - {"help"})]
    for name, prototype in sorted(functions.items()):
        if name not in documented:
            complaints.append(f"{name}: no page has it in its SYNOPSIS")
        elif documented[name] != prototype:
            complaints.append(f"{name}: the page says {documented[name]}, the header {prototype}")
        if not re.search(rf"\b{name}\(", found_by_man(prefix, name)):
            complaints.append(f"{name}: man 3 {name} does not find it")
    complaints += [f"{name}: a page has it, the header has not" for name in sorted(set(documented) - set(functions))]
    return report("manual", len(functions), complaints)


if __name__ == "__main__":
    sys.exit(main())
