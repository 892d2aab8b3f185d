"""A turn at the database for the threads of associations: bounded in number, given back after each.

However many associations there are, no more than DICOM_DATABASE_CONNECTIONS are open. They stay
open between the queries (connections). Where there is a replica that may be read, it is.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from django.conf import settings
from django.db import (
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from dicomscp import connections, replica
from dicomscp.answers import ANSWERS
from dicomscp.connections import Kept
from dicomscp.status import OUT_OF_RESOURCES, Refusal

logger = logging.getLogger(__name__)

# Seconds in which a query is to be read, the wait for its turn included. To give up connecting to a
# server that hangs takes two more (connect_timeout): in five a console has its answer.
_READ_WITHIN = 3.0
# For the primary, once the replica has failed.
_ONCE_MORE_WITHIN = 1.0
# A server that takes no connections may just be restarting. For so many seconds it is tried again,
# counted from the first query that met it so: who comes later waits in vain with nobody.
_AWAY_FOR = 2.0
_PAUSE = 0.05
# By PostgreSQL's codes: ended by an administrator or after a crash, or not taking anybody yet. A
# connection that is refused, or breaks off, has none.
_RESTARTING = frozenset({"", "57P01", "57P02", "57P03"})
# A statement or a wait for a lock that took too long, by PostgreSQL's code: not tried again.
_STATEMENT_TIMEOUT = "57014"
_TOO_LONG = frozenset({_STATEMENT_TIMEOUT, "55P03"})

# What says nothing about the values that were asked for. NotSupportedError: a prepared statement
# that a migration has made another one.
_UNAVAILABLE = (
    OperationalError,
    InterfaceError,
    InternalError,
    ProgrammingError,
    NotSupportedError,
)

_turns: threading.BoundedSemaphore | None = None
_turns_lock = threading.Lock()
# Since when the server has taken no connection (monotonic), as far as anybody asked.
_away_since: float | None = None

Found = TypeVar("Found")


def keep() -> None:
    """Keep connections open between turns from now on; to be followed by a `close`."""
    connections.SHELF.start()
    replica.start()


def close() -> None:
    """Close what was kept open."""
    replica.stop()
    connections.SHELF.stop()


def read(reading: Callable[[], Found]) -> Found:
    """What `reading` finds in the database, tried once more when the connection was dead.

    Raises Refusal (0xA700) when the database cannot be had.
    """
    until = time.monotonic() + _READ_WITHIN
    with _turn():
        try:
            return _from_either(reading, until)
        except _UNAVAILABLE as error:
            logger.error("worklist database unavailable: %s", type(error).__name__)
            _let_go(error)
            comment = "Worklist database unavailable, retry later"
            if _code(error) in _TOO_LONG:
                comment = "Worklist query timed out, narrow the query"
            raise Refusal(OUT_OF_RESOURCES, comment) from None


@contextmanager
def _turn() -> Iterator[None]:
    """The right to use the database."""
    global _turns
    with _turns_lock:
        if _turns is None:
            _turns = threading.BoundedSemaphore(settings.DICOM_DATABASE_CONNECTIONS)
    if not _turns.acquire(timeout=_READ_WITHIN):
        raise Refusal(OUT_OF_RESOURCES, "Worklist database busy, retry later")
    try:
        yield
    finally:
        _turns.release()


def _from_either(reading: Callable[[], Found], until: float) -> Found:
    """Read from the replica where it may be read, else, or when that fails, from the primary."""
    if replica.may_be_read():
        kept = connections.SHELF.take(replica.ALIAS) or Kept(replica.ALIAS)
        try:
            return _through(kept, reading, until)
        except _UNAVAILABLE as error:
            # A wait for a lock is another matter there: that of what is being replayed.
            if _code(error) == _STATEMENT_TIMEOUT:
                raise
            _let_go(error)
        replica.failed()
        until = max(until, time.monotonic() + _ONCE_MORE_WITHIN)
    return _once_more(reading, until)


def _once_more(reading: Callable[[], Found], until: float) -> Found:
    """Read, and when the connection turns out to be dead, once more on a fresh one.

    From a server that restarts, until it is there again, within bounds.
    """
    global _away_since
    kept = connections.SHELF.take()
    is_first = True
    while True:
        try:
            found = _through(kept or Kept(), reading, until)
        except _UNAVAILABLE as error:
            now = time.monotonic()
            is_away = _is_away(error)
            if is_away:
                _away_since = _away_since or now
            is_hopeless = now >= until or _code(error) in _TOO_LONG
            may_be_back = is_away and now < (_away_since or now) + _AWAY_FOR
            if is_hopeless or not (is_first or may_be_back):
                raise
            _let_go(error)
        else:
            _away_since = None
            return found
        if is_first:
            # What it died of has mostly killed the others, too.
            connections.SHELF.clear()
        else:
            time.sleep(_PAUSE)
        kept, is_first = None, False


def _is_away(error: Exception) -> bool:
    """Whether nobody is at the other end, and at once: not one that hangs."""
    cause = error.__cause__
    return (
        isinstance(cause, psycopg.OperationalError)
        and not isinstance(cause, psycopg.errors.ConnectionTimeout)
        and _code(error) in _RESTARTING
    )


def _through(kept: Kept, reading: Callable[[], Found], until: float) -> Found:
    """Read by this connection, which is kept for the next one unless it failed."""
    try:
        with kept.in_use():
            if kept.wrapper.connection is None:
                kept.open()
                # There may be another database behind it, such as one that was restored.
                ANSWERS.clear()
            with connections.SHELF.watched(kept, until):
                found = reading()
    except _UNAVAILABLE:
        kept.close()
        raise
    except BaseException:
        _give_back(kept)
        raise
    _give_back(kept)
    return found


def _give_back(kept: Kept) -> None:
    if kept.wrapper.connection is None or kept.wrapper.in_atomic_block:
        kept.close()
    else:
        connections.SHELF.put_back(kept)


def _begin_anew() -> None:
    """In a process that was forked: the turns are its own."""
    global _turns, _turns_lock, _away_since
    _turns, _turns_lock, _away_since = None, threading.Lock(), None


os.register_at_fork(after_in_child=_begin_anew)


def _let_go(error: BaseException | None) -> None:
    """Have its frames hold nothing: a connection half made would stay open with them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _code(error: Exception) -> str:
    """PostgreSQL's own code of an error, "" of another's."""
    return getattr(error.__cause__, "sqlstate", None) or ""
