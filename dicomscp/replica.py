"""Whether queries may be read from the replica: it answers, and how old at most is what it shows.

How far the primary's log had come when it was asked, and how far the replica has replayed it, are
compared each second: no clock of another machine is believed, an idle primary is told from one that
cannot be heard, and nothing is written. What a replica shows that has replayed a position is all
that was committed when the primary was asked for it.
"""

from __future__ import annotations

import enum
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db import connections as databases

from dicomscp import connections
from dicomscp.connections import Kept

logger = logging.getLogger(__name__)

ALIAS = "replica"
# Seconds from one question to the next, and within which an answer has to come.
_EVERY = 1.0
_WITHIN = 1.0
# For so long an answer of the replica holds: the next one was due.
_HOLDS = _EVERY + _WITHIN + 0.5
# Positions that are remembered: a replica that is further behind is not told how far.
_MOST = 3600

# Both may be asked by anybody. The cluster and its timeline: another history has other positions.
_AT_PRIMARY = """
    SELECT system_identifier, ('x' || left(pg_walfile_name(at), 8))::bit(32)::int, at - '0/0'
    FROM pg_control_system(), pg_current_wal_lsn() AS at"""
# The timeline of the last restart point: late after a failover, which errs on the safe side.
_AT_REPLICA = """
    SELECT system_identifier, timeline_id, pg_last_wal_replay_lsn() - '0/0'
    FROM pg_control_system(), pg_control_checkpoint() WHERE pg_is_in_recovery()"""


class State(enum.StrEnum):
    """Whether the replica is read, or why it is not."""

    READ = "read"
    AWAY = "away"
    BEHIND = "behind"
    # It takes writes of its own, or is the copy of another database.
    NO_REPLICA = "no replica"


@dataclass(frozen=True)
class Told:
    """How the replica is; `behind`: what it shows is so many seconds old at most, None: unknown."""

    state: State
    behind: float | None

    def as_json(self) -> dict[str, Any]:
        behind = None if self.behind is None else round(self.behind, 1)
        return {"state": self.state, "behind": behind}


class Watch:
    """Asks primary and replica, each in a thread of its own: one that hangs delays no other."""

    def __init__(self, *, limit: float) -> None:
        self._limit = limit
        self._stopping = threading.Event()
        # When the primary was asked, and of which history and how far its log was then or later.
        self._marks: deque[tuple[float, tuple[int, int], int]] = deque(maxlen=_MOST)
        # When the replica was asked that has answered since, and until when it shows everything.
        self._heard: float | None = None
        self._shows: float | None = None
        self._is_one = True
        self._state: State | None = None
        self._threads = [
            threading.Thread(target=self._run, args=each, name=f"watch {each[0]}", daemon=True)
            for each in ((DEFAULT_DB_ALIAS, self._ask_primary), (ALIAS, self._ask_replica))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def may_be_read(self) -> bool:
        """Whether a query may be read from the replica now."""
        return self.told().state is State.READ

    def told(self) -> Told:
        """How the replica is now."""
        now, heard, shows = time.monotonic(), self._heard, self._shows
        behind = None if shows is None else now - shows
        if heard is None or now - heard > _HOLDS:
            return Told(State.AWAY, behind)
        if not self._is_one:
            return Told(State.NO_REPLICA, None)
        is_late = behind is None or behind > self._limit
        return Told(State.BEHIND if is_late else State.READ, behind)

    def failed(self) -> None:
        """A query could not be read from it: it is not asked again before it has answered us."""
        self._heard = None
        connections.SHELF.clear(ALIAS)

    def _run(self, alias: str, ask: Callable[[Kept], None]) -> None:
        kept = Kept(alias)
        while not self._stopping.is_set():
            before = time.monotonic()
            try:
                if kept.wrapper.connection is None:
                    kept.open()
                with connections.SHELF.watched(kept, time.monotonic() + _WITHIN):
                    ask(kept)
            except Exception:  # whatever it is, the next question may be answered
                kept.close()
                if alias == ALIAS:
                    self.failed()
                    # Who reads from it just now hangs as we did.
                    connections.SHELF.cut(ALIAS)
            if alias == ALIAS:
                self._log()
            self._stopping.wait(before + _EVERY - time.monotonic())
        kept.close()

    def _ask_primary(self, kept: Kept) -> None:
        before = time.monotonic()
        row = _row(kept, _AT_PRIMARY)
        if row is not None:
            self._marks.append((before, (row[0], row[1]), int(row[2])))

    def _ask_replica(self, kept: Kept) -> None:
        before = time.monotonic()
        row = _row(kept, _AT_REPLICA)
        marks = list(self._marks)
        self._is_one = row is not None and (not marks or marks[-1][1] == (row[0], row[1]))
        if row is not None and self._is_one:
            history, replayed = (row[0], row[1]), int(row[2] or 0)
            shows = [at for at, of, position in marks if of == history and position <= replayed]
            if shows:
                self._shows = max(shows[-1], self._shows or 0.0)
        # Published last: who finds it fresh finds the rest as it belongs to it.
        self._heard = before

    def _log(self) -> None:
        told = self.told()
        state = told.state
        # The primary's first answer may be on its way.
        is_early = self._state is None and state is State.BEHIND and told.behind is None
        if state is self._state or is_early:
            return
        self._state = state
        if state is State.READ:
            logger.info("queries are read from the replica")
        else:
            logger.warning("queries are read from the primary, replica: %s", state)


def _row(kept: Kept, sql: str) -> tuple[Any, ...] | None:
    with kept.wrapper.cursor() as cursor:
        cursor.execute(sql)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


# --- the one of this process ----------------------------------------------------------------------

_watch: Watch | None = None


def start() -> None:
    """Watch the replica from now on, if one is set."""
    global _watch
    if _watch is None and ALIAS in set(databases):
        _watch = Watch(limit=settings.DATABASE_REPLICA_LAG)
        _watch.start()


def stop() -> None:
    """Read from the primary alone from now on."""
    global _watch
    if _watch is not None:
        _watch.stop()
    _watch = None


def may_be_read() -> bool:
    """Whether a query may be read from the replica now."""
    return _watch is not None and _watch.may_be_read()


def failed() -> None:
    """A query could not be read from it."""
    if _watch is not None:
        _watch.failed()


def told() -> Told | None:
    """How the replica is, None without one."""
    return _watch.told() if _watch is not None else None


def _begin_anew() -> None:
    """In a process that was forked: the threads are the parent's."""
    global _watch
    _watch = None


os.register_at_fork(after_in_child=_begin_anew)
