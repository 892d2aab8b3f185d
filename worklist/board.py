"""The board: one day's steps by station, what stands out among them, and when that changes.

Reads only, no HTML. A page costs the same few SQL statements however full the day is: the day is
read whole, and filters are applied to what was read.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from django.db.models import F, Model, Q, QuerySet, Value

from worklist import clock, names, values
from worklist.dates import parse_birth_date
from worklist.models import (
    ClosedDay,
    ImagingServiceRequest,
    OpeningHours,
    Patient,
    ScheduledProcedureStep,
    Station,
    StepStatus,
)
from worklist.scheduling import FINAL, slots

LATE_AFTER = 10  # minutes
SHORTEST_GAP = 15  # minutes
ELSEWHERE_SHOWN = 20
_CANDIDATES = 200
_ALL, _OPEN = "all", "open"
VIEWS = ("list", "times", "wall")


# --- what is asked for ----------------------------------------------------------------------------


# Days that have a day before and after them, and a week.
_FIRST_YEAR, _LAST_YEAR = 1900, 2999


def _printable(text: str) -> str:
    """A text of the address without what no database takes."""
    return "".join(character for character in text if character.isprintable())


@dataclass(frozen=True)
class Filters:
    """What of which day is shown, and how: the board's query string.

    `status` "" is all but cancelled, "open" what is still to be done, "all" everything.
    """

    day: dt.date
    modality: str = ""
    station: int | None = None
    status: str = ""
    q: str = ""
    view: str = "list"

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """The filters of a query string; what makes no sense there is as if it were not."""
        try:
            day = dt.date.fromisoformat(query.get("day", ""))
        except ValueError:
            day = clock.today()
        if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            day = clock.today()
        station, status, view = (query.get(name, "") for name in ("station", "status", "view"))
        return cls(
            day=day,
            modality=_printable(query.get("modality", ""))[:16],
            station=int(station)
            if station.isascii() and station.isdigit() and len(station) < 18
            else None,
            status=status if status in (_ALL, _OPEN, *StepStatus) else "",
            q=_printable(query.get("q", "")).strip()[:64],
            view=view if view in VIEWS else "list",
        )

    def query(self, **changes: Any) -> str:
        """The query string of these filters with some of them changed; today is left out."""
        wanted = replace(self, **changes)
        shown = {
            "day": "" if wanted.day == clock.today() else wanted.day.isoformat(),
            "modality": wanted.modality,
            "station": wanted.station or "",
            "status": wanted.status,
            "q": wanted.q,
            "view": "" if wanted.view == "list" else wanted.view,
        }
        return "?" + urlencode({name: value for name, value in shown.items() if value})

    @property
    def narrowing(self) -> int:
        """How many filters leave exams out, besides the day and the search."""
        return sum(map(bool, (self.modality, self.station, self.status)))

    def has_status(self, status: str) -> bool:
        if self.status == _ALL:
            return True
        if self.status == _OPEN:
            return status not in FINAL
        return status == self.status if self.status else status != StepStatus.CANCELED


# --- what is shown --------------------------------------------------------------------------------


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


# --- reading a day --------------------------------------------------------------------------------

_COLUMNS = (
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
_SEARCH = "requested_procedure__request__patient__search"
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
    words = values.search_words(filters.q).split()
    shown = {
        exam.pk
        for exam in ours
        if filters.has_status(exam.status)
        and (not words or _matches(exam, filters.q, words, searched[exam.pk]))
    }
    gaps: dict[int, tuple[slots.Span, ...]] = {}
    if with_gaps and not words and filters.status in ("", _OPEN) and filters.day >= clock.today():
        gaps = _gaps(filters.day, [each for each in stations if each.is_active], exams, at)
    lanes = []
    for scanner in (*scanners.values(), None):
        pk = scanner.pk if scanner else None
        if filters.station not in (None, pk):
            continue
        here = [exam for exam in ours if pk in at[exam.pk]]
        visible = tuple(exam for exam in here if exam.pk in shown)
        free = gaps.get(pk, ()) if pk is not None else ()
        is_wanted = not filters.modality or (scanner and scanner.modality == filters.modality)
        if not visible and (words or pk not in active or not is_wanted):
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
        elsewhere=_elsewhere(filters, words) if words else (),
        has_scanners=bool(active),
    )


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
    """The day's exams in their order, the words of each one's patient, and where each is done."""
    rows = ScheduledProcedureStep.objects.filter(start_date=day).order_by("start_time", "pk")
    exams: dict[int, Exam] = {}
    searched: dict[int, str] = {}
    at: dict[int, set[int | None]] = defaultdict(set)
    for *columns, search, station in rows.values_list(*_COLUMNS, _SEARCH, _STATION):
        pk = columns[0]
        at[pk].add(station)
        if pk in exams:
            continue
        exam = _exam(columns)
        exams[pk] = exam
        searched[pk] = search
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


def _exam(columns: Sequence[Any]) -> Exam:
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


def _gaps(
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
            # It never closes: what is worth telling lies between its exams.
            booked = [each.span for each in station_day.booked]
            spans = tuple(
                span
                for span in spans
                if any(b.end <= span.start for b in booked)
                and any(span.end <= b.start for b in booked)
            )
        spans = tuple(slots.Span(max(span.start, _next_slot(now)), span.end) for span in spans)
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


def _next_slot(now: dt.datetime) -> dt.datetime:
    """The next moment at which an exam may start."""
    over = dt.timedelta(minutes=now.minute % slots.GRID, seconds=now.second)
    return now - over + (dt.timedelta(minutes=slots.GRID) if over else dt.timedelta())


# --- searching ------------------------------------------------------------------------------------


def _matches(exam: Exam, text: str, words: Sequence[str], patient: str) -> bool:
    """Each word is part of what the exam is found by, or the date of birth; or all make a date.

    `patient` is what the patient is found by.
    """
    born, today = exam.birth_date, clock.today()
    if born and parse_birth_date(text, today=today) == born:
        return True
    searched = f"{patient} {values.search_words(f'{exam.accession_number} {exam.description}')}"
    return all(
        word in searched or (born and parse_birth_date(word, today=today) == born) for word in words
    )


def _elsewhere(filters: Filters, words: Sequence[str]) -> tuple[Exam, ...]:
    """Exams of other days, the latest first: of patients whom all words describe, or by number.

    One more than is shown, when there are more.
    """
    described = Q()
    for word in words:
        born = parse_birth_date(word, today=clock.today())
        described &= Q(search__contains=word) | (Q(birth_date=born) if born else Q(pk__in=()))
    if born := parse_birth_date(filters.q, today=clock.today()):
        described |= Q(birth_date=born)
    patients = list(Patient.objects.filter(described).order_by().values_list("pk")[:_CANDIDATES])
    wanted = Q(patient__in=[pk for (pk,) in patients]) | Q(
        accession_number__in={filters.q, filters.q.upper()}
    )
    steps = (
        ScheduledProcedureStep.objects.filter(
            requested_procedure__request__in=ImagingServiceRequest.objects.filter(wanted)
        )
        .exclude(start_date=filters.day)
        .order_by("-start_date", "start_time", "pk")
    )
    if filters.modality:
        steps = steps.filter(modality=filters.modality)
    return tuple(map(_exam, steps.values_list(*_COLUMNS)[: ELSEWHERE_SHOWN + 1]))


# --- has anything changed? ------------------------------------------------------------------------


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
        # A gap ends at its time, lateness grows by the minute.
        moment = now.replace(second=0) if is_late else _next_slot(now)
        seen.update(repr(moment).encode())
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
