"""Scanners that poll while something happens: what came of each query, and how long it took."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.raw import SUCCESS, Peer, find
from tests.waiting import until

OUT_OF_RESOURCES = 0xA700
# Seconds from one query to the next, as in the tables of what was tried.
PAUSE = 0.05


@dataclass(frozen=True)
class Asked:
    """A query: which scanner's, when it began (monotonic), what it came to."""

    scanner: int
    at: float
    seconds: float
    # None: there was no answer, and `comment` says what there was instead.
    status: int | None
    steps: int
    comment: str

    @property
    def is_answered(self) -> bool:
        return self.status == SUCCESS

    @property
    def ended(self) -> float:
        return self.at + self.seconds


class Scanners:
    """So many of them; each second one keeps its association, the others have one a query."""

    def __init__(self, port: int, *, number: int = 4) -> None:
        self.asked: list[Asked] = []
        self._port = port
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, args=(each,), daemon=True) for each in range(number)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.all_come_to(SUCCESS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def all_come_to(self, status: int) -> float:
        """Wait until each has had this answer to a query that begins now; how long it took."""
        began = time.monotonic()

        def last() -> float | None:
            ends: dict[int, float] = {}
            for each in self.asked:
                if each.at >= began and each.status == status:
                    ends.setdefault(each.scanner, each.ended)
            return max(ends.values()) if len(ends) == len(self._threads) else None

        return until(last, f"0x{status:04X} for each: {self.asked[-8:]}") - began

    def of(self, status: int | None) -> list[Asked]:
        """The queries that came to this."""
        return [each for each in self.asked if each.status == status]

    def _poll(self, scanner: int) -> None:
        with ExitStack() as stack:
            kept: Peer | None = None
            while not self._is_over.wait(PAUSE):
                peer = kept or stack.enter_context(Peer(self._port))
                asked = self._ask(scanner, peer, is_new=kept is None)
                self.asked.append(asked)
                keeps = scanner % 2 == 1 and asked.status is not None
                kept = peer if keeps else None
                if not keeps:
                    stack.pop_all().close()

    def _ask(self, scanner: int, peer: Peer, *, is_new: bool) -> Asked:
        at = time.monotonic()
        status, steps, comment = None, 0, ""
        try:
            if is_new:
                peer.associate()
            # The association is another matter than the query.
            at = time.monotonic()
            peer.send(find())
            *pending, status = peer.statuses()
            steps, comment = len(pending), peer.comment
            seconds = time.monotonic() - at
            if scanner % 2 == 0:
                peer.release()
        except (OSError, AssertionError) as error:
            seconds = time.monotonic() - at
            comment = str(error) or type(error).__name__
        return Asked(scanner, at, seconds, status, steps, comment)
