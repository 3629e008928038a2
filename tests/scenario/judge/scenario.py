# SPDX-License-Identifier: Apache-2.0
"""Runs the clients, one thread each.

The stages make sure of what randomness alone would only make likely: that normal users read and buy
the titles which the crashing users polluted while those are crashed and not yet at their end point.

  everybody          connects in random order, random load
  1 and 7            BEGIN, ADD, ADD (crashes half-way)                      -> `crashed`
  normal users       read all polluted titles, buy some of them, read again  -> `witnessed`
  1 and 7            ADD twice more meanwhile, then CHECKOUT: told FAILED     -> `ended`
  everybody          reads the polluted titles and goes on buying
"""

from __future__ import annotations

import random
import threading
import time

from .history import AuditSeen, History, OrderSeen, Purchase, ReadSeen
from .plan import CRASHING_ITEM, Cart, Mode, Plan
from .protocol import Client, ServerGone, ShopError

STAGE_SECONDS = 240.0


class Stopped(Exception):
    """Another client has met an error; there is no point in going on."""


class Gate:
    """Opens when `expected` clients have arrived, or shuts for good when the run is stopped."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._condition = threading.Condition()
        self._stopped = False

    def arrive(self) -> None:
        with self._condition:
            self._missing -= 1
            self._condition.notify_all()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def wait(self) -> None:
        with self._condition:
            done = self._condition.wait_for(lambda: self._missing <= 0 or self._stopped, STAGE_SECONDS)
            if self._stopped or not done:
                raise Stopped


class Scenario:
    """One run. `errors` holds what went wrong outside the protocol of success and failure."""

    def __init__(self, address: tuple[str, int], plan: Plan, mode: Mode) -> None:
        self.address = address
        self.plan = plan
        self.mode = mode
        self.history = History()
        self.errors: list[str] = []
        self.server_gone = False
        self.started = Gate(len(plan.crashing))  # early unlocking only: first title changed in whole
        self.derived = Gate(len(plan.normal))  # early unlocking only: others have seen and used it
        self.crashed = Gate(len(plan.crashing))
        self.witnessed = Gate(len(plan.normal))
        self.ended = Gate(len(plan.crashing))
        self._error_lock = threading.Lock()

    def run(self) -> None:
        threads = []
        source = random.Random(f"{self.plan.seed}/connect")
        for user in self.plan.connect_order:
            script = self._crashing_user if user in self.plan.crashing else self._normal_user
            threads.append(threading.Thread(target=self._guarded, args=(script, user), daemon=True))
            threads[-1].start()
            time.sleep(source.uniform(0.0, 0.03))
        for thread in threads:
            thread.join()

    def finish(self) -> None:
        """When all users are done: the whole shop, for the comparison with the model."""
        try:
            with_shop = Client(self.address, self.plan.users + 1)
            self._audit(with_shop)
            for number in self.history.known_orders():
                self._look_at_order(with_shop, number)
            self.history.dump = with_shop.dump()
            with_shop.quit()
        except ServerGone as error:
            self._note(str(error), gone=True)
        except ShopError as error:
            self._note(str(error))

    def server_answers(self) -> bool:
        """Does the server take a new client and serve it?"""
        try:
            client = Client(self.address, self.plan.users + 2)
            client.read(1)
            client.quit()
            return True
        except (ServerGone, ShopError):
            return False

    # ---- Scripts -------------------------------------------------------------------------------

    def _guarded(self, script, user: int) -> None:  # type: ignore[no-untyped-def]
        try:
            client = Client(self.address, user)
            script(client, self.plan.source(user))
            client.quit()
        except Stopped:
            pass
        except ServerGone as error:
            self._note(str(error), gone=True)
        except (ShopError, ValueError, IndexError) as error:
            self._note(f"user {user}: {error}")

    def _note(self, error: str, gone: bool = False) -> None:
        with self._error_lock:
            self.errors.append(error)
            self.server_gone = self.server_gone or gone
        for gate in (self.started, self.derived, self.crashed, self.witnessed, self.ended):
            gate.stop()

    def _normal_user(self, client: Client, source: random.Random) -> None:
        buys = client.user in self.plan.buying
        self._random_reads(client, source, 6)
        if buys:
            self._buy(client, source, [])
        if self.mode is Mode.EARLY_UNLOCK:
            self.started.wait()
            self._read_all(client, source, self.plan.unfinished)
            if client.user == self.plan.buying[0]:
                self._buy(client, source, list(self.plan.unfinished))
            self.derived.arrive()
        if self.mode.crashes:
            self.crashed.wait()
        self._read_all(client, source, self.plan.polluted)
        if buys:
            self._buy(client, source, [source.choice(self._buyable())])
            self._buy(client, source, [])
        self._read_all(client, source, self.plan.polluted)
        self._other_reads(client, source)
        self.witnessed.arrive()
        if self.mode.crashes:
            self.ended.wait()
        self._read_all(client, source, self.plan.polluted)
        if buys:
            self._buy(client, source, [source.choice(self.plan.polluted)], everything=True)
        self._other_reads(client, source)

    def _crashing_user(self, client: Client, source: random.Random) -> None:
        self._random_reads(client, source, 3)
        begun = time.monotonic()
        client.begin()
        cart = self.plan.carts[client.user]
        for item, (title, quantity) in enumerate(cart, 1):
            if item == CRASHING_ITEM and self.mode is Mode.EARLY_UNLOCK:
                self.started.arrive()
                self.derived.wait()
            if item == len(cart) and self.mode.crashes:
                self.witnessed.wait()
            client.add(title, quantity)
            if item == CRASHING_ITEM:
                self.crashed.arrive()
        self._checkout(client, begun, cart)
        self.ended.arrive()
        self._random_reads(client, source, 2)
        if self.mode.crashes:
            self._read_all(client, source, self.plan.polluted)
            self.history.add_served_after_failure(client.user)

    # ---- Steps ---------------------------------------------------------------------------------

    def _buyable(self) -> list[int]:
        others = [title for title in self.plan.polluted if title != self.plan.kept]
        return others or list(self.plan.polluted)

    def _random_reads(self, client: Client, source: random.Random, count: int) -> None:
        for _ in range(count):
            title = source.choice(self.plan.hot)
            if source.random() < 0.25:
                title = source.randint(1, self.plan.title_count)
            self._read(client, title)

    def _read_all(self, client: Client, source: random.Random, titles: tuple[int, ...]) -> None:
        for title in source.sample(titles, len(titles)):
            self._read(client, title)

    def _other_reads(self, client: Client, source: random.Random) -> None:
        known = self.history.known_orders()
        if known:
            self._look_at_order(client, source.choice(known))
        if source.random() < 0.2:
            self._audit(client)

    def _buy(self, client: Client, source: random.Random, wanted: list[int],
             everything: bool = False) -> None:
        titles = set(wanted) | set(source.sample(self.plan.hot, source.randint(1, 2)))
        if self.mode.crashes and not everything:
            titles.discard(self.plan.kept) if self.plan.kept not in wanted else None
        titles = titles or {source.choice(self._buyable())}
        cart = tuple((title, source.randint(1, 3)) for title in sorted(titles))
        begun = time.monotonic()
        client.begin()
        for title, quantity in cart:
            client.add(title, quantity)
        self._checkout(client, begun, cart)

    def _checkout(self, client: Client, begun: float, cart: Cart) -> None:
        asked = time.monotonic()
        order = client.checkout()
        if order is None:
            self.history.add_failed(client.user)
            return
        self.history.add(Purchase(client.user, begun, asked, time.monotonic(), cart, order))

    def _read(self, client: Client, title: int) -> None:
        begun = time.monotonic()
        row = client.read(title)
        self.history.add(ReadSeen(client.user, begun, time.monotonic(), row))
        if row.title != title:
            raise ShopError(f"asked for title {title}, got {row}")

    def _look_at_order(self, client: Client, number: int) -> None:
        begun = time.monotonic()
        order = client.order(number)
        self.history.add(OrderSeen(client.user, begun, time.monotonic(), order))

    def _audit(self, client: Client) -> None:
        begun = time.monotonic()
        audit = client.audit()
        self.history.add(AuditSeen(client.user, begun, time.monotonic(), audit))
