"""Has anything changed that a day's board shows? Asked every few seconds by every open board."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

from django.db import connection
from django.db.models import F, Model, QuerySet, Value

from worklist import clock
from worklist.board.day import LATE_AFTER, unknown_patients
from worklist.board.filters import Filters
from worklist.board.gaps import next_slot
from worklist.models import ClosedDay, OpeningHours, ScheduledProcedureStep, Station, StepStatus
from worklist.scheduling import slots


def etag(filters: Filters, *facts: str) -> str:
    """A tag that differs as soon as the board would: of all rows it shows, in two SQL statements.

    Every step with its version and revision, not the newest time stamp of them: transactions may
    commit in another order than that of their clocks. Not for a search, which looks at all days.
    `facts` are what else the page depends on, such as its language.
    """
    now = clock.now()
    steps = ScheduledProcedureStep.objects.filter(start_date=filters.day).order_by("pk")
    rows = list(steps.values_list("pk", "version", "revision", "status", "start_time"))
    seen: list[object] = [filters, facts, now.date(), [row[:3] for row in rows], _around()]
    if filters.day == now.date():
        # A gap ends at its time, the line of now moves on, lateness grows by the minute.
        waiting = (start for *_, status, start in rows if status == StepStatus.SCHEDULED)
        is_late = any(_since(start, now) > LATE_AFTER for start in waiting)
        seen += (now.replace(second=0) if is_late else next_slot(now), now.minute // slots.GRID)
    return f'"{blake2b(repr(seen).encode(), digest_size=12).hexdigest()}"'


def _since(start: dt.time, now: dt.datetime) -> float:
    """Minutes since this time of today."""
    return (now - dt.datetime.combine(now, start)).total_seconds() / 60


def _around() -> list[tuple[Any, ...]]:
    """What the lanes of any day depend on besides its steps, each row with its version."""
    with connection.cursor() as cursor:
        cursor.execute(*_around_sql())
        return sorted(cursor.fetchall())


@cache
def _around_sql() -> tuple[str, Sequence[Any]]:
    """It is always the same: to put it together takes five times as long as to answer it."""

    def versions(kind: str, rows: QuerySet[Any]) -> QuerySet[Any, Any]:
        return rows.order_by().values_list(Value(kind), F("pk"), F("version"))

    def of(model: type[Model]) -> QuerySet[Any]:
        return model._default_manager.all()

    every = versions("station", of(Station)).union(
        versions("hours", of(OpeningHours)),
        versions("closed", of(ClosedDay)),
        versions("unknown", unknown_patients()),
        all=True,
    )
    sql, params = every.query.sql_with_params()
    return sql, params
