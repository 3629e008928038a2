# SPDX-License-Identifier: Apache-2.0
"""Runs the tutorial's commands as they stand there, and compares what they print with what it says.

usage: tutorial_run_test.py BUILD PREFIX

Other than there: what was installed is below PREFIX, the port is a free one, and each server that is started
in the background is waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from installation import TREE, report
from tutorial import PAGE, blocks

sys.path.insert(0, str(TREE / "tests/scenario"))
from host_run import free_port  # noqa: E402

# A stream, or vmsrs-hosted's packets.
WAIT = """wait_for() {
  local turn
  for ((turn = 0; turn < 600; ++turn)); do
    socat -u /dev/null "UNIX:$1" || socat -u /dev/null "UNIX:$1,type=5" || { sleep 0.05; continue; }
    return
  done 2>/dev/null
}
"""


def with_waiting(commands: str) -> str:
    lines = []
    for line in commands.splitlines():
        lines.append(line)
        if line.endswith("&"):
            place = re.search(r"\w+\.sock", line)
            lines.append(f"wait_for {place[0] if place else 'api.sock'}")
    return "\n".join(lines)


def script(parts: list[str]) -> str:
    return WAIT + "\n".join(f"{{\n{with_waiting(part)}\n}} >\"$OUTPUT.{number}\" 2>\"$OUTPUT.errors.{number}\""
                            for number, part in enumerate(parts))


def run(parts: list[str], build: Path, prefix: Path, folder: Path) -> list[str]:
    """What each part printed."""
    environment = {**os.environ, "OUTPUT": str(folder / "output"), "LD_LIBRARY_PATH": f"{prefix}/lib",
                   "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig",
                   "PATH": f"{build}/hypervisor/hosted:{build}/vmsrsd:{os.environ['PATH']}"}
    shell = subprocess.Popen(["bash", "-c", script(parts)], cwd=folder, env=environment,
                             start_new_session=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        shell.wait(180)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
    outputs = []
    for number in range(len(parts)):
        output, errors = folder / f"output.{number}", folder / f"output.errors.{number}"
        outputs.append(output.read_text() if output.exists() else "")
        print(f"-- part {number}\n{outputs[-1]}{errors.read_text() if errors.exists() else 'not reached'}")
    return outputs


def main() -> int:
    build, prefix = Path(sys.argv[1]), Path(sys.argv[2])
    text = PAGE.read_text().replace("/usr/local", str(prefix)).replace("9470", str(free_port()))
    session = [(language, block) for language, block in blocks(text) if language in ("sh", "text")]
    parts = [block for language, block in session if language == "sh"]
    with tempfile.TemporaryDirectory() as folder:
        outputs = run(parts, build, prefix, Path(folder))
    complaints, looked_at, number = [], 0, -1
    for language, block in session:
        if language == "sh":
            number += 1
            continue
        looked_at += 1
        if outputs[number] != block:
            complaints.append(f"{parts[number]}prints\n{outputs[number]}and not\n{block}")
    return report("tutorial's commands", looked_at, complaints)


if __name__ == "__main__":
    sys.exit(main())
