"""Which stations have not asked for their list for longer than is usual, while they are open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dicomscp import recent
from worklist import clock
from worklist.models import Station
from worklist.scheduling import slots
from worklist.scheduling.slots import Span

# From so many of its last queries the usual gap is told.
_RECENT = 12
_FEWEST_GAPS = 3
_TIMES = 3
# One that asks every ten seconds is not silent after half a minute, whatever is usual.
_SHORTEST = dt.timedelta(minutes=5)
# Of one whose usual gap is not known yet.
_UNKNOWN = dt.timedelta(minutes=30)
# So far back it is looked when a station was open.
_DAYS = 7


@dataclass(frozen=True)
class LastAsked:
    """When a station asked last; `gap` is the usual time between two of its queries, if known.

    `waited` is how long it has been open since, at most a week.
    """

    station: Station
    at: dt.datetime | None
    gap: dt.timedelta | None
    waited: dt.timedelta
    is_open: bool

    @property
    def is_silent(self) -> bool:
        """Whether it should have asked by now."""
        longest = _UNKNOWN if self.gap is None else max(_SHORTEST, _TIMES * self.gap)
        return self.is_open and self.waited > longest

    @property
    def words(self) -> str:
        if self.at is None:
            return _("has never asked for its list")
        if self.is_silent:
            return _("last asked %(when)s") % {"when": ago(self.at)}
        return _("asked for its list %(when)s") % {"when": ago(self.at)}


def of(stations: Sequence[Station]) -> dict[int, LastAsked]:
    """Of each station, by its pk, when it asked last: four statements."""
    asked = recent.column(stations, "at", _RECENT)
    now = clock.now()
    first = now.date() - dt.timedelta(days=_DAYS)
    days = slots.days(stations, first, now.date(), known=())
    found = {}
    for station in stations:
        spans = [span for (pk, _day), day in days.items() if pk == station.pk for span in day.open]
        times = sorted(asked.get(station.pk, ()), reverse=True)[:_RECENT]
        local = [timezone.localtime(at).replace(tzinfo=None) for at in times]
        since = local[0] if local else dt.datetime.combine(first, dt.time())
        found[station.pk] = LastAsked(
            station,
            times[0] if times else None,
            _usual_gap(local, spans),
            _open_between(since, now, spans),
            any(span.start <= now < span.end for span in spans),
        )
    return found


def silent(stations: Sequence[Station]) -> list[LastAsked]:
    """Those that should have asked by now, for the page of the system's status."""
    return [each for each in of(stations).values() if each.is_silent]


def _usual_gap(times: Sequence[dt.datetime], spans: Sequence[Span]) -> dt.timedelta | None:
    """The median of the times between queries, nights and week-ends left out; the last first."""
    gaps = sorted(
        later - earlier
        for later, earlier in pairwise(times)
        if _open_between(earlier, later, spans) == later - earlier
    )
    return gaps[len(gaps) // 2] if len(gaps) >= _FEWEST_GAPS else None


def _open_between(start: dt.datetime, end: dt.datetime, spans: Sequence[Span]) -> dt.timedelta:
    parts = (min(end, span.end) - max(start, span.start) for span in spans)
    return sum((part for part in parts if part > dt.timedelta()), dt.timedelta())


def ago(at: dt.datetime) -> str:
    """How long ago an instant is, in the largest unit that says enough."""
    local = timezone.localtime(at).replace(tzinfo=None)
    minutes = max(0, int((clock.now() - local).total_seconds() // 60))
    if minutes < 1:
        return _("just now")
    if minutes < 60:
        return ngettext("%(n)d min ago", "%(n)d min ago", minutes) % {"n": minutes}
    hours = minutes // 60
    if hours < 48:
        return ngettext("%(n)d h ago", "%(n)d h ago", hours) % {"n": hours}
    days = hours // 24
    return ngettext("%(n)d day ago", "%(n)d days ago", days) % {"n": days}
