"""Statements that a connection to PostgreSQL keeps prepared: each is one call of libpq.

What psycopg has around that call, cursors and generators, takes longer than the call. Values are
converted by its adapters all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField, ExecStatus

# Plans that the server keeps for a connection; each may take some hundred kilobytes.
_MOST = 32


class Prepared:
    """The statements of one connection: SQL with $1, $2, … and its parameters to rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        # By the SQL and the types of its parameters, which are those of a plan.
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}

    def __call__(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that it answers. Raises psycopg's errors."""
        convert = Transformer(self._connection)
        values = convert.dump_sequence(params, [PyFormat.AUTO] * len(params))
        types = convert.types or ()
        name = self._names.get((sql, types)) or self._prepare(sql, types)
        answer = self._connection.pgconn.exec_prepared(name, values, convert.formats)
        self._check(answer, ExecStatus.TUPLES_OK)
        convert.set_pgresult(answer)
        return convert.load_rows(0, answer.ntuples, tuple)

    def _prepare(self, sql: str, types: tuple[int, ...]) -> bytes:
        line = self._connection.pgconn
        if len(self._names) >= _MOST:
            self._names.clear()
            self._check(line.exec_(b"DEALLOCATE ALL"), ExecStatus.COMMAND_OK)
        name = b"worklist_%d" % len(self._names)
        self._check(line.prepare(name, sql.encode(), types), ExecStatus.COMMAND_OK)
        self._names[sql, types] = name
        return name

    def _check(self, answer: Any, wanted: ExecStatus) -> None:
        if answer.status == wanted:
            return
        # Of a connection that is lost the server has said nothing, or why it ends it.
        if not answer.error_field(DiagnosticField.SQLSTATE):
            raise OperationalError("the connection to the database is lost")
        raise error_from_result(answer)
