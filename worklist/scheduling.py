"""What happens to orders, whoever asks: every door ends here.

Each verb validates, writes and signs in one transaction. What a door shows or parses is not here.
Raises ValidationError when a row cannot be what it is told to be.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.core.exceptions import ValidationError
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
    StepStatus,
)

FINAL = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED})


@dataclass(frozen=True)
class PlannedStep:
    """A step to be booked, with its stations and protocol codes in the order they are sent in."""

    step: ScheduledProcedureStep
    stations: tuple[Station, ...] = ()
    protocol_codes: tuple[Code, ...] = ()


def save_patient(patient: Patient, *, by: Actor) -> Patient:
    """Register a patient, or amend one."""
    return _save(patient, by=by)


def place_order(
    request: ImagingServiceRequest,
    procedure: RequestedProcedure,
    *,
    steps: Sequence[PlannedStep],
    by: Actor,
) -> tuple[ScheduledProcedureStep, ...]:
    """Book a procedure and its steps; the request, and its patient, may be new or known.

    Identifiers that are missing are made.
    """
    with transaction.atomic():
        if request.patient._state.adding:
            request.patient = save_patient(request.patient, by=by)
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
            )
        return tuple(planned.step for planned in steps)


def save_request(request: ImagingServiceRequest, *, by: Actor) -> ImagingServiceRequest:
    """Enter a request, or amend one."""
    return _save(request, by=by)


def save_procedure(procedure: RequestedProcedure, *, by: Actor) -> RequestedProcedure:
    """Add a procedure to its request, or amend one."""
    return _save(procedure, by=by)


def save_step(
    step: ScheduledProcedureStep,
    *,
    stations: Sequence[Station] | None = None,
    protocol_codes: Sequence[Code] | None = None,
    by: Actor,
) -> ScheduledProcedureStep:
    """Book a step of its procedure, or amend one; lists that are None stay as they are."""
    if stations is not None:
        step.station_names = step.station_names or station_names(stations)
    lists = {"stations": stations, "protocol_codes": protocol_codes}
    given = {name: rows for name, rows in lists.items() if rows is not None}
    return _save(step, by=by, lists=given)


_Row = TypeVar("_Row", bound=models.Model)


def _save(
    row: _Row, *, by: Actor, lists: Mapping[str, Sequence[models.Model]] | None = None
) -> _Row:
    with transaction.atomic():
        if row._state.adding:
            identifiers.complete(row)
        row.full_clean()
        trail.save(row, by=by, lists=lists)
    return row


def station_names(stations: Sequence[Station]) -> str:
    """Scheduled Station Name for these stations: the names of those that have one."""
    return values.join([station.name for station in stations if station.name])


def reschedule(
    step: ScheduledProcedureStep,
    start: dt.datetime,
    *,
    stations: Sequence[Station] | None = None,
    by: Actor,
) -> ScheduledProcedureStep:
    """Move a step to this wall-clock time of the site, and to these stations if any are given.

    An end that is known moves along. A step that is over stays where it is.
    """
    with transaction.atomic():
        step = _locked(step)
        _refuse_if_final(step)
        if step.end_date and step.end_time:
            booked = dt.datetime.combine(step.start_date, step.start_time)
            end = dt.datetime.combine(step.end_date, step.end_time) + (start - booked)
            step.end_date, step.end_time = end.date(), end.time()
        elif step.end_date:
            step.end_date += start.date() - step.start_date
        step.start_date, step.start_time = start.date(), start.time()
        if stations is not None:
            step.station_names = station_names(stations)
        return save_step(step, stations=stations, by=by)


def cancel(step: ScheduledProcedureStep, *, by: Actor) -> ScheduledProcedureStep:
    """Take a step off the worklist for good. A step that is over is not canceled any more."""
    with transaction.atomic():
        _refuse_if_final(_locked(step))
        return set_status(step, StepStatus.CANCELED, by=by)


def set_status(
    step: ScheduledProcedureStep, status: StepStatus, *, by: Actor
) -> ScheduledProcedureStep:
    """Say how far a step is. Any status may follow any other: people also correct themselves."""
    with transaction.atomic():
        step = _locked(step)
        step.status = status
        return save_step(step, by=by)


def _locked(step: ScheduledProcedureStep) -> ScheduledProcedureStep:
    """The step as it stands now, ours until the transaction ends."""
    return ScheduledProcedureStep.objects.select_for_update().get(pk=step.pk)


def _refuse_if_final(step: ScheduledProcedureStep) -> None:
    if step.status in FINAL:
        raise ValidationError(f"This step is {step.status.lower()}: book a new one.")
