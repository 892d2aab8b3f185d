"""New rows in bulk, past the ORM's INSERT: COPY on PostgreSQL, prepared INSERTs on SQLite.

What is written is signed by whoever writes it (worklist.audit.trail), or needs no signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from django.db import connection, models, transaction

_BATCH = 10_000


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
    write(
        model,
        fields,
        (
            [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]
            for row in rows
        ),
    )


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
