# SPDX-License-Identifier: Apache-2.0
"""The shop's protocol, locks and bad input, on this host: BOOKSHOP and CATALOGUE in the environment."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
import unittest

from host_run import free_port
from judge.protocol import Client, ServerGone, ShopError

BOOKSHOP = os.environ["BOOKSHOP"]
CATALOGUE = os.environ["CATALOGUE"]


class Shop:
    """A running shop."""

    def __init__(self, *options: str) -> None:
        self.address = ("127.0.0.1", free_port())
        self.process = subprocess.Popen(
            [BOOKSHOP, "--catalogue", CATALOGUE, "--port", str(self.address[1]), *options],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class ShopCase(unittest.TestCase):
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.shop = Shop(*self.options)
        self.addCleanup(self.shop.stop)

    def client(self, user: int = 5) -> Client:
        client = Client(self.shop.address, user)
        self.addCleanup(client.close)
        return client

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(self.shop.address, timeout=20) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))


class Orders(ShopCase):
    def test_buying_changes_row_order_and_totals_together(self) -> None:
        client = self.client()
        before = client.read(4)
        client.begin()
        client.add(4, 2)
        client.add(9, 1)
        order = client.checkout()
        assert order is not None
        after = client.read(4)
        self.assertEqual((after.stock, after.sold, after.version), (before.stock - 2, 2, 1))
        self.assertEqual(after.revenue, 2 * before.price)
        self.assertEqual(client.order(order.number), order)
        audit = client.audit()
        self.assertEqual((audit.orders, audit.items, audit.ledger, audit.agree), (1, 3, order.total, True))

    def test_cancelled_and_lost_orders_leave_nothing(self) -> None:
        client = self.client()
        before = client.dump()
        client.begin()
        client.add(4, 2)
        client._expect("CANCEL", "CANCELLED")
        lost = self.client(6)
        lost.begin()
        lost.add(4, 2)
        lost.close()
        self.assertEqual(client.dump(), before)

    def test_order_that_takes_too_long_is_cancelled(self) -> None:
        quick = Shop("--order-seconds", "1")
        self.addCleanup(quick.stop)
        client = Client(quick.address, 5)
        self.addCleanup(client.close)
        before = client.dump()
        client.begin()
        client.add(4, 2)
        self.assertIn("ERR time", client._line())
        self.assertEqual(client.dump(), before)

    def test_reader_waits_for_the_order_to_end(self) -> None:
        buyer, reader = self.client(5), self.client(6)
        buyer.begin()
        buyer.add(4, 2)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(reader.read(4).version))
        thread.start()
        thread.join(0.3)
        self.assertEqual(seen, [])
        buyer.checkout()
        thread.join()
        self.assertEqual(seen, [1])

    def test_out_of_stock_changes_nothing(self) -> None:
        client = self.client()
        stock = client.read(4).stock
        for _ in range(stock // 60):
            client.begin()
            client.add(4, 60)
            client.checkout()
        client.begin()
        with self.assertRaisesRegex(ShopError, "ERR stock"):
            client.add(4, 60)
        client._expect("CANCEL", "CANCELLED")
        self.assertEqual(client.read(4).stock, stock % 60)

    def test_table_of_orders_full(self) -> None:
        small = Shop("--orders", "1")
        self.addCleanup(small.stop)
        client = Client(small.address, 5)
        self.addCleanup(client.close)
        client.begin()
        client.add(1, 1)
        client.checkout()
        with self.assertRaisesRegex(ShopError, "ERR full"):
            client.begin()

    def test_many_buyers_of_the_same_titles(self) -> None:
        def buy(user: int) -> None:
            client = Client(self.shop.address, user)
            for _ in range(20):
                client.begin()
                client.add(1, 1)
                client.add(2, 1)
                client.checkout()
            client.quit()
        threads = [threading.Thread(target=buy, args=(user,)) for user in range(1, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        audit = self.client().audit()
        self.assertEqual((audit.orders, audit.sold, audit.agree), (60, 120, True))


class BadInput(ShopCase):
    def test_requests(self) -> None:
        for request in ("", "FOO", "READ", "READ 0", "READ 1201", "READ -1", "READ 1 2", "READ x",
                        "READ 99999999999999999999999", "ADD 1 1", "CHECKOUT", "CANCEL", "ORDER 0",
                        "ORDER 1", "ORDER x", "BEGIN now", "AUDIT all", "DUMP 1", "HELLO", "HELLO x",
                        "HELLO 0", "read 1", "READ  1"):
            with self.subTest(request):
                client = self.client()
                with self.assertRaisesRegex(ShopError, "ERR "):
                    client._ask(request)
                client.read(1)  # the connection still serves

    def test_requests_inside_an_order(self) -> None:
        client = self.client()
        client.begin()
        client.add(5, 1)
        for request in ("", "READ 1", "BEGIN", "ADD", "ADD 5 1", "ADD 4 1", "ADD 1201 1", "ADD 6 0",
                        "ADD 6 101", "ADD 6 1 1", "CHECKOUT now", "HELLO 1", "QUIT"):
            with self.subTest(request), self.assertRaisesRegex(ShopError, "ERR "):
                client._ask(request)
        for title in range(6, 13):
            client.add(title, 1)
        with self.assertRaisesRegex(ShopError, "8 titles at most"):
            client.add(13, 1)
        order = client.checkout()
        assert order is not None
        self.assertEqual(order.items, 8)

    def test_nothing_before_hello(self) -> None:
        self.assertTrue(self.raw(b"READ 1\n").startswith(b"ERR hello"))

    def test_too_long_lines_and_bytes_of_any_kind(self) -> None:
        replies = self.raw(b"HELLO 5\n" + b"x" * 5000 + b"\nREAD 1\n").splitlines()
        self.assertTrue(replies[0].startswith(b"WELCOME"))
        self.assertTrue(replies[1].startswith(b"ERR line"))
        self.assertTrue(replies[2].startswith(b"ROW 1 "))
        self.assertTrue(self.raw(bytes(range(256)) + b"\n").startswith(b"ERR"))

    def test_half_a_line_then_gone(self) -> None:
        self.assertEqual(self.raw(b"HELL"), b"")
        self.client().read(1)

    def test_too_many_connections(self) -> None:
        for user in range(1, 257):
            self.client(user)
        self.assertTrue(self.raw(b"").startswith(b"ERR busy"))


class Options(unittest.TestCase):
    def wrong(self, code: int, *options: str) -> str:
        done = subprocess.run([BOOKSHOP, *options], capture_output=True, text=True, timeout=20,
                              check=False)
        self.assertEqual(done.returncode, code, done)
        self.assertEqual(len(done.stderr.splitlines()), 1, done)
        return done.stderr

    def test_each_wrong_option_gets_one_line(self) -> None:
        for options in (("--port", "0"), ("--port", "x"), ("--port",), ("--bind", "nowhere"), ("--foo",),
                        ("--orders", "0"), ("--order-seconds", "0"), ("--inject", "1"), ("--inject", "1:bang"),
                        ("--inject", "0:wild"), ("--inject", "1:wild:0"), ("--server-name", "x" * 32),
                        ("--catalogue", ""), ()):
            with self.subTest(options):
                self.assertIn("bookshop: ", self.wrong(2, *options))

    def test_wrong_catalogues_are_named_with_their_line(self) -> None:
        for text, where in (("", ":1:"), ("title\n", ":1:"), ("title,price_cents,stock\n", "no titles"),
                            ("title,price_cents,stock\nA,1,1\nB,x,1\n", ":3:"),
                            ("title,price_cents,stock\nA,0,1\n", ":2:")):
            with self.subTest(text), tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
                file.write(text)
                file.flush()
                self.assertIn(where, self.wrong(1, "--catalogue", file.name))
        self.assertIn("cannot read", self.wrong(1, "--catalogue", "/nonexistent"))

    def test_port_in_use(self) -> None:
        shop = Shop()
        self.addCleanup(shop.stop)
        self.assertIn("cannot listen",
                      self.wrong(1, "--catalogue", CATALOGUE, "--port", str(shop.address[1])))

    def test_help(self) -> None:
        done = subprocess.run([BOOKSHOP, "--help"], capture_output=True, text=True, check=True)
        self.assertIn("--inject", done.stdout)


class Faults(unittest.TestCase):
    def test_each_kind_kills_the_unprotected_shop(self) -> None:
        for kind in ("wild", "null", "div", "hole", "scribble"):
            with self.subTest(kind):
                shop = Shop("--inject", f"7:{kind}:2")
                self.addCleanup(shop.stop)
                client = Client(shop.address, 7)
                self.addCleanup(client.close)
                client.begin()
                client.add(1, 1)
                with self.assertRaises(ServerGone):
                    client.add(2, 1)
                self.assertLess(shop.process.wait(20), 0)


if __name__ == "__main__":
    unittest.main()
