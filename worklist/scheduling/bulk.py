"""The rest of a scanner's day is moved at once: later, to another scanner, or both.

What a person has seen in the preview is what is moved: exactly those steps in those versions.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import transaction

from worklist.audit.trail import Actor
from worklist.models import ScheduledProcedureStep, Station
from worklist.scheduling import conflicts, held, steps, undo
from worklist.scheduling.conflicts import Conflict, ConflictsFound, Proposal
from worklist.scheduling.held import Held
from worklist.scheduling.orders import save_step, station_names
from worklist.scheduling.undo import Former, Token


@dataclass(frozen=True)
class Afternoon:
    """What is moved: the exams of a station from a time of a day on; how far, and where to.

    The step `without`, for which the others make room, stays.
    """

    station: Station
    day: dt.date
    after: dt.time
    minutes: int = 0
    to: Station | None = None
    without: int = 0


class SelectionChanged(Exception):
    """What would be moved is not what the person has seen: it must be looked at again."""


def selected(
    afternoon: Afternoon, *, for_update: bool = False
) -> tuple[ScheduledProcedureStep, ...]:
    """The exams that have not started, in the order of their times."""
    found = ScheduledProcedureStep.objects.filter(
        stations=afternoon.station,
        start_date=afternoon.day,
        start_time__gte=afternoon.after,
        status__in=steps.BEFORE_START,
    ).exclude(pk=afternoon.without)
    if for_update:
        # Locked in the order of their keys, then read in that of their times.
        keys = found.order_by("pk").values_list("pk", flat=True)
        list(
            ScheduledProcedureStep.objects.select_for_update()
            .filter(pk__in=list(keys))
            .order_by("pk")
            .values_list("pk")
        )
    return tuple(
        found.select_related("requested_procedure__request__patient", "requested_procedure__code")
    )


def digest(chosen: Sequence[ScheduledProcedureStep]) -> str:
    """Which steps in which versions these are."""
    seen = " ".join(f"{step.pk}.{step.version}" for step in chosen)
    return hashlib.sha256(seen.encode()).hexdigest()[:32]


def new_start(step: ScheduledProcedureStep, afternoon: Afternoon) -> dt.datetime:
    start = dt.datetime.combine(step.start_date, step.start_time)
    return start + dt.timedelta(minutes=afternoon.minutes)


def find(
    chosen: Sequence[ScheduledProcedureStep], afternoon: Afternoon, *, may_override: bool
) -> tuple[Conflict, ...]:
    """What speaks against the move. What is moved together does not stand in its own way."""
    planned = _proposals(chosen, afternoon, may_override=may_override)
    found = conflicts.find([each for several in planned.values() for each in several])
    return tuple(each for each in found if not each.gives_way)


def carry_out(
    afternoon: Afternoon,
    *,
    seen: str,
    accepted: Collection[str],
    reason: str,
    by: Actor,
    may_override: bool,
) -> tuple[int, Token]:
    """Move what was seen, all or nothing; answer how many, and what takes it back.

    Raises SelectionChanged when `seen` is not the digest any more, and ConflictsFound.
    """
    with transaction.atomic():
        conflicts.hold(
            [afternoon.station, *filter(None, [afternoon.to])],
            [step.requested_procedure.request.patient for step in selected(afternoon)],
        )
        chosen = selected(afternoon, for_update=True)
        if digest(chosen) != seen:
            raise SelectionChanged
        found = find(chosen, afternoon, may_override=may_override)
        if any(
            each.level == "error"
            or each.fingerprint not in accepted
            or (each.needs_reason and not reason.strip())
            for each in found
        ):
            raise ConflictsFound(found)
        planned = _proposals(chosen, afternoon, may_override=may_override)
        holds = held.of_all(chosen)
        changed = []
        for step in chosen:
            former = Former.of(step, holds[step.pk].stations)
            stations = _stations(holds[step.pk], afternoon)
            steps.move(step, new_start(step, afternoon))
            step.station_names = station_names(stations)
            held.accept_risks(step, planned[step.pk])
            changed.append((former, save_step(step, stations=stations, by=by, reason=reason)))
        return len(changed), undo.of("move", changed)


def _stations(holds: Held, afternoon: Afternoon) -> list[Station]:
    """The step's stations, the one that is left replaced."""
    if afternoon.to is None:
        return list(holds.stations)
    moved = [afternoon.to if each == afternoon.station else each for each in holds.stations]
    return list(dict.fromkeys(moved))


def _proposals(
    chosen: Sequence[ScheduledProcedureStep], afternoon: Afternoon, *, may_override: bool
) -> dict[int, list[Proposal]]:
    """What the move asks, by step."""
    together = frozenset(step.pk for step in chosen)
    holds = held.of_all(chosen)
    return {
        step.pk: held.proposals(
            step,
            new_start(step, afternoon),
            held=holds[step.pk],
            stations=_stations(holds[step.pk], afternoon),
            ignoring=together,
            may_override=may_override,
        )
        for step in chosen
    }
