"""A record of a worklist file as the columns of four rows, and the keys that it lacks.

No file is read here and nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from dicomscp import wl_files
from dicomscp.wl_files import BadDataSetError, Record, label
from worklist import attributes, values
from worklist.attributes import Attribute
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
)

# From the top down, the order in which rows are written; the path is that of the table's columns.
_PATH_OF: dict[type[models.Model], str] = {
    Patient: "requested_procedure__request__patient__",
    ImagingServiceRequest: "requested_procedure__request__",
    RequestedProcedure: "requested_procedure__",
    ScheduledProcedureStep: "",
}
LEVELS = tuple(_PATH_OF)
STATIONS, PROTOCOL_CODES = "stations", "protocol_codes"
CODE_COLUMNS = tuple(
    item.column for item in next(a for a in attributes.walk() if a.column == PROTOCOL_CODES).items
)

Level = type[models.Model]
Values = dict[str, Any]
PatientKey = tuple[str, str]


@dataclass(frozen=True)
class _Column:
    """Where an attribute is kept: the model, the field's name, and its rules."""

    attribute: Attribute
    level: Level
    name: str
    max_length: int | None = None
    choices: tuple[Any, ...] = ()

    def check(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            terms = ", ".join(str(choice) for choice in self.choices)
            raise bad(self.attribute, f"{values.spell(value)!r} is not one of {terms}")
        if self.max_length and isinstance(value, str) and len(value) > self.max_length:
            raise bad(self.attribute, f"{len(value)} characters; the limit is {self.max_length}")


def bad(attribute: Attribute, rule: str) -> BadDataSetError:
    return BadDataSetError(f"{label(attribute)}: {rule}")


def _columns() -> dict[Attribute, _Column]:
    found = {}
    for attribute in attributes.walk():
        is_code_item = attribute.parent is not None and bool(attribute.parent.column)
        if not attribute.column or is_code_item:
            continue
        level = next(one for one in LEVELS if attribute.column.startswith(_PATH_OF[one]))
        name = attribute.column.removeprefix(_PATH_OF[level]).split("__")[0]
        column: Any = level._meta.get_field(name)
        choices = tuple(value for value, _ in column.choices or ())
        found[attribute] = _Column(
            attribute, level, name, getattr(column, "max_length", None), choices
        )
    return found


_COLUMN = _columns()
ATTRIBUTE = {(column.level, column.name): attribute for attribute, column in _COLUMN.items()}


@dataclass
class Place:
    """One record: what it says of each of the four, and which four they are."""

    said: dict[Level, Values]
    keys: dict[Level, Any] = field(default_factory=dict)
    adopts_issuer: bool = False
    # Of a patient who was merged away: what it says of the patient is about the survivor.
    is_merged: bool = False
    # The status that the record says, when the step has moved on since.
    outrun: str = ""

    @property
    def study_uid(self) -> str:
        return str(self.said[RequestedProcedure]["study_instance_uid"])

    @property
    def patient(self) -> PatientKey:
        patient = self.said[Patient]
        return patient["patient_id"], patient.get("issuer", "")


def place_of(record: Record, not_held: Counter[str]) -> Place:
    said: dict[Level, Values] = {level: {} for level in LEVELS}
    for attribute, value in record.values.items():
        column = _COLUMN[attribute]
        if isinstance(value, tuple) and column.name != STATIONS:
            value = values.join(value)
        column.check(value)
        said[column.level][column.name] = value
    for attribute, codes in record.codes.items():
        column = _COLUMN[attribute]
        if column.name == PROTOCOL_CODES:
            said[column.level][column.name] = codes
        else:
            said[column.level][column.name] = codes[0]
            if len(codes) > 1:
                not_held[f"{label(attribute)}: item"] += len(codes) - 1
    _identify(said)
    return Place(said)


def _identify(said: Mapping[Level, Values]) -> None:
    """Make the identifiers that a file lacks, out of what names its content, the same each time."""
    patient, request = said[Patient], said[ImagingServiceRequest]
    procedure, step = said[RequestedProcedure], said[ScheduledProcedureStep]
    what = [
        str(step.get(name, ""))
        for name in ("modality", STATIONS, "start_date", "start_time", "description")
    ] + [str(step.get(PROTOCOL_CODES, ""))]
    if "study_instance_uid" not in procedure:
        identity = [
            patient["patient_id"],
            patient.get("issuer", ""),
            request.get("accession_number", ""),
            procedure.get("procedure_id", ""),
        ]
        if "procedure_id" not in procedure:
            identity += [procedure.get("description", ""), str(procedure.get("code", ""))]
            if "accession_number" not in request:
                # Nothing names the procedure: it is as good as its step.
                identity += [step["step_id"]] if "step_id" in step else what
        procedure["study_instance_uid"] = wl_files.made_uid("study", *identity)
    uid = procedure["study_instance_uid"]
    procedure.setdefault("procedure_id", wl_files.made_id("P", uid))
    step.setdefault("step_id", wl_files.made_id("S", uid, *what))
