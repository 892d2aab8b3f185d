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

# Another name whenever something else is counted under it: who has not migrated yet, or still runs
# as it was before, finds no count, and trusts in nothing.
COUNTER = "shared rows and rules"
_FORMER = "shared rows"
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
# From another number each time: a migration may have written past the trail; and in a database that
# was emptied, or put back to what it was, the keys and counts of steps come again.
_BEGIN = (
    f"INSERT INTO {_TABLE} (name, value) VALUES ('{COUNTER}', %s)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_FIRST = 1 << 62
_COUNT = f"UPDATE {_TABLE} SET value = value + 1 WHERE name = '{COUNTER}'"


def after_migrating(using: str, **_more: Any) -> None:
    """Have the database count, whoever writes: SQLite makes some changes of a table by a new one,
    without its triggers.
    """
    connection = connections[using]
    tables = {model._meta.db_table for model in (Counter, *COLUMNS, *RULES, *AROUND)}
    if not tables <= set(connection.introspection.table_names()):
        return  # migrated back to before them
    with connection.cursor() as cursor:
        for statement in _postgres() if connection.vendor == "postgresql" else _sqlite():
            cursor.execute(statement)
        # Last: that there is a count says that the database counts.
        cursor.execute(_BEGIN, [secrets.randbelow(_FIRST)])
        cursor.execute(f"DELETE FROM {_TABLE} WHERE name = %s", [_FORMER])


def _sqlite() -> Iterator[str]:
    for table, columns in _tables():
        differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        # What a trigger holds may have changed since.
        yield f"DROP TRIGGER IF EXISTS {table}_shared"
        yield (
            f"CREATE TRIGGER {table}_shared AFTER UPDATE ON {table}"
            f" WHEN {differs} BEGIN {_COUNT}; END"
        )
    for model in RULES:
        table = model._meta.db_table
        for verb in ("insert", "update", "delete"):
            yield f"DROP TRIGGER IF EXISTS {table}_rules_{verb}"
            yield f"CREATE TRIGGER {table}_rules_{verb} AFTER {verb} ON {table} BEGIN {_COUNT}; END"


def _postgres() -> Iterator[str]:
    # Whoever may write the rows may have it counted.
    yield (
        "CREATE OR REPLACE FUNCTION worklist_count_shared() RETURNS trigger LANGUAGE plpgsql"
        " SECURITY DEFINER SET search_path FROM CURRENT AS"
        f" $$ BEGIN {_COUNT}; RETURN NULL; END $$"
    )
    for table, columns in _tables():
        old, new = (
            f"({', '.join(f'{row}.{column}' for column in columns)})" for row in ("OLD", "NEW")
        )
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_shared AFTER UPDATE ON {table} FOR EACH ROW"
            f" WHEN ({old} IS DISTINCT FROM {new}) EXECUTE FUNCTION worklist_count_shared()"
        )
    for model in RULES:
        table = model._meta.db_table
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_rules"
            f" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION worklist_count_shared()"
        )
    # Of codes what goes and comes back under its key: keys are looked at last.
    for model in (*AROUND, *COLUMNS):
        table = model._meta.db_table
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_past_us"
            f" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " WHEN (current_setting('application_name') <> 'worklist')"
            " EXECUTE FUNCTION worklist_count_shared()"
        )


def _tables() -> Iterator[tuple[str, list[str]]]:
    for model, names in COLUMNS.items():
        columns = [str(model._meta.get_field(name).column) for name in names]
        yield model._meta.db_table, columns
