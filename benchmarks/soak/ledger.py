"""What an answer has to hold, and what excuses one that did not come."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

KILLED, RESTARTED = "a worker was killed", "the database was restarted"
# Seconds: until a killed process is gone, and until a database that answers again is used.
_GONE_WITHIN, _WELL_WITHIN = 0.5, 2.0
UNAVAILABLE = "status A700"


class Ledger:
    """The patients of each scanner: those of today, whom nobody changes, and those that are booked.

    Who was saved before a query began has to be in its answer, whoever may have been saved before
    it ended may be, and nobody else.
    """

    def __init__(self, today: Mapping[str, Counter[str]]) -> None:
        self.today = today
        self._lock = threading.Lock()
        self._saved: dict[str, frozenset[str]] = dict.fromkeys(today, frozenset())
        self._begun: dict[str, frozenset[str]] = dict.fromkeys(today, frozenset())

    def begin(self, title: str, patient: str) -> None:
        """A clerk is about to save an exam of this patient."""
        with self._lock:
            self._begun[title] |= {patient}

    def saved(self, title: str, patient: str) -> None:
        """The clerk was told that it is saved."""
        with self._lock:
            self._saved[title] |= {patient}

    def certain(self, title: str) -> frozenset[str]:
        """Who has to be in an answer to a query that begins now."""
        return self._saved[title]

    def fault_of_today(self, title: str, found: Sequence[str]) -> str:
        """What is wrong with an answer of today, "" for nothing."""
        amiss = Counter(found)
        amiss.subtract(self.today[title])
        wrong = sum(map(abs, amiss.values()))
        return f"{wrong} of today too many or missing" if wrong else ""

    def fault_of_later(self, title: str, certain: frozenset[str], found: Sequence[str]) -> str:
        """The same of the days on which clerks book; `certain` as it was when the query began."""
        those = frozenset(found)
        if len(those) != len(found):
            return "a patient is there twice"
        if missing := certain - those:
            return f"{len(missing)} saved and missing"
        if unknown := those - self._begun[title]:
            return f"{len(unknown)} that nobody booked"
        return ""


@dataclass
class Excuse:
    """A fault that was injected, and when."""

    kind: str
    began: float
    ended: float = float("inf")


@dataclass(frozen=True)
class Failure:
    """A query or a save that failed: when, and how."""

    began: float
    ended: float
    how: str


@dataclass
class Excuses:
    """The faults that may make a query fail, or a save."""

    given: list[Excuse] = field(default_factory=list)

    @contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """The block is the fault."""
        excuse = Excuse(kind, time.monotonic())
        self.given.append(excuse)
        try:
            yield
        finally:
            excuse.ended = time.monotonic()

    def of(self, failure: Failure, *, is_save: bool = False) -> str:
        """The kind of fault that excuses this failure, "" when none does."""
        return next((each.kind for each in self.given if _excuses(each, failure, is_save)), "")


def _excuses(excuse: Excuse, failure: Failure, is_save: bool) -> bool:
    if excuse.kind == RESTARTED:
        is_then = failure.began < excuse.ended + _WELL_WITHIN and failure.ended > excuse.began
        return is_then and (is_save or failure.how == UNAVAILABLE)
    # Only what the worker held: begun before it was gone.
    held = failure.began < excuse.ended + _GONE_WITHIN and failure.ended > excuse.began
    return held and not is_save and not failure.how.startswith("status")
