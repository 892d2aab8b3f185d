"""Nobody waits for a database that hangs: a page, or whoever else is in a hurry, gives up in time.

What a thread waits for PostgreSQL is bounded here, since a server that hangs bounds nothing itself;
`worklist.postgresql` asks. Commands are in no hurry: migrations and imports take what they take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.signals import request_finished, request_started
from django.db.backends.signals import connection_created

# Seconds that a page waits for one answer of the database. The server's own bounds come first,
# where it is well: they say what it was that took so long.
PAGE = 4.0
# What the server bounds for who is in a hurry, in milliseconds.
SERVER_BOUNDS = (
    "-c statement_timeout=3500 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
)


class _Hurry(threading.local):
    seconds: float | None = None
    until: float | None = None
    is_over = False


_hurry = _Hurry()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What this thread asks of the database in this block is answered in so many seconds, in all.

    What is asked later fails at once (OperationalError).
    """
    begin(until=time.monotonic() + seconds)
    try:
        yield
    finally:
        end()


def begin(seconds: float | None = None, *, until: float | None = None) -> None:
    """From now on this thread waits so many seconds for each answer, and until then at most.

    After an answer that did not come it waits for no other one. `end` is to follow.
    """
    _hurry.seconds, _hurry.until, _hurry.is_over = seconds, until, False


def end() -> None:
    """From now on this thread waits for as long as it takes."""
    _hurry.seconds = _hurry.until = None


def is_set() -> bool:
    """Whether this thread is in a hurry."""
    return (_hurry.seconds, _hurry.until) != (None, None)


def left() -> float | None:
    """Seconds for which this thread may wait, 0 when it has waited already; None: no matter."""
    if not is_set():
        return None
    if _hurry.is_over:
        return 0.0
    bounds = [] if _hurry.seconds is None else [_hurry.seconds]
    if _hurry.until is not None:
        bounds.append(_hurry.until - time.monotonic())
    return max(0.0, min(bounds))


def give_up() -> None:
    """An answer did not come in time: this thread waits for no other one."""
    _hurry.is_over = True


def connect() -> None:
    """Let each page, to the last byte of what it streams, be in a hurry."""
    request_started.connect(_begin_page, dispatch_uid="worklist.deadline")
    request_finished.connect(_end_page, dispatch_uid="worklist.deadline")
    connection_created.connect(_hurry_sqlite, dispatch_uid="worklist.deadline")


def _begin_page(**_more: Any) -> None:
    begin(PAGE)


def _end_page(**_more: Any) -> None:
    end()


def _hurry_sqlite(connection: Any, **_more: Any) -> None:
    """SQLite waits for one thing alone: for another writer to end."""
    if connection.vendor == "sqlite" and (seconds := left()) is not None:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
