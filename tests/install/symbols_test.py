# SPDX-License-Identifier: Apache-2.0
"""The shared library exports what is listed, under its SONAME, and needs nothing but libc and Zydis.

usage: symbols_test.py PREFIX SOVERSION
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from installation import DATA, INTERPOSED, TREE, output_of, public_functions, report

NEEDED = {"libc.so.6", "libZydis.so.4.0"}
# Of the frame that exceptions pass: every compiler links it (guestlib/src/scope_body.c).
COMPILERS = {"_Unwind_Resume"}
FOREIGN = re.compile(r"\b(__cxa_(?!finalize)|__gxx_|_Unwind_|_ZS|_ZNS|_ZNKS|_Zn|_Zd|_ZT)")


def listed(version_script: str) -> set[str]:
    text = re.sub(r"/\*.*?\*/", "", version_script, flags=re.DOTALL)
    return set(re.findall(r"^\s*(\w+);$", text, flags=re.MULTILINE))


def exported(library: Path) -> set[str]:
    lines = output_of("nm", "-D", "--defined-only", library).splitlines()
    kinds = [line.split() for line in lines]
    return {name.split("@")[0] for _, kind, name in kinds if kind != "A"}


def differences(what: str, found: set[str], expected: set[str]) -> list[str]:
    return ([f"{what}: {name} is missing" for name in sorted(expected - found)] +
            [f"{what}: {name} should not be there" for name in sorted(found - expected)])


def memory_functions() -> set[str]:
    """Those that vmsrs_protect() has the linker wrap."""
    text = (TREE / "guestlib/protect/vmsrs-protect.cmake").read_text()
    listed_there = re.search(r"set\(VMSRS_WRAPPED\s+([\w\s]+)\)", text)
    return set(listed_there[1].split()) if listed_there else set()


def known_elsewhere() -> set[str]:
    """What there is to stand before: in the C library of this process, and in libevent."""
    libraries = output_of("ldconfig", "-p")
    found = [re.search(rf"^\s*{name} \(libc6,x86-64.*=> (\S+)$", libraries, re.MULTILINE)
             for name in (r"libc\.so\.6", r"libevent_core-2\.1\.so\.7")]
    return {name for library in found if library for name in exported(Path(library[1]))}


def main() -> int:
    libraries = Path(sys.argv[1]) / "lib"
    soname = f"libvmsrs.so.{sys.argv[2]}"
    shared = libraries / soname
    public = set(public_functions()) | DATA | INTERPOSED
    version_script = (TREE / "guestlib/libvmsrs.map").read_text()
    complaints = differences("libvmsrs.map", listed(version_script), public)
    complaints += differences("libvmsrs.map's versions", set(re.findall(r"^VMSRS_(\d+) ", version_script,
                                                                        re.MULTILINE)), {sys.argv[2]})
    complaints += differences("libvmsrs.so exports", exported(shared), public)

    dynamic = output_of("readelf", "-dW", shared)
    complaints += differences("libvmsrs.so needs", set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)), NEEDED)
    complaints += differences("SONAME", set(re.findall(r"SONAME.*\[(.*)\]", dynamic)), {soname})
    if "BIND_NOW" not in dynamic:
        complaints.append("libvmsrs.so: its functions are not bound when it is loaded")

    # What stands before the C library of a program that was not linked with any of this.
    preload = libraries / "vmsrs/libvmsrs-preload.so"
    before = exported(preload)
    complaints += [f"libvmsrs-preload.so exports {name}" for name in sorted(before) if "vmsrs" in name]
    complaints += [f"libvmsrs-preload.so does not export {name}"
                   for name in sorted((INTERPOSED | memory_functions()) - before)]
    complaints += [f"libvmsrs-preload.so exports {name}: neither libc nor libevent has it"
                   for name in sorted(before - known_elsewhere())]
    dynamic = output_of("readelf", "-dW", preload)
    complaints += differences("libvmsrs-preload.so needs", set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)), NEEDED)
    if "VERDEF" in dynamic:
        complaints.append("libvmsrs-preload.so: its functions have versions: they stand before none of another one")

    # The archive: what it does not define must come from libc and Zydis.
    archive = libraries / "libvmsrs.a"
    complaints += [f"libvmsrs.a needs {line.split()[-1]} of the C++ library"
                   for line in output_of("nm", "--undefined-only", archive).splitlines()
                   if FOREIGN.search(line) and line.split()[0] not in "wv" and
                   line.split()[-1] not in COMPILERS]
    defined = output_of("nm", "--defined-only", "--extern-only", archive)
    complaints += differences("libvmsrs.a", {name for name in public if re.search(rf" {name}$", defined,
                                             re.MULTILINE)}, public)
    return report("symbols", len(public), complaints)


if __name__ == "__main__":
    sys.exit(main())
