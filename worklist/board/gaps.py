"""When a station could still take an exam, within what is left of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from worklist import clock
from worklist.board.shown import Exam
from worklist.models import FINAL, Station
from worklist.scheduling import slots

SHORTEST_GAP = 15  # minutes


def gaps(
    day: dt.date,
    stations: Sequence[Station],
    exams: Iterable[Exam],
    at: Mapping[int, set[int | None]],
) -> dict[int, tuple[slots.Span, ...]]:
    """When each of these stations could still take an exam, within what is left of the day."""
    taken = [
        _booked(exam, station)
        for exam in exams
        if exam.status not in FINAL
        for station in at[exam.pk]
    ]
    now = clock.now()
    found = {}
    for (pk, _), station_day in slots.days(stations, day, day, known=taken).items():
        spans = station_day.free
        if station_day.station.opening_hours_id is None:
            # It never closes: what is worth telling begins when an exam ends.
            ends = [each.span.end for each in station_day.booked]
            spans = tuple(span for span in spans if any(end <= span.start for end in ends))
        spans = tuple(slots.Span(max(span.start, next_slot(now)), span.end) for span in spans)
        shortest = dt.timedelta(minutes=SHORTEST_GAP)
        found[pk] = tuple(span for span in spans if span.end - span.start >= shortest)
    return found


def _booked(exam: Exam, station: int | None) -> slots.Booked:
    return slots.Booked(
        step_id=exam.pk,
        span=slots.Span(exam.begins, exam.ends),
        station_id=station,
        station_name="",
        patient_id=exam.patient,
        patient_name=exam.name,
        description=exam.description,
        code_id=None,
        accession_number=exam.accession_number,
        status=exam.status,
    )


def next_slot(now: dt.datetime) -> dt.datetime:
    """The next moment at which an exam may start."""
    over = dt.timedelta(minutes=now.minute % slots.GRID, seconds=now.second)
    return now - over + (dt.timedelta(minutes=slots.GRID) if over else dt.timedelta())
