# SPDX-License-Identifier: Apache-2.0
"""Symbols and sections of x86-64 ELF files, and of their separate debug files where these are installed."""

from __future__ import annotations

import bisect
import functools
import struct
from dataclasses import dataclass
from pathlib import Path

DEBUG_FILES = Path("/usr/lib/debug/.build-id")
LOAD, INTERPRETER = 1, 3
EXECUTABLE = 1
SYMBOLS, DYNAMIC_SYMBOLS, NOTE = 2, 11, 7
OBJECT, FUNCTION = 1, 2


class NotElf(Exception):
    """What the file is not."""


@dataclass(frozen=True, order=True)
class Symbol:
    address: int
    bytes: int
    name: str


@dataclass(frozen=True)
class Section:
    name: str
    kind: int
    address: int
    offset: int
    bytes: int
    link: int
    allocated: bool


class Elf:
    """Addresses are those of the file: a position-independent program is loaded elsewhere."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._content = file.read_bytes()
        except OSError as error:
            raise NotElf(error.strerror or "cannot be read") from None
        if self._content[:6] != b"\x7fELF\x02\x01" or self._number("<H", 18) != 62:
            raise NotElf("no x86-64 ELF file")
        self._read_segments()
        self._read_sections()

    def _number(self, form: str, offset: int) -> int:
        return struct.unpack_from(form, self._content, offset)[0]

    def _read_segments(self) -> None:
        start, size, count = (self._number("<Q", 32), self._number("<H", 54), self._number("<H", 56))
        segments = [struct.unpack_from("<IIQQQQQQ", self._content, start + i * size) for i in range(count)]
        loads = [segment for segment in segments if segment[0] == LOAD]
        self.dynamic = any(segment[0] == INTERPRETER for segment in segments)
        self.start = min((segment[3] for segment in loads), default=0) & ~0xfff
        self.end = max((segment[3] + segment[6] for segment in loads), default=0)
        self.code_start = min((segment[3] for segment in loads if segment[1] & EXECUTABLE), default=0)

    def _read_sections(self) -> None:
        start, size, count, names = (self._number("<Q", 40), self._number("<H", 58),
                                     self._number("<H", 60), self._number("<H", 62))
        raw = [struct.unpack_from("<IIQQQQIIQQ", self._content, start + i * size) for i in range(count)]
        self.sections = [Section(self._text(raw[names][4] + row[0]), row[1], row[3], row[4], row[5],
                                 row[6], bool(row[2] & 2)) for row in raw]

    def _text(self, offset: int) -> str:
        return self._content[offset:self._content.index(b"\0", offset)].decode(errors="replace")

    def _own_symbols(self, wanted: int) -> set[Symbol]:
        found = set()
        for section in self.sections:
            if section.kind not in (SYMBOLS, DYNAMIC_SYMBOLS):
                continue
            names = self.sections[section.link].offset
            for at in range(section.offset, section.offset + section.bytes, 24):
                name, info, _, where, address, size = struct.unpack_from("<IBBHQQ", self._content, at)
                if info & 15 == wanted and where != 0 and name != 0:
                    found.add(Symbol(address, size, self._text(names + name)))
        return found

    def _debug_file(self) -> Path | None:
        for section in self.sections:
            if section.kind == NOTE and section.name == ".note.gnu.build-id":
                name = self._content[section.offset + 16:section.offset + section.bytes].hex()
                file = DEBUG_FILES / name[:2] / f"{name[2:]}.debug"
                return file if file.is_file() else None
        return None

    @functools.cache
    def symbols(self, wanted: int) -> list[Symbol]:
        found = self._own_symbols(wanted)
        debug = self._debug_file()
        if debug is not None:
            found |= Elf(debug)._own_symbols(wanted)
        return sorted(found)

    def _symbol_at(self, wanted: int, address: int) -> Symbol | None:
        symbols = self.symbols(wanted)
        at = bisect.bisect_right(symbols, address, key=lambda symbol: symbol.address)
        for symbol in reversed(symbols[max(0, at - 4):at]):
            if symbol.address <= address < symbol.address + symbol.bytes:
                return symbol
        return None

    def variable_at(self, address: int) -> Symbol | None:
        return self._symbol_at(OBJECT, address)

    def function_at(self, address: int) -> Symbol | None:
        return self._symbol_at(FUNCTION, address)

    def variable(self, name: str) -> Symbol | None:
        return next((symbol for symbol in self.symbols(OBJECT) if symbol.name == name and symbol.bytes > 0),
                    None)

    def section_at(self, address: int) -> str:
        return next((section.name for section in self.sections if section.allocated and
                     section.address <= address < section.address + section.bytes), "")
