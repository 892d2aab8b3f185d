"""When stations asked last, and which ones have fallen silent.

A station is silent when it has not asked for three times its usual gap within its opening hours.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dicomscp import recent
from worklist import clock
from worklist.models import Station
from worklist.scheduling import slots
from worklist.scheduling.slots import Span

_TIMES = 3
# One that asks every ten seconds is not silent after half a minute, whatever is usual.
_SHORTEST = dt.timedelta(minutes=5)
# Of one that has not asked often enough to tell what is usual.
_UNKNOWN = dt.timedelta(minutes=30)
# Of each AE title, so many of its last queries tell what is usual.
_SAMPLE = 100
# What a console asks within a minute is one asking: many send several queries for one list.
_AT_ONCE = dt.timedelta(minutes=1)
# Gaps without which nothing is usual.
_FEWEST = 5
# How far back opening hours are looked at; who is silent for longer is so anyway.
_BACK = dt.timedelta(days=14)


@dataclass(frozen=True)
class Asked:
    """When a station asked last (None: the journal has no query of it), and its usual gap."""

    last: dt.datetime | None = None
    ago: dt.timedelta | None = None
    usual: dt.timedelta | None = None
    is_silent: bool = False

    @property
    def words(self) -> str:
        """As it stands beside the station's name."""
        if self.ago is None:
            return _("has never asked for its list")
        told = {"when": _ago(self.ago)}
        if self.is_silent:
            return _("last asked %(when)s") % told
        return _("asked for its list %(when)s") % told


def of(stations: Sequence[Station]) -> dict[int, Asked]:
    """Of each of these stations, by its id, when it asked and whether it is silent now.

    Four statements at most. One that is not in use, may not ask or has never asked is not silent.
    """
    if not stations:
        return {}
    now = clock.now()
    asked = {
        pk: [timezone.localtime(at).replace(tzinfo=None) for at in times[-_SAMPLE:]]
        for pk, times in recent.times(stations, _SAMPLE).items()
    }
    since = min((times[0] for times in asked.values()), default=now)
    first = max(since, now - _BACK).date()
    days = slots.days(stations, first, now.date(), known=())
    spans: dict[int, list[Span]] = defaultdict(list)
    for (pk, _day), day in days.items():
        spans[pk] += day.open
    found = {}
    for station in stations:
        judged = judge(asked.get(station.pk, ()), spans[station.pk], now)
        if not (station.is_active and station.is_allowed):
            judged = replace(judged, is_silent=False)
        found[station.pk] = judged
    return found


def judge(times: Sequence[dt.datetime], spans: Iterable[Span], now: dt.datetime) -> Asked:
    """The same of one station: when it asked, the oldest first, and when it is open.

    All are times on the site's wall clock. Pure.
    """
    if not times:
        return Asked()
    last = times[-1]
    opens = list(_joined(spans))
    usual = _usual(times, opens)
    longest = _UNKNOWN if usual is None else max(_SHORTEST, _TIMES * usual)
    is_open = any(span.start <= now < span.end for span in opens)
    return Asked(
        timezone.make_aware(last),
        max(now - last, dt.timedelta()),
        usual,
        is_silent=is_open and _within(opens, last, now) >= longest,
    )


def _usual(times: Sequence[dt.datetime], opens: Sequence[Span]) -> dt.timedelta | None:
    """The median of the gaps within opening hours; where those are few, of all."""
    gaps = [Span(start, end) for start, end in pairwise(_askings(times))]
    within = [gap for gap in gaps if any(span.covers(gap) for span in opens)]
    counted = within if len(within) >= _FEWEST else gaps
    if len(counted) < _FEWEST:
        return None
    return dt.timedelta(seconds=median((gap.end - gap.start).total_seconds() for gap in counted))


def _askings(times: Sequence[dt.datetime]) -> Iterator[dt.datetime]:
    began = None
    for time in times:
        if began is None or time - began >= _AT_ONCE:
            began = time
            yield time


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """One span where the next begins when the last ends: at midnight, where it never closes."""
    current: Span | None = None
    for span in sorted(spans):
        if current is not None and span.start <= current.end:
            current = Span(current.start, max(current.end, span.end))
        else:
            if current is not None:
                yield current
            current = span
    if current is not None:
        yield current


def _within(opens: Sequence[Span], start: dt.datetime, end: dt.datetime) -> dt.timedelta:
    """How much of a stretch of time was within opening hours."""
    parts = (min(span.end, end) - max(span.start, start) for span in opens)
    return sum((part for part in parts if part > dt.timedelta()), dt.timedelta())


def _ago(span: dt.timedelta) -> str:
    """How long ago something was, in the largest unit that says enough."""
    minutes = span // dt.timedelta(minutes=1)
    if minutes < 1:
        return _("just now")
    if minutes < 60:
        return ngettext("%(n)d min ago", "%(n)d min ago", minutes) % {"n": minutes}
    hours = minutes // 60
    if hours < 48:
        return ngettext("%(n)d h ago", "%(n)d h ago", hours) % {"n": hours}
    days = hours // 24
    return ngettext("%(n)d day ago", "%(n)d days ago", days) % {"n": days}
