"""What a booked step holds: its stations, its entry of the catalogue; and what moving it asks."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import Q

from worklist.models import (
    Code,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
    StepProtocolCode,
    StepStation,
)
from worklist.scheduling import slots
from worklist.scheduling.conflicts import Conflict, Proposal, risks

URGENT = "STAT"


@dataclass(frozen=True)
class Held:
    """The stations of a step, the first first, and the entry that it was booked from, if any."""

    stations: tuple[Station, ...]
    kind: ProcedureType | None


def of(step: ScheduledProcedureStep) -> Held:
    return of_all([step])[step.pk]


def of_all(steps: Sequence[ScheduledProcedureStep]) -> dict[int, Held]:
    """What each of these steps holds, by its key: three statements."""
    stations: dict[int, list[Station]] = defaultdict(list)
    rows = StepStation.objects.filter(step__in=steps).order_by("position")
    for row in rows.select_related("station"):
        stations[row.step_id].append(row.station)
    wanted = Q(pk=None)
    for step in steps:
        wanted |= _entries(step)
    kinds = list(
        ProcedureType.objects.filter(wanted).order_by("pk").prefetch_related("allowed_stations")
    )
    return {step.pk: Held(tuple(stations[step.pk]), _kind(step, kinds)) for step in steps}


def _entries(step: ScheduledProcedureStep) -> Q:
    procedure = step.requested_procedure
    if procedure.code_id:
        return Q(modality=step.modality, requested_procedure_code=procedure.code_id)
    return Q(modality=step.modality, description=procedure.description)


def _kind(step: ScheduledProcedureStep, kinds: Sequence[ProcedureType]) -> ProcedureType | None:
    """The entry that this was booked from, as far as can be told: of one code, that of its name."""
    procedure = step.requested_procedure
    same = [
        kind
        for kind in kinds
        if kind.modality == step.modality
        and (
            kind.requested_procedure_code_id == procedure.code_id
            if procedure.code_id
            else kind.description == procedure.description
        )
    ]
    named = [kind for kind in same if kind.description == procedure.description]
    return next(iter(named or same), None)


def stations_of(step: ScheduledProcedureStep) -> list[Station]:
    """The stations of a step, the first first."""
    rows = StepStation.objects.filter(step=step).order_by("position").select_related("station")
    return [row.station for row in rows]


def protocol_codes_of(step: ScheduledProcedureStep) -> list[Code]:
    rows = StepProtocolCode.objects.filter(step=step).order_by("position").select_related("code")
    return [row.code for row in rows]


def minutes_of(step: ScheduledProcedureStep, kind: ProcedureType | None) -> int:
    """How long a step lasts; one that came without an end lasts as the catalogue says."""
    if step.end_time is None:
        return kind.minutes if kind else slots.USUAL_MINUTES
    start = dt.datetime.combine(step.start_date, step.start_time)
    end = dt.datetime.combine(step.end_date or step.start_date, step.end_time)
    return max(1, int((end - start).total_seconds() // 60))


def proposals(
    step: ScheduledProcedureStep,
    start: dt.datetime,
    *,
    held: Held | None = None,
    stations: Sequence[Station] | None = None,
    modality: str = "",
    minutes: int = 0,
    may_override: bool = False,
    ignoring: Collection[int] = (),
) -> list[Proposal]:
    """What a move asks of each station; of the patient, once. `ignoring` are moved with it.

    What is not given is what the step holds. The risks that were accepted when it was booked are
    not asked about again.
    """
    procedure = step.requested_procedure
    held = held or of(step)
    is_at_new_time = start != dt.datetime.combine(step.start_date, step.start_time)
    return [
        Proposal(
            patient=None if number else procedure.request.patient,
            station=station,
            start=start,
            minutes=minutes or minutes_of(step, held.kind),
            modality=modality or step.modality,
            procedure_type=held.kind,
            ignoring=frozenset({step.pk, *ignoring}),
            is_emergency=procedure.priority == URGENT,
            may_override=may_override,
            is_at_new_time=is_at_new_time,
            is_moved=is_at_new_time or station not in held.stations,
            gives_contrast=bool(step.contrast_agent),
            accepted_risks=frozenset(step.accepted_risks.split()),
        )
        for number, station in enumerate(held.stations if stations is None else stations)
    ]


def accept_risks(step: ScheduledProcedureStep, proposals: Sequence[Proposal]) -> None:
    """Note with the step, which is not saved here, that its risks were accepted as they are."""
    found: list[Conflict] = []
    for proposal in proposals:
        if not proposal.is_emergency:
            found += risks(proposal)
    step.accepted_risks = " ".join(sorted({risk.fingerprint for risk in found}))
