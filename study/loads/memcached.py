#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests to memcached from several connections, one at a time: nine reads to one write.

usage: memcached.py PORT REQUESTS [--seed SEED] [--fill]     (--fill: first each key is written once)
"""

from __future__ import annotations

import argparse
import random
import socket

CONNECTIONS = 20
KEYS = 200
LONGEST = 1000
SECONDS = 300.0


def answer(stream: socket.SocketIO, ends: tuple[bytes, ...]) -> None:
    while not (line := stream.readline()).startswith(ends):
        if not line:
            raise SystemExit("memcached.py: the server closed the connection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fill", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    sockets = [socket.create_connection(("127.0.0.1", options.port), SECONDS) for _ in range(CONNECTIONS)]
    streams = [connection.makefile("rb", buffering=0) for connection in sockets]

    def write(user: int, key: int) -> None:
        value = chance.randbytes(chance.randrange(1, LONGEST))
        sockets[user].sendall(b"set key%d 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        answer(streams[user], (b"STORED",))

    if options.fill:
        for key in range(KEYS):
            write(key % CONNECTIONS, key)
    for _ in range(options.requests):
        user, key = chance.randrange(CONNECTIONS), chance.randrange(KEYS)
        if chance.random() < 0.1:
            write(user, key)
        else:
            sockets[user].sendall(b"get key%d\r\n" % key)
            answer(streams[user], (b"END",))
    print(f"{options.requests} requests answered")


if __name__ == "__main__":
    main()
