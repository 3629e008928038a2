# SPDX-License-Identifier: Apache-2.0
"""Installs into a fresh folder, component by component: together they are what `cmake --install` installs.

usage: install.py CMAKE BUILD PREFIX
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from installation import output_of, report

COMPONENTS = ("library", "tools", "development", "documentation", "guide", "daemon", "hosted", "control", "hypervisor",
              "monitoring")
# Of tools, all but its pages. library is the shared library alone.
TOOLS = {"lib/vmsrs/libvmsrs-preload.so", "bin/vmsrs-run", "bin/vmsrs-study", "lib/vmsrs-study/vmsrs-study",
           "lib/vmsrs-study/tracer.so", "lib/vmsrs-study/allocation_calls.so",
           "lib/vmsrs/bookshop", "share/vmsrs/catalogue.csv", "lib/systemd/system/vmsrs-bookshop.service",
           "lib/sysusers.d/vmsrs-tools.conf",
           *(f"lib/vmsrs-study/vmsrs_study/{name}.py"
             for name in ("__init__", "command", "elf", "objects", "plots", "report", "trace"))}


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def main() -> int:
    cmake, build, prefix = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    shutil.rmtree(prefix, ignore_errors=True)
    for component in COMPONENTS:
        output_of(cmake, "--install", build, "--prefix", prefix, "--component", component)
        if component == "library":
            library = files_below(prefix)
        if component == "tools":
            tools = {name for name in files_below(prefix) - library if not name.startswith("share/man/")}
    complaints = [f"component library: {name}" for name in library if not name.startswith("lib/libvmsrs.so.")]
    complaints += [f"component tools: {name}" for name in sorted(tools ^ TOOLS)]
    with tempfile.TemporaryDirectory() as whole:
        output_of(cmake, "--install", build, "--prefix", whole)
        different = files_below(Path(whole)) ^ files_below(prefix)
    complaints += [f"{name}: not in one component, or in none" for name in sorted(different)]
    return report("installed files", len(files_below(prefix)), complaints)


if __name__ == "__main__":
    sys.exit(main())
