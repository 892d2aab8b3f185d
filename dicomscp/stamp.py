"""The stamp of a step, in SQL: it is another one after whatever is committed that a response shows.

What changes of the step, of its lists or above it changes the step's row: the trail counts its
`version` and its `revision`. Rows that stand in the responses of many steps have one count for all
of them (worklist.shared). On PostgreSQL the row's stamp is the transaction that wrote it, so that
even a backup that is played back under a running server brings other ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import models
from django.db.models import F, Func, Subquery, TextField
from django.db.models.functions import Cast

from dicomscp.statement import Statement
from worklist import shared
from worklist.models import Counter


class Stamp(Func):
    """The stamp, to annotate a step with; NULL in a database that does not count shared rows."""

    output_field = TextField()
    template = "%(expressions)s"
    arg_joiner = " || '.' || "

    def __init__(self) -> None:
        # The key of a step that was deleted may be given again (synthesize): hence the moment.
        super().__init__(Count(), F("version"), F("revision"), F("changed_at"))

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        step = connection.ops.quote_name(compiler.query.get_initial_alias())
        count, params = compiler.compile(self.source_expressions[0])
        return f"{count} || '.' || {step}.xmin", params


class Count(Subquery):
    """The count of shared rows as a text, to annotate a row with; NULL where there is none."""

    def __init__(self) -> None:
        counter = Counter.objects.filter(pk=shared.COUNTER)
        super().__init__(counter.values(text=Cast("value", TextField())))


def counted(stamp: str | None) -> str | None:
    """The count that a stamp was read with."""
    return None if stamp is None else stamp.partition(".")[0]


def count() -> str | None:
    """The count as it is now; None in a database that does not count."""
    rows = _count().rows()
    return rows[0][0] if rows else None


@cache
def _count() -> Statement:
    counter = Counter.objects.filter(pk=shared.COUNTER)
    return Statement(counter.values_list(Cast("value", TextField())), is_steady=True)


class AnyOf(models.Lookup):
    """Whether a key is one of those of a list, which is one parameter however many they are."""

    lookup_name = "dicom_any_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, params = self.process_lhs(compiler, connection)
        return f"{left} IN (SELECT value FROM json_each(%s))", [*params, self.rhs]

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        left, params = self.process_lhs(compiler, connection)
        return f"{left} = ANY (%s::bigint[])", [*params, self.rhs]


models.BigAutoField.register_lookup(AnyOf)


def listed(keys: Sequence[int], *, vendor: str) -> str:
    """Keys as `AnyOf` takes them."""
    opening, closing = "{}" if vendor == "postgresql" else "[]"
    return f"{opening}{','.join(map(str, keys))}{closing}"
