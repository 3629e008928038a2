# SPDX-License-Identifier: Apache-2.0
"""The command: options, what is missing, and the order of things."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from . import elf, objects, report, trace

MOST_INJECTIONS = 32
FOLDER = Path(__file__).resolve().parent.parent
EPILOGUE = """\
The server runs in the foreground, under QEMU's user-mode emulation, some hundred times slower than
otherwise: give load commands time. vmsrs-study waits until something listens on the port, runs the
warm-up to its end, and then traces while the load runs.
"""


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got '{text}'")
    return value


def injections(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MOST_INJECTIONS:
        raise argparse.ArgumentTypeError(f"expected 0 to {MOST_INJECTIONS}, got '{text}'")
    return value


def port(text: str) -> int:
    value = int(text)
    if not 0 < value < 65536:
        raise argparse.ArgumentTypeError(f"expected a TCP port, got '{text}'")
    return value


def stores(text: str) -> list[int]:
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers from 1 on, as in 1,4,16, got '{text}'")
    return values


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="vmsrs-study", usage="vmsrs-study --port PORT --load COMMAND [options] -- SERVER [ARGUMENT...]",
        description="Runs a server that nobody changed, and finds out what its users share, how corrupted "
                    "values spread in its memory, and which of its memory is worth monitoring.",
        epilog=EPILOGUE, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = result.add_argument
    add("--port", type=port, required=True, help="the TCP port that the server listens on")
    add("--load", required=True, metavar="COMMAND", help="shell command that makes the requests to be traced")
    add("--warm-up", metavar="COMMAND", help="shell command that is run before, and not traced")
    add("--user", choices=("request", "connection", "thread"), default="request",
        help="who is a user: each request (the default), each accepted connection, or each thread")
    add("--injections", type=injections, default=MOST_INJECTIONS, metavar="N",
        help=f"how many values are corrupted and followed, at most {MOST_INJECTIONS}, the default")
    add("--stores", type=stores, default=[1, 4, 16, 64], metavar="N,...",
        help="how many stores in a row each injection corrupts, by turns (1,4,16,64)")
    add("--spacing", type=positive, default=10, metavar="N",
        help="one injection in so many requests (10)")
    add("--follow", type=positive, default=100, metavar="N",
        help="requests that each injection is followed for (100)")
    add("--corrupt", metavar="VARIABLE", help="only stores to this variable of the program's")
    add("--seed", type=int, default=1, help="of the choice of requests and stores (1)")
    add("--start-limit", type=positive, default=600, metavar="SECONDS",
        help="how long the server may take to listen (600)")
    add("--load-limit", type=positive, default=3600, metavar="SECONDS",
        help="how long warm-up and load may take, each (3600)")
    add("--output", type=Path, default=Path("vmsrs-study"), metavar="FOLDER",
        help="where report.txt, report.json and the plots go (vmsrs-study)")
    add("server", nargs="+", help=argparse.SUPPRESS)
    return result


class Refused(Exception):
    """Nothing was run; the text says what to do."""


def check(options: argparse.Namespace) -> None:
    """Looks for everything that is needed before anything takes long."""
    packages = []
    if shutil.which(trace.QEMU) is None:
        packages.append("qemu-user")
    if importlib.util.find_spec("matplotlib") is None:
        packages.append("python3-matplotlib")
    if packages:
        raise Refused(f"missing Debian packages, install them: apt-get install {' '.join(packages)}")
    for name in (trace.TRACER, trace.ALLOCATIONS):
        if not (FOLDER / name).is_file():
            raise Refused(f"{FOLDER / name} is missing: build the target vmsrs_study_tracer, or install again")
    found = shutil.which(options.server[0])
    if found is None:
        raise Refused(f"no program '{options.server[0]}': give its path")
    options.server[0] = found
    try:
        program = elf.Elf(Path(found))
    except elf.NotElf as error:
        raise Refused(f"{found}: {error}; give the program itself, no script around it") from None
    if not program.dynamic:
        raise Refused(f"{found} is linked statically: its allocations cannot be seen")
    options.range_from_code = options.range_bytes = 0
    if options.corrupt is not None:
        variable = program.variable(options.corrupt)
        if variable is None:
            raise Refused(f"{found} has no variable '{options.corrupt}' in its symbols "
                          "(is it stripped? install its -dbgsym package)")
        options.range_from_code = variable.address - program.code_start
        options.range_bytes = variable.bytes
    if trace.listens(options.port):
        raise Refused(f"port {options.port} is in use already: stop what listens on it, or choose another")


def main() -> int:
    options = parser().parse_args()
    try:
        check(options)
        options.output.mkdir(parents=True, exist_ok=True)
    except (Refused, OSError) as error:
        print(f"vmsrs-study: {error}", file=sys.stderr)
        return 2
    try:
        traced = trace.run(options, FOLDER)
    except trace.Failed as error:
        print(f"vmsrs-study: {error}", file=sys.stderr)
        return 1
    result = report.evaluate(traced, objects.of(traced), options)
    report.write(result, options.output)
    from . import plots  # loads matplotlib
    plots.draw(result, options.output)
    print((options.output / "report.txt").read_text(encoding="utf-8"), end="")
    print(f"vmsrs-study: kept in {options.output}: report.txt, report.json, figure1.svg, figure2.svg",
          file=sys.stderr)
    return 0
