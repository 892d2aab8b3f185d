"""When scanners are free: opening hours and closed days less what is booked.

Wall-clock times of the site, naive. Whether a booking may stand is said in conflicts.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from worklist.models import (
    FINAL,
    ClosedDay,
    OpeningTime,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
    StepStation,
)

USUAL_MINUTES = 30
# Exams start at these minutes.
GRID = 5
# How far ahead a free slot is looked for, in days.
_AHEAD = 21
# Where no opening hours are set, nobody is asked to come in the middle of the night.
MORNING = dt.time(7)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, order=True)
class Span:
    """A stretch of time; its end does not belong to it."""

    start: dt.datetime
    end: dt.datetime

    def overlaps(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end

    def covers(self, other: Span) -> bool:
        return self.start <= other.start and other.end <= self.end

    def widened(self, minutes: int) -> Span:
        by = dt.timedelta(minutes=minutes)
        return Span(self.start - by, self.end + by)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}–{self.end:%H:%M}"


@dataclass(frozen=True)
class Booked:
    """A step that takes up time: when, on which station (None: on none), of whom, what."""

    step_id: int
    span: Span
    station_id: int | None
    station_name: str
    patient_id: int
    patient_name: str
    description: str
    code_id: int | None
    accession_number: str
    status: str


@dataclass(frozen=True)
class StationDay:
    """One day of one station. `closed` is the closed day's row, if it is one."""

    station: Station
    day: dt.date
    open: tuple[Span, ...]
    closed: ClosedDay | None
    booked: tuple[Booked, ...]

    @property
    def free(self) -> tuple[Span, ...]:
        """What is open and not booked."""
        left = list(self.open)
        for taken in (booked.span for booked in self.booked):
            left = [part for span in left for part in _without(span, taken)]
        return tuple(left)

    def starts(self, minutes: int, *, after: dt.datetime) -> list[dt.datetime]:
        """When an exam of so many minutes could start, one after the other."""
        found = []
        for span in self.free:
            start = _on_grid(max(span.start, after))
            while start + dt.timedelta(minutes=minutes) <= span.end:
                found.append(start)
                start = _on_grid(start + dt.timedelta(minutes=minutes))
        return found


def span(start: dt.datetime, minutes: int) -> Span:
    return Span(start, start + dt.timedelta(minutes=minutes))


def days(
    stations: Sequence[Station],
    first: dt.date,
    last: dt.date,
    *,
    ignoring: Collection[int] = (),
    known: Iterable[Booked] | None = None,
) -> dict[tuple[int, dt.date], StationDay]:
    """Each station's days from first to last, by its pk and the day: four statements at most.

    `ignoring` are steps that are about to be moved; `known` is what is booked, if the caller has
    read it already.
    """
    booked: dict[int, list[Booked]] = defaultdict(list)
    for each in booked_on(stations, first, last) if known is None else known:
        if each.station_id is not None and each.step_id not in ignoring:
            booked[each.station_id].append(each)
    hours: dict[int, list[OpeningTime]] = defaultdict(list)
    for time in OpeningTime.objects.filter(
        hours__in={s.opening_hours_id for s in stations} - {None}
    ):
        hours[time.hours_id].append(time)
    closed = list(
        ClosedDay.objects.filter(
            Q(station=None) | Q(station__in=stations), day__gte=first, day__lte=last
        )
    )
    made = {}
    for day in (first + _DAY * n for n in range((last - first).days + 1)):
        whole = Span(
            dt.datetime.combine(day, dt.time()), dt.datetime.combine(day + _DAY, dt.time())
        )
        for station in stations:
            shut = next(
                (c for c in closed if c.day == day and c.station_id in (None, station.pk)), None
            )
            if shut:
                open_spans: tuple[Span, ...] = ()
            elif station.opening_hours_id is None:
                open_spans = (whole,)
            else:
                open_spans = tuple(
                    Span(dt.datetime.combine(day, t.opens), dt.datetime.combine(day, t.closes))
                    for t in hours[station.opening_hours_id]
                    if t.weekday == day.weekday()
                )
            made[station.pk, day] = StationDay(
                station,
                day,
                open_spans,
                shut,
                tuple(each for each in booked[station.pk] if each.span.overlaps(whole)),
            )
    return made


def free_starts(
    stations: Sequence[Station], day: dt.date, minutes: int, *, after: dt.datetime, count: int
) -> list[tuple[Station, list[dt.datetime]]]:
    """For each station the first free starts of that day, not before `after`."""
    found = days(stations, day, day)
    return [
        (station, _by_day(found[station.pk, day]).starts(minutes, after=after)[:count])
        for station in stations
    ]


def next_free(
    station: Station,
    after: dt.datetime,
    minutes: int,
    count: int = 1,
    *,
    ignoring: Collection[int] = (),
) -> list[dt.datetime]:
    """The next starts, in the coming weeks, at which this station is free for so many minutes."""
    last = after.date() + _DAY * _AHEAD
    found: list[dt.datetime] = []
    for (_, day), each in days([station], after.date(), last, ignoring=ignoring).items():
        found += (each if day == after.date() else _by_day(each)).starts(minutes, after=after)
        if len(found) >= count:
            break
    return found[:count]


def first_gaps(
    stations: Sequence[Station], now: dt.datetime, minutes: int
) -> dict[int, dt.datetime]:
    """By its pk, when nothing is booked on a station for so many minutes, open or not.

    For emergencies: now itself when the station is free.
    """
    horizon = Span(now, now + _DAY)
    taken: dict[int, list[Span]] = defaultdict(list)
    for each in booked_on(stations, now.date(), horizon.end.date()):
        if each.station_id is not None:
            taken[each.station_id].append(each.span)
    found = {}
    for station in stations:
        left = [horizon]
        for busy in taken[station.pk]:
            left = [part for gap in left for part in _without(gap, busy)]
        wide = [gap.start for gap in left if gap.end - gap.start >= dt.timedelta(minutes=minutes)]
        found[station.pk] = wide[0] if wide else horizon.end
    return found


def _by_day(each: StationDay) -> StationDay:
    """The day as exams are proposed on it: from the morning on."""
    if each.station.opening_hours_id is not None or not each.open:
        return each
    night = Span(dt.datetime.combine(each.day, dt.time()), dt.datetime.combine(each.day, MORNING))
    spans = tuple(part for span in each.open for part in _without(span, night))
    return StationDay(each.station, each.day, spans, each.closed, each.booked)


def _without(whole: Span, taken: Span) -> list[Span]:
    if not whole.overlaps(taken):
        return [whole]
    parts = (Span(whole.start, taken.start), Span(taken.end, whole.end))
    return [part for part in parts if part.start < part.end]


def _on_grid(moment: dt.datetime) -> dt.datetime:
    """This moment, or the next at which exams start."""
    over = dt.timedelta(
        minutes=moment.minute % GRID, seconds=moment.second, microseconds=moment.microsecond
    )
    return moment - over + dt.timedelta(minutes=GRID) if over else moment


# --- what is booked -------------------------------------------------------------------------------

_STEP = (
    "pk",
    "start_date",
    "start_time",
    "end_date",
    "end_time",
    "description",
    "requested_procedure__description",
    "requested_procedure__code_id",
    "requested_procedure__request__accession_number",
    "status",
    "requested_procedure__request__patient_id",
    "requested_procedure__request__patient__name",
)


def booked_on(stations: Iterable[Station], first: dt.date, last: dt.date) -> list[Booked]:
    """What is booked on these stations on these days, and runs over from the day before."""
    rows = (
        StepStation.objects.filter(
            station__in=list(stations),
            step__start_date__gte=first - _DAY,
            step__start_date__lte=last,
        )
        .exclude(step__status__in=FINAL)
        .order_by("step__start_date", "step__start_time", "step_id")
        .values_list(
            *(f"step__{name}" for name in _STEP),
            "station_id",
            "station__name",
            "station__ae_title",
        )
    )
    return _read(rows)


def booked_for(patients: Iterable[int], first: dt.date, last: dt.date) -> list[Booked]:
    """What is booked for these patients on these days; a step on two stations is there twice."""
    rows = (
        ScheduledProcedureStep.objects.filter(
            requested_procedure__request__patient__in=list(patients),
            start_date__gte=first - _DAY,
            start_date__lte=last,
        )
        .exclude(status__in=FINAL)
        .order_by("start_date", "start_time", "pk")
        .values_list(*_STEP, "stations__pk", "stations__name", "stations__ae_title")
    )
    return _read(rows)


def _read(rows: Iterable[tuple[Any, ...]]) -> list[Booked]:
    rows = list(rows)
    # Only steps that came without an end (imported ones) ask the catalogue how long they last.
    endless = {row[7] for row in rows if row[4] is None} - {None}
    minutes: dict[int, int] = {}
    if endless:
        minutes = dict(
            ProcedureType.objects.filter(requested_procedure_code__in=endless)
            .order_by("-pk")
            .values_list("requested_procedure_code", "minutes")
        )
    made = []
    for pk, day, time, end_day, end_time, own, whole, code, accession, status, *rest in rows:
        patient_id, patient_name, station_id, station_name, ae_title = rest
        start = dt.datetime.combine(day, time)
        end = start + dt.timedelta(minutes=minutes.get(code, USUAL_MINUTES))
        if end_time is not None:
            end = dt.datetime.combine(end_day or day, end_time)
        made.append(
            Booked(
                step_id=pk,
                span=Span(start, max(start, end)),
                station_id=station_id,
                station_name=station_name or ae_title or "",
                patient_id=patient_id,
                patient_name=patient_name,
                description=own or whole,
                code_id=code,
                accession_number=accession,
                status=status,
            )
        )
    return made
