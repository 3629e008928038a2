# SPDX-License-Identifier: Apache-2.0
"""Who does what: the roles of the paper's section 5.3, and everything random, from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

CRASHING_USERS = (1, 7)
BUYING_USERS = (3, 9, 12, 18)
LEAST_USERS = 8
MOST_USERS = 200
HOT_TITLES = 10  # what most of the traffic is about
CRASHING_ITEM = 2  # the ADD, counted from 1, that the shop is told to crash


class Mode(Enum):
    """What is expected of the shop."""

    PROTECTED = "protected"  # users 1 and 7 crash, nobody else notices
    EARLY_UNLOCK = "early-unlock"  # the same, but the shop lets go of its locks too early
    UNPROTECTED = "unprotected"  # without VMSRS: the server dies
    NO_FAULT = "no-fault"  # nobody crashes: the shop alone is on trial

    @property
    def crashes(self) -> bool:
        return self is not Mode.NO_FAULT


Cart = tuple[tuple[int, int], ...]  # (title, quantity), titles ascending


@dataclass(frozen=True)
class Plan:
    """Drawn before anybody connects, so that a seed means the same thing every time."""

    users: int
    seed: int
    title_count: int
    connect_order: tuple[int, ...]
    hot: tuple[int, ...]
    carts: dict[int, Cart]  # of the crashing users: four titles, the second one crashes

    @property
    def crashing(self) -> tuple[int, ...]:
        return CRASHING_USERS

    @property
    def buying(self) -> tuple[int, ...]:
        return tuple(user for user in BUYING_USERS if user <= self.users)

    @property
    def normal(self) -> tuple[int, ...]:
        return tuple(user for user in range(1, self.users + 1) if user not in CRASHING_USERS)

    @property
    def polluted(self) -> tuple[int, ...]:
        """Titles that a crashing user changes before or at its crash."""
        return tuple(sorted({title for cart in self.carts.values()
                             for title, _ in cart[:CRASHING_ITEM]}))

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Titles that a crashing user has changed in whole when it crashes at the next one."""
        return tuple(sorted({title for cart in self.carts.values()
                             for title, _ in cart[:CRASHING_ITEM - 1]}))

    @property
    def kept(self) -> int:
        """A polluted title that nobody buys before the crashed users have ended: only reading
        restores it."""
        return self.carts[CRASHING_USERS[0]][0][0]

    def source(self, user: int) -> random.Random:
        """A user's own source of random numbers."""
        return random.Random(f"{self.seed}/{user}")


def draw(users: int, seed: int, title_count: int) -> Plan:
    source = random.Random(seed)
    order = list(range(1, users + 1))
    source.shuffle(order)
    hot = tuple(sorted(source.sample(range(1, title_count + 1), HOT_TITLES)))
    carts = {user: tuple((title, source.randint(1, 3)) for title in sorted(source.sample(hot, 4)))
             for user in CRASHING_USERS}
    return Plan(users, seed, title_count, tuple(order), hot, carts)
