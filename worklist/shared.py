"""One count for the rows that stand in the responses of many steps, or say which steps there are:
codes, and stations with their rules.

The `revision` of each of these steps would be thousands of writes for one. Codes that are new need
no count: nothing shows them but what is written later, nor do those that go, which nothing shows
any more.

PostgreSQL also counts what is written past the broker, as by psql, which knows of no `revision`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from django.db import connections

from worklist.models import (
    Code,
    Counter,
    ImagingServiceRequest,
    ModalityAlias,
    Patient,
    RequestedProcedure,
    ShownStatus,
    Station,
    StationTitle,
    StepProtocolCode,
    StepStation,
)

# Other names whenever something else is counted: who has not migrated yet, or still runs as it was
# before, finds no count, and trusts in nothing; nor does its migration stand in the way of ours.
COUNTER = "shared rows and rules"
_FORMER = "shared rows"
_FUNCTION = "worklist_count_changes"
_FORMER_FUNCTION = "worklist_count_shared"
# Of each model the columns that responses show.
COLUMNS: dict[Any, tuple[str, ...]] = {
    Code: ("value", "long_value", "urn_value", "scheme", "scheme_version", "meaning"),
}
# What a station may ask and is answered hangs on these rows, whichever come, change or go.
RULES: tuple[Any, ...] = (Station, StationTitle, ModalityAlias, ShownStatus)
# What else responses show besides the step's own row.
AROUND: tuple[Any, ...] = (
    Patient,
    ImagingServiceRequest,
    RequestedProcedure,
    StepStation,
    StepProtocolCode,
)

_TABLE = Counter._meta.db_table
# Drawn each time: in a database that was emptied, or put back to what it was, another history would
# else come to the same count.
_BEGIN = (
    f"INSERT INTO {_TABLE} (name, value) VALUES ('{COUNTER}', %s)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_FIRST = 1 << 62
_COUNT = f"UPDATE {_TABLE} SET value = {{drawn}} WHERE name = '{COUNTER}'"
_COUNT_SQLITE = _COUNT.format(drawn=f"random() & {_FIRST - 1}")
_COUNT_POSTGRES = _COUNT.format(drawn=f"(random() * {_FIRST})::bigint")


def before_migrating(using: str, **_more: Any) -> None:
    """Have nobody trust in the count meanwhile, nor afterwards should the migration fail."""
    connection = connections[using]
    if _TABLE in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {_TABLE} WHERE name IN (%s, %s)", [COUNTER, _FORMER])


def after_migrating(using: str, **_more: Any) -> None:
    """Have the database count, whoever writes: SQLite makes some changes of a table by a new one,
    without its triggers.
    """
    connection = connections[using]
    tables = {model._meta.db_table for model in (Counter, *COLUMNS, *RULES, *AROUND)}
    if not tables <= set(connection.introspection.table_names()):
        return  # migrated back to before them
    before_migrating(using)
    with connection.cursor() as cursor:
        for statement in _postgres() if connection.vendor == "postgresql" else _sqlite():
            cursor.execute(statement)
    # Last: that there is a count says that the database counts.
    begin(using)


def begin(using: str) -> None:
    """Have a database that counts begin anew."""
    with connections[using].cursor() as cursor:
        cursor.execute(_BEGIN, [secrets.randbelow(_FIRST)])


def _sqlite() -> Iterator[str]:
    for table, columns in _tables():
        differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        yield f"DROP TRIGGER IF EXISTS {table}_shared"
        yield from _anew(table, "counts", f"UPDATE ON {table} WHEN {differs}")
    for model in RULES:
        table = model._meta.db_table
        for verb in ("insert", "update", "delete"):
            yield from _anew(table, f"counts_{verb}", f"{verb} ON {table}")


def _anew(table: str, name: str, event: str) -> Iterator[str]:
    # What a trigger holds may have changed since.
    yield f"DROP TRIGGER IF EXISTS {table}_{name}"
    yield f"CREATE TRIGGER {table}_{name} AFTER {event} BEGIN {_COUNT_SQLITE}; END"


def _postgres() -> Iterator[str]:
    # With it go the triggers that call it.
    yield f"DROP FUNCTION IF EXISTS {_FORMER_FUNCTION} CASCADE"
    # Whoever may write the rows may have it counted.
    yield (
        f"CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql"
        " SECURITY DEFINER SET search_path FROM CURRENT AS"
        f" $$ BEGIN {_COUNT_POSTGRES}; RETURN NULL; END $$"
    )
    for table, columns in _tables():
        old, new = (
            f"({', '.join(f'{row}.{column}' for column in columns)})" for row in ("OLD", "NEW")
        )
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_counts AFTER UPDATE ON {table} FOR EACH ROW"
            f" WHEN ({old} IS DISTINCT FROM {new}) EXECUTE FUNCTION {_FUNCTION}()"
        )
    for model in RULES:
        table = model._meta.db_table
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_counts_rules"
            f" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            f" EXECUTE FUNCTION {_FUNCTION}()"
        )
    # Of codes what goes and comes back under its key: keys are looked at last.
    for model in (*AROUND, *COLUMNS):
        table = model._meta.db_table
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_counts_past_us"
            f" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " WHEN (current_setting('application_name') <> 'worklist')"
            f" EXECUTE FUNCTION {_FUNCTION}()"
        )


def _tables() -> Iterator[tuple[str, list[str]]]:
    for model, names in COLUMNS.items():
        columns = [str(model._meta.get_field(name).column) for name in names]
        yield model._meta.db_table, columns
