"""Who called of late and is not set up, or was refused although it is: as the journal has it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    Max,
    OuterRef,
    Q,
    QuerySet,
)

from dicomscp.access import Reason
from dicomscp.models import Association
from worklist.models import Station, StationTitle

_MOST = 50


@dataclass(frozen=True)
class Caller:
    """An AE title at an address: how often it called, last when, and what became of it."""

    calling: str
    address: str
    reason: Reason
    is_set_up: bool
    last: dt.datetime
    times: int

    @property
    def can_be_set_up(self) -> bool:
        """Whether a scanner can have its AE title: what no title may have is escaped there."""
        return self.calling != "" and "\\" not in self.calling

    @property
    def is_accepted(self) -> bool:
        return self.reason in _LET_IN


# Callers that are not set up are let in for these; C-ECHO is not asking for a list.
_LET_IN = (Reason.ANY, Reason.NO_STATION, Reason.SET_UP_MODE, Reason.UNDECIDED)


def to_look_at() -> list[Caller]:
    """The callers that somebody should look at, the last one first; one statement."""
    return _callers(_others().filter(Q(is_set_up=False) | Q(is_accepted=False)))


def refused(since: dt.datetime) -> list[Caller]:
    """The callers that were refused since then, the last one first; one statement."""
    return _callers(_others().filter(opened__gte=since, is_accepted=False))


def _others() -> QuerySet[Any]:
    """The calls, but for those of stations that are set up and were let in."""
    first = Station.objects.filter(ae_title=OuterRef("calling"))
    further = StationTitle.objects.filter(ae_title=OuterRef("calling"))
    is_set_up = ExpressionWrapper(Exists(first) | Exists(further), output_field=BooleanField())
    # As an index has it.
    others = Association.objects.filter(~Q(reason__in=["known", "verification"]))
    return others.annotate(is_set_up=is_set_up)


def _callers(calls: QuerySet[Any]) -> list[Caller]:
    rows = (
        calls.values("calling", "address", "reason", "is_set_up")
        .annotate(last=Max("opened"), times=Count("pk"))
        .order_by("-last", "calling")
    )
    return [
        Caller(
            row["calling"],
            row["address"],
            Reason(row["reason"]),
            row["is_set_up"],
            row["last"],
            row["times"],
        )
        for row in rows[:_MOST]
    ]
