"""What the board shows: an exam, a station in short, its lane, a day. Values, no database."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worklist import clock
from worklist.board.filters import Filters
from worklist.scheduling import slots


@dataclass(frozen=True)
class Exam:
    """A step as the board shows it. It is also the key under which its row is kept drawn."""

    pk: int
    version: int
    day: dt.date
    start: dt.time
    minutes: int
    modality: str
    status: str
    description: str
    is_emergency: bool
    accession_number: str
    patient: int
    name: str
    patient_id: str
    birth_date: dt.date | None
    sex: str
    is_unknown: bool
    is_similar: bool = False
    late: int = 0  # minutes

    @property
    def begins(self) -> dt.datetime:
        return dt.datetime.combine(self.day, self.start)

    @property
    def ends(self) -> dt.datetime:
        return self.begins + dt.timedelta(minutes=self.minutes)


COLUMNS = (
    "pk",
    "version",
    "start_date",
    "start_time",
    "end_date",
    "end_time",
    "modality",
    "status",
    "description",
    "requested_procedure__description",
    "requested_procedure__priority",
    "requested_procedure__request__accession_number",
    "requested_procedure__request__patient_id",
    "requested_procedure__request__patient__name",
    "requested_procedure__request__patient__patient_id",
    "requested_procedure__request__patient__birth_date",
    "requested_procedure__request__patient__sex",
    "requested_procedure__request__patient__is_unknown",
)


def exam_of(columns: Sequence[Any]) -> Exam:
    """The exam that these COLUMNS are."""
    pk, version, day, start, end_day, end, modality, status, own, asked, priority, *rest = columns
    accession, patient, name, patient_id, born, sex, unknown = rest
    minutes = slots.USUAL_MINUTES
    if end is not None:
        length = dt.datetime.combine(end_day or day, end) - dt.datetime.combine(day, start)
        minutes = max(0, int(length.total_seconds() // 60))
    return Exam(
        pk=pk,
        version=version,
        day=day,
        start=start,
        minutes=minutes,
        modality=modality,
        status=status,
        description=own or asked or modality,
        is_emergency=priority == "STAT",
        accession_number=accession,
        patient=patient,
        name=name,
        patient_id=patient_id,
        birth_date=born,
        sex=sex,
        is_unknown=unknown,
    )


@dataclass(frozen=True)
class Scanner:
    """A station in short."""

    pk: int
    ae_title: str
    name: str
    location: str
    modality: str


@dataclass(frozen=True)
class Lane:
    """A station's exams of the day; `scanner` is None for those that have none."""

    scanner: Scanner | None
    exams: tuple[Exam, ...]
    gaps: tuple[slots.Span, ...]
    done: int
    total: int


@dataclass(frozen=True)
class Board:
    """A day."""

    filters: Filters
    lanes: tuple[Lane, ...]
    done: int
    total: int
    late: int
    emergencies: int
    unknown: int
    shown: int
    modalities: tuple[str, ...]
    scanners: tuple[Scanner, ...]
    elsewhere: tuple[Exam, ...] = ()
    has_scanners: bool = True

    @property
    def is_today(self) -> bool:
        return self.filters.day == clock.today()


def exams(shown: Board) -> list[tuple[Exam, tuple[Scanner, ...]]]:
    """The exams of a board, each once with its scanners, by time."""
    found: dict[int, Exam] = {}
    at: dict[int, list[Scanner]] = defaultdict(list)
    for lane in shown.lanes:
        for exam in lane.exams:
            found[exam.pk] = exam
            if lane.scanner:
                at[exam.pk].append(lane.scanner)
    in_order = sorted(found.values(), key=lambda exam: (exam.start, exam.pk))
    return [(exam, tuple(at[exam.pk])) for exam in in_order]


def patients(shown: Board) -> list[int]:
    """The keys of the patients whom a board shows, on its day and found on others."""
    exams_shown = (*(exam for lane in shown.lanes for exam in lane.exams), *shown.elsewhere)
    return sorted({exam.patient for exam in exams_shown})
