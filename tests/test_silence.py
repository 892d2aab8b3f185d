"""Which stations have fallen silent: three times their usual gap, within their opening hours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.utils import timezone

from dicomscp import silence
from dicomscp.models import Query
from dicomscp.silence import judge
from tests.cast import actor, station
from worklist import clock
from worklist.audit import trail
from worklist.models import ClosedDay, OpeningHours, OpeningTime, Station
from worklist.scheduling.slots import Span

MONDAY = dt.date(2026, 11, 23)
MINUTE = dt.timedelta(minutes=1)


def at(hour: float, day: int = 0) -> dt.datetime:
    start = dt.datetime.combine(MONDAY + dt.timedelta(days=day), dt.time())
    return start + dt.timedelta(hours=hour)


def every(minutes: float, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    found = []
    while start <= end:
        found.append(start)
        start += minutes * MINUTE
    return found


WORKDAYS = [Span(at(8, day), at(17, day)) for day in (-3, 0, 1)]
ALWAYS = [Span(at(0, day), at(24, day)) for day in range(-14, 4)]


@pytest.mark.parametrize(
    ("asked", "spans", "now", "usual", "is_silent"),
    [
        # Every ten minutes: half an hour is too long.
        (every(10, at(8), at(10)), WORKDAYS, at(10) + 29 * MINUTE, 10, False),
        (every(10, at(8), at(10)), WORKDAYS, at(10) + 30 * MINUTE, 10, True),
        # Outside opening hours nobody is missed, and the night does not count.
        (every(10, at(8), at(17)), WORKDAYS, at(18), 10, False),
        (every(10, at(8), at(16.9)), WORKDAYS, at(8.3, day=1), 10, False),
        (every(10, at(8), at(16.9)), WORKDAYS, at(8.5, day=1), 10, True),
        # A weekend lies between.
        (every(10, at(8, -3), at(16.9, -3)), WORKDAYS, at(8.1), 10, False),
        (every(10, at(8, -3), at(16.9, -3)), WORKDAYS, at(9), 10, True),
        # It asks the whole night, more rarely: what counts is the day.
        (every(60, at(0), at(7)) + every(5, at(8), at(10)), WORKDAYS, at(10.3), 5, True),
        # It asked before it was opened alone: that tells what is usual.
        (every(5, at(6), at(8.05)), WORKDAYS, at(8.2), 5, False),
        (every(5, at(6), at(8.05)), WORKDAYS, at(8.4), 5, True),
        # Several queries at once are one asking.
        (
            [t + n * dt.timedelta(seconds=2) for t in every(10, at(8), at(10)) for n in range(4)],
            WORKDAYS,
            at(10) + 29 * MINUTE,
            10,
            False,
        ),
        # One that asks every ten seconds is not missed before five minutes.
        (every(1 / 6, at(9), at(10)), WORKDAYS, at(10) + 4.9 * MINUTE, 1, False),
        (every(1 / 6, at(9), at(10)), WORKDAYS, at(10) + 5 * MINUTE, 1, True),
        # Too few queries say nothing of what is usual: then it is missed after half an hour.
        (every(10, at(8), at(8.7)), WORKDAYS, at(8) + 69 * MINUTE, None, False),
        (every(10, at(8), at(8.7)), WORKDAYS, at(8) + 70 * MINUTE, None, True),
        (every(10, at(8), at(8.7)), WORKDAYS, at(18), None, False),
        # Who has never asked has not fallen silent.
        ([], WORKDAYS, at(16), None, False),
        # Where it never closes, midnight ends nothing.
        (every(30, at(20), at(25)), ALWAYS, at(2, day=1), 30, False),
        (every(30, at(20), at(25)), ALWAYS, at(2.5, day=1), 30, True),
        # Since before anybody looks at opening hours.
        (every(10, at(8, -60), at(10, -60)), ALWAYS, at(9), 10, True),
    ],
)
def test_a_station_is_silent_after_three_times_its_usual_gap(
    asked: list[dt.datetime],
    spans: list[Span],
    now: dt.datetime,
    usual: float | None,
    is_silent: bool,
) -> None:
    found = judge(asked, spans, now)
    assert (found.usual, found.is_silent) == (usual and usual * MINUTE, is_silent)


# --- of what is stored ----------------------------------------------------------------------------

SetClock = Callable[[dt.datetime], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    def set_to(moment: dt.datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    set_to(at(10))
    return set_to


def asks(calling: str, times: Iterable[dt.datetime]) -> None:
    Query.objects.bulk_create(
        Query(
            calling=calling,
            at=timezone.make_aware(time),
            keys=0,
            sent=0,
            milliseconds=1,
            identifier=b"",
        )
        for time in times
    )


@pytest.mark.django_db
def test_stations_are_judged_by_all_their_titles(set_clock: SetClock) -> None:
    ct1, mr1, new = station("CT1"), station("MR1"), station("CT2")
    ct1.titles.create(ae_title="CT-1")
    asks("CT1", every(10, at(8), at(8.5)))
    asks("CT-1", every(10, at(8.6), at(9.9)))
    asks("MR1", every(10, at(7), at(9)))
    asks("STRANGER", every(10, at(7), at(9)))
    found = silence.of([ct1, mr1, new])
    assert [found[each.pk].is_silent for each in (ct1, mr1, new)] == [False, True, False]
    assert found[mr1.pk].last == timezone.make_aware(at(9))
    assert found[mr1.pk].ago == dt.timedelta(hours=1)
    assert found[ct1.pk].usual == 10 * MINUTE
    assert found[new.pk].last is None


@pytest.mark.django_db
def test_opening_hours_closed_days_and_what_is_not_in_use_count(set_clock: SetClock) -> None:
    hours = OpeningHours(name="Weekdays")
    times = [OpeningTime(weekday=0, opens=dt.time(8), closes=dt.time(17))]
    trail.save(hours, by=actor, lists={"times": times})
    ct1 = station("CT1")
    ct1.opening_hours = hours
    ct1.save()
    asks("CT1", every(10, at(8), at(9)))
    assert silence.of([ct1])[ct1.pk].is_silent
    set_clock(at(18))
    assert not silence.of([ct1])[ct1.pk].is_silent
    set_clock(at(10))
    closed = ClosedDay(day=MONDAY)
    trail.save(closed, by=actor)
    assert not silence.of([ct1])[ct1.pk].is_silent
    trail.delete(closed, by=actor)
    for column in ("is_active", "is_allowed"):
        setattr(ct1, column, False)
        assert not silence.of([ct1])[ct1.pk].is_silent
        setattr(ct1, column, True)


@pytest.mark.django_db
def test_many_stations_take_no_more_statements(
    set_clock: SetClock, django_assert_num_queries: Any
) -> None:
    hours = OpeningHours(name="Weekdays")
    trail.save(
        hours,
        by=actor,
        lists={"times": [OpeningTime(weekday=0, opens=dt.time(8), closes=dt.time(17))]},
    )
    for number in range(450):
        station(f"CT{number}")
    Station.objects.update(opening_hours=hours)
    stations = list(Station.objects.order_by("pk"))
    for each in stations[:20]:
        asks(each.ae_title, every(1, at(4), at(9)))
    with django_assert_num_queries(4):
        one = silence.of(stations[:1])
    with django_assert_num_queries(4):
        found = silence.of(stations[:400])
    assert found[stations[0].pk] == one[stations[0].pk]
    assert sum(each.is_silent for each in silence.of(stations).values()) == 20
    assert silence.of([]) == {}


# --- in words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "now", "words"),
    [
        (every(10, at(8), at(10)), at(10), "asked for its list just now"),
        (every(10, at(8), at(10)), at(10) + 29 * MINUTE, "asked for its list 29 min ago"),
        (every(10, at(8), at(10)), at(13), "last asked 3 h ago"),
        (every(10, at(8), at(10)), at(60), "last asked 2 days ago"),
        ([], at(10), "has never asked for its list"),
    ],
)
def test_the_board_says_when_it_asked(
    asked: list[dt.datetime], now: dt.datetime, words: str
) -> None:
    assert judge(asked, ALWAYS, now).words == words
