"""Reading a day: the same few SQL statements however full it is.

The day is read whole, and filters are applied to what was read.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from django.db.models import QuerySet

from worklist import clock, names
from worklist.board.filters import OPEN, Filters
from worklist.board.gaps import gaps as gaps_of
from worklist.board.search import elsewhere, matches, readings
from worklist.board.shown import COLUMNS, Board, Exam, Lane, Scanner, exam_of
from worklist.models import FINAL, Patient, ScheduledProcedureStep, Station, StepStatus
from worklist.scheduling import slots

LATE_AFTER = 10  # minutes
_SEARCH = (
    "requested_procedure__request__patient__search",
    "requested_procedure__request__search",
    "requested_procedure__search",
    "requested_procedure__code__value",
    "search",
)
_STATION = "stepstation__station_id"


def read(filters: Filters, *, with_gaps: bool = True) -> Board:
    """The board of a day."""
    stations = sorted(
        Station.objects.all(),
        key=lambda each: (each.modality, each.friendly_name.casefold(), each.ae_title),
    )
    scanners = {each.pk: _scanner(each) for each in stations}
    active = {each.pk for each in stations if each.is_active}
    exams, searched, at = _day(filters.day)
    ours = [exam for exam in exams if _is_of(exam, filters, at[exam.pk])]
    counted = [exam for exam in ours if exam.status != StepStatus.CANCELED]
    wanted = readings(filters.q)
    shown = {
        exam.pk
        for exam in ours
        if filters.has_status(exam.status)
        and (not wanted or matches(exam, wanted, searched[exam.pk]))
    }
    gaps: dict[int, tuple[slots.Span, ...]] = {}
    if with_gaps and not wanted and filters.status in ("", OPEN) and filters.day >= clock.today():
        gaps = gaps_of(filters.day, [each for each in stations if each.is_active], exams, at)
    lanes = []
    for scanner in (*scanners.values(), None):
        pk = scanner.pk if scanner else None
        if filters.station not in (None, pk):
            continue
        here = [exam for exam in ours if pk in at[exam.pk]]
        visible = tuple(exam for exam in here if exam.pk in shown)
        free = gaps.get(pk, ()) if pk is not None else ()
        is_wanted = not filters.modality or (scanner and scanner.modality == filters.modality)
        if not visible and (wanted or pk not in active or not is_wanted):
            continue
        standing = [exam for exam in here if exam.status != StepStatus.CANCELED]
        lanes.append(
            Lane(scanner, visible, free if is_wanted else (), _done(standing), len(standing))
        )
    return Board(
        filters=filters,
        lanes=tuple(lanes),
        done=_done(counted),
        total=len(counted),
        late=sum(exam.late > 0 for exam in counted),
        emergencies=sum(exam.is_emergency and exam.status not in FINAL for exam in counted),
        unknown=unknown_patients().count(),
        shown=len(shown),
        modalities=tuple(
            sorted(
                {s.modality for s in scanners.values() if s.pk in active}
                | {e.modality for e in exams}
            )
        ),
        scanners=tuple(scanners.values()),
        elsewhere=elsewhere(filters, wanted),
        has_scanners=bool(active),
    )


def unknown_patients() -> QuerySet[Patient]:
    """Patients whose name nobody knew, and who have not been merged with whom they were."""
    return Patient.objects.filter(is_unknown=True, merged_into=None).order_by()


def _scanner(station: Station) -> Scanner:
    return Scanner(
        station.pk, station.ae_title, station.friendly_name, station.location, station.modality
    )


def _day(
    day: dt.date,
) -> tuple[list[Exam], dict[int, str], dict[int, set[int | None]]]:
    """The day's exams in their order, what each is searched by, and where it is done."""
    rows = ScheduledProcedureStep.objects.filter(start_date=day).order_by("start_time", "pk")
    exams: dict[int, Exam] = {}
    searched: dict[int, str] = {}
    at: dict[int, set[int | None]] = defaultdict(set)
    for *columns, station in rows.values_list(*COLUMNS, *_SEARCH, _STATION):
        pk = columns[0]
        at[pk].add(station)
        if pk in exams:
            continue
        exam = exam_of(columns[: len(COLUMNS)])
        exams[pk] = exam
        searched[pk] = " ".join(filter(None, columns[len(COLUMNS) :])).lower()
    similar = _similar(exams.values())
    now = clock.now()
    marked = [
        replace(exam, is_similar=exam.patient in similar, late=late)
        if (late := _late(exam, now)) or exam.patient in similar
        else exam
        for exam in exams.values()
    ]
    # What cannot wait stands first.
    marked.sort(key=lambda exam: not (exam.is_emergency and exam.status not in FINAL))
    return marked, searched, at


def _late(exam: Exam, now: dt.datetime) -> int:
    """Minutes since the exam should have begun, when that is worth a word; else 0."""
    if exam.status != StepStatus.SCHEDULED or exam.day != now.date():
        return 0
    minutes = int((now - exam.begins).total_seconds() // 60)
    return minutes if minutes > LATE_AFTER else 0


_similarity_key = lru_cache(maxsize=8192)(names.similarity_key)


def _similar(exams: Iterable[Exam]) -> set[int]:
    """The patients whose name another patient of the day could be mistaken for."""
    by_key: dict[tuple[str, str], set[int]] = defaultdict(set)
    for exam in exams:
        if exam.status != StepStatus.CANCELED and not exam.is_unknown:
            by_key[_similarity_key(exam.name)].add(exam.patient)
    return {patient for patients in by_key.values() if len(patients) > 1 for patient in patients}


def _is_of(exam: Exam, filters: Filters, at: set[int | None]) -> bool:
    return filters.modality in ("", exam.modality) and (
        filters.station is None or filters.station in at
    )


def _done(exams: Sequence[Exam]) -> int:
    return sum(exam.status == StepStatus.COMPLETED for exam in exams)
