# SPDX-License-Identifier: Apache-2.0
"""What was found, as text and as JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
from pathlib import Path
from typing import Any

from .objects import WORD_BYTES, Object
from .trace import Traced

GRANULES = ("8", "64", "4096")
LIMITS = (
    "Data flow is followed by bytes, for moves exactly, and by whole operands for arithmetic: an upper bound.",
    "Branches are not followed: that a corrupted value decided one is counted only. Nothing is changed in the "
    "running server, so what it would have done with the wrong value is not seen.",
    "Lower figures (data) follow values alone; higher ones (with addresses) also what is loaded or stored by a "
    "corrupted pointer or index.",
    "Of the kernel's accesses those of read, recv, write, send, their relatives with vectors, getrandom and "
    "epoll_wait are followed, no others; of threads' work only what a thread does between receiving from an "
    "accepted connection and waiting or turning to another one. Work handed to another thread, "
    "and other processes, are nobody's.",
    "Users' own stacks are private and not shared memory; the allocator's own data are nobody's; a block that "
    "is allocated anew is new memory.",
    "The server ran on one processor, in QEMU's user-mode emulation.",
)
MOST_SHOWN = 25


def injection(found: dict[str, Any]) -> dict[str, Any]:
    last = found["after"][-1] if found["after"] else [0, 0]
    return {"request": found["request"], "place": found["place"], "stores": found["stores"],
            "marked": found["marked"], "peak": found["peak"][0], "last": last[0],
            "peak_with_addresses": found["peak"][1], "last_with_addresses": last[1],
            "readers": found["readers"], "bytes_sent": found["bytes_sent"],
            "used_as_address": found["used_as_address"], "decided_branches": found["decided_branches"],
            "followed_requests": max(0, len(found["after"]) - 1), "complete": found["complete"],
            "after": [point[0] for point in found["after"]],
            "after_with_addresses": [point[1] for point in found["after"]]}


def sharing_point(snapshot: dict[str, Any]) -> dict[str, Any]:
    point: dict[str, Any] = {"requests": snapshot["requests"], "stack_bytes": snapshot["stack_words"] * WORD_BYTES}
    for size in GRANULES:
        counts = snapshot[size]
        touched = counts["touched"]
        point[size] = dict(counts, share=counts["shared"] / touched if touched else 0.0,
                           share_passed=counts["passed"] / touched if touched else 0.0)
    private = snapshot["8"]["touched"] + snapshot["stack_words"]
    point["share_with_stacks"] = snapshot["8"]["shared"] / private if private else 0.0
    return point


def proposal(objects: list[Object]) -> dict[str, Any]:
    worth = [entry for entry in objects if entry.passed > 0]
    touched = sum(entry.touched for entry in objects)
    stores = sum(entry.stores for entry in objects)
    rows = [dict(vars(entry), share_of_stores=entry.stores / stores if stores else 0.0,
                 share_of_memory=entry.touched / touched if touched else 0.0) for entry in worth]
    return {"objects": rows, "all_touched_bytes": touched * WORD_BYTES, "all_stores": stores,
            "share_of_memory": sum(row["share_of_memory"] for row in rows),
            "share_of_stores": sum(row["share_of_stores"] for row in rows),
            "not_proposed": len(objects) - len(worth)}


def evaluate(traced: Traced, objects: list[Object], options: argparse.Namespace) -> dict[str, Any]:
    found = traced.found
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "server": [Path(options.server[0]).name, *options.server[1:]],
        "user": options.user, "seed": options.seed, "corrupt": options.corrupt,
        "circumstances": f"{now:%Y-%m-%d %H:%M} UTC; {platform.machine()}; Linux {platform.release().partition('-')[0]}; "
                         f"QEMU user mode, one processor; traced for {traced.seconds:.0f} s",
        "requests": found["requests"], "connections": found["connections"], "threads": found["threads"],
        "instructions": found["instructions"], "loads": found["loads"], "stores": found["stores"],
        "unseen_accesses": found["unseen_accesses"],
        "figure1": [injection(row) for row in found["injections"]],
        "wanted_injections": options.injections, "follow": options.follow,
        "figure2": [sharing_point(row) for row in found["snapshots"]],
        "proposal": proposal(objects),
        "limits": LIMITS,
    }


def figure1_text(result: dict[str, Any]) -> list[str]:
    rows = result["figure1"]
    lines = [f"How corrupted values spread: {len(rows)} injections of {result['wanted_injections']}, each followed "
             f"for {result['follow']} requests (paper: figure 1)"]
    if not rows:
        return lines + ["  none was made"]
    lines.append(f"  {'request':>8} {'place':<6}{'stores':>7}{'marked':>8}{'peak':>8}{'last':>8}   with addresses:"
                 f"{'peak':>8}{'last':>8}{'readers':>9}{'sent':>7}")
    for row in sorted(rows, key=lambda entry: (entry["marked"], entry["request"])):
        lines.append(f"  {row['request']:>8} {row['place']:<6}{row['stores']:>7}{row['marked']:>8}{row['peak']:>8}"
                     f"{row['last']:>8}{'':>18}{row['peak_with_addresses']:>8}{row['last_with_addresses']:>8}"
                     f"{row['readers']:>9}{row['bytes_sent']:>7}{'' if row['complete'] else '  (not followed to the end)'}")
    marked = sum(row["marked"] for row in rows)
    gone = sum(row["last"] == 0 for row in rows)
    gone_addresses = sum(row["last_with_addresses"] == 0 for row in rows)
    lines += [f"  in all: {marked} bytes marked, {sum(row['peak'] for row in rows)} at most, "
              f"{sum(row['last'] for row in rows)} at the end "
              f"(with addresses {sum(row['peak_with_addresses'] for row in rows)} at most, "
              f"{sum(row['last_with_addresses'] for row in rows)} at the end)",
              f"  nothing left at the end: {gone} of {len(rows)} (with addresses {gone_addresses}); "
              f"median at the end {statistics.median(row['last'] for row in rows):g} bytes",
              f"  other users read corrupted values: {sum(row['readers'] > 0 for row in rows)} of {len(rows)}; "
              f"used as an address or for a branch: "
              f"{sum(row['used_as_address'] + row['decided_branches'] > 0 for row in rows)} of {len(rows)}"]
    return lines


def figure2_text(result: dict[str, Any]) -> list[str]:
    lines = ["", "How much of the memory that users touched several touched (shared), and one of them read what another had "
             "written last (passed) (paper: figure 2)",
             f"  {'':>19}{'words of 8 bytes':>20}{'lines of 64 bytes':>20}{'pages':>20}{'words, with stacks':>20}",
             f"  {'requests':>9}{'words':>10}" + f"{'shared':>11}{'passed':>9}" * 3 + f"{'shared':>20}"]
    for point in result["figure2"]:
        row = f"  {point['requests']:>9}{point['8']['touched']:>10}"
        for size in GRANULES:
            row += f"{point[size]['share']:>11.1%}{point[size]['share_passed']:>9.1%}"
        lines.append(row + f"{point['share_with_stacks']:>20.1%}")
    return lines


def proposal_text(result: dict[str, Any]) -> list[str]:
    found = result["proposal"]
    lines = ["", "What is worth monitoring: users read what other users had written there",
             f"  {'stores':>9}{'of all':>8}{'memory':>8}{'words':>8}{'shared':>8}{'passed':>8}  what"]
    for row in found["objects"][:MOST_SHOWN]:
        size = f"{row['bytes']} bytes" + (f" in {row['blocks']} blocks" if row["blocks"] else "")
        lines.append(f"  {row['stores']:>9}{row['share_of_stores']:>8.1%}{row['share_of_memory']:>8.1%}"
                     f"{row['touched']:>8}{row['shared']:>8}{row['passed']:>8}  "
                     f"{row['kind']} {row['name']}, {size}")
    if len(found["objects"]) > MOST_SHOWN:
        lines.append(f"  and {len(found['objects']) - MOST_SHOWN} more, in report.json")
    lines.append(f"  together {found['share_of_memory']:.1%} of the memory that users touched outside of their stacks, "
                 f"{found['share_of_stores']:.1%} of their stores to it; not proposed: {found['not_proposed']} objects")
    return lines


def text(result: dict[str, Any]) -> str:
    lines = [f"vmsrs-study: {' '.join(result['server'])}", result["circumstances"],
             f"{result['requests']} requests on {result['connections']} connections, {result['threads']} threads; "
             f"a user is a {result['user']}; seed {result['seed']}",
             f"users' instructions {result['instructions']}, loads {result['loads']}, stores {result['stores']}; "
             f"instructions whose accesses were not seen: {result['unseen_accesses']}", ""]
    lines += figure1_text(result) + figure2_text(result) + proposal_text(result)
    lines += ["", "What this does not say:"] + [f"- {limit}" for limit in result["limits"]]
    return "\n".join(lines) + "\n"


def as_json(result: dict[str, Any]) -> str:
    """A line for each row of a table."""
    def value(content: Any) -> str:
        if isinstance(content, list) and content and isinstance(content[0], dict):
            return "[\n" + ",\n".join(json.dumps(row) for row in content) + "]"
        if isinstance(content, dict):
            return "{" + ",\n".join(f"{json.dumps(key)}: {value(row)}" for key, row in content.items()) + "}"
        return json.dumps(content)
    return value(result) + "\n"


def write(result: dict[str, Any], folder: Path) -> None:
    (folder / "report.json").write_text(as_json(result), encoding="utf-8")
    (folder / "report.txt").write_text(text(result), encoding="utf-8")
