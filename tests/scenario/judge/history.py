# SPDX-License-Identifier: Apache-2.0
"""What the clients were told, and when: the only evidence the judge uses."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from .protocol import Audit, Order, Row


@dataclass(frozen=True)
class Title:
    """A title's initial state, from the catalogue file."""

    price: int
    stock: int


def read_catalogue(path: str) -> list[Title]:
    """Title N of the shop is element N - 1."""
    with open(path, encoding="utf-8") as file:
        header = file.readline().rstrip("\n")
        if header != "title,price_cents,stock":
            raise ValueError(f"{path}:1: not a catalogue")
        return [Title(int(price), int(stock)) for _, price, stock in
                (line.rstrip("\n").rsplit(",", 2) for line in file)]


@dataclass(frozen=True)
class ReadSeen:
    """READ: `begun` before the request was sent, `ended` after the reply had come."""

    user: int
    begun: float
    ended: float
    row: Row


@dataclass(frozen=True)
class OrderSeen:
    """ORDER: somebody looked at an order."""

    user: int
    begun: float
    ended: float
    order: Order


@dataclass(frozen=True)
class AuditSeen:
    """AUDIT."""

    user: int
    begun: float
    ended: float
    audit: Audit


@dataclass(frozen=True)
class Purchase:
    """An order that was checked out with success."""

    user: int
    begun: float  # before BEGIN
    asked: float  # before CHECKOUT
    ended: float  # after CHECKOUT's reply
    wanted: tuple[tuple[int, int], ...]  # (title, quantity), as the client asked
    order: Order


@dataclass
class History:
    """Filled by many threads, read when they are done."""

    reads: list[ReadSeen] = field(default_factory=list)
    orders: list[OrderSeen] = field(default_factory=list)
    audits: list[AuditSeen] = field(default_factory=list)
    purchases: list[Purchase] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)  # users who were told so
    served_after_failure: list[int] = field(default_factory=list)  # ... and were served again
    dump: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event: ReadSeen | OrderSeen | AuditSeen | Purchase) -> None:
        with self.lock:
            if isinstance(event, ReadSeen):
                self.reads.append(event)
            elif isinstance(event, OrderSeen):
                self.orders.append(event)
            elif isinstance(event, AuditSeen):
                self.audits.append(event)
            else:
                self.purchases.append(event)

    def add_failed(self, user: int) -> None:
        with self.lock:
            self.failed.append(user)

    def add_served_after_failure(self, user: int) -> None:
        with self.lock:
            self.served_after_failure.append(user)

    def known_orders(self) -> list[int]:
        """Numbers of the orders that somebody has had the reply for."""
        with self.lock:
            return [purchase.order.number for purchase in self.purchases]

    def read_count(self) -> int:
        return len(self.reads) + len(self.orders) + len(self.audits)
