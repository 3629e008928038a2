#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fuzz_test.py SECONDS [SEED]: bytes of all kinds against every listener of vmsrsd. Meanwhile it answers
within a second, changes nothing that only looking clients asked for, and neither its memory nor its
descriptors grow."""
import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time

from daemon_site import Authority, Site, eventually, free_port

PATHS = ["/v1/status", "/v1/servers", "/v1/users", "/v1/users/shop/1", "/v1/users/shop/1/suppress",
         "/v1/servers/shop", "/v1/servers/shop/reap", "/v1/gc", "/v1/scrub", "/v1/containment",
         "/v1/check", "/v1/exits", "/v1/hypervisor/log?since=0", "/v1/events", "/v1/stats", "/v1/regions",
         "/v1/hypervisor/announce-reset", "/v1/openapi.json", "/metrics", "/", "*", "/v1/../etc"]
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "PRI", "CONNECT", "TRACE"]
BODIES = ['{"server":"shop","mode":"off"}', '{"server":"shop"}', '{"server":"shop","user":1}',
          '{"timeout_ms":1}', '{"wanted":true}', '{"process":1,"force":true}', "{}", "[]", "null",
          '{"a":' * 2000, "[" * 20000, '{"server":"\\ud800"}', '{"timeout_ms":1e999}', "\xff\xfe",
          '{"timeout_ms":99999999999999999999999}', '{"server":' + "9" * 30000 + "}"]
HEADERS = ["Host: a", "Content-Length: 0", "Content-Length: -5", "Content-Length: 99999999999",
           "Transfer-Encoding: chunked", "Expect: 100-continue", "Range: bytes=0-", "Range: bytes=5-1,,",
           "Connection: keep-alive", "Upgrade: h2c", "Content-Encoding: gzip", "X:" + "a" * 9000,
           "Content-Type: multipart/form-data; boundary=", "Accept-Encoding: br, gzip, deflate",
           "Accept: " + "*/*;q=0.1," * 200, ": nothing", "no colon", "Content-Length: 3\r\nContent-Length: 4"]


def request(chance):
    body = chance.choice(BODIES).encode("latin-1")
    lines = [f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.{chance.choice('0112')}"]
    lines += chance.sample(HEADERS, chance.randrange(3))
    if chance.random() < 0.7:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def mutated(chance, text):
    text = bytearray(text)
    for _ in range(chance.randrange(1, 8)):
        place = chance.randrange(len(text) + 1)
        how = chance.randrange(4)
        if how == 0:
            text[place:place + chance.randrange(1, 20)] = b""
        elif how == 1:
            text[place:place] = chance.randbytes(chance.randrange(1, 20))
        elif how == 2 and place < len(text):
            text[place] ^= 1 << chance.randrange(8)
        else:
            text[place:place] = chance.choice([b"\r\n", b"\n", b"\0", b"%00", b"%", b"?&=;", b"\r\n\r\n"])
        if not text:
            break
    return bytes(text)


def material(chance):
    kind = chance.randrange(6)
    one = request(chance)
    if kind == 0:
        return one
    if kind == 1:
        return chance.randbytes(chance.choice([1, 7, 100, 5000, 70000]))
    if kind == 2:
        return one[:chance.randrange(len(one))]
    if kind == 3:
        return b"".join(request(chance) for _ in range(chance.randrange(2, 20)))
    return mutated(chance, one)


def hello(authority):
    """The first record that a TLS client sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class Fuzz:
    def __init__(self, seconds, seed):
        self.seed = seed
        self.end = time.monotonic() + seconds
        self.sent = 0
        self.answers = {}
        self.lock = threading.Lock()
        self.problems = []

    def send(self, one, text, chance):
        one.settimeout(0.1)  # many wait for what never comes
        with contextlib.suppress(OSError):
            if chance.random() < 0.1:  # in pieces
                for place in range(0, len(text), max(len(text) // 5, 1)):
                    one.sendall(text[place:place + max(len(text) // 5, 1)])
            else:
                one.sendall(text)
            if chance.random() < 0.3:
                one.shutdown(socket.SHUT_WR)
            if chance.random() < 0.1:
                return  # gone before the answer
            answer = one.recv(100)
            if answer.startswith(b"HTTP/1.1 "):
                with self.lock:
                    status = answer[9:12].decode()
                    self.answers[status] = self.answers.get(status, 0) + 1

    def worker(self, number, connect, make):
        chance = random.Random(f"{self.seed} {number}")
        while time.monotonic() < self.end:
            with contextlib.suppress(OSError, ValueError):
                with connect() as one:
                    self.send(one, make(chance), chance)
            with self.lock:
                self.sent += 1

    def watch(self, site):
        while time.monotonic() < self.end:
            begin = time.monotonic()
            try:
                # The limit for a peer is not what is looked for here: 429 is an answer, too.
                good = site.get("/v1/status", timeout=5)[0] in (200, 429)
            except OSError as error:
                self.problems.append(f"no answer: {error!r}")
                return
            seconds = time.monotonic() - begin
            if not good or seconds > 1:
                self.problems.append(f"status after {seconds:.2f} s")
            time.sleep(0.05)


def unchanged(site):
    """What only changing requests change."""
    servers = site.get("/v1/servers")[2]["servers"]
    return json.dumps([{key: server[key] for key in ("name", "containment", "attached", "users_begun",
                                                     "users_collected")} for server in servers])


def main():
    seconds = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20261123
    print(f"seed {seed}, {seconds:g} s")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vmsrs-fuzz-"))
    authority = Authority(folder)
    authority.certify("host", "localhost", "DNS:localhost")
    authority.certify("observer", "observer")
    port = free_port()
    limits = {"requests_per_second": 100000, "burst": 100000, "receive_timeout_ms": 1000,
              "send_timeout_ms": 1000}
    site = Site({"api": {"limits": limits, "tls": {
        "listen": f"127.0.0.1:{port}", "certificate": f"{folder}/host.pem",
        "key": f"{folder}/host.key", "client_ca": f"{folder}/ca.pem",
        "clients": [{"name": "observer", "role": "observe"}]}}})
    fuzz = Fuzz(seconds, seed)
    context = authority.context("observer")
    tls_hello = hello(authority)

    def tcp(to):
        return lambda: socket.create_connection(("127.0.0.1", to), 2)

    def over_tls():
        plain = socket.create_connection(("127.0.0.1", port), 2)
        return context.wrap_socket(plain, server_hostname="localhost")

    def tls_bytes(chance):
        if chance.random() < 0.3:
            return material(chance)
        if chance.random() < 0.3:
            return tls_hello[:chance.randrange(len(tls_hello))]
        return mutated(chance, tls_hello) + chance.randbytes(chance.randrange(50))

    with site:
        before = unchanged(site)
        for _ in range(50):  # what is taken once and kept
            site.get("/v1/stats")
            site.metrics()
        ways = [(lambda: site.raw(site.read_only), material), (tcp(site.metrics_port), material),
                (tcp(port), tls_bytes), (over_tls, material)]
        workers = [threading.Thread(target=fuzz.worker, args=(i, *way)) for i, way in enumerate(ways * 5)]
        workers.append(threading.Thread(target=fuzz.watch, args=(site,)))
        # A fifth of the time to see what memory it comes to, then it must not grow.
        for thread in workers:
            thread.start()
        time.sleep(seconds / 5)
        resident = site.resident_kib()
        for thread in workers:
            thread.join()
        settled = eventually(lambda: site.descriptors() < 60, 5)
        growth = site.resident_kib() - resident
        fuzz.problems += [] if settled else [f"{site.descriptors()} descriptors are left open"]
        limit = 16 * 1024 * int(os.environ.get("MEMORY_FOR_A_BYTE", "1"))
        fuzz.problems += [f"grew by {growth} KiB"] if growth > limit else []
        fuzz.problems += [] if unchanged(site) == before else ["only looking clients changed something"]
        log = site.log_text()
        fuzz.problems += [line for line in log.splitlines() if ": POST " in line][:3]
        # The same of one who may change things: anything may be asked for, but nothing breaks.
        fuzz.end = time.monotonic() + seconds / 4
        workers = [threading.Thread(target=fuzz.worker, args=(100 + i, site.raw, material))
                   for i in range(8)]
        workers.append(threading.Thread(target=fuzz.watch, args=(site,)))
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
        fuzz.problems += [f"{count} answers {status}" for status, count in fuzz.answers.items()
                          if status in ("500", "502")]
        fuzz.problems += [] if site.process.poll() is None else ["vmsrsd has ended"]
        fuzz.problems += [] if site.answers() else ["vmsrsd does not answer"]
    if site.process.returncode != 0:
        fuzz.problems.append(f"vmsrsd ended with {site.process.returncode}")
    shutil.rmtree(folder)
    print(f"{fuzz.sent} connections, answers: "
          + ", ".join(f"{status}: {count}" for status, count in sorted(fuzz.answers.items()))
          + f"; resident memory grew by {growth} KiB")
    if fuzz.sent < 40 * seconds or len(fuzz.answers) < 5:
        fuzz.problems.append("too little was tried")
    for problem in fuzz.problems:
        print("problem:", problem)
    sys.exit(1 if fuzz.problems else 0)


if __name__ == "__main__":
    main()
