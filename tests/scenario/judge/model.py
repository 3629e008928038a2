# SPDX-License-Identifier: Apache-2.0
"""The fault-free model, and the comparison of a history with it.

The model knows the catalogue and the orders that were checked out with success, nothing else: the
crashed users never existed. Each order's reply says which version of each title it made, so the
order of operations on every title is known, and with it every row at every version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .history import AuditSeen, History, OrderSeen, Purchase, ReadSeen, Title
from .protocol import Line, Row


@dataclass
class Verdict:
    """What did not fit. Each entry is a sentence."""

    wrong_reads: list[str] = field(default_factory=list)  # what normal users were shown
    wrong_purchases: list[str] = field(default_factory=list)  # orders whose replies contradict
    wrong_dump: list[str] = field(default_factory=list)  # the shop at the end

    @property
    def clean(self) -> bool:
        return not (self.wrong_reads or self.wrong_purchases or self.wrong_dump)


class Model:
    """The shop as it must be if only successful orders ever touched it."""

    def __init__(self, catalogue: list[Title], purchases: list[Purchase]) -> None:
        self.catalogue = catalogue
        self.by_number = {purchase.order.number: purchase for purchase in purchases}
        self.purchases = sorted(purchases, key=lambda purchase: purchase.order.number)
        # title -> version -> (the purchase that made it, its line)
        self.made: dict[int, dict[int, tuple[Purchase, Line]]] = defaultdict(dict)
        for purchase in self.purchases:
            for line in purchase.order.lines:
                self.made[line.title].setdefault(line.version, (purchase, line))

    def row(self, title: int, version: int) -> Row | None:
        """The whole row at that version; None if no successful order made this version."""
        initial = self.catalogue[title - 1]
        if version < 0 or (version > 0 and version not in self.made[title]):
            return None
        sold = sum(line.quantity for made, (_, line) in self.made[title].items() if made <= version)
        return Row(title, initial.price, initial.stock - sold, sold, version, sold * initial.price)

    def last_version(self, title: int) -> int:
        return max(self.made[title], default=0)

    def total(self, purchase: Purchase) -> int:
        return sum(quantity * self.catalogue[title - 1].price for title, quantity in purchase.wanted)

    def dump(self) -> str:
        """What DUMP must give, byte for byte."""
        lines: list[str] = []
        for title in range(1, len(self.catalogue) + 1):
            row = self.row(title, self.last_version(title))
            assert row is not None
            lines.append(f"ROW {row.title} {row.price} {row.stock} {row.sold} {row.version} "
                         f"{row.revenue}\n")
        items = cents = 0
        for number, purchase in enumerate(self.purchases, 1):
            count = sum(quantity for _, quantity in purchase.wanted)
            total = self.total(purchase)
            items += count
            cents += total
            parts = [f"{line.title}:{line.quantity}:{line.version}" for line in purchase.order.lines]
            lines.append(" ".join([f"ORDER {number} {purchase.user} {total} {count}",
                                   str(len(parts)), *parts]) + "\n")
        lines.append(f"LEDGER {len(self.purchases)} {items} {cents}\n")
        return "".join(lines)


def judge(catalogue: list[Title], history: History) -> Verdict:
    """Compares everything that was seen with the model."""
    model = Model(catalogue, history.purchases)
    verdict = Verdict()
    verdict.wrong_purchases.extend(_wrong_purchases(model, history.purchases))
    verdict.wrong_reads.extend(_wrong_rows(model, history.reads))
    for seen in history.orders:
        verdict.wrong_reads.extend(_wrong_order(model, seen))
    for audit in history.audits:
        verdict.wrong_reads.extend(_wrong_audit(model, audit))
    if history.dump is not None:
        verdict.wrong_dump.extend(_differences(model.dump(), history.dump))
    return verdict


def _wrong_purchases(model: Model, purchases: list[Purchase]) -> Iterator[str]:
    numbers = sorted(purchase.order.number for purchase in purchases)
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"order numbers are not 1..{len(numbers)}: {numbers}"
    versions: dict[int, list[int]] = defaultdict(list)
    for purchase in purchases:
        order = purchase.order
        if tuple((line.title, line.quantity) for line in order.lines) != purchase.wanted:
            yield f"order {order.number}: user {purchase.user} wanted {purchase.wanted}, got {order}"
        if (order.user, order.total, order.items) != (
                purchase.user, model.total(purchase), sum(q for _, q in purchase.wanted)):
            yield f"order {order.number}: wrong user, total or number of items: {order}"
        for line in order.lines:
            versions[line.title].append(line.version)
    for title, made in sorted(versions.items()):
        if sorted(made) != list(range(1, len(made) + 1)):
            yield f"title {title}: purchases made versions {sorted(made)}: a gap or a lost update"
    for title, by_version in model.made.items():
        in_order = [by_version[version][0] for version in sorted(by_version)]
        for earlier, later in zip(in_order, in_order[1:]):
            if later.ended < earlier.begun:
                yield (f"title {title}: order {later.order.number} had ended before order "
                       f"{earlier.order.number} began, but made the later version")


def _wrong_rows(model: Model, reads: list[ReadSeen]) -> Iterator[str]:
    by_title: dict[int, list[ReadSeen]] = defaultdict(list)
    for seen in reads:
        by_title[seen.row.title].append(seen)
    for title, seens in sorted(by_title.items()):
        made = [purchase_line[0] for purchase_line in model.made[title].values()]
        for seen in seens:
            fault = _wrong_row(model, seen, seens, made)
            if fault:
                yield f"user {seen.user} read title {title}: {fault}"


def _wrong_row(model: Model, seen: ReadSeen, others: list[ReadSeen],
               made: list[Purchase]) -> str | None:
    row = seen.row
    right = model.row(row.title, row.version)
    if right is None:
        return f"version {row.version} was made by no finished order ({row})"
    if row != right:
        return f"got {row}, right is {right}"
    if row.version > 0 and model.made[row.title][row.version][0].asked > seen.ended:
        return f"version {row.version} before its order was checked out"
    for purchase in made:
        version = next(line.version for line in purchase.order.lines if line.title == row.title)
        if purchase.ended < seen.begun and version > row.version:
            return f"version {row.version}, after order {purchase.order.number} had made {version}"
    for other in others:
        if other.ended < seen.begun and other.row.version > row.version:
            return f"version {row.version}, after user {other.user} had read {other.row.version}"
    return None


def _wrong_order(model: Model, seen: OrderSeen) -> Iterator[str]:
    purchase = model.by_number.get(seen.order.number)
    if purchase is None:
        yield f"user {seen.user} was shown an order that nobody made: {seen.order}"
    elif purchase.order != seen.order:
        yield f"user {seen.user} was shown {seen.order}, right is {purchase.order}"


def _wrong_audit(model: Model, seen: AuditSeen) -> Iterator[str]:
    """An audit holds every lock, so it sees exactly the first so many orders."""
    audit = seen.audit
    orders = model.purchases[:audit.orders]
    items = sum(quantity for purchase in orders for _, quantity in purchase.wanted)
    cents = sum(model.total(purchase) for purchase in orders)
    stock = sum(title.stock for title in model.catalogue)
    right = (stock - items, items, cents, len(orders), items, cents)
    got = (audit.stock, audit.sold, audit.revenue, audit.orders, audit.items, audit.ledger)
    if got != right or not audit.agree:
        yield f"user {seen.user} was shown {audit}, right is {right}"
    least = sum(purchase.ended < seen.begun for purchase in model.purchases)
    most = sum(purchase.asked < seen.ended for purchase in model.purchases)
    if not least <= audit.orders <= most:
        yield f"user {seen.user}: an audit of {audit.orders} orders, when there were {least} to {most}"


def _differences(right: str, got: str) -> Iterator[str]:
    if right == got:
        return
    right_lines, got_lines = right.splitlines(), got.splitlines()
    if len(right_lines) != len(got_lines):
        yield f"the shop at the end has {len(got_lines)} lines, the model {len(right_lines)}"
    for wanted, found in zip(right_lines, got_lines):
        if wanted != found:
            yield f"the shop at the end says '{found}', the model '{wanted}'"
