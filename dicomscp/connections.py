"""Connections to the database that stay open between the queries of associations.

Each is handed to one thread at a time, the one that was used last first. Nobody waits for a
database that hangs: at its deadline a connection is cut.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from dicomscp.prepared import Prepared
from dicomscp.statement import Execute, Row

# Seconds: after which an idle one is closed, and how often deadlines are looked at.
_IDLE = 60.0
_TICK = 0.25
# Enforced by the server, where it can: a statement, and the wait for a table that a migration has.
_POSTGRES_TIMEOUTS = (
    "-c statement_timeout=2800 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000 "
    # Of statements that are prepared; those that are not say their parameters in their text.
    "-c plan_cache_mode=force_generic_plan "
    # Such a plan is made for as many rows as there might be: to compile it, or to start processes
    # for it, takes a hundred times what it takes to read the few that there are.
    "-c jit=off -c max_parallel_workers_per_gather=0"
)
_SQLITE_TIMEOUT = 2.0


class Kept:
    """A connection, and what it takes to cut it from another thread."""

    def __init__(self, alias: str = DEFAULT_DB_ALIAS) -> None:
        self.alias = alias
        self.wrapper = connections.create_connection(alias)
        self.wrapper.settings_dict = _settings(self.wrapper)
        # It changes hands between threads, one after the other.
        self.wrapper.inc_thread_sharing()
        self.used = time.monotonic()
        self._line: socket.socket | None = None

    def open(self) -> None:
        """Connect. Raises Django's database errors."""
        self.wrapper.ensure_connection()
        raw: Any = self.wrapper.connection
        execute: Execute | None = None
        if self.wrapper.vendor == "postgresql":
            # A descriptor of our own: that of the library may be another's when we cut.
            self._line = socket.socket(fileno=os.dup(raw.pgconn.socket))
            # Where this is set there is a pooler between, that hands a session to several.
            if not self.wrapper.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
                execute = Prepared(raw)
        elif self.wrapper.vendor == "sqlite":
            execute = partial(_plainly, raw)
        self.wrapper.execute = execute  # type: ignore[attr-defined]  # asked for by statements

    def cut(self) -> None:
        """Let what is being read fail."""
        line, raw = self._line, self.wrapper.connection
        with suppress(OSError, Error):
            if line is not None:
                line.shutdown(socket.SHUT_RDWR)
            elif raw is not None and self.wrapper.vendor == "sqlite":
                raw.interrupt()

    def close(self) -> None:
        with suppress(Error):
            self.wrapper.close()
        if self._line is not None:
            self._line.close()
            self._line = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let this thread's database be this connection, to whichever server it is."""
        own = [each for each in connections.all(initialized_only=True) if _is_default(each)]
        connections[DEFAULT_DB_ALIAS] = self.wrapper
        try:
            yield
        finally:
            del connections[DEFAULT_DB_ALIAS]
            for each in own:
                connections[DEFAULT_DB_ALIAS] = each


def _plainly(raw: Any, sql: str, params: tuple[Any, ...]) -> list[Row]:
    rows: list[Row] = raw.execute(sql, params).fetchall()
    return rows


def _is_default(wrapper: BaseDatabaseWrapper) -> bool:
    return wrapper.alias == DEFAULT_DB_ALIAS


def _settings(wrapper: BaseDatabaseWrapper) -> dict[str, Any]:
    given = wrapper.settings_dict
    options = {name: value for name, value in given["OPTIONS"].items() if name != "pool"}
    if wrapper.vendor == "postgresql":
        options["options"] = f"{options.get('options', '')} {_POSTGRES_TIMEOUTS}".strip()
    elif wrapper.vendor == "sqlite":
        options["timeout"] = _SQLITE_TIMEOUT
    return {**given, "OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}


class Shelf:
    """The connections that nobody uses just now; who uses one is watched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._free: list[Kept] = []
        self._watched: dict[Kept, float] = {}
        self._busy = threading.Event()
        self._watchman: threading.Thread | None = None

    def start(self) -> None:
        """Keep connections from now on; each start is to be followed by a stop."""
        with self._lock:
            self._users += 1

    def stop(self) -> None:
        """Close those that nobody uses, and keep no more."""
        with self._lock:
            self._users -= 1
        self._close_those_idle(0 if not self._users else _IDLE)

    def take(self, alias: str = DEFAULT_DB_ALIAS) -> Kept | None:
        """The one to this server that was used last, None when there is none."""
        with self._lock:
            kept = next((each for each in reversed(self._free) if each.alias == alias), None)
            if kept:
                self._free.remove(kept)
        if kept and time.monotonic() - kept.used > _IDLE:
            kept.close()
            return None
        return kept

    def put_back(self, kept: Kept) -> None:
        """Give back one that works."""
        kept.used = time.monotonic()
        with self._lock:
            if self._users:
                self._free.append(kept)
                return
        kept.close()

    def clear(self, alias: str = DEFAULT_DB_ALIAS) -> None:
        """Close all to this server that nobody uses: one of them turned out to be dead."""
        self._close_those_idle(0, alias)

    def cut(self, alias: str) -> None:
        """Let what is being read from this server fail: it hangs."""
        for kept in self._watched.copy():
            if kept.alias == alias:
                kept.cut()

    def _close_those_idle(self, seconds: float, alias: str = "") -> None:
        since = time.monotonic() - seconds
        with self._lock:
            old = [kept for kept in self._free if kept.used <= since and alias in ("", kept.alias)]
            self._free = [kept for kept in self._free if kept not in old]
        for kept in old:
            kept.close()

    @contextmanager
    def watched(self, kept: Kept, until: float) -> Iterator[None]:
        """Cut the connection when it is still used at that time (monotonic)."""
        self._watched[kept] = until
        # Published first, the sleeper is woken then; it forgets that first, and looks then.
        if not self._busy.is_set():
            self._wake()
        try:
            yield
        finally:
            del self._watched[kept]

    def _wake(self) -> None:
        self._busy.set()
        if self._watchman is None:
            with self._lock:
                if self._watchman is None:
                    self._watchman = threading.Thread(
                        target=self._watch, name="database watch", daemon=True
                    )
                    self._watchman.start()

    def _watch(self) -> None:
        while True:
            if not self._busy.wait(_IDLE):
                self._close_those_idle(_IDLE)
                continue
            time.sleep(_TICK)
            now = time.monotonic()
            for kept, until in self._watched.copy().items():
                # Again and again: it may have been about to send another statement.
                if until <= now:
                    kept.cut()
            self._busy.clear()
            if self._watched:
                self._busy.set()


SHELF = Shelf()


def _begin_anew() -> None:
    """In a process that was forked: the connections are the parent's, which uses them."""
    global SHELF
    SHELF = Shelf()


os.register_at_fork(after_in_child=_begin_anew)
