# SPDX-License-Identifier: Apache-2.0
"""Names for memory: variables, sites of allocation, sections and mappings, with what users did to them."""

from __future__ import annotations

import bisect
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .elf import Elf, NotElf
from .trace import ALLOCATIONS, Traced

WORD_BYTES = 8
SHOWN_CALLERS = 3
# What the C++ library's allocating functions and its like stand between.
BETWEEN = ("libstdc++.so", ALLOCATIONS)


@dataclass
class Object:
    kind: str               # variable, section, heap, mapping
    name: str
    bytes: int = 0          # as a whole, where known
    loads: int = 0
    stores: int = 0
    touched: int = 0        # words of 8 bytes, by users
    shared: int = 0
    shared_and_written: int = 0
    passed: int = 0         # a user loaded what another one had stored
    blocks: int = 0
    where: str = ""         # of variables and sections: module and address in it

    def add(self, loads: int, stores: int, touched: int, shared: int, shared_and_written: int,
            passed: int) -> None:
        self.loads += loads
        self.stores += stores
        self.touched += touched
        self.shared += shared
        self.shared_and_written += shared_and_written
        self.passed += passed


@dataclass(frozen=True)
class Mapping:
    start: int
    end: int
    writable: bool
    name: str


@dataclass
class Module:
    elf: Elf
    bias: int

    @property
    def name(self) -> str:
        return self.elf.file.name

    def address(self, runtime: int) -> int:
        return runtime - self.bias

    def holds(self, runtime: int) -> bool:
        return self.elf.start <= runtime - self.bias < self.elf.end


@dataclass
class Space:
    """The address space of the traced server."""
    mappings: list[Mapping] = field(default_factory=list)
    mapped: list[tuple[int, int, list[int]]] = field(default_factory=list)  # start, bytes, callers
    modules: list[Module] = field(default_factory=list)

    @classmethod
    def of(cls, maps: str) -> Space:
        space = cls()
        for row in maps.splitlines():
            fields = row.split(maxsplit=5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            name = fields[5] if len(fields) > 5 else ""
            space.mappings.append(Mapping(start, end, "w" in fields[1], name))
            if int(fields[2], 16) != 0 or not name.startswith("/") or space.module_at(start) is not None:
                continue
            try:
                elf = Elf(Path(name))
            except NotElf:
                continue
            space.modules.append(Module(elf, start - elf.start))
        return space

    def module_at(self, address: int) -> Module | None:
        return next((module for module in self.modules if module.holds(address)), None)

    def mapping_at(self, address: int) -> Mapping | None:
        at = bisect.bisect_right(self.mappings, address, key=lambda mapping: mapping.start) - 1
        return self.mappings[at] if at >= 0 and address < self.mappings[at].end else None

    def function(self, address: int) -> str:
        module = self.module_at(address)
        if module is None:
            return f"{address:#x}"
        symbol = module.elf.function_at(module.address(address - 1))
        return symbol.name if symbol else f"{module.name}+{module.address(address):#x}"


def caller_names(space: Space, callers: list[int]) -> str:
    shown = [address for address in callers
             if not any((module := space.module_at(address)) and module.name.startswith(name)
                        for name in BETWEEN)]
    return " < ".join(space.function(address) for address in shown[:SHOWN_CALLERS]) or "unknown"


def heap_name(space: Space, site: dict[str, Any]) -> str:
    return f"{caller_names(space, site['callers'])} (to {site['size_class']} bytes)"


def heap(space: Space, sites: list[dict[str, Any]]) -> dict[str, Object]:
    found: dict[str, Object] = {}
    for site in sites:
        name = heap_name(space, site)
        entry = found.setdefault(name, Object("heap", name))
        words = site["words"]
        entry.add(site["loads"], site["stores"], words["touched"], words["shared"],
                  words["shared_and_written"], words["passed"])
        entry.bytes += site["live_bytes"]
        entry.blocks += site["blocks"]
    return found


def static_object(space: Space, address: int) -> Object:
    module = space.module_at(address)
    if module is None:
        at = bisect.bisect_right(space.mapped, address, key=lambda row: row[0]) - 1
        if at >= 0 and address - space.mapped[at][0] < space.mapped[at][1]:
            start, size, callers = space.mapped[at]
            return Object("mapping", f"by {caller_names(space, callers)}", size, blocks=1,
                          where=f"{start:#x}")
        mapping = space.mapping_at(address)
        if mapping is None:
            return Object("mapping", "memory that was unmapped")
        return Object("mapping", mapping.name or f"mapping {mapping.start:#x}", mapping.end - mapping.start)
    own = module.address(address)
    symbol = module.elf.variable_at(own)
    if symbol:
        return Object("variable", f"{symbol.name} ({module.name})", symbol.bytes,
                      where=f"{module.name}+{symbol.address:#x}")
    section = module.elf.section_at(own) or "?"
    return Object("section", f"{section} ({module.name})",
                  sum(part.bytes for part in module.elf.sections if part.name == section))


def demangled(names: list[str]) -> dict[str, str]:
    tool = shutil.which("c++filt")
    if tool is None or not names:
        return {}
    text = subprocess.run([tool, "-p"], input="\n".join(names), capture_output=True, text=True,
                          check=False).stdout
    return dict(zip(names, text.splitlines()))


def of(traced: Traced) -> list[Object]:
    """Most written first."""
    space = Space.of(traced.maps)
    space.mapped = [tuple(row) for row in traced.found["mapped"]]
    found = heap(space, traced.found["sites"])
    known: dict[int, Object] = {}
    for address, loads, stores, shared, shared_and_written, passed in traced.found["words"]:
        if address not in known:
            entry = static_object(space, address)
            known[address] = found.setdefault(f"{entry.kind} {entry.where} {entry.name}", entry)
        known[address].add(loads, stores, 1, shared, shared_and_written, passed)
    objects = sorted(found.values(), key=lambda entry: (-entry.stores, -entry.loads, entry.name))
    plain = demangled([entry.name for entry in objects])
    for entry in objects:
        entry.name = plain.get(entry.name, entry.name)
    return objects
