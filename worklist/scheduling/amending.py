"""What is noted with a booked exam is amended, and what it is to be: procedure, scanner, minutes.

Raises StaleVersion, ConflictsFound, ValidationError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from worklist.audit.trail import Actor
from worklist.models import (
    Code,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling import conflicts, held
from worklist.scheduling.conflicts import Conflict, Proposal
from worklist.scheduling.held import Held
from worklist.scheduling.orders import save_procedure, save_request, save_step, station_names
from worklist.scheduling.steps import BEFORE_START
from worklist.scheduling.versions import lock_all


@dataclass(frozen=True)
class Plan:
    """What an exam is to be: an entry of the catalogue (None: what it is), a scanner, minutes."""

    kind: ProcedureType | None
    station: Station | None
    minutes: int


def may_be_planned(step: ScheduledProcedureStep) -> bool:
    """Whether procedure, scanner and minutes may be changed: not once it has started."""
    return step.status in BEFORE_START


def amend(
    step: ScheduledProcedureStep,
    procedure: RequestedProcedure,
    *,
    by: Actor,
    versions: tuple[int, int, int],
    plan: Plan | None = None,
    accepted: Collection[str] = (),
    reason: str = "",
    may_override: bool = False,
) -> ScheduledProcedureStep:
    """Save what a person has changed in a step, its procedure and its request, which hold it.

    `versions` are those of the three, as the person saw them; `accepted` are the fingerprints of
    the conflicts of the plan that the person has seen.
    """
    request = procedure.request
    with transaction.atomic():
        # Stations and patients wait for each other before steps do, as when booking.
        planned = proposals(step, plan, may_override=may_override) if plan is not None else []
        conflicts.hold([each.station for each in planned], [request.patient])
        lock_all(zip((step, procedure, request), versions, strict=True))
        codes: list[Code] | None = None
        stations: list[Station] | None = None
        if plan is not None:
            _refuse_unless_open(step, procedure, plan)
            holds = held.of(step)
            planned = proposals(step, plan, may_override=may_override)
            settled = conflicts.settle(planned, accepted=frozenset(accepted), reason=reason)
            reason = reason or settled
            held.accept_risks(step, planned)
            stations = _stations(holds, plan)
            if stations != list(holds.stations):
                step.station_names = station_names(stations)
                step.location = stations[0].location if stations else ""
            if plan.kind is not None and plan.kind != holds.kind:
                codes = _become(step, procedure, plan.kind, was=holds.kind)
            _last(step, plan.minutes)
        save_request(request, by=by, reason=reason)
        save_procedure(procedure, by=by, reason=reason)
        return save_step(step, stations=stations, protocol_codes=codes, by=by, reason=reason)


def objections(
    step: ScheduledProcedureStep, plan: Plan, *, may_override: bool
) -> tuple[Conflict, ...]:
    """What speaks against this plan, as `amend` will see it."""
    asked = proposals(step, plan, may_override=may_override)
    return tuple(each for each in conflicts.find(asked) if not each.gives_way)


def proposals(step: ScheduledProcedureStep, plan: Plan, *, may_override: bool) -> list[Proposal]:
    """What the plan asks of each scanner at the step's own time."""
    holds = held.of(step)
    return held.proposals(
        step,
        dt.datetime.combine(step.start_date, step.start_time),
        held=Held(holds.stations, plan.kind or holds.kind),
        stations=_stations(holds, plan),
        modality=plan.kind.modality if plan.kind else step.modality,
        minutes=plan.minutes,
        may_override=may_override,
    )


def protocol_codes(kind: ProcedureType) -> list[Code]:
    return list(kind.protocol_codes.order_by("proceduretypecode__position"))


def _refuse_unless_open(
    step: ScheduledProcedureStep, procedure: RequestedProcedure, plan: Plan
) -> None:
    if not may_be_planned(step):
        raise ValidationError(
            _("This exam has started: its procedure, scanner and minutes stay as they are.")
        )
    is_other = plan.kind is not None and plan.kind != held.of(step).kind
    if is_other and procedure.steps.count() > 1:
        raise ValidationError(
            _("This procedure has several exams: book the other procedure, and cancel this exam.")
        )


def _stations(holds: Held, plan: Plan) -> list[Station]:
    """The stations of the plan: the first one is chosen, the others stay as long as it does."""
    if plan.station is None or list(holds.stations[:1]) == [plan.station]:
        return list(holds.stations)
    return [plan.station]


def _become(
    step: ScheduledProcedureStep,
    procedure: RequestedProcedure,
    kind: ProcedureType,
    *,
    was: ProcedureType | None,
) -> list[Code]:
    """Make it an exam of this entry; answer its protocol codes. Words of people's own stay."""
    if procedure.comments == (was.preparation if was else ""):
        procedure.comments = kind.preparation
    procedure.description, procedure.code = kind.description, kind.requested_procedure_code
    step.description, step.modality = kind.description, kind.modality
    return protocol_codes(kind)


def _last(step: ScheduledProcedureStep, minutes: int) -> None:
    """Let the step last so long. One that came without an end keeps none while that is so long."""
    if step.end_time is None and minutes == held.minutes_of(step, held.of(step).kind):
        return
    start = dt.datetime.combine(step.start_date, step.start_time)
    end = start + dt.timedelta(minutes=minutes)
    step.end_date, step.end_time = end.date(), end.time()
