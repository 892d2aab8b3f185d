"""Orders are placed and amended: patient, request, procedure, steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db import models, transaction

from worklist import identifiers, values
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling.patients import resolve


@dataclass(frozen=True)
class PlannedStep:
    """A step to be booked, with its stations and protocol codes in the order they are sent in."""

    step: ScheduledProcedureStep
    stations: tuple[Station, ...] = ()
    protocol_codes: tuple[Code, ...] = ()


def save_patient(patient: Patient, *, by: Actor, reason: str = "") -> Patient:
    """Register a patient, or amend one."""
    return _save(patient, by=by, reason=reason)


def place_order(
    request: ImagingServiceRequest,
    procedure: RequestedProcedure,
    *,
    steps: Sequence[PlannedStep],
    by: Actor,
    reason: str = "",
) -> tuple[ScheduledProcedureStep, ...]:
    """Book a procedure and its steps; the request, and its patient, may be new or known.

    Identifiers that are missing are made. An order for a merged patient is the survivor's. The
    steps are signed with the reason, if any.
    """
    with transaction.atomic():
        if request.patient._state.adding:
            request.patient = save_patient(request.patient, by=by)
        else:
            request.patient = resolve(request.patient, for_booking=True)
        if request._state.adding:
            save_request(request, by=by)
        procedure.request = request
        save_procedure(procedure, by=by)
        for planned in steps:
            planned.step.requested_procedure = procedure
            save_step(
                planned.step,
                stations=planned.stations,
                protocol_codes=planned.protocol_codes,
                by=by,
                reason=reason,
            )
        return tuple(planned.step for planned in steps)


def save_request(
    request: ImagingServiceRequest, *, by: Actor, reason: str = ""
) -> ImagingServiceRequest:
    """Enter a request, or amend one."""
    return _save(request, by=by, reason=reason)


def save_procedure(
    procedure: RequestedProcedure, *, by: Actor, reason: str = ""
) -> RequestedProcedure:
    """Add a procedure to its request, or amend one."""
    return _save(procedure, by=by, reason=reason)


def save_step(
    step: ScheduledProcedureStep,
    *,
    stations: Sequence[Station] | None = None,
    protocol_codes: Sequence[Code] | None = None,
    by: Actor,
    reason: str = "",
) -> ScheduledProcedureStep:
    """Book a step of its procedure, or amend one; lists that are None stay as they are."""
    if stations is not None:
        step.station_names = step.station_names or station_names(stations)
    lists = {"stations": stations, "protocol_codes": protocol_codes}
    given = {name: rows for name, rows in lists.items() if rows is not None}
    return _save(step, by=by, lists=given, reason=reason)


_Row = TypeVar("_Row", bound=models.Model)


def _save(
    row: _Row,
    *,
    by: Actor,
    lists: Mapping[str, Sequence[models.Model]] | None = None,
    reason: str = "",
) -> _Row:
    with transaction.atomic():
        if row._state.adding:
            identifiers.complete(row)
        row.full_clean()
        trail.save(row, by=by, lists=lists, reason=reason)
    return row


def station_names(stations: Sequence[Station]) -> str:
    """Scheduled Station Name for these stations: the names of those that have one."""
    return values.join([station.name for station in stations if station.name])
