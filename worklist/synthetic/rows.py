"""The rows of each table, made from the number of a step: no row knows of another but by number.

Columns that are derived from others are made by the functions that the models use.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from django.db import models

from worklist import values
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    ProcedureType,
    ProcedureTypeCode,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepProtocolCode,
    StepStation,
    StepStatus,
)
from worklist.models.fields import FoldedName, SearchWords
from worklist.synthetic.names import person_name, physicians

ISSUER = "SYNTHETIC"
# In the order in which they are written: what others point to comes first.
MODELS: tuple[type[models.Model], ...] = (
    Code,
    Station,
    ProcedureType,
    ProcedureTypeCode,
    Patient,
    ImagingServiceRequest,
    RequestedProcedure,
    ScheduledProcedureStep,
    StepStation,
    StepProtocolCode,
)

# Short name, description, modality, minutes, name of the protocol.
_KINDS = (
    ("CTH", "CT head", "CT", 15, "Head routine"),
    ("CTC", "CT chest with contrast", "CT", 20, "Chest contrast"),
    ("CTA", "CT abdomen and pelvis", "CT", 30, "Abdomen portal venous"),
    ("MRB", "MR brain", "MR", 30, "Brain routine"),
    ("MRK", "MR knee", "MR", 25, "Knee routine"),
    ("MRS", "MR lumbar spine", "MR", 30, "Lumbar spine"),
    ("USA", "Ultrasound abdomen", "US", 20, "Abdomen"),
    ("UST", "Ultrasound thyroid", "US", 15, "Thyroid"),
    ("XRH", "X-ray hand, 2 views", "CR", 10, "Hand 2 views"),
    ("XRC", "X-ray chest, 2 views", "DX", 10, "Chest 2 views"),
    ("MGS", "Screening mammography", "MG", 15, "Screening 4 views"),
    ("NMB", "Bone scintigraphy", "NM", 45, "Bone whole body"),
)
_MODALITIES = tuple(dict.fromkeys(modality for _, _, modality, _, _ in _KINDS))
_KINDS_OF = {
    modality: [n for n, kind in enumerate(_KINDS) if kind[2] == modality]
    for modality in _MODALITIES
}
_SERVICES = ("Outpatients", "Emergency", "Surgery", "Internal Medicine", "Orthopaedics")
_WARDS = ("A1", "A2", "B1", "B2", "ICU", "ER", "OPD 3")
_REASONS = ("Pain", "Trauma", "Follow-up", "Staging", "Fever of unknown origin", "Dyspnoea")
_PRIORITIES = ("ROUTINE",) * 17 + ("HIGH", "HIGH", "STAT")
_ALLERGIES = ("", "", "", "", "Iodine", "Penicillin", "Iodine\\Latex")
# What has become of the exams of a day that is over, of one that goes on, of one to come.
_OVER = ("COMPLETED",) * 18 + ("CANCELED", "DISCONTINUED")
_GOING_ON = (
    *("COMPLETED",) * 7,
    *("STARTED",) * 2,
    *("ARRIVED",) * 2,
    "READY",
    "CANCELED",
    *("SCHEDULED",) * 7,
)
_TO_COME = ("SCHEDULED",) * 19 + ("CANCELED",)

_PHYSICIANS = 200
_OPENS, _CLOSES = 7 * 60, 18 * 60  # minutes of the day
_AHEAD = 10  # one day in so many lies ahead
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Plan:
    """How many of what, around which day; and the first free number of each table."""

    steps: int
    patients: int
    stations: int
    a_day: int
    today: dt.date
    seed: int
    first: dict[type[models.Model], int]
    # How many modalities the stations share, and whether every step is yet to be done.
    modality_count: int = len(_MODALITIES)
    all_to_do: bool = False

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        return _MODALITIES[: self.modality_count]

    @cached_property
    def physicians(self) -> list[str]:
        return physicians(random.Random(self.seed), _PHYSICIANS)

    @cached_property
    def last_day(self) -> dt.date:
        days = -(-self.steps // self.a_day)
        return self.today + dt.timedelta(days=days // _AHEAD)

    @cached_property
    def gap(self) -> int:
        """Minutes from one exam of a station to its next."""
        return max(1, (_CLOSES - _OPENS) // -(-self.a_day // self.stations))


@dataclass(frozen=True)
class Table:
    """The rows of one model: a value for each of its columns."""

    model: type[models.Model]
    fields: tuple[models.Field[Any, Any], ...]
    rows: Iterator[Sequence[Any]]
    count: int


def tables(plan: Plan) -> Iterator[Table]:
    """The tables in the order in which they can be written; rows are made as they are taken."""
    for model, names, count, make in (
        (Code, _CODE, 2 * len(_KINDS), _code),
        (Station, _STATION, plan.stations, _station),
        (ProcedureType, _KIND, len(_KINDS), _kind),
        (ProcedureTypeCode, _KIND_CODE, len(_KINDS), _kind_code),
        (Patient, _PATIENT, plan.patients, _patient),
        (ImagingServiceRequest, _REQUEST, plan.steps, _request),
        (RequestedProcedure, _PROCEDURE, plan.steps, _procedure),
        (ScheduledProcedureStep, _STEP, plan.steps, _step),
        (StepStation, _STEP_STATION, plan.steps, _step_station),
        (StepProtocolCode, _STEP_CODE, plan.steps, _step_code),
    ):
        yield _table(plan, model, names, count, make)


# Of the step's number: the values of the columns that are named beside it.
_Make = Callable[[Plan, int], tuple[Any, ...]]


def _table(
    plan: Plan, model: type[models.Model], names: tuple[str, ...], count: int, make: _Make
) -> Table:
    fields = tuple(model._meta.concrete_fields)
    at = {field.name: position for position, field in enumerate(fields)}
    at_pk = next(position for position, field in enumerate(fields) if field.primary_key)
    usual = [field.get_default() for field in fields]
    places = [at[name] for name in names]
    folded = [(at[f.of], at[f.name]) for f in fields if isinstance(f, FoldedName)]
    searched = [
        ([at[name] for name in f.of], at[f.name], f.max_length)
        for f in fields
        if isinstance(f, SearchWords)
    ]
    first = plan.first[model]

    def rows() -> Iterator[list[Any]]:
        for number in range(count):
            row = usual.copy()
            row[at_pk] = first + number
            for place, value in zip(places, make(plan, number), strict=True):
                row[place] = value
            for source, place in folded:
                row[place] = _folded(row[source])
            for sources, place, length in searched:
                words = values.searched_by(" ".join([row[source] for source in sources]))
                row[place] = words[:length]
            yield row

    return Table(model, fields, rows(), count)


@lru_cache(maxsize=100_000)
def _folded(names: str) -> str:
    return values.join([values.fold_name(name) for name in values.split(names)])


def _mixed(plan: Plan, number: int) -> int:
    """A number without a pattern, always the same for this number (splitmix64)."""
    z = (number * 0x9E3779B97F4A7C15 + plan.seed) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _of(choices: Sequence[Any], mixed: int) -> Any:
    return choices[mixed % len(choices)]


# --- the catalogue --------------------------------------------------------------------------------

_CODE = ("value", "scheme", "meaning")


def _code(plan: Plan, number: int) -> tuple[Any, ...]:
    """The codes of the procedures, then those of their protocols."""
    short, description, _, _, protocol = _KINDS[number % len(_KINDS)]
    is_protocol = number >= len(_KINDS)
    value = f"{'P' if is_protocol else 'K'}{short}-{plan.first[Code] + number}"
    return value, "99SYNTHETIC", protocol if is_protocol else description


_STATION = ("ae_title", "name", "modality", "location")


def _station(plan: Plan, number: int) -> tuple[Any, ...]:
    modality = _of(plan.modalities, number)
    return _title(plan, number), _station_name(plan, number), modality, f"Room {number + 1}"


def _title(plan: Plan, number: int) -> str:
    return f"Y{_of(plan.modalities, number)}{plan.first[Station] + number}"


def _station_name(plan: Plan, number: int) -> str:
    return f"{_of(plan.modalities, number)} {number // len(plan.modalities) + 1}"


_KIND = (
    "code",
    "description",
    "modality",
    "minutes",
    "requested_procedure_code",
    "default_station",
)


def _kind(plan: Plan, number: int) -> tuple[Any, ...]:
    short, description, modality, minutes, _ = _KINDS[number]
    nearest = _MODALITIES.index(modality)
    is_there = nearest < min(plan.stations, plan.modality_count)
    station = plan.first[Station] + nearest if is_there else None
    code = plan.first[Code] + number
    return f"{short}-{code}", description, modality, minutes, code, station


_KIND_CODE = ("procedure_type", "code", "position")


def _kind_code(plan: Plan, number: int) -> tuple[Any, ...]:
    return plan.first[ProcedureType] + number, _protocol(plan, number), 0


def _protocol(plan: Plan, kind: int) -> int:
    return plan.first[Code] + len(_KINDS) + kind


# --- patients -------------------------------------------------------------------------------------

_PATIENT = (
    "patient_id",
    "issuer",
    "name",
    "birth_date",
    "sex",
    "weight",
    "size",
    "other_ids",
    "allergies",
    "special_needs",
    "smoking_status",
    "address",
    "telephone_numbers",
)
_OLDEST = 95 * 365  # days


def _patient(plan: Plan, number: int) -> tuple[Any, ...]:
    mixed = _mixed(plan, -1 - number)
    pk = plan.first[Patient] + number
    return (
        f"Y{pk:07}",
        ISSUER,
        person_name(random.Random(mixed)),
        plan.today - dt.timedelta(days=mixed % _OLDEST),
        "FM"[mixed >> 8 & 1],
        f"{45 + mixed % 60}",
        f"1.{50 + mixed % 45}",
        f"OLD-{pk}" if mixed % 10 == 0 else "",
        _of(_ALLERGIES, mixed >> 12),
        "Wheelchair" if mixed % 50 == 0 else "",
        "NO" if mixed % 4 else "YES",
        f"{1 + mixed % 99} High Street",
        f"+49 30 {mixed % 10**7:07}",
    )


# --- orders ---------------------------------------------------------------------------------------

_REQUEST = (
    "patient",
    "accession_number",
    "requesting_physician",
    "referring_physician",
    "placer_order_number",
    "filler_order_number",
    "reason",
    "requesting_service",
    "issue_date",
    "issue_time",
    "entered_by",
    "callback_phone",
    "admission_id",
    "patient_location",
    "institution",
    "department",
)


def _request(plan: Plan, number: int) -> tuple[Any, ...]:
    mixed = _mixed(plan, number)
    pk = plan.first[ImagingServiceRequest] + number
    service = _of(_SERVICES, mixed >> 4)
    return (
        plan.first[Patient] + (mixed >> 16) % plan.patients,
        f"Y{pk:09}",
        _of(plan.physicians, mixed >> 8),
        _of(plan.physicians, mixed >> 20),
        f"PL{pk:09}",
        f"FI{pk:09}",
        _of(_REASONS, mixed >> 6),
        service,
        _day(plan, number) - dt.timedelta(days=mixed % 14),
        _at(_OPENS + mixed % 600),
        _of(plan.physicians, mixed >> 28),
        f"{mixed % 10000:04}",
        f"ADM{pk:09}",
        _of(_WARDS, mixed >> 10),
        "Synthetic Hospital",
        service,
    )


_PROCEDURE = (
    "request",
    "procedure_id",
    "description",
    "code",
    "study_instance_uid",
    "priority",
    "reason",
    "transport",
    "reporting_priority",
    "location",
)
_ODD = 0x9E3779B97F4A7C15F39CC0605CEDC835


def _procedure(plan: Plan, number: int) -> tuple[Any, ...]:
    mixed = _mixed(plan, number)
    kind = _kind_of(plan, number)
    pk = plan.first[RequestedProcedure] + number
    priority = _of(_PRIORITIES, mixed >> 24)
    return (
        plan.first[ImagingServiceRequest] + number,
        f"Y{pk:09}",
        _KINDS[kind][1],
        plan.first[Code] + kind,
        # PS3.5 B.2; times an odd number, no two numbers meet.
        f"2.25.{pk * _ODD & ((1 << 128) - 1)}",
        priority,
        _of(_REASONS, mixed >> 6),
        "WALK" if mixed % 5 else "WHEEL",
        "HIGH" if priority == "STAT" else "ROUTINE",
        f"Room {_station_of(plan, number) + 1}",
    )


_STEP = (
    "requested_procedure",
    "step_id",
    "station_names",
    "start_date",
    "start_time",
    "end_date",
    "end_time",
    "modality",
    "performing_physician",
    "description",
    "location",
    "contrast_agent",
    "status",
)


def _step(plan: Plan, number: int) -> tuple[Any, ...]:
    mixed = _mixed(plan, number)
    station = _station_of(plan, number)
    _, description, modality, minutes, _ = _KINDS[_kind_of(plan, number)]
    day = _day(plan, number)
    start = _OPENS + number % plan.a_day // plan.stations * plan.gap % (_CLOSES - _OPENS)
    statuses = _OVER if day < plan.today else _TO_COME if day > plan.today else _GOING_ON
    return (
        plan.first[RequestedProcedure] + number,
        f"Y{plan.first[ScheduledProcedureStep] + number:09}",
        _station_name(plan, station),
        day,
        _at(start),
        day,
        _at(start + min(minutes, plan.gap)),
        modality,
        _of(plan.physicians, mixed >> 32),
        description,
        f"Room {station + 1}",
        "Iohexol" if "contrast" in description else "",
        "SCHEDULED" if plan.all_to_do else StepStatus(_of(statuses, mixed >> 36)).value,
    )


_STEP_STATION = ("step", "station", "position")


def _step_station(plan: Plan, number: int) -> tuple[Any, ...]:
    station = plan.first[Station] + _station_of(plan, number)
    return plan.first[ScheduledProcedureStep] + number, station, 0


_STEP_CODE = ("step", "code", "position")


def _step_code(plan: Plan, number: int) -> tuple[Any, ...]:
    step = plan.first[ScheduledProcedureStep] + number
    return step, _protocol(plan, _kind_of(plan, number)), 0


def _day(plan: Plan, number: int) -> dt.date:
    """The last day first: only the earliest is not full."""
    return plan.last_day - dt.timedelta(days=number // plan.a_day)


def _station_of(plan: Plan, number: int) -> int:
    return number % plan.a_day % plan.stations


def _kind_of(plan: Plan, number: int) -> int:
    modality = _of(plan.modalities, _station_of(plan, number))
    kind: int = _of(_KINDS_OF[modality], _mixed(plan, number) >> 40)
    return kind


def _at(minute: int) -> dt.time:
    return dt.time(minute // 60, minute % 60)
