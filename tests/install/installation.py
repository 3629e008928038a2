# SPDX-License-Identifier: Apache-2.0
"""What the tests of the installed library share: the public header's functions, commands, complaints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
HEADERS = [TREE / "guestlib/include/vmsrs" / name for name in ("vmsrs.h", "text.h", "protect.h")]
# What <vmsrs/vmsrs.hpp> and hooks need beside the functions of the headers.
DATA = {"vmsrs_fast_thread", "vmsrs_region_bounds"}
# The C library's, which stand before its own (guestlib/src/interpose.hpp).
INTERPOSED = {"sigaction", "signal", "sysv_signal", "__sysv_signal"} | {
    f"pthread_mutex_{name}" for name in "lock trylock timedlock clocklock unlock".split()} | {
    f"pthread_rwlock_{name}" for name in ("rdlock tryrdlock timedrdlock clockrdlock wrlock trywrlock timedwrlock "
                                          "clockwrlock unlock").split()}


def output_of(*command: object) -> str:
    result = subprocess.run([str(word) for word in command], check=False, text=True, timeout=300,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {result.returncode}\n{result.stdout}")
    return result.stdout


def normal(declaration: str) -> str:
    """A declaration with blanks only where C needs them."""
    words = " ".join(declaration.split())
    return re.sub(r"\s*([*(),])\s*", r"\1", words)


def functions_of_header(text: str) -> dict[str, str]:
    """The functions that a header declares: name to prototype."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*#.*(?:\\\n.*)*$", "", text, flags=re.MULTILINE)
    text = text.replace('extern "C" {', "")
    text = re.sub(r"\{[^{}]*\}", "", text)  # of enums and structures
    text = re.sub(r"\s*__attribute__\(\((?:[^()]|\([^()]*\))*\)\)", "", text)
    found = {}
    for match in re.finditer(r"([\w\s]+?[\s*]+)(\w+)(\((?:[^()]|\([^()]*\))*\))\s*;", text):
        found[match[2]] = normal(match[1] + match[2] + match[3])
    return found


def public_functions() -> dict[str, str]:
    return {name: prototype for header in HEADERS
            for name, prototype in functions_of_header(header.read_text()).items()}


def report(name: str, looked_at: int, complaints: list[str]) -> int:
    """Prints what is wrong. A test that looked at nothing has failed."""
    for complaint in complaints:
        print(complaint)
    print(f"{name}: {looked_at} looked at, {len(complaints)} not as they should be")
    return 1 if complaints or looked_at == 0 else 0
