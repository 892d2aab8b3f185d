"""A turn at the database: connections that are kept, die, hang; on a server of the tests' own."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections

from dicomscp import lease
from dicomscp.connections import SHELF
from dicomscp.status import OUT_OF_RESOURCES, Refusal
from tests import postgres, tools

WHO = "SELECT pg_backend_pid()"


class Server:
    """A PostgreSQL that may be frozen, and what it knows of us."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process

    def ask(self, sql: str) -> list[Any]:
        where = {"host": str(self.folder), "user": postgres.USER, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as asking:  # type: ignore[arg-type]
            told = asking.execute(sql.encode())
            return told.fetchall() if told.description else []

    def ours(self) -> int:
        (row,) = self.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'scp'")
        return int(row[0])

    def becomes(self, number: int) -> bool:
        """Whether there are soon so many connections of ours: ends are seen a little later."""
        deadline = time.monotonic() + 5
        while self.ours() != number and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        return self.ours() == number

    def signal(self, number: int) -> None:
        """To the server and to each of its backends."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in (self.process.pid, *map(int, children.split())):
            os.kill(pid, number)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="worklist-lease-"))
    try:
        process = postgres.start_in(folder, next(postgres.find()))
    except (StopIteration, OSError, postgres.CannotStartError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        tools.require_server(error)
    yield Server(folder, process)
    postgres.stop(process, folder, started_by=os.getpid())


@pytest.fixture(autouse=True)
def unblocked(django_db_blocker: Any) -> Iterator[None]:
    """The databases are the tests' own: pytest's need not be made for them."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def leased(server: Server, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Server]:
    """The server as our database, with three connections to it at most."""
    config = {
        **settings.DATABASES["default"],
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": postgres.USER,
        "HOST": str(server.folder),
        "PORT": "",
        "OPTIONS": {"connect_timeout": 2, "application_name": "scp"},
    }
    monkeypatch.setitem(connections.settings, "default", config)
    settings.DICOM_DATABASE_CONNECTIONS = 3
    monkeypatch.setattr(lease, "_turns", None)
    lease.keep()
    yield server
    server.signal(signal.SIGCONT)
    lease.close()


def answered(sql: str = WHO) -> Any:
    def ask() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    return lease.read(ask)


def test_a_connection_serves_one_turn_after_the_other(leased: Server) -> None:
    first = answered()
    assert [answered() for _ in range(5)] == [first] * 5
    lease.close()
    assert answered() != answered(), "without a server that runs, none is kept"
    lease.keep()


def test_what_is_prepared_is_so_once(leased: Server) -> None:
    from dicomscp.statement import Statement
    from worklist.models import Station

    leased.ask("CREATE TABLE IF NOT EXISTS worklist_station (ae_title text)")
    statement = Statement(Station.objects.values_list("ae_title"), is_steady=True)
    for _ in range(3):
        assert lease.read(statement.rows) == []
    assert answered("SELECT count(*) FROM pg_prepared_statements") == 1
    # A migration makes another one of it.
    leased.ask("ALTER TABLE worklist_station ALTER ae_title TYPE varchar(20)")
    assert lease.read(statement.rows) == []
    leased.ask("DROP TABLE worklist_station")
    with pytest.raises(Refusal):
        lease.read(statement.rows)


def test_what_is_prepared_is_bounded_and_typed(leased: Server) -> None:
    def ask() -> None:
        execute: Any = connections[DEFAULT_DB_ALIAS].execute  # type: ignore[attr-defined]
        for number in range(100):
            assert execute(f"SELECT {number}, $1::text", ("Müller",)) == [(number, "Müller")]
            (kept,) = execute("SELECT count(*) FROM pg_prepared_statements", ())
            assert kept[0] <= 32
        today = dt.date(2026, 5, 4)
        for value in (7, 1 << 40, "7", None, today, b"\0\xff", True, [1, 2]):
            assert execute("SELECT $1", (value,)) == [(value,)]
        for broken in ("SELEC", "SELECT 1/0"):
            with pytest.raises(psycopg.Error):
                execute(broken, ())
        assert execute("SELECT 1 WHERE false", ()) == []

    lease.read(ask)


def test_however_many_ask_there_are_no_more_connections_than_allowed(leased: Server) -> None:
    everyone = threading.Barrier(20)

    def ask(_: int) -> int:
        everyone.wait()
        return int(answered("SELECT pg_backend_pid() FROM pg_sleep(0.01)"))

    with ThreadPoolExecutor(20) as pool:
        backends = set(pool.map(ask, range(20)))
    assert len(backends) <= 3
    assert leased.ours() <= 3


def test_connections_that_the_server_ended_are_not_noticed_by_those_who_ask(
    leased: Server,
) -> None:
    both = threading.Barrier(2)

    def ask(_: int) -> int:
        both.wait()
        return int(answered("SELECT pg_backend_pid() FROM pg_sleep(0.05)"))

    with ThreadPoolExecutor(2) as pool:
        before = set(pool.map(ask, range(2)))
    assert len(before) == 2
    for _ in range(2):
        leased.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scp'"
        )
        assert answered() not in before


def test_a_server_that_hangs_is_told_of_in_time_and_well_at_once_when_it_is(
    leased: Server,
) -> None:
    answered()
    leased.signal(signal.SIGSTOP)
    # By the connection that is kept, then, there being none, by one that is to be made.
    for _ in range(2):
        before = time.monotonic()
        with pytest.raises(Refusal) as refused:
            answered()
        assert time.monotonic() - before < 5
        assert refused.value.status == OUT_OF_RESOURCES
        assert refused.value.comment == "Worklist database unavailable, retry later"
    leased.signal(signal.SIGCONT)
    before = time.monotonic()
    answered()
    assert time.monotonic() - before < 1


def test_those_who_wait_for_their_turn_meanwhile_are_told_in_time(leased: Server) -> None:
    answered()
    leased.signal(signal.SIGSTOP)

    def ask(_: int) -> float:
        before = time.monotonic()
        with pytest.raises(Refusal):
            answered()
        return time.monotonic() - before

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(ask, range(8))) < 5.5
    leased.signal(signal.SIGCONT)
    answered()


def test_a_statement_that_takes_too_long_is_ended(leased: Server) -> None:
    before = time.monotonic()
    with pytest.raises(Refusal) as refused:
        answered("SELECT 1 FROM pg_sleep(20)")
    assert time.monotonic() - before < 5
    assert refused.value.comment == "Worklist query timed out, narrow the query"
    answered()


def test_a_table_that_is_locked_is_not_waited_for(leased: Server) -> None:
    leased.ask("CREATE TABLE locked (one int)")
    where = {"host": str(leased.folder), "user": postgres.USER, "dbname": "postgres"}
    with psycopg.connect(**where) as migrating:  # type: ignore[arg-type]
        migrating.execute("LOCK TABLE locked")
        with pytest.raises(Refusal) as refused:
            answered("SELECT count(*) FROM locked")
        assert refused.value.comment == "Worklist query timed out, narrow the query"
    assert answered("SELECT count(*) FROM locked") == 0
    leased.ask("DROP TABLE locked")


def test_a_process_that_was_forked_has_connections_of_its_own(leased: Server) -> None:
    mine = answered()
    child = os.fork()
    if not child:
        try:
            lease.keep()
            is_its_own = answered() != mine
            lease.close()
            os._exit(0 if is_its_own else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert answered() == mine


def test_nothing_stays_open_when_the_server_stops(leased: Server) -> None:
    answered()
    assert leased.becomes(1)
    lease.close()
    assert leased.becomes(0)
    lease.keep()


# --- SQLite ---------------------------------------------------------------------------------------


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Iterator[Path]:
    """A SQLite file as our database."""
    from worklist.settings import SQLITE_OPTIONS

    path = tmp_path / "worklist.sqlite3"
    config = {
        **settings.DATABASES["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": dict(SQLITE_OPTIONS),
    }
    monkeypatch.setitem(connections.settings, "default", config)
    lease.keep()
    yield path
    lease.close()


def test_a_connection_to_sqlite_is_kept_until_it_fails(file: Path) -> None:
    answered("SELECT 1")
    raw = lease.read(lambda: connection.connection)
    assert lease.read(lambda: connection.connection) is raw
    raw.close()
    assert answered("SELECT 1") == 1
    assert lease.read(lambda: connection.connection) is not raw


def test_a_query_of_sqlite_that_takes_too_long_is_ended(file: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    before = time.monotonic()
    with pytest.raises(Refusal) as refused:
        answered(endless)
    assert refused.value.status == OUT_OF_RESOURCES
    assert time.monotonic() - before < 5
    assert answered("SELECT 1") == 1


def test_the_threads_own_connection_is_there_after_a_turn(file: Path) -> None:
    own = connections["default"]
    inside = lease.read(lambda: connections["default"])
    assert inside is not own
    assert connections["default"] is own
    assert SHELF.take() is not None
