# SPDX-License-Identifier: Apache-2.0
"""Runs of the roster, or of another server, in the machine: one boot of Debian's kernel on the hypervisor, in QEMU.

usage: machine.py BUILD_DIR     plays every run and keeps the console in BUILD_DIR/paper/svm.console
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runs import Run, commands, is_end

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
GUEST = TOP / "deploy" / "guest"
SERVER_GID = 1000  # in the guest; the group that may map the hypervisor's windows
YAML = """management: {secret_file: /etc/vmsrs/management.secret}
metrics: {listen: '127.0.0.1:9470'}
servers:
  - {name: SERVER, attach_secret_file: /etc/vmsrs/SERVER.secret}
"""


@dataclass(frozen=True)
class Stage:
    """What is played on."""
    name: str  # of the folder in the build directory that has its files
    server: str
    programs: tuple[str, ...]  # in the build directory
    seconds: int = 420
    cpu: str = "EPYC,+svm,+npt"


PAPER = Stage("paper", "roster", ("examples/roster/roster", "examples/roster/roster-plain"))


def call(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=sys.stderr)


def base_files(build: Path, stage: Stage) -> tuple[Path, Path, Path]:
    """Kernel, windows and the initramfs that is the same for all runs."""
    folder, kernel = build / stage.name, build / "guest"
    folder.mkdir(exist_ok=True)
    windows, initrd = folder / "windows.img", folder / "initrd.img"
    call(GUEST / "fetch-kernel.sh", kernel)
    programs = [build / name for name in (*stage.programs, "vmsrsd/vmsrsd", "cli/vmsrsctl")]
    sources = [*programs, HERE / "guest-init", GUEST / "make-initramfs.sh", kernel / "complete"]
    if not windows.exists():
        call(GUEST / "make-windows-image.sh", windows, SERVER_GID)
    if not initrd.exists() or any(source.stat().st_mtime > initrd.stat().st_mtime for source in sources):
        call(GUEST / "make-initramfs.sh", "-o", initrd, "-k", kernel, "-i", HERE / "guest-init", *programs)
    return kernel / "vmlinuz", windows, initrd


def write(file: Path, text: str, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")
    file.chmod(mode)


def archive(folder: Path, names: list[Path], owner: int) -> bytes:
    """What the kernel unpacks after the initramfs before it."""
    relative = "\0".join(str(name.relative_to(folder)) for name in names)
    return subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc", "-R", f"{owner}:{owner}"],
                          input=relative.encode(), cwd=folder, check=True, stdout=subprocess.PIPE).stdout


def append_run_files(initrd: Path, folder: Path, secret: str, played: list[list[str]], server: str) -> None:
    """What only this run knows."""
    etc = folder / "etc"
    write(etc / "passwd", "root:x:0:0::/:/bin/sh\n"
          f"server:x:{SERVER_GID}:{SERVER_GID}::/:/bin/false\n", 0o644)
    write(etc / "group", f"root:x:0:\nserver:x:{SERVER_GID}:\n", 0o644)
    write(etc / "runs", "".join(" ".join(words) + "\n" for words in played), 0o644)
    write(etc / "vmsrs/vmsrs.yaml", YAML.replace("SERVER", server), 0o644)
    write(etc / "vmsrs/management.secret", secret.encode().hex() + "\n", 0o400)
    roots = [etc, *sorted(etc.rglob("*"))]
    servers = etc / f"vmsrs/{server}.secret"
    write(servers, secrets.token_hex(32) + "\n", 0o400)
    with initrd.open("ab") as file:
        file.write(archive(folder, roots, 0) + archive(folder, [servers], SERVER_GID))


def boot(build: Path, played: list[list[str]], stage: Stage = PAPER) -> list[str]:
    """The guest's console."""
    kernel, windows, initrd = base_files(build, stage)
    secret = secrets.token_hex(16)  # the 32 bytes themselves, as run-guest.py takes them
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = folder / "initrd.img"
        shutil.copyfile(initrd, own)
        os.chmod(own, 0o600)
        append_run_files(own, folder, secret, played, stage.server)
        result = subprocess.run(
            [str(TOP / "tests/machine/run-guest.py"), "--hypervisor",
             str(build / "hypervisor/vmsrs-hypervisor.elf32"), "--kernel", str(kernel), "--initrd", str(own),
             "--windows", str(windows), "--secret", secret, "--append", "quiet", "--cpu", stage.cpu, "--timeout",
             str(stage.seconds), "--log", str(build / stage.name / "svm.hv.log")],
            check=False, stdout=subprocess.PIPE, text=True, errors="replace")
    lines = result.stdout.splitlines()
    if result.returncode != 0:
        sys.exit("\n".join([*lines, f"the machine's run failed: {result.returncode}"]))
    return lines


def runs_of(console: list[str]) -> list[Run]:
    """What was said is on the console when a run has ended; what comes before is the guest's own."""
    runs: list[Run] = []
    for line in console:
        word, _, rest = line.removeprefix("guest: ").partition(" ")
        if not line.startswith("guest: "):
            if runs and runs[-1].after and runs[-1].status < 0 and not is_end(line):
                runs[-1].lines.append(line)
        elif word == "begin":
            runs.append(Run(rest.split(), "svm"))
        elif word == "ended":
            runs[-1].status = int(rest)
        elif word == "check":
            runs[-1].verdicts = {each["name"]: each["verdict"] for each in json.loads(rest)["checks"]}
        else:
            server = json.loads(rest)["servers"][0]
            if word == "before":
                runs[-1].before = server
            else:
                runs[-1].after = server
    return runs


def play(build: Path, played: list[list[str]]) -> list[Run]:
    return runs_of(boot(build, played))


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    kept = target / "paper" / "svm.console"
    kept.unlink(missing_ok=True)
    lines = boot(target, commands("svm"))
    kept.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(kept)
