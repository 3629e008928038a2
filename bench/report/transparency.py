# SPDX-License-Identifier: Apache-2.0
"""What the hypervisor changes for programs that have nothing to do with it: the same work in a machine with it below
Linux and without, by results, instructions and exits."""

from __future__ import annotations

import csv
import datetime
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .machine import GUEST, SECRET, TOP, WINDOWS_GID
from .output import circumstances
from .programs import Figure, say

NAME = "transparency"
HEADING = "TCG, instructions and exits; nested paging's cost not in it"
# What an exit and the way back takes on a processor, cycles: the published range.
EXIT_CYCLES = (1100, 3400)
# Instructions are those for which the workload's processes had the processor; where nothing is done but to wait, all
# of the clock's, for exits are a share of that time.
IDLE = {"timers", "idle"}
CALIBRATION = "known_instructions"
COMPUTE = {"integer", "floating_point", "memory_copy"}
SWITCHING = {"fork_exec", "context_switch"}
DISK_BYTES = 64 << 20
SECONDS = 1200


@dataclass(frozen=True)
class Workload:
    operations: int
    result: str
    clock: int
    processor: int
    exits: dict[str, int]

    def instructions(self, name: str) -> int:
        return self.clock if name in IDLE else self.processor


@dataclass
class Run:
    workloads: dict[str, Workload] = field(default_factory=dict)
    stress: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by options: exit code, what passed


@dataclass(frozen=True)
class Row:
    """One workload, with the hypervisor over without."""
    name: str
    operations: int
    same: bool
    instructions: int  # without
    extra: int  # with
    exits: dict[str, int]

    @property
    def exit_count(self) -> int:
        return sum(self.exits.values())

    def percent(self, cycles: int = 0) -> float:
        return 100 * (self.extra + cycles * self.exit_count) / self.instructions

    def aim(self) -> float | None:
        return 1 if self.name in COMPUTE else 5 if self.name in SWITCHING else None


@dataclass
class Comparison:
    rows: list[Row]
    stress: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]  # without, with
    two: Run | None = None  # two processors, exits alone

    def differences(self) -> list[str]:
        found = [f"{row.name}: another result" for row in self.rows if not row.same]
        return found + [f"stress-ng {options}: {bare} without, {below} with"
                        for options, (bare, below) in self.stress.items() if bare != below or bare[0] != "0"]


def _call(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=sys.stderr)


class Machines:
    """The same kernel, initramfs, processor and devices, with the hypervisor and without."""

    def __init__(self, build: Path, folder: Path, quick: bool) -> None:
        self.build, self.folder, self.quick = build, folder, quick
        self.kernel = build / "guest"
        self.windows, self.initrd, self.disk = folder / "windows.img", folder / "initrd.img", folder / "disk.img"
        program = folder / "bench_transparency"
        _call("strip", "-o", program, build / "bench" / "bench_transparency")
        _call(GUEST / "fetch-kernel.sh", self.kernel)
        _call(GUEST / "make-windows-image.sh", self.windows, WINDOWS_GID)
        entries = [program]
        if not quick:
            if shutil.which("stress-ng") is None:
                sys.exit("no stress-ng (Debian package stress-ng)")
            entries += [f"{shutil.which('stress-ng')}:/bin/stress-ng",
                        f"{TOP / 'bench/machine/stress-ng-runs'}:/etc/stress-ng-runs"]
        _call(GUEST / "make-initramfs.sh", "-o", self.initrd, "-k", self.kernel, "-i",
              TOP / "bench/machine/transparency-init", *entries)

    def run(self, below: bool, cpus: int = 1) -> Run:
        say(f"booting {'with' if below else 'without'} the hypervisor, {cpus} processor(s)")
        with self.disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        # Below the hypervisor Linux finds no IOMMU; without it, it is not to use one either.
        options = "quiet nokaslr norandmaps amd_iommu=off" + (" quick=1" if self.quick or cpus > 1 else "")
        command = [TOP / "tests/machine/run-guest.py", "--cpus", cpus, "--kernel", self.kernel / "vmlinuz",
                   "--initrd", self.initrd, "--append", options, "--timeout", SECONDS,
                   "--device", f"drive=if=none,id=disk,format=raw,file={self.disk}",
                   "--device", "device=virtio-blk-pci,drive=disk"]
        if cpus == 1:
            command.append("--icount")
        if below:
            command += ["--hypervisor", self.build / "hypervisor/vmsrs-hypervisor.elf32", "--windows", self.windows,
                        "--secret", SECRET, "--log", self.folder / "hypervisor.log"]
        result = subprocess.run([str(word) for word in command], check=False, stdout=subprocess.PIPE, text=True,
                                errors="replace")
        if result.returncode != 0:
            sys.exit(f"{result.stdout}\nthe machine's run failed: {result.returncode}")
        return _read(result.stdout.splitlines())


def _read(lines: list[str]) -> Run:
    run = Run()
    for line in lines:
        words = line.split("\t")
        if words[0] == "workload":
            name, operations, result, clock, processor, exits = words[1:7]
            run.workloads[name] = Workload(int(operations), result, int(clock), int(processor),
                                           {reason: int(count) for reason, count in re.findall(r"(\w+)=(\d+)", exits)})
        elif words[0] == "stress":
            run.stress[words[1]] = tuple(words[2:])
    return run


def measure(build: Path, quick: bool) -> Comparison:
    with tempfile.TemporaryDirectory() as name:
        machines = Machines(build, Path(name), quick)
        bare, below = machines.run(below=False), machines.run(below=True)
        two = None if quick else machines.run(below=True, cpus=2)
    for what, run in (("without", bare), ("with", below)):
        calibration = run.workloads.get(CALIBRATION)
        if calibration is None or not 0.999 <= calibration.clock / calibration.operations <= 1.02:
            sys.exit(f"{what} the hypervisor the clock does not count instructions: {calibration}")
    if bare.workloads.keys() != below.workloads.keys() or bare.stress.keys() != below.stress.keys():
        sys.exit(f"not the same was run: {sorted(bare.workloads)}, {sorted(below.workloads)}")
    rows = [Row(name, each.operations, each.result == below.workloads[name].result, each.instructions(name),
                below.workloads[name].instructions(name) - each.instructions(name), below.workloads[name].exits)
            for name, each in bare.workloads.items()]
    return Comparison(rows, {key: (bare.stress[key], below.stress[key]) for key in bare.stress}, two)


def summary(comparison: Comparison) -> list[Figure]:
    return [Figure(f"{NAME}_{row.name}_percent{suffix}", row.percent(cycles), "%", "more instructions" + text)
            for row in comparison.rows for cycles, suffix, text in
            ((0, "", ""), *((each, f"_at_{each}", f", {each} cycles for an exit") for each in EXIT_CYCLES))]


def _exits(exits: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(exits.items())) or "none"


def print_table(comparison: Comparison) -> None:
    print(f"\nTransparency: {HEADING}\n{circumstances()}")
    low, high = EXIT_CYCLES
    print(f"\n{'workload':<20}{'operations':>11}{'instructions':>14}{'more':>10}{'':>9}{f'at {low}':>9}{f'at {high}':>9}"
          f"{'aim':>7}  exits")
    for row in comparison.rows:
        aim = f"<= {row.aim():g} %" if row.aim() is not None else ""
        print(f"{row.name:<20}{row.operations:>11}{row.instructions:>14}{row.extra:>10}{row.percent():>7.2f} %"
              f"{row.percent(low):>7.2f} %{row.percent(high):>7.2f} %{aim:>7}  {_exits(row.exits)}"
              f"{'' if row.same else '  ANOTHER RESULT'}")
    if comparison.two is not None:
        print("\ntwo processors, exits for an operation (no instructions are counted there)")
        for name, each in comparison.two.workloads.items():
            count = sum(each.exits.values())
            print(f"{name:<20}{each.operations:>11}{count / each.operations:>10.4g}  {_exits(each.exits)}")
    for options, (bare, below) in comparison.stress.items():
        print(f"stress-ng {options}: {'the same' if bare == below else 'NOT THE SAME'}: {' '.join(below)}")


def keep(folder: Path, comparison: Comparison) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}-{NAME}"
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# VMSRS, transparency: {HEADING}\n# {circumstances()}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("workload", "processors", "operations", "same_result", "instructions", "more", "more_percent",
                         *(f"more_percent_at_{cycles}" for cycles in EXIT_CYCLES), "aim_percent", "exits"))
        for row in comparison.rows:
            writer.writerow((row.name, 1, row.operations, row.same, row.instructions, row.extra,
                             *(f"{row.percent(cycles):.4f}" for cycles in (0, *EXIT_CYCLES)),
                             row.aim() or "", _exits(row.exits)))
        if comparison.two is not None:
            for each, workload in comparison.two.workloads.items():
                writer.writerow((each, 2, workload.operations, *([""] * 7), _exits(workload.exits)))
        for options, (bare, below) in comparison.stress.items():
            writer.writerow((f"stress-ng {options}", 1, "", bare == below, *([""] * 6), " ".join(below)))
    return name
