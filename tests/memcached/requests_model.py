# SPDX-License-Identifier: Apache-2.0
"""Requests to memcached, each with what it answers and what it leaves behind: a model in a dictionary."""

from __future__ import annotations

import random
from dataclasses import dataclass

from server import Client, require

KINDS = ("set new", "set over", "add", "replace", "append", "prepend", "cas", "get", "get many", "gat", "touch", "delete",
         "incr", "miss", "meta set", "meta get", "meta delete", "pipeline", "large")
# Answers that are longer are sent in an event of their own: what came before is finished then, whatever becomes of it.
SMALL_BYTES = 6000
LARGE_BYTES = 700_000  # more than a chunk: an item in pieces, which comes in several events


@dataclass
class Request:
    text: bytes
    expected: list[object]  # of each answer: a line, or what a get finds
    changes: dict[bytes, bytes | None]  # None: the key is gone

    def make(self, client: Client, model: dict[bytes, bytes]) -> None:
        """Sends it, and looks at the answers. The model follows when all have come."""
        client.send(self.text)
        for expected in self.expected:
            answer: object = client.found() if isinstance(expected, dict) else client.line()
            require(answer == expected, f"{self.text[:60]!r}: {answer!r:.200}, expected {expected!r:.200}")
        for key, value in self.changes.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value


class Maker:
    """Random requests to keys that begin with `prefix`."""

    def __init__(self, prefix: bytes, seed: int) -> None:
        self._prefix, self._random = prefix, random.Random(seed)
        self.model: dict[bytes, bytes] = {}

    def key(self, known: bool, small: bool = False) -> bytes:
        if known and self.model:
            return self._random.choice(self._keys(small))
        while (key := self._prefix + b"%d" % self._random.randrange(10**9)) in self.model:
            pass
        return key

    def _keys(self, small: bool) -> list[bytes]:
        return [key for key, value in sorted(self.model.items()) if not small or len(value) < SMALL_BYTES]

    def value(self) -> bytes:
        return bytes(self._random.choices(b"abcdefghijklmnopqrstuvwxyz", k=self._random.choice((2, 30, 100, 600, 5000))))

    def _store(self, word: bytes, key: bytes, value: bytes, after: bytes, more: bytes = b"") -> Request:
        text = b"%s %s 0 0 %d%s\r\n%s\r\n" % (word, key, len(value), more, value)
        return Request(text, [b"STORED"], {key: after})

    def request(self, kind: str) -> Request:
        """Keys are there already for kinds that need one."""
        if len(self.model) < 20 and kind != "large":
            kind = "set new"
        small = kind in ("get", "get many", "gat", "incr", "pipeline")
        key = self.key(known=kind not in ("set new", "add", "miss", "large"), small=small)
        value, old = self.value(), self.model.get(key, b"")
        match kind:
            case "set new" | "set over":
                return self._store(b"set", key, value, value)
            case "add" | "replace":
                return self._store(kind.encode(), key, value, value)
            case "append":
                return self._store(b"append", key, value, old + value)
            case "prepend":
                return self._store(b"prepend", key, value, value + old)
            case "cas":
                return Request(b"cas %s 0 0 2 999999999999\r\nxx\r\n" % key, [b"EXISTS"], {})
            case "get":
                return Request(b"get %s\r\n" % key, [{key: old}], {})
            case "get many":
                keys = self._random.sample(self._keys(small=True), 8)
                return Request(b"get %s\r\n" % b" ".join(keys), [{one: self.model[one] for one in keys}], {})
            case "gat":
                return Request(b"gat 0 %s\r\n" % key, [{key: old}], {})
            case "touch":
                return Request(b"touch %s 0\r\n" % key, [b"TOUCHED"], {})
            case "delete":
                return Request(b"delete %s\r\n" % key, [b"DELETED"], {key: None})
            case "incr":  # of a number that is stored for it, in the same event
                text = b"set %s 0 0 2\r\n41\r\nincr %s 1\r\n" % (key, key)
                return Request(text, [b"STORED", b"42"], {key: b"42"})
            case "miss":
                return Request(b"get %s\r\ndelete %s\r\n" % (key, key), [{}, b"NOT_FOUND"], {})
            case "meta set":
                return Request(b"ms %s %d\r\n%s\r\n" % (key, len(value), value), [b"HD"], {key: value})
            case "meta get":
                return Request(b"mg %s s t\r\n" % key, [b"HD s%d t-1" % len(old)], {})
            case "meta delete":
                return Request(b"md %s\r\n" % key, [b"HD"], {key: None})
            case "pipeline":  # what was read stays as it was, though its item's memory may be another's by then
                new, other = self.key(known=False), self.key(known=True, small=True)
                while other == key:
                    other = self.key(known=True, small=True)
                two = b"2" * len(old)
                text = (b"set %s 0 0 3\r\nnew\r\nget %s %s\r\ndelete %s\r\nset %s 0 0 %d\r\n%s\r\nget %s %s\r\n" %
                        (new, key, key, key, other, len(two), two, other, key))
                return Request(text, [b"STORED", {key: old}, b"DELETED", b"STORED", {other: two}],
                               {new: b"new", key: None, other: two})
            case "large":
                return self._store(b"set", self._prefix + b"large", value + b"x" * LARGE_BYTES,
                                   value + b"x" * LARGE_BYTES)
        raise ValueError(kind)

    def any(self) -> Request:
        return self.request(self._random.choice([kind for kind in KINDS if kind != "large"]))
