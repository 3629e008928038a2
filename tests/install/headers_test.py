# SPDX-License-Identifier: Apache-2.0
"""Each installed header compiles by itself, as the only one, with nothing but what is installed.

usage: headers_test.py PREFIX
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from installation import TREE, report

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-O2"]
C = [["gcc", "-std=c11"], ["clang-14", "-std=c11"]]
CPP = [["g++", "-std=c++20"], ["clang++-14", "-std=c++20"]]


# Something of each header that a program uses, so that it is more than parsed.
USE_C = "int main(void) { return vmsrs_error_message()[0] == 0 || vmsrs_load_u8((const uint8_t*)\"a\"); }\n"
USE_CPP = ("int main() { long word = 0; vmsrs::store(&word, 1l); vmsrs::assign(&word, &word);\n"
           "  return vmsrs::run_user(1, [&] { word = vmsrs::load(&word); }, [] {}); }\n")


def compile_alone(compiler: list[str], include: Path, header: str, use: str, folder: Path) -> str:
    source = folder / ("only.cpp" if "++" in compiler[0] else "only.c")
    source.write_text(f"#include <vmsrs/{header}>\n{use}", encoding="ascii")
    command = [*compiler, *STRICT, "-I", str(include), "-c", str(source), "-o", str(folder / "only.o")]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return "" if result.returncode == 0 else f"{header}: {' '.join(compiler)}:\n{result.stderr}"


def main() -> int:
    include = Path(sys.argv[1]) / "include"
    headers = sorted(path.name for path in (include / "vmsrs").iterdir())
    complaints = []
    looked_at = 0
    public = {path.name for path in (TREE / "guestlib/include/vmsrs").iterdir()}
    if set(headers) != public | {"abi.h", "claims.h", "test_hooks.hpp"}:
        complaints.append(f"installed headers: {headers}")
    with tempfile.TemporaryDirectory() as folder:
        for header in headers:
            for compiler in CPP + (C if header.endswith(".h") else []):
                use = {"vmsrs.h": USE_C, "vmsrs.hpp": USE_CPP}.get(header, "int main(void);\n")
                complaint = compile_alone(compiler, include, header, use, Path(folder))
                looked_at += 1
                if complaint:
                    complaints.append(complaint)
    text = "".join((include / "vmsrs" / header).read_text() for header in headers)
    for name in re.findall(r"#include <vmsrs/(.*)>", text):
        if name not in headers:
            complaints.append(f"vmsrs/{name} is included, and not installed")
    return report("headers", looked_at, complaints)


if __name__ == "__main__":
    sys.exit(main())
