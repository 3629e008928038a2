# SPDX-License-Identifier: Apache-2.0
"""The shop's text protocol, from the client's side. See examples/bookshop/README.md."""

from __future__ import annotations

import socket
from dataclasses import dataclass

REPLY_SECONDS = 90.0  # an emulated machine on a busy host is slow; a lost reply is an error all the same


class ServerGone(Exception):
    """The connection ended, was refused, or went silent."""


class ShopError(Exception):
    """The shop answered with ERR, or with something that is not in the protocol."""


@dataclass(frozen=True)
class Row:
    """A title as the shop shows it."""

    title: int
    price: int
    stock: int
    sold: int
    version: int
    revenue: int


@dataclass(frozen=True)
class Line:
    """One title of an order, with the version of the title that this purchase made."""

    title: int
    quantity: int
    version: int


@dataclass(frozen=True)
class Order:
    """A finished order."""

    number: int
    user: int
    total: int
    items: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Audit:
    """Sums over all titles (stock, sold, revenue) beside what the ledger says."""

    stock: int
    sold: int
    revenue: int
    orders: int
    items: int
    ledger: int
    agree: bool


def parse_row(words: list[str]) -> Row:
    """ROW id price stock sold version revenue."""
    if words[0] != "ROW" or len(words) != 7:
        raise ShopError("expected ROW, got: " + " ".join(words))
    return Row(*(int(word) for word in words[1:]))


def parse_order(words: list[str]) -> Order:
    """ORDER id user total items lines title:quantity:version ..."""
    if words[0] != "ORDER" or len(words) < 6 or len(words) != 6 + int(words[5]):
        raise ShopError("expected ORDER, got: " + " ".join(words))
    lines = tuple(Line(*(int(part) for part in word.split(":"))) for word in words[6:])
    return Order(int(words[1]), int(words[2]), int(words[3]), int(words[4]), lines)


def parse_audit(words: list[str]) -> Audit:
    """AUDIT stock N sold N revenue N orders N items N ledger N agree yes|no."""
    names = ["stock", "sold", "revenue", "orders", "items", "ledger", "agree"]
    if words[0] != "AUDIT" or words[1::2] != names or len(words) != 15:
        raise ShopError("expected AUDIT, got: " + " ".join(words))
    return Audit(*(int(word) for word in words[2:14:2]), agree=words[14] == "yes")


class Client:
    """One connection, for one user."""

    def __init__(self, address: tuple[str, int], user: int) -> None:
        self.user = user
        try:
            self._socket = socket.create_connection(address, timeout=REPLY_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise ServerGone(f"user {user}: cannot connect: {error}") from error
        self._file = self._socket.makefile("rb")
        words = self._ask(f"HELLO {user}")
        if words[0] != "WELCOME":
            raise ShopError("expected WELCOME, got: " + " ".join(words))

    def close(self) -> None:
        """Without a word; close is always allowed."""
        self._file.close()
        self._socket.close()

    def read(self, title: int) -> Row:
        return parse_row(self._ask(f"READ {title}"))

    def begin(self) -> None:
        self._expect("BEGIN", "BEGUN")

    def add(self, title: int, quantity: int) -> None:
        self._expect(f"ADD {title} {quantity}", "ADDED")

    def checkout(self) -> Order | None:
        """None: the shop says that this user failed."""
        words = self._ask("CHECKOUT", allow_failed=True)
        return None if words[0] == "FAILED" else parse_order(words)

    def order(self, number: int) -> Order:
        return parse_order(self._ask(f"ORDER {number}"))

    def audit(self) -> Audit:
        return parse_audit(self._ask("AUDIT"))

    def dump(self) -> str:
        self._send("DUMP")
        lines: list[str] = []
        while (line := self._line()) != "END":
            if line.startswith(("ERR", "FAILED")):
                raise ShopError(f"user {self.user}: DUMP: {line}")
            lines.append(line + "\n")
        return "".join(lines)

    def quit(self) -> None:
        self._expect("QUIT", "BYE")
        self.close()

    def _expect(self, request: str, answer: str) -> None:
        words = self._ask(request)
        if words[0] != answer:
            raise ShopError(f"user {self.user}: {request}: expected {answer}, got: " + " ".join(words))

    def _ask(self, request: str, allow_failed: bool = False) -> list[str]:
        self._send(request)
        words = self._line().split(" ")
        if words[0] == "ERR" or (words[0] == "FAILED" and not allow_failed):
            raise ShopError(f"user {self.user}: {request}: " + " ".join(words))
        return words

    def _send(self, request: str) -> None:
        try:
            self._socket.sendall(request.encode() + b"\n")
        except OSError as error:
            raise ServerGone(f"user {self.user}: {request}: {error}") from error

    def _line(self) -> str:
        try:
            line = self._file.readline()
        except OSError as error:
            raise ServerGone(f"user {self.user}: {error}") from error
        if not line.endswith(b"\n"):
            raise ServerGone(f"user {self.user}: the connection ended")
        return line[:-1].decode()
