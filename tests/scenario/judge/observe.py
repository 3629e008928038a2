# SPDX-License-Identifier: Apache-2.0
"""What the hypervisor counted, read through vmsrsd: never from the server."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from .plan import Mode

COMMAND_SECONDS = 90
CONSOLE_SECONDS = 60
FIRST_SIGNAL_STATUS = 128  # as a shell tells it
VIOLATED_EXIT = 3  # vmsrsctl: an invariant is violated


class ObserveError(Exception):
    """vmsrsd could not be asked, or its answer was not understood."""


@dataclass
class Observation:
    """The hypervisor's counters after the run."""

    faults: int = 0
    suppressed_stores: int = 0
    restores: int = 0
    hidden_region_bytes: int = 0
    crashed_users: list[int] = field(default_factory=list)
    # Of these: without a fault of their own. What they had written could not be told any more.
    undecidable_users: list[int] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)


def read_metrics(url: str) -> dict[str, float]:
    """Prometheus's text format: the sum of each metric over its labels."""
    try:
        with urllib.request.urlopen(url, timeout=COMMAND_SECONDS) as reply:
            text = reply.read().decode()
    except OSError as error:
        raise ObserveError(f"no metrics from {url}: {error}") from error
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name = series.partition("{")[0]
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def console_problems(path: str, mode: Mode) -> list[str]:
    """What the machine's own console says of the shop's life; it may say so a little late."""
    deadline = time.monotonic() + (CONSOLE_SECONDS if mode is Mode.UNPROTECTED else 0)
    while True:
        ended = re.search(r"guest: the shop ended, status (\d+)",
                          Path(path).read_text(encoding="utf-8", errors="replace"))
        if ended or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if mode is not Mode.UNPROTECTED:
        return [f"the shop's process ended: status {ended[1]}"] if ended else []
    if ended and int(ended[1]) > FIRST_SIGNAL_STATUS:
        return []
    return ["the shop's process was not ended by a signal: nothing was shown"]


def ask(vmsrsctl: str, api: str, *words: str, accept: tuple[int, ...] = (0,)) -> object:
    """One vmsrsctl command's JSON."""
    command = [vmsrsctl, "--socket", api, *words, "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS,
                              check=False)
        if done.returncode not in accept:
            raise ObserveError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise ObserveError(f"{' '.join(command)}: {error}") from error


def observe(metrics_url: str, vmsrsctl: str, api: str) -> Observation:
    checks = ask(vmsrsctl, api, "check", accept=(0, VIOLATED_EXIT))
    users = ask(vmsrsctl, api, "users", "list", "--crashed")
    metrics = read_metrics(metrics_url)
    seen = Observation(
        faults=int(metrics.get("vmsrs_user_faults_total", 0)),
        suppressed_stores=int(metrics.get("vmsrs_suppressed_stores_total", 0)),
        restores=int(metrics.get("vmsrs_restores_total", 0)),
        hidden_region_bytes=int(metrics.get("vmsrs_hidden_memory_bytes", 0)))
    try:
        kinds = {int(user["label"]): user["first_fault"]["kind"] for user in users["users"]}  # type: ignore[index]
        seen.crashed_users = sorted(kinds)
        seen.undecidable_users = sorted(user for user, kind in kinds.items() if kind == "check")
        seen.checks = {check["name"]: check["verdict"] for check in checks["checks"]}  # type: ignore[index]
    except (KeyError, TypeError, ValueError) as error:
        raise ObserveError(f"vmsrsctl's answer was not understood: {error!r}") from error
    return seen
