"""What happens to a database: each a block in which it is so, and after which it is well again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psycopg

from tests.faults.databases import Postgres, Sqlite

# Of all connections: more than the broker takes.
_FEW = 20
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> ALL(%s)"
)

Fault = Callable[[Any], AbstractContextManager[None]]


@contextmanager
def stopped(database: Postgres) -> Iterator[None]:
    database.stop()
    yield
    database.start()


@contextmanager
def killed(database: Postgres) -> Iterator[None]:
    database.kill()
    yield
    database.start()


@contextmanager
def frozen(database: Postgres) -> Iterator[None]:
    database.freeze()
    try:
        yield
    finally:
        database.thaw()


@contextmanager
def out_of_connections(database: Postgres) -> Iterator[None]:
    database.stop()
    database.start(f"max_connections={_FEW}", "superuser_reserved_connections=0")
    with ExitStack() as stack:
        ours: list[Any] = []
        while len(ours) < _FEW:
            try:
                ours.append(stack.enter_context(database.connect()))
            except psycopg.OperationalError:
                # The broker was there first: its places are for us, too.
                mine = [each.info.backend_pid for each in ours]
                ours[0].execute(_END_OTHERS, [mine])
        yield
    database.stop()
    database.start()


@contextmanager
def locked(database: Postgres) -> Iterator[None]:
    """As a migration of a table that every page reads, and of those that saving and asking do."""
    tables = "worklist_user, worklist_patient, worklist_scheduledprocedurestep"
    with database.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {tables}")
        yield


@contextmanager
def not_migrated(database: Postgres) -> Iterator[None]:
    """A column of every page is of a later version, and one of every query."""
    columns = {"worklist_user": "theme", "worklist_scheduledprocedurestep": "start_date"}
    with database.connect() as connection:
        for table, column in columns.items():
            connection.execute(f"ALTER TABLE {table} RENAME {column} TO earlier")
        yield
        for table, column in columns.items():
            connection.execute(f"ALTER TABLE {table} RENAME earlier TO {column}")


@contextmanager
def written_by_another(database: Sqlite) -> Iterator[None]:
    with database.connect() as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def full(database: Postgres | Sqlite) -> Iterator[None]:
    """No room on its disk."""
    assert database.disk
    if isinstance(database, Postgres):
        with database.connect() as connection:
            # Room in the log's file of this moment, and none for the tables.
            for statement in (
                "SET synchronous_commit = on",
                "CHECKPOINT",
                "SELECT pg_switch_wal()",
                "CREATE TABLE room ()",
                "DROP TABLE room",
            ):
                connection.execute(statement)
    database.disk.fill()
    yield
    database.disk.free()
