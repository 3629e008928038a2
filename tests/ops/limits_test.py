#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What clients may take of vmsrsd: requests a second, sizes, time, connections."""
import contextlib
import http.client
import resource
import socket
import time
import unittest

from daemon_site import Site, ask, eventually, received


def limited(**limits):
    return Site({"api": {"limits": limits}})


class Limits(unittest.TestCase):
    def test_requests_a_second(self):
        with limited(requests_per_second=5, burst=10) as site:
            begin = time.monotonic()
            answers = [site.get("/v1/version") for _ in range(30)]
            refused = [answer for answer in answers if answer[0] == 429]
            most = 10 + 5 * (time.monotonic() - begin) + 1
            self.assertLessEqual(30 - len(refused), most)
            self.assertGreaterEqual(len(refused), 15)
            self.assertEqual(refused[0][2]["error"]["code"], "too_many_requests")
            self.assertEqual(refused[0][1]["Retry-After"], "1")
            # Another peer, and another listener, are none the worse.
            self.assertEqual(site.metrics()[0], 200)
            time.sleep(0.5)
            self.assertEqual(site.get("/v1/version")[0], 200)
            site.config["api"]["limits"] = {"requests_per_second": 1000, "burst": 1000}
            site.reload()
            time.sleep(0.2)
            self.assertEqual({site.get("/v1/version")[0] for _ in range(50)}, {200})

    def test_sizes(self):
        with limited(body="2KiB", header="1KiB") as site:
            for size, status in ((2048, 200), (2049, 413), (10_000_000, 413)):
                body = b"{}" + b" " * (size - 2)
                self.assertEqual(ask_body(site, body)[0], status, size)
            with site.raw() as one:  # a body that is announced, and never comes
                one.sendall(b"POST /v1/scrub HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")
                self.assertTrue(received(one).startswith(b"HTTP/1.1 413 "))
            for size, status in ((500, b"200"), (1100, b"431"), (3_000_000, b"431")):
                with site.raw() as one:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        one.sendall(b"GET /v1/version HTTP/1.1\r\nX: " + b"a" * size + b"\r\n\r\n")
                    self.assertTrue(received(one).startswith(b"HTTP/1.1 " + status), size)

    def test_forms_that_are_not_taken(self):
        with Site() as site:
            for head, status in ((b"Transfer-Encoding: chunked", b"411"),
                                 (b"Expect: 100-continue\r\nContent-Length: 2", b"417"),
                                 (b"Content-Length: 2\r\nContent-Length: 3", b"400"),
                                 (b"Content-Length: 2, 2", b"400"), (b"Content-Length: -1", b"400"),
                                 (b"Content-Length: 99999999999999999999", b"400")):
                with site.raw() as one:
                    one.sendall(b"POST /v1/scrub HTTP/1.1\r\n" + head + b"\r\n\r\n{}")
                    self.assertTrue(received(one).startswith(b"HTTP/1.1 " + status), head)

    def test_slow_request_is_ended(self):
        with limited(receive_timeout_ms=300) as site:
            begin = time.monotonic()
            with site.raw() as silent, site.raw() as slow:
                with contextlib.suppress(BrokenPipeError):
                    for _ in range(10):  # bytes that keep coming do not buy time
                        slow.sendall(b"G")
                        time.sleep(0.1)
                self.assertTrue(received(slow).startswith(b"HTTP/1.1 408 "))
                self.assertEqual(received(silent), b"")
            self.assertLess(time.monotonic() - begin, 3)

    def test_thousand_half_open_connections(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with limited(burst=100000) as site, contextlib.ExitStack() as stack:
            before = site.resident_kib()
            beginnings = (b"", b"GET", b"POST /v1/gc HTTP/1.1\r\nContent-Length: 60000\r\n\r\n{",
                          b"GET / HTTP/1.1\r\nX: " + b"a" * 8000)
            def open_many(connect):
                for i in range(1000):
                    one = stack.enter_context(connect())
                    one.setblocking(False)
                    with contextlib.suppress(BrokenPipeError, BlockingIOError, ConnectionResetError):
                        one.sendall(beginnings[i % len(beginnings)])
            open_many(site.raw)
            open_many(lambda: socket.create_connection(("127.0.0.1", site.metrics_port), 10))
            for _ in range(5):
                begin = time.monotonic()
                self.assertEqual(site.get("/v1/status", timeout=2)[0], 200)
                self.assertEqual(site.metrics(timeout=2)[0], 200)
                self.assertLess(time.monotonic() - begin, 1)
            self.assertLess(site.descriptors(), 2 * 256 + 50)
            self.assertLess(site.resident_kib() - before, 32 * 1024)

    def test_pipelined_requests_get_one_answer(self):
        with Site() as site, site.raw() as one:
            one.sendall(b"GET /v1/version HTTP/1.1\r\n\r\n" * 20)
            self.assertEqual(received(one).count(b"HTTP/1.1 "), 1)

    def test_metrics_take_get_only(self):
        with Site() as site:
            port = http.client.HTTPConnection("127.0.0.1", site.metrics_port, timeout=5)
            self.assertEqual(ask(port, "POST", "/metrics")[0], 403)


def ask_body(site, body):
    with site.raw() as one:
        head = b"POST /v1/scrub HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            one.sendall(head + body)
        answer = received(one)
        return int(answer.split()[1]), answer


if __name__ == "__main__":
    unittest.main()
