# SPDX-License-Identifier: Apache-2.0
"""Faults at random stores of memcached's requests; nobody else notices, and the request has not been.

usage: faults.py BUILD_DIR PROGRAM FAULTS [--seed N] [--by-hand]

--by-hand: of a program with calls by hand, whose users do not run on after a fault: so none of their stores is suppressed
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import random
import signal
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from requests_model import KINDS, Maker
from server import Client, Closed, Memcached, require

OTHERS = 3  # connections with requests of their own meanwhile
FAULTS = ("wild store", "division", "abort", "scribble")
SCRIBBLE, SCRIBBLES = 3, 5  # 4 KiB of others' items are overwritten, and then a wild store
ORDER = struct.Struct("=IIQQQ")  # struct Order of program/faults.c
UNANNOUNCED = struct.Struct("=QQ")  # which follows in it


class Orders:
    """The file in which the server finds where to fault."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def give(self, port: int, kind: int = 0, store: int = 0) -> None:
        ORDER.pack_into(self._page, 0, port, kind, store, 0, 0)

    def stores_and_site(self) -> tuple[int, int]:
        return ORDER.unpack_from(self._page, 0)[3:5]

    def unannounced_and_site(self) -> tuple[int, int]:
        """Stores to the region that no call by hand has announced, and where the last was."""
        return UNANNOUNCED.unpack_from(self._page, ORDER.size)


class Other(threading.Thread):
    """Somebody else: requests all the time, each answer looked at."""

    def __init__(self, port: int, number: int, seed: int) -> None:
        super().__init__()
        self._maker = Maker(b"other%d:" % number, seed)
        self._client = Client(port)
        self._ending = threading.Event()
        self.model, self.made, self.wrong = self._maker.model, 0, ""

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._maker.any().make(self._client, self.model)
                self.made += 1
        except (Closed, SystemExit, OSError) as error:
            self.wrong = f"{type(error).__name__}: {error}"
        self._client.close()

    def stop(self) -> str:
        self._ending.set()
        self.join()
        return self.wrong


class Play:
    def __init__(self, server: Memcached, orders: Orders, seed: int) -> None:
        self._server, self._orders, self._random = server, orders, random.Random(seed)
        self.maker = Maker(b"own:", seed)
        self._look = Client(server.port)
        self._stores: dict[str, int] = {}  # that a request of the kind makes
        self.kinds: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sites: set[int] = set()
        self.told = self.missed = 0

    def _request(self, kind: str, fault: int, store: int) -> bool:
        """Has it faulted?"""
        request = self.maker.request(kind)
        client = Client(self._server.port)
        self._orders.give(client.port, fault, store)
        failed, why = False, "answered"
        try:
            request.make(client, self.maker.model)
        except Closed as error:
            failed, why = True, f"failed ({error})"
            self.told += "the request failed" in str(error)
        stores, site = self._orders.stores_and_site()
        self._orders.give(0)
        client.close()
        require(failed == (site != 0), f"{kind}, store {store}: {why}, site {site:#x}")
        self._stores[kind] = max(self._stores.get(kind, 0), stores)
        if failed:
            self.sites.add(site)
            touched = sorted(request.changes)
            expected = {key: self.maker.model[key] for key in touched if key in self.maker.model}
            found = self._look.get(*touched) if touched else {}
            require(found == expected, f"{kind}, store {store}, site {site:#x}: {found!r:.200}, expected {expected!r:.200}")
        return failed

    def fault(self, scribble: bool) -> None:
        kind = self._random.choice(KINDS)
        if kind not in self._stores:
            self._request(kind, 0, 0)
        store = self._random.randint(1, self._stores[kind])
        fault = SCRIBBLE if scribble else self._random.choices(range(SCRIBBLE), (8, 1, 1))[0]
        if self._request(kind, fault, store):
            self.kinds[kind] += 1
            self.faults[FAULTS[fault]] += 1
        else:
            self.missed += 1  # it had fewer stores than others of its kind

    def compare(self, model: dict[bytes, bytes]) -> int:
        """All of it; how many keys."""
        keys = sorted(model)
        for i in range(0, len(keys), 50):
            expected = {key: model[key] for key in keys[i:i + 50]}
            require(self._look.get(*expected) == expected, f"keys from {keys[i]!r} on are as they should be")
        return len(keys)

    def compare_counts(self, models: list[dict[bytes, bytes]]) -> None:
        """Nothing is lost and nothing leaked: what the server counts is what there is."""
        items = sum(map(len, models))
        expected = {"items": items, "chunks in use": items, "connections": 1}
        end = time.monotonic() + 10  # queues of the maintainer's hold items for a moment, and ends are noticed later
        while (counted := self._counted()) != expected and time.monotonic() < end:
            time.sleep(0.1)
        require(counted == expected, f"the server counts {counted}, there are {expected}")

    def _counted(self) -> dict[str, int]:
        stats, slabs = self._look.stats(), self._look.stats(b"slabs")
        used = sum(int(value) for name, value in slabs.items() if name.endswith(":used_chunks"))
        return {"items": int(stats["curr_items"]), "chunks in use": used, "connections": int(stats["curr_connections"])}

    def delete_all(self, models: list[dict[bytes, bytes]]) -> None:
        for model in models:
            for key in list(model):
                require(self._look.ask(b"delete %s\r\n" % key) == b"DELETED", f"{key!r} is deleted")
                del model[key]


def play(server: Memcached, orders: Orders, wanted: int, seed: int, by_hand: bool) -> list[str]:
    before = server.host.server()
    others = [Other(server.port, number, seed + 1 + number) for number in range(OTHERS)]
    for other in others:
        other.start()
    own = Play(server, orders, seed)
    try:
        while sum(own.faults.values()) < wanted:
            own.fault(scribble=False)
            require(server.is_alive(), "the server lives")
            for other in others:
                require(other.is_alive(), f"another connection: {other.wrong}")
    finally:
        wrong = [found for found in [other.stop() for other in others] if found]
    require(not wrong, f"other connections: {wrong}")
    swept = server.host.server()["restores"]["sweep"]
    while own.faults["scribble"] < SCRIBBLES:  # alone: what is not finished cannot be told from what overwrites it
        own.fault(scribble=True)
    models = [own.maker.model] + [other.model for other in others]
    keys = sum(own.compare(model) for model in models)
    own.delete_all([{key: own.maker.model.pop(key) for key in [b"own:large"] if key in own.maker.model}])
    own.compare_counts(models)
    own.delete_all(models)
    own.compare_counts(models)
    after = server.host.server()

    def gained(name: str) -> int:
        old, new = before[name], after[name]
        return sum(new.values()) - sum(old.values()) if isinstance(new, dict) else new - old

    faults = sum(own.faults.values())
    print(f"seed {seed}: {faults} faults at {len(own.sites)} instructions, {own.missed} orders came to nothing")
    print(f"  requests       {', '.join(f'{kind} {count}' for kind, count in sorted(own.kinds.items()))}")
    print(f"  kinds          {', '.join(f'{kind} {count}' for kind, count in sorted(own.faults.items()))}")
    print(f"  told           {own.told} by SERVER_ERROR, the others by the end of the connection")
    print(f"  others         {sum(other.made for other in others)} requests of {OTHERS} connections, wrong: 0")
    print(f"  data           {keys} keys compared, wrong: 0; items and chunks in use are counted right, 0 when all are gone")
    print(f"  engine         {gained('faults')} faults, {gained('suppressed_stores')} suppressed stores, "
          f"{gained('restores')} restores")
    found = [f"{name}: not ok" for name in server.broken_invariants()]
    if gained("faults") < faults:
        found.append(f"{faults} faults, the engine has heard of {gained('faults')}")
    expected = ("restores",) if by_hand else ("suppressed_stores", "restores")
    found += [f"{name}: none" for name in expected if gained(name) == 0]
    if swept != 0:
        found.append(f"{swept} granules were stored to without a hook")
    unannounced, site = orders.unannounced_and_site()
    if unannounced != 0:
        found.append(f"{unannounced} stores that no call by hand has announced, the last at main + {site:#x}")
    if after["restores"]["sweep"] == swept:
        found.append("what scribbles changed was not mended")
    return found


def ends_without(server: Memcached, orders: Orders) -> list[str]:
    """The same fault, with containment switched off."""
    server.host.ctl("containment", "memcached", "off")
    victim = Client(server.port)
    orders.give(victim.port, FAULTS.index("wild store"), 20)
    with contextlib.suppress(Closed):
        victim.ask(b"set key 0 0 2\r\nxx\r\n")
    server.process.wait(30)
    print(f"without containment the server ends: signal {-server.process.returncode}")
    return [] if server.process.returncode == -signal.SIGSEGV else ["without containment it does not end by SIGSEGV"]


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("build", type=Path)
    parser.add_argument("program", type=Path)
    parser.add_argument("faults", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-hand", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        orders = Orders(Path(name) / "orders")
        server = Memcached(options.build, options.program, Path(name), stack, MEMCACHED_FAULTS=str(Path(name) / "orders"),
                           MEMCACHED_CRASH_LIMIT="1000000")
        found = play(server, orders, options.faults, options.seed, options.by_hand) + ends_without(server, orders)
    print("\n".join(found) or "all as it should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
