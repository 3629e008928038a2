# SPDX-License-Identifier: Apache-2.0
"""The judge on histories whose verdict is known: a right one, and one for each way of being wrong."""

from __future__ import annotations

import dataclasses
import unittest

from judge.history import AuditSeen, History, OrderSeen, Purchase, ReadSeen, Title
from judge.model import Model, Verdict, judge
from judge.observe import Observation
from judge.plan import CRASHING_ITEM, CRASHING_USERS, Mode, draw
from judge.protocol import Audit, Line, Order, Row, ShopError, parse_audit, parse_order, parse_row
from judge.report import Report
from judge.scenario import Gate, Scenario, Stopped

CATALOGUE = [Title(100, 10), Title(250, 20), Title(999, 30)]


def purchase(number: int, user: int, begun: float, *lines: tuple[int, int, int]) -> Purchase:
    """Took one second from BEGIN to the reply."""
    total = sum(quantity * CATALOGUE[title - 1].price for title, quantity, _ in lines)
    order = Order(number, user, total, sum(quantity for _, quantity, _ in lines),
                  tuple(Line(*line) for line in lines))
    wanted = tuple((title, quantity) for title, quantity, _ in lines)
    return Purchase(user, begun, begun + 0.8, begun + 1.0, wanted, order)


def read(user: int, begun: float, row: Row) -> ReadSeen:
    return ReadSeen(user, begun, begun + 0.1, row)


def right_history() -> History:
    """User 3 buys titles 1 and 2, then user 9 buys title 2; others look at every stage."""
    history = History()
    history.purchases = [purchase(1, 3, 10.0, (1, 2, 1), (2, 1, 1)), purchase(2, 9, 20.0, (2, 4, 2))]
    history.reads = [
        read(2, 5.0, Row(2, 250, 20, 0, 0, 0)),
        read(2, 15.0, Row(2, 250, 19, 1, 1, 250)),
        read(4, 25.0, Row(2, 250, 15, 5, 2, 1250)),
        read(4, 26.0, Row(1, 100, 8, 2, 1, 200)),
    ]
    history.orders = [OrderSeen(5, 30.0, 30.1, history.purchases[0].order)]
    history.audits = [AuditSeen(5, 31.0, 31.1, Audit(53, 7, 1450, 2, 7, 1450, True))]
    history.dump = Model(CATALOGUE, history.purchases).dump()
    return history


class RightHistory(unittest.TestCase):
    def test_is_clean(self) -> None:
        self.assertTrue(judge(CATALOGUE, right_history()).clean)

    def test_dump_is_what_the_shop_would_print(self) -> None:
        self.assertEqual(right_history().dump, "ROW 1 100 8 2 1 200\nROW 2 250 15 5 2 1250\n"
                         "ROW 3 999 30 0 0 0\nORDER 1 3 450 3 2 1:2:1 2:1:1\n"
                         "ORDER 2 9 1000 4 1 2:4:2\nLEDGER 2 7 1450\n")

    def test_read_beside_a_checkout_may_see_either(self) -> None:
        for row in (Row(2, 250, 20, 0, 0, 0), Row(2, 250, 19, 1, 1, 250)):
            history = right_history()
            history.reads.append(ReadSeen(6, 10.5, 11.5, row))
            self.assertTrue(judge(CATALOGUE, history).clean)


class WrongReads(unittest.TestCase):
    def wrong(self, seen: ReadSeen) -> None:
        history = right_history()
        history.reads.append(seen)
        verdict = judge(CATALOGUE, history)
        self.assertEqual(len(verdict.wrong_reads), 1, verdict)
        self.assertIn(f"user {seen.user}", verdict.wrong_reads[0])

    def test_stale(self) -> None:
        self.wrong(read(6, 27.0, Row(2, 250, 19, 1, 1, 250)))

    def test_backwards_between_two_readers(self) -> None:
        history = right_history()
        history.reads += [ReadSeen(6, 10.85, 10.9, Row(1, 100, 8, 2, 1, 200)),
                          ReadSeen(8, 10.95, 11.2, Row(1, 100, 10, 0, 0, 0))]
        self.assertEqual(len(judge(CATALOGUE, history).wrong_reads), 1)

    def test_from_the_future(self) -> None:
        self.wrong(read(6, 18.0, Row(2, 250, 15, 5, 2, 1250)))

    def test_torn(self) -> None:
        self.wrong(read(6, 27.0, Row(2, 250, 15, 5, 2, 250)))

    def test_of_an_unfinished_order(self) -> None:
        self.wrong(read(6, 27.0, Row(3, 999, 29, 1, 1, 999)))

    def test_unfinished_value_under_an_old_version(self) -> None:
        self.wrong(read(6, 27.0, Row(3, 999, 28, 2, 0, 0)))

    def test_order_with_half_of_its_lines(self) -> None:
        history = right_history()
        order = history.purchases[0].order
        history.orders.append(OrderSeen(6, 30.0, 30.1, dataclasses.replace(order, lines=order.lines[:1])))
        self.assertEqual(len(judge(CATALOGUE, history).wrong_reads), 1)

    def test_order_that_nobody_made(self) -> None:
        history = right_history()
        history.orders.append(OrderSeen(6, 30.0, 30.1, Order(3, 1, 0, 0, ())))
        self.assertEqual(len(judge(CATALOGUE, history).wrong_reads), 1)

    def test_audit_that_does_not_agree(self) -> None:
        history = right_history()
        history.audits.append(AuditSeen(6, 31.0, 31.1, Audit(52, 8, 1450, 2, 7, 1450, False)))
        self.assertEqual(len(judge(CATALOGUE, history).wrong_reads), 1)

    def test_audit_that_missed_an_order(self) -> None:
        history = right_history()
        history.audits.append(AuditSeen(6, 31.0, 31.1, Audit(57, 3, 450, 1, 3, 450, True)))
        self.assertEqual(len(judge(CATALOGUE, history).wrong_reads), 1)


class WrongPurchases(unittest.TestCase):
    def test_lost_update(self) -> None:
        history = right_history()
        history.purchases.append(purchase(3, 12, 22.0, (2, 1, 2)))  # version 2 for the second time
        history.dump = None
        history.audits.clear()
        self.assertTrue(judge(CATALOGUE, history).wrong_purchases)

    def test_built_on_a_crashed_version(self) -> None:
        history = right_history()
        history.purchases.append(purchase(3, 12, 32.0, (3, 1, 2)))  # version 1 is nobody's
        self.assertTrue(judge(CATALOGUE, history).wrong_purchases)

    def test_wrong_total(self) -> None:
        history = right_history()
        first = history.purchases[0]
        history.purchases[0] = dataclasses.replace(first, order=dataclasses.replace(first.order, total=1))
        self.assertTrue(judge(CATALOGUE, history).wrong_purchases)

    def test_gap_in_the_order_numbers(self) -> None:
        history = right_history()
        history.purchases.append(purchase(4, 12, 32.0, (3, 1, 1)))
        self.assertTrue(judge(CATALOGUE, history).wrong_purchases)

    def test_order_of_time_reversed(self) -> None:
        history = right_history()
        history.purchases += [purchase(3, 12, 40.0, (3, 1, 2)), purchase(4, 18, 50.0, (3, 1, 1))]
        self.assertTrue(judge(CATALOGUE, history).wrong_purchases)


class WrongDump(unittest.TestCase):
    def test_every_changed_character_is_seen(self) -> None:
        right = right_history().dump
        assert right is not None
        for place in range(len(right)):
            history = right_history()
            history.dump = right[:place] + ("x" if right[place] != "x" else "y") + right[place + 1:]
            self.assertTrue(judge(CATALOGUE, history).wrong_dump, f"place {place}")

    def test_missing_and_added_lines(self) -> None:
        right = right_history().dump
        assert right is not None
        for dump in (right[:right.index("ORDER 2")], right + "ORDER 3 1 0 0 0\n", ""):
            history = right_history()
            history.dump = dump
            self.assertTrue(judge(CATALOGUE, history).wrong_dump)


class Undecidable(unittest.TestCase):
    """Who besides users 1 and 7 may crash: a buyer whom somebody's scribbling made undecidable."""

    def problems(self, fault: str, bystander: int, undecidable: list[int]) -> list[str]:
        plan = draw(20, 1, 1200)
        scenario = Scenario("127.0.0.1:1", plan, Mode.PROTECTED)
        crashed = sorted({1, 7, bystander})
        for user in crashed:
            scenario.history.add_failed(user)
        for user in plan.crashing:
            scenario.history.add_served_after_failure(user)
        scenario.history.dump = ""
        seen = Observation(faults=2, suppressed_stores=1, restores=1, hidden_region_bytes=1,
                           crashed_users=crashed, undecidable_users=undecidable,
                           checks={"mirror": "ok"})
        report = Report(plan, Mode.PROTECTED, {"fault": fault}, scenario, Verdict(), seen, True, 1.0)
        report.find_problems()
        return report.problems

    def test_a_buyer(self) -> None:
        self.assertEqual(self.problems("scribble", 18, [18]), [])

    def test_not_where_nothing_was_written_over(self) -> None:
        self.assertEqual(len(self.problems("wild", 18, [18])), 2)

    def test_not_a_reader(self) -> None:
        self.assertEqual(len(self.problems("scribble", 4, [4])), 2)

    def test_not_by_a_fault(self) -> None:
        self.assertEqual(len(self.problems("scribble", 18, [])), 2)

    def test_not_one_who_was_not_told(self) -> None:
        self.assertEqual(len(self.problems("scribble", 1, [18])), 2)


class Protocol(unittest.TestCase):
    def test_right_replies(self) -> None:
        self.assertEqual(parse_row("ROW 7 100 8 2 1 200".split()), Row(7, 100, 8, 2, 1, 200))
        self.assertEqual(parse_order("ORDER 1 3 450 3 2 1:2:1 2:1:1".split()),
                         purchase(1, 3, 0.0, (1, 2, 1), (2, 1, 1)).order)
        self.assertEqual(parse_audit("AUDIT stock 1 sold 2 revenue 3 orders 4 items 5 ledger 6 "
                                     "agree no".split()), Audit(1, 2, 3, 4, 5, 6, False))

    def test_wrong_replies(self) -> None:
        for parse, line in ((parse_row, "ROW 7"), (parse_row, "WELCOME 1 2 3 4 5 6"),
                            (parse_order, "ORDER 1 3 450 3 2 1:2:1"), (parse_audit, "AUDIT")):
            with self.assertRaises(ShopError):
                parse(line.split())


class Plans(unittest.TestCase):
    def test_same_seed_same_plan(self) -> None:
        self.assertEqual(draw(20, 4, 1200), draw(20, 4, 1200))
        self.assertNotEqual(draw(20, 4, 1200), draw(20, 5, 1200))

    def test_roles(self) -> None:
        for users in (8, 10, 20, 50):
            plan = draw(users, 1, 1200)
            self.assertEqual(sorted(plan.connect_order), list(range(1, users + 1)))
            self.assertTrue(set(plan.buying) <= set(plan.normal))
            self.assertFalse(set(CRASHING_USERS) & set(plan.normal))

    def test_crashing_carts_ascend_and_go_on_after_the_crash(self) -> None:
        for seed in range(50):
            plan = draw(20, seed, 1200)
            for cart in plan.carts.values():
                titles = [title for title, _ in cart]
                self.assertEqual(titles, sorted(set(titles)))
                self.assertGreater(len(cart), CRASHING_ITEM)
            self.assertIn(plan.kept, plan.polluted)

    def test_modes(self) -> None:
        self.assertEqual([mode for mode in Mode if not mode.crashes], [Mode.NO_FAULT])


class Gates(unittest.TestCase):
    def test_opens_when_all_have_arrived(self) -> None:
        gate = Gate(2)
        gate.arrive()
        gate.arrive()
        gate.wait()

    def test_stops(self) -> None:
        gate = Gate(1)
        gate.stop()
        with self.assertRaises(Stopped):
            gate.wait()


if __name__ == "__main__":
    unittest.main()
