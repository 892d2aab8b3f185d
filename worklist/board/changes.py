"""Has anything changed that a day's board shows? Asked every few seconds by every open board."""

from __future__ import annotations

import datetime as dt
from hashlib import blake2b
from typing import Any

from django.db.models import F, Model, QuerySet, Value

from worklist import clock
from worklist.board.day import LATE_AFTER, unknown_patients
from worklist.board.filters import Filters
from worklist.board.gaps import next_slot
from worklist.models import ClosedDay, OpeningHours, ScheduledProcedureStep, Station, StepStatus
from worklist.scheduling import slots


def etag(filters: Filters, *facts: str) -> str:
    """A tag that differs as soon as the board would: of all rows it shows, in two SQL statements.

    Every row with its version, not the newest time stamp of them: transactions may commit in
    another order than that of their clocks. Not for a search, which looks at all days. `facts` are
    what else the page depends on, such as its language.
    """
    now = clock.now()
    seen = blake2b(repr((filters, facts, now.date())).encode(), digest_size=12)
    is_late = False
    steps = (
        ScheduledProcedureStep.objects.filter(start_date=filters.day)
        .order_by("pk")
        .values_list(
            "pk",
            "version",
            "requested_procedure__version",
            "requested_procedure__request__version",
            "requested_procedure__request__patient__version",
            "status",
            "start_time",
        )
    )
    for *versions, status, start in steps:
        seen.update(repr(versions).encode())
        is_late = is_late or (
            status == StepStatus.SCHEDULED
            and (now - dt.datetime.combine(filters.day, start)).total_seconds() > 60 * LATE_AFTER
        )
    seen.update(repr(sorted(_around(filters.day))).encode())
    if filters.day == now.date():
        # A gap ends at its time, the line of now moves on, lateness grows by the minute.
        moment = now.replace(second=0) if is_late else next_slot(now)
        seen.update(repr((moment, now.minute // slots.GRID)).encode())
    return f'"{seen.hexdigest()}"'


def _around(day: dt.date) -> QuerySet[Any, Any]:
    """What the day's lanes depend on besides its steps, each row with its version."""

    def versions(kind: str, rows: QuerySet[Any]) -> QuerySet[Any, Any]:
        return rows.order_by().values_list(Value(kind), F("pk"), F("version"))

    def of(model: type[Model]) -> QuerySet[Any]:
        return model._default_manager.all()

    return versions("station", of(Station)).union(
        versions("hours", of(OpeningHours)),
        versions("closed", ClosedDay.objects.filter(day=day)),
        versions("unknown", unknown_patients()),
        all=True,
    )
