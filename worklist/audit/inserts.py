"""New rows in bulk, past the ORM's INSERT: COPY on PostgreSQL, prepared INSERTs on SQLite.

What is written is signed by whoever writes it (worklist.audit.trail), or needs no signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, models, transaction

_BATCH = 10_000
# Fields whose values psycopg takes as a model holds them: Django has a longer way to the same than
# all else takes. Those that are derived of them may fill themselves in.
_AS_THEY_ARE = {
    models.BooleanField,
    models.CharField,
    models.DateTimeField,
    models.TextField,
    models.UUIDField,
}


def insert(rows: Sequence[models.Model]) -> None:
    """Insert rows of one model, all or none; keys that the database gives are not learned.

    Raises Django's database errors.
    """
    if not rows:
        return
    model = type(rows[0])
    fields = [
        field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)
    ]
    values = [_value_of(field) for field in fields]
    write(model, fields, ([value(row) for value in values] for row in rows))


def _value_of(field: models.Field[Any, Any]) -> Callable[[models.Model], Any]:
    """What gives a row's value of a field, as the driver takes it."""
    # Not the proxy, which looks for the thread's connection at each touch.
    wrapper = connections[DEFAULT_DB_ALIAS]
    held = attrgetter(field.attname)
    kind = type(getattr(field, "target_field", field))
    fills_in = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    if wrapper.vendor == "postgresql" and kind in _AS_THEY_ARE and not fills_in:
        return held
    if wrapper.vendor == "postgresql" and issubclass(kind, models.IntegerField):
        # The driver takes a number of an enumeration for its name.
        return lambda row: None if (value := held(row)) is None else int(value)
    return lambda row: field.get_db_prep_save(field.pre_save(row, True), wrapper)


def write(
    model: type[models.Model],
    fields: Sequence[models.Field[Any, Any]],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Insert rows, all or none: of each the values of these fields, as the driver takes them."""
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    into = f"{quote(model._meta.db_table)} ({columns})"
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            return
        waiting = iter(rows)
        insert = f"INSERT INTO {into} VALUES ({', '.join(['%s'] * len(fields))})"
        while batch := list(islice(waiting, _BATCH)):
            cursor.executemany(insert, batch)
