"""The database engine: Django finds it under this name."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus

from worklist import deadline


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection whose every answer is waited for within the deadline of who asks."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, unless the thread has waited long enough already."""
        if (seconds := deadline.left()) is not None:
            _refuse_without(seconds)
            options = f"{deadline.SERVER_BOUNDS} {conn_params.get('options', '')}"
            conn_params = {**conn_params, "options": options}
        made: Any = super().get_new_connection(conn_params)
        # All that psycopg waits for once it is connected, it waits for here.
        made.wait = partial(_wait, made)
        return made


def _wait(connection: Connection[Any], gen: Any, *more: Any, **named: Any) -> Any:
    """psycopg's own `wait` of a connection, which is closed when no answer comes in time."""
    seconds = deadline.left()
    if seconds is None:
        return Connection.wait(connection, gen, *more, **named)
    _refuse_without(seconds)
    try:
        return Connection.wait(connection, gen, *more, **{**named, "timeout": seconds})
    except OperationalError:
        # An answer may still come, which would be taken for that of the next question.
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            deadline.give_up()
            connection.close()
        raise


def _refuse_without(seconds: float) -> None:
    if not seconds:
        raise OperationalError("the database has not answered in time")
