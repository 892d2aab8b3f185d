"""SQL that the ORM has written once, to be run again and again: writing it costs more than reading.

Connections that are kept prepare it, too (lease).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models import Func, Subquery, TextField

Row = tuple[Any, ...]
# Of a kept connection: SQL and its parameters to rows, past Django's cursor.
Execute = Callable[[str, tuple[Any, ...]], list[Row]]


class Statement:
    """The SQL of a `values_list`, and how its columns become values.

    One that `is_steady` is read alike whatever its parameters are: a kept connection has the server
    prepare it and make one plan for all of them, which otherwise takes longer than the reading.
    """

    def __init__(self, queryset: models.QuerySet[Any, Any], *, is_steady: bool = False) -> None:
        self._is_steady = is_steady
        # Not evaluated: other questions are asked of it where there is need to (count, iterator).
        self.queryset = queryset
        compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        try:
            self._sql, self._params = compiler.as_sql()
        except EmptyResultSet:
            self._sql, self._params = "", ()
            return
        numbers = count(1)
        self._spelt = {
            "postgresql": _spelt(self._sql, lambda: f"${next(numbers)}"),
            "sqlite": _spelt(self._sql, lambda: "?"),
        }
        self._compiler = compiler
        self._converters = compiler.get_converters([column[0] for column in compiler.select])

    @property
    def sql_with_params(self) -> tuple[str, tuple[Any, ...]]:
        """What is sent to the database, in Django's spelling."""
        return self._sql, self._params

    def rows(self, marks: Mapping[Any, Any] | None = None) -> list[Row]:
        """What it answers now; `marks` says what stands for some of its parameters this time."""
        if not self._sql:
            return []
        params = self._params
        if marks:
            params = tuple(marks.get(param, param) for param in params)
        rows = self._directly(params)
        if rows is None:
            with connection.cursor() as cursor:
                cursor.execute(self._sql, params)
                rows = cursor.fetchall()
        if self._converters:
            return list(map(tuple, self._compiler.apply_converters(rows, self._converters)))
        return rows

    def _directly(self, params: tuple[Any, ...]) -> list[Row] | None:
        """What a kept connection's own cursor answers; None where Django's is to be asked."""
        wrapper = connections[DEFAULT_DB_ALIAS]
        execute: Execute | None = getattr(wrapper, "execute", None)
        if execute is None or wrapper.in_atomic_block:
            return None
        if wrapper.vendor == "postgresql" and not self._is_steady:
            return None
        with wrapper.wrap_database_errors:
            return execute(self._spelt[wrapper.vendor], params)


def _spelt(sql: str, one: Callable[[], str]) -> str:
    """The SQL with a database's own parameters in place of each %s."""
    return re.sub("%([%s])", lambda found: "%" if found[1] == "%" else one(), sql)


class _Array(Func):
    """Several values of one row as a JSON array."""

    function = "json_array"
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, function="json_build_array", **context)


class AsJson(Subquery):
    """The rows of a queryset, in its order, as one text: a JSON array of arrays."""

    output_field = TextField()
    template = "(SELECT json_group_array(json(part)) FROM (%(subquery)s))"

    def __init__(self, queryset: models.QuerySet[Any, Any], paths: list[str]) -> None:
        super().__init__(queryset.annotate(part=_Array(*paths)).values("part"))

    def as_sql(
        self, compiler: Any, connection: Any, template: str | None = None, **context: Any
    ) -> Any:
        if template is None and connection.vendor == "postgresql":
            template = "(SELECT json_agg(part)::text FROM (%(subquery)s) AS parts)"
        return super().as_sql(compiler, connection, template=template, **context)
