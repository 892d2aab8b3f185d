"""Response Identifiers that were written, kept as long as what they show: bounded in bytes. Pure.

Each is kept under the step's key and its stamp, which is another one as soon as anything is
committed that stands in a response (stamp). So nothing here is ever out of date: what is asked for
with a new stamp is not there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Sequence

# The step's key in the database, and its stamp, None where there is none.
Key = tuple[int, str | None]

_MOST_BYTES = 64 * 1024 * 1024
# What an entry takes besides the bytes of the Identifier: its key, and its place. And what each way
# takes that is written in.
_ENTRY = 320
_WAY = 400


class Answers:
    """What was written lately, by how it is written: a token that holds nothing else in memory.

    It is kept in two halves: when the newer one is full, the older one goes. What is asked for
    moves into the newer one.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._half = most_bytes // 2
        # Reentrant: what is collected while it is held may be an answer that was given up, which
        # is put here (questions).
        self._lock = threading.RLock()
        self._new: dict[Hashable, dict[Key, bytes]] = {}
        self._old: dict[Hashable, dict[Key, bytes]] = {}
        self._size = 0
        # How often all was dropped.
        self.age = 0

    def get(self, how: Hashable, keys: Sequence[Key], *, age: int) -> list[bytes | None]:
        """Of each key the Identifier that was written in this way, None where there is none.

        The keys were read since it was `age`.
        """
        found = list(map(self._new.get(how, {}).get, keys))
        if None in found and (old := self._old.get(how)):
            missing = [(at, key) for at, key in enumerate(keys) if found[at] is None]
            moved = [(at, key, held) for at, key in missing if (held := old.get(key)) is not None]
            for at, _, held in moved:
                found[at] = held
            self.put(how, ((key, held) for _, key, held in moved), age=age)
        return found

    def put(self, how: Hashable, written: Iterable[tuple[Key, bytes]], *, age: int) -> None:
        """Keep these, unless all was dropped since it was `age`."""
        with self._lock:
            if age != self.age:
                return
            for key, encoded in written:
                if self._size > self._half:
                    self._old, self._new, self._size = self._new, {}, 0
                kept = self._new.get(how)
                if kept is None:
                    kept = self._new[how] = {}
                    self._size += _WAY
                if key not in kept:
                    self._size += len(encoded) + _ENTRY
                kept[key] = encoded

    def clear(self) -> None:
        """Drop all: what comes next may be of another database."""
        with self._lock:
            self.age += 1
            self._new, self._old, self._size = {}, {}, 0


ANSWERS = Answers()


def _begin_anew() -> None:
    """In a process that was forked: the parent's lock may be held for ever."""
    ANSWERS.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_begin_anew)
