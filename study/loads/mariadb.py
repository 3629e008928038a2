#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Queries to MariaDB from several connections, one at a time: nine reads to one update, each of one row by its key.

usage: mariadb.py PORT REQUESTS [--seed SEED] [--create]     (--create: first a database, a table and its rows)

It speaks the client's protocol itself, as a user without a password: the server is run with --skip-grant-tables.
"""

from __future__ import annotations

import argparse
import random
import socket
import struct

CONNECTIONS = 20
ROWS = 500
SECONDS = 600.0
QUERY, OK, ERROR, END_OF_ROWS = 3, 0, 0xff, 0xfe
LONG_PASSWORD, WITH_DATABASE, PROTOCOL_41, SECURE_CONNECTION = 1, 8, 0x200, 0x8000


class Connection:
    def __init__(self, port: int, database: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._stream = self._socket.makefile("rb")
        self._read()  # the server's greeting
        flags = LONG_PASSWORD | PROTOCOL_41 | SECURE_CONNECTION | (WITH_DATABASE if database else 0)
        login = struct.pack("<IIB23x", flags, 1 << 24, 33) + b"root\0" + b"\0"
        if database:
            login += database.encode() + b"\0"
        self._write(1, login)
        self._expect_no_error(self._read())

    def _read(self) -> bytes:
        head = self._stream.read(4)
        if len(head) < 4:
            raise SystemExit("mariadb.py: the server closed the connection")
        return self._stream.read(int.from_bytes(head[:3], "little"))

    def _write(self, sequence: int, content: bytes) -> None:
        self._socket.sendall(len(content).to_bytes(3, "little") + bytes([sequence]) + content)

    @staticmethod
    def _expect_no_error(packet: bytes) -> None:
        if packet[0] == ERROR:
            raise SystemExit(f"mariadb.py: {packet[9:].decode(errors='replace')}")

    def query(self, text: str) -> None:
        self._write(0, bytes([QUERY]) + text.encode())
        packet = self._read()
        self._expect_no_error(packet)
        if packet[0] == OK:
            return
        for _ in range(2):  # the columns, then the rows
            while (packet := self._read())[0] != END_OF_ROWS or len(packet) > 5:
                self._expect_no_error(packet)


def create(port: int) -> None:
    connection = Connection(port, "")
    connection.query("CREATE DATABASE IF NOT EXISTS study")
    connection.query("CREATE OR REPLACE TABLE study.stock (id INT PRIMARY KEY, pieces INT, name VARCHAR(100))")
    rows = ",".join(f"({i},100,'{'name of the book ' * 4}{i}')" for i in range(ROWS))
    connection.query(f"INSERT INTO study.stock VALUES {rows}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--create", action="store_true")
    options = parser.parse_args()
    if options.create:
        create(options.port)
    chance = random.Random(options.seed)
    connections = [Connection(options.port, "study") for _ in range(CONNECTIONS)]
    for _ in range(options.requests):
        connection, row = chance.choice(connections), chance.randrange(ROWS)
        if chance.random() < 0.1:
            connection.query(f"UPDATE stock SET pieces = pieces - 1 WHERE id = {row}")
        else:
            connection.query(f"SELECT pieces, name FROM stock WHERE id = {row}")
    print(f"{options.requests} requests answered")


if __name__ == "__main__":
    main()
