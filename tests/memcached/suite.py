# SPDX-License-Identifier: Apache-2.0
"""memcached's own tests, as its package runs them: plain, and protected under vmsrs-hosted.

usage: suite.py BUILD_DIR PROGRAMS SOURCE [--by-hand] [FILE...]

FILE: of the source's t/, getset.t for one; without any: all of them, and its testapp. Each must give the
same in both, with its assertions compiled in. --by-hand: protected by calls by hand instead of hooks; no store
may be made that none of them has announced.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from faults import Orders
from server import Hosted, INVARIANTS, run

LINE = re.compile(r"^t/(\S+\.t) \.+ *(.*)$", re.MULTILINE)
SECONDS = 1500
# They look at the source's own text, as its package's rules say of one of them.
NOT_OF_THE_PROGRAM = {"whitespace.t", "line-lengths.t"}
# Slab pages in a file of its own (-e), which is no region: not protected (docs/memcached.md).
NOT_PROTECTED = {"restart.t"}
# They want slab pages moved, which calls by hand leave where they are.
MOVES_PAGES = {"dyn-maxbytes.t", "slabs-reassign-chunked.t", "slabs-reassign2.t", "slabs_reassign.t"}


def results(output: str) -> dict[str, str]:
    """Of prove: file to ok, skipped, or what was wrong."""
    found = {}
    for name, rest in LINE.findall(output):
        word = rest.split(":")[0].strip()
        if word and not re.fullmatch(r"\d+/\S+.*", word):
            found[name] = word if word in ("ok", "skipped") else "failed"
    return found


def play(place: Path, source: Path, programs: Path, program: str, files: list[str],
         environment: dict[str, str], left_out: set[str]) -> dict[str, str]:
    """In a folder that looks as the source's does when it was built there."""
    shutil.copytree(source / "t", place / "t")
    for name, built in (("memcached-debug", program), ("memcached", program), ("timedrun", "timedrun"),
                        ("sizes", "sizes"), ("testapp", "testapp")):
        (place / name).symlink_to(programs / built)
    everything = {**os.environ, **environment}
    whole = not files
    files = files or sorted(path.name for path in (place / "t").glob("*.t") if path.name not in left_out)
    proved = run("prove", "-j2", *[f"t/{name}" for name in files], seconds=SECONDS, cwd=place, env=everything)
    found = {name: "no result" for name in files} | results(proved.stdout)
    if whole:
        tested = run("./testapp", seconds=SECONDS, cwd=place, env=everything)
        lines = re.findall(r"^(ok|not ok) \d+ - (.*)$", tested.stdout, re.MULTILINE)
        found |= {f"testapp: {name}": "ok" if word == "ok" else "failed" for word, name in lines}
        if tested.returncode != 0 or not lines:
            found["testapp"] = f"exit code {tested.returncode}"
    if any(result not in ("ok", "skipped") for result in found.values()):
        print(proved.stdout)
    return found


def main() -> int:
    build, programs, source = (Path(word).resolve() for word in sys.argv[1:4])
    by_hand = "--by-hand" in sys.argv[4:]
    files = [word for word in sys.argv[4:] if word != "--by-hand"]
    left_out = NOT_OF_THE_PROGRAM | NOT_PROTECTED | (MOVES_PAGES if by_hand else set())
    program = "memcached-by-hand-assertions" if by_hand else "memcached-protected-assertions"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for part in ("host", "plain", "protected"):
            (folder / part).mkdir()
        orders = Orders(folder / "orders")
        plain = play(folder / "plain", source, programs, "memcached-plain-assertions", files, {}, left_out)
        host = Hosted(build, folder / "host", stack, "memcached", storage="12GiB")  # several run at a time
        before = host.server()
        protected = play(folder / "protected", source, programs, program, files,
                         {"VMSRS_HOSTED_SOCKET": str(host.socket), "MEMCACHED_SECRET": str(host.secret),
                          "MEMCACHED_FAULTS": str(folder / "orders")}, left_out)
        unannounced, site = orders.unannounced_and_site()
        after = host.server()
        verdicts = {check["name"]: check["verdict"] for check in host.ctl("check")["checks"]}
    complaints = [f"{name}: plain {plain.get(name)}, protected {protected.get(name)}"
                  for name in sorted(plain | protected) if plain.get(name) != protected.get(name)]
    complaints += [f"{name}: {result} in both" for name, result in sorted(plain.items())
                   if result not in ("ok", "skipped") and result == protected.get(name)]
    complaints += [f"{name}: {verdicts.get(name)}" for name in sorted(INVARIANTS) if verdicts.get(name) != "ok"]
    users = after["users_finished"] - before["users_finished"]
    if after["restores"]["sweep"] != 0:
        complaints.append(f"{after['restores']['sweep']} granules were stored to without a hook")
    if unannounced != 0:
        complaints.append(f"{unannounced} stores that no call by hand has announced, the last at main + {site:#x}")
    if users == 0:
        complaints.append("no user: nothing was protected")
    counts = {result: sum(found == result for found in protected.values()) for result in ("ok", "skipped")}
    print("\n".join(complaints))
    print(f"{len(protected)} tests protected: {counts['ok']} ok, {counts['skipped']} skipped; {users} users, "
          f"{sum(after['faults'].values())} faults; {len(complaints)} complaints")
    return 1 if complaints or not protected else 0


if __name__ == "__main__":
    sys.exit(main())
