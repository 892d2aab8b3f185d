"""When stations asked last, and which ones have fallen silent.

A station is silent when it has not asked for three times its usual gap within its opening hours.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from django.utils import timezone

from dicomscp.models import Query
from worklist import clock
from worklist.models import Station, StationTitle
from worklist.scheduling import slots
from worklist.scheduling.slots import Span

TIMES = 3
# Of each AE title, so many of its last queries tell what is usual.
_SAMPLE = 100
# What a console asks within a minute is one asking: many send several queries for one list.
_AT_ONCE = dt.timedelta(minutes=1)
# Gaps without which nothing is usual.
_FEWEST = 5
# How far back opening hours are looked at; who is silent for longer is so anyway.
_BACK = dt.timedelta(days=14)
# Parts that both databases take in one statement.
_MOST_PARTS = 400


@dataclass(frozen=True)
class Asked:
    """When a station asked last (None: the journal has no query of it), and its usual gap."""

    last: dt.datetime | None = None
    ago: dt.timedelta | None = None
    usual: dt.timedelta | None = None
    is_silent: bool = False


def silent(stations: Sequence[Station]) -> dict[int, Asked]:
    """Of each of these stations, by its id, when it asked and whether it is silent now.

    Four statements at most, however many stations there are. One that is not in use, or may not
    ask, is never silent.
    """
    if not stations:
        return {}
    now = clock.now()
    asked = _asked(stations)
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
            judged = Asked(judged.last, judged.ago, judged.usual)
        found[station.pk] = judged
    return found


def judge(times: Sequence[dt.datetime], spans: Iterable[Span], now: dt.datetime) -> Asked:
    """The same of one station: when it asked, the oldest first, and when it is open.

    All are times on the site's wall clock. Pure.
    """
    if not times:
        return Asked()
    last = times[-1]
    ago = max(now - last, dt.timedelta())
    opens = list(_joined(spans))
    usual = _usual(times, opens)
    is_silent = (
        usual is not None
        and any(span.start <= now < span.end for span in opens)
        and _within(opens, last, now) >= TIMES * usual
    )
    return Asked(timezone.make_aware(last), ago, usual, is_silent)


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


# --- read -----------------------------------------------------------------------------------------


def _asked(stations: Sequence[Station]) -> dict[int, list[dt.datetime]]:
    """When each of these stations asked, the oldest first; of those that did."""
    by_title = {station.ae_title: station.pk for station in stations}
    further = StationTitle.objects.filter(station__in=stations)
    by_title = dict(further.values_list("ae_title", "station")) | by_title
    found: dict[int, list[dt.datetime]] = defaultdict(list)
    for title, at in _last_queries(list(by_title)):
        found[by_title[title]].append(timezone.localtime(at).replace(tzinfo=None))
    for pk, times in found.items():
        found[pk] = sorted(times)[-_SAMPLE:]
    return found


def _last_queries(titles: Sequence[str]) -> Iterator[tuple[str, dt.datetime]]:
    """The last queries of each title: an index has each title's at its end."""
    table = Query._meta.db_table
    for start in range(0, len(titles), _MOST_PARTS):
        part = titles[start : start + _MOST_PARTS]
        # A limit for each is more than the ORM can say. What is put in here are names of our own.
        one = (
            f"SELECT * FROM (SELECT id, calling, at FROM {table} WHERE calling = %s"
            f" ORDER BY at DESC LIMIT {_SAMPLE}) AS"
        )
        sql = " UNION ALL ".join(f"{one} t{number}" for number in range(len(part)))
        for query in Query.objects.raw(sql, part):
            yield query.calling, query.at
