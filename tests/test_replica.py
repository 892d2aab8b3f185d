"""Queries read from a replica that streams; read from the primary where it is away or behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core import checks
from django.db import connection, connections
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import lease, replica
from dicomscp.connections import SHELF
from dicomscp.replica import State
from dicomscp.status import Refusal
from tests import image, network, postgres, replicas
from tests.asking import query
from tests.processes import Start, first_line, runscp
from tests.replicas import Cluster
from tests.waiting import until

__all__ = ["runscp"]  # a fixture

IS_REPLICA = "SELECT pg_is_in_recovery()"
LIMIT = 3.0


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Cluster, Cluster]]:
    with replicas.primary() as first, replicas.replica(first) as second:
        yield first, second


@pytest.fixture(autouse=True)
def unblocked(django_db_blocker: Any) -> Iterator[None]:
    """The databases are the tests' own: pytest's need not be made for them."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def leased(
    both: tuple[Cluster, Cluster], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[tuple[Cluster, Cluster]]:
    """The two as our databases, and a replica that is up to date."""
    for alias, cluster in zip(("default", replica.ALIAS), both, strict=True):
        config = {
            **settings.DATABASES["default"],
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": postgres.USER,
            "HOST": str(cluster.folder),
            "PORT": "",
            "OPTIONS": {"connect_timeout": 2, "application_name": "scp"},
        }
        monkeypatch.setitem(connections.settings, alias, config)
    settings.DATABASE_REPLICA_LAG = LIMIT
    settings.DICOM_DATABASE_CONNECTIONS = 3
    monkeypatch.setattr(lease, "_turns", None)
    lease.keep()
    try:
        until(replica.may_be_read)
    except AssertionError:
        told = replica.told()
        lease.close()
        pytest.fail(f"the replica is not read from: {told}, {where(*both)}")
    yield both
    lease.close()
    _first, second = both
    for each in both:
        if each.process.poll() is None:
            each.signal(signal.SIGCONT)
        else:
            each.start()
    second.ask("SELECT pg_wal_replay_resume()")


def where(first: Cluster, second: Cluster) -> list[Any]:
    """What the two say of the log."""
    return [
        *first.ask("SELECT pg_current_wal_lsn(), timeline_id FROM pg_control_checkpoint()"),
        *second.ask("SELECT pg_last_wal_replay_lsn(), pg_get_wal_replay_pause_state()"),
        *second.ask("SELECT timeline_id FROM pg_control_checkpoint()"),
        *second.ask("SELECT status, flushed_lsn FROM pg_stat_wal_receiver"),
    ]


def answered(sql: str = IS_REPLICA) -> Any:
    def read() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    return lease.read(read)


def is_read() -> bool:
    """Whether a query is read from the replica; it is answered either way."""
    return bool(answered())


def state() -> State:
    told = replica.told()
    assert told is not None
    return told.state


def test_a_query_is_read_from_the_replica_and_nothing_else_is(
    leased: tuple[Cluster, Cluster],
) -> None:
    first, second = leased
    assert [is_read() for _ in range(5)] == [True] * 5
    assert connections["default"].alias == "default"
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'scp'"
    # The one that watches, and the one that reads.
    assert [each.value(sql) for each in (first, second)] == [1, 2]


def test_a_cursor_of_the_servers_is_read_there_too(leased: tuple[Cluster, Cluster]) -> None:
    def read() -> tuple[bool, int]:
        # What SQL alone does not decide, past a limit.
        with connection.chunked_cursor() as cursor:
            cursor.execute("SELECT n, pg_is_in_recovery() FROM generate_series(1, 5000) AS n")
            rows = [row for chunk in iter(lambda: cursor.fetchmany(2000), []) for row in chunk]
        return rows[0][1], len(rows)

    assert lease.read(read) == (True, 5000)


def test_what_is_idle_is_not_behind(leased: tuple[Cluster, Cluster]) -> None:
    first, _ = leased
    # The end of a segment of the log is no position that is waited for.
    first.ask("SELECT pg_switch_wal()")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > LIMIT + 2)
    assert is_read()
    told = replica.told()
    assert told is not None
    assert told.behind is not None
    assert told.behind < LIMIT


def test_the_replica_is_killed_and_no_query_fails(leased: tuple[Cluster, Cluster]) -> None:
    _, second = leased
    assert is_read()
    second.kill()
    before = time.monotonic()
    assert not is_read(), "the next query is read from the primary"
    assert time.monotonic() - before < 1
    until(lambda: state() is State.AWAY)
    second.start()
    until(is_read)


def test_the_replica_is_killed_while_it_is_read_from(leased: tuple[Cluster, Cluster]) -> None:
    _, second = leased
    results: list[Any] = []
    sql = f"{IS_REPLICA} FROM pg_sleep(CASE WHEN pg_is_in_recovery() THEN 2 ELSE 0 END)"
    asking = threading.Thread(target=lambda: results.append(answered(sql)))
    asking.start()
    until(
        lambda: bool(
            second.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        )
    )
    second.kill()
    asking.join()
    assert results == [False]


def test_a_replica_that_hangs_costs_seconds_once(leased: tuple[Cluster, Cluster]) -> None:
    _, second = leased
    assert is_read()
    second.signal(signal.SIGSTOP)
    before = time.monotonic()
    assert not is_read()
    assert time.monotonic() - before < 5
    before = time.monotonic()
    assert not is_read()
    assert time.monotonic() - before < 1, "it is known by now"
    second.signal(signal.SIGCONT)
    until(is_read)


def test_a_replica_that_replays_nothing_is_read_until_it_is_too_old(
    leased: tuple[Cluster, Cluster],
) -> None:
    first, second = leased
    first.ask("CREATE TABLE IF NOT EXISTS booked (one int)")
    first.ask("TRUNCATE booked")
    until(lambda: second.value("SELECT to_regclass('booked')") is not None)
    until(lambda: second.value("SELECT count(*) FROM booked") == 0)
    second.ask("SELECT pg_wal_replay_pause()")
    until(lambda: second.value("SELECT pg_get_wal_replay_pause_state()") == "paused")
    first.ask("INSERT INTO booked VALUES (1)")
    before = time.monotonic()
    assert answered("SELECT count(*) FROM booked") == 0
    until(lambda: answered("SELECT count(*) FROM booked") == 1)
    assert time.monotonic() - before < LIMIT + 1
    assert state() is State.BEHIND
    second.ask("SELECT pg_wal_replay_resume()")
    until(is_read)
    assert answered("SELECT count(*) FROM booked") == 1


def test_a_primary_that_is_not_heard_leaves_the_replica_for_as_long_as_it_may_be_old(
    leased: tuple[Cluster, Cluster],
) -> None:
    first, _second = leased
    first.kill()
    before = last = time.monotonic()
    with pytest.raises(Refusal):
        while last - before < 15:
            assert is_read()
            last = time.monotonic()
    # Where nobody knows what is committed meanwhile, nothing is said for certain.
    assert LIMIT - 2 < last - before < LIMIT + 1
    assert state() is State.BEHIND
    first.start()
    until(is_read)


def test_who_waits_for_what_is_being_replayed_is_answered_by_the_primary(
    leased: tuple[Cluster, Cluster],
) -> None:
    first, second = leased
    first.ask("CREATE TABLE IF NOT EXISTS moved (one int)")
    until(lambda: second.value("SELECT count(*) FROM pg_class WHERE relname = 'moved'") == 1)
    with second_holds(second, "moved"):
        # A migration's lock is replayed, and the replay waits for who reads.
        first.ask("ALTER TABLE moved ADD COLUMN IF NOT EXISTS two int")
        assert answered("SELECT count(*) FROM moved") == 0
    until(is_read)


@contextmanager
def second_holds(cluster: Cluster, table: str) -> Iterator[None]:
    """A reader on the replica that keeps a table as it is."""
    where = {"host": str(cluster.folder), "user": postgres.USER, "dbname": "postgres"}
    with psycopg.connect(**where) as reader:  # type: ignore[arg-type]
        reader.execute(f"SELECT 1 FROM {table}".encode())
        yield


def test_a_replica_that_takes_writes_of_its_own_is_none(leased: tuple[Cluster, Cluster]) -> None:
    first, _ = leased
    with replicas.replica(first) as third:
        third.ask("SELECT pg_promote()")
        watch = watching(third)
        until(lambda: watch.told().state is State.NO_REPLICA)
        watch.stop()


def test_the_copy_of_another_database_is_none(leased: tuple[Cluster, Cluster]) -> None:
    with replicas.primary() as other, replicas.replica(other) as third:
        watch = watching(third)
        until(lambda: watch.told().state is State.NO_REPLICA)
        watch.stop()


def watching(cluster: Cluster) -> replica.Watch:
    connections.settings[replica.ALIAS]["HOST"] = str(cluster.folder)
    watch = replica.Watch(limit=LIMIT)
    watch.start()
    return watch


def test_nothing_is_left_when_the_server_stops(leased: tuple[Cluster, Cluster]) -> None:
    answered()
    lease.close()
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'scp'"
    until(lambda: [each.value(sql) for each in leased] == [0, 0])
    assert SHELF.take(replica.ALIAS) is None
    assert not is_read()
    lease.keep()


def test_a_process_that_was_forked_watches_for_itself(leased: tuple[Cluster, Cluster]) -> None:
    child = os.fork()
    if not child:
        try:
            is_anew = replica.told() is None
            lease.keep()
            until(replica.may_be_read)
            os._exit(0 if is_anew and is_read() else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_settings_that_cannot_work_are_told(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**settings.DATABASES["default"], "ENGINE": "django.db.backends.sqlite3"}
    monkeypatch.setitem(settings.DATABASES, replica.ALIAS, config)
    monkeypatch.setitem(connections.settings, replica.ALIAS, config)
    settings.DATABASE_REPLICA_LAG = 1
    found = {each.id: each.msg for each in checks.run_checks() if each.id}
    assert "DATABASE_REPLICA_URL is not PostgreSQL." in found["worklist.E017"]
    assert found["worklist.E018"] == "DATABASE_REPLICA_LAG is 1."


# --- runscp ---------------------------------------------------------------------------------------

BOOK = """
import django
django.setup()
from tests.cast import book, patient
book(patient("LATER"))
"""


@pytest.mark.timeout(300)
def test_runscp_reads_queries_from_the_replica_and_writes_to_the_primary(
    runscp: Start,
) -> None:
    with replicas.primary() as first, replicas.replica(first) as second:
        environment = {
            **os.environ,
            "DATABASE_URL": first.url,
            "DATABASE_REPLICA_URL": second.url,
            "DATABASE_REPLICA_LAG": "3",
            "DJANGO_SETTINGS_MODULE": "worklist.settings",
        }

        def python(*words: str) -> None:
            subprocess.run(
                [sys.executable, *words],
                cwd=image.ROOT,
                env=environment,
                check=True,
                capture_output=True,
            )

        python("manage.py", "migrate", "--no-input")
        scp = runscp("--port", "0", **environment)
        port = int(first_line(scp).partition("127.0.0.1:")[2].partition(",")[0])
        # It beats for the second time once it knows of the replica.
        how = "SELECT max(replica->>'state') FROM dicomscp_heartbeat"
        until(lambda: bool(first.value(how) == "read"), within=25)
        until(lambda: bool(second.value(how) == "read"))
        second.ask("SELECT pg_wal_replay_pause()")
        until(lambda: second.value("SELECT pg_get_wal_replay_pause_state()") == "paused")
        python("-c", BOOK)
        with network.association(port, ImplicitVRLittleEndian) as assoc:

            def matches(**keys: Any) -> int:
                reply = network.ask(assoc, query(PatientID="LATER", **keys))
                assert reply.final.Status == 0
                return len(reply.pendings)

            since = time.monotonic()
            until(lambda: matches() == 1)
            assert time.monotonic() - since < 5
            second.ask("SELECT pg_wal_replay_resume()")
            scans = "SELECT sum(seq_scan + idx_scan) FROM pg_stat_user_tables"
            before = second.value(scans)
            until(lambda: matches() == 1 and second.value(scans) > before)
        journal = "SELECT count(*) FROM dicomscp_query"
        until(lambda: first.value(journal) > 0)
