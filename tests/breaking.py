"""A database that is there and cannot do what it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, models


@contextmanager
def writes_fail(model: type[models.Model], code: str, when: str = "true") -> Iterator[None]:
    """Each row that is written to this table fails with PostgreSQL's error of this code."""
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$BEGIN IF {when} THEN RAISE EXCEPTION 'broken' USING ERRCODE = '{code}'; END IF;"
            " RETURN NEW; END$$"
        )
        cursor.execute(
            f"CREATE TRIGGER breaks BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION breaks()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION breaks CASCADE")
