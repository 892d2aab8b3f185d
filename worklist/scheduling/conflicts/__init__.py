"""What speaks against a booking, in a clerk's words, and whether it may stand all the same.

`find` tells; `settle` decides, in the transaction that saves. Nothing is written here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from django.db.models import prefetch_related_objects

from worklist.models import Patient, Station
from worklist.scheduling import slots
from worklist.scheduling.conflicts.findings import Conflict, Proposal, when
from worklist.scheduling.conflicts.patient import REPEATED, elsewhere_or_repeated
from worklist.scheduling.conflicts.risks import risks
from worklist.scheduling.conflicts.scanner import fits, overlaps
from worklist.scheduling.conflicts.times import hours, past
from worklist.scheduling.slots import Booked, StationDay

__all__ = [
    "Conflict",
    "ConflictsFound",
    "Proposal",
    "Settled",
    "decide",
    "find",
    "hold",
    "risks",
    "settle",
    "when",
]


class ConflictsFound(Exception):
    """The booking does not stand until a person has decided."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__(", ".join(conflict.code for conflict in conflicts))
        self.conflicts = conflicts


def hold(stations: Iterable[Station], patients: Iterable[Patient]) -> None:
    """Make bookings on these stations, and for these patients, wait for this transaction's end.

    In the order of their keys, so that two bookings of several never wait for each other.
    """
    for rows, model in ((stations, Station), (patients, Patient)):
        keys = {row.pk for row in rows} - {None}
        if keys:
            locked = model._default_manager.select_for_update(no_key=True).filter(pk__in=keys)
            list(locked.order_by("pk").values_list("pk"))


@dataclass(frozen=True)
class Settled:
    """That a booking stands: the reason to sign with, and what gave way to an emergency."""

    reason: str
    gave_way: tuple[Conflict, ...]


def settle(proposals: Sequence[Proposal], *, accepted: frozenset[str], reason: str) -> str:
    """Decide as `decide` does; answer the reason to sign with."""
    return decide(proposals, accepted=accepted, reason=reason).reason


def decide(
    proposals: Sequence[Proposal],
    *,
    accepted: frozenset[str],
    reason: str,
    beside: Sequence[Conflict] = (),
) -> Settled:
    """Decide, inside the transaction that saves.

    `accepted` are the fingerprints of the conflicts that the person has seen and accepted, `beside`
    conflicts that are known already, of which `find` knows nothing. Raises
    ConflictsFound, with all that asks, when one is an error, was not accepted, or lacks a reason.
    Warnings give way to an emergency: they are signed as others are that were accepted.
    """
    hold(
        [proposal.station for proposal in proposals],
        [proposal.patient for proposal in proposals if proposal.patient],
    )
    found = (*find(proposals), *beside)
    asking = tuple(conflict for conflict in found if not conflict.gives_way)
    reason = reason.strip()
    if any(
        conflict.level == "error"
        or conflict.fingerprint not in accepted
        or (conflict.needs_reason and not reason)
        for conflict in asking
    ):
        raise ConflictsFound(asking)
    codes = ", ".join(sorted({conflict.code for conflict in found}))
    gave_way = tuple(conflict for conflict in found if conflict.gives_way)
    return Settled(reason or codes, gave_way)


def find(proposals: Sequence[Proposal]) -> tuple[Conflict, ...]:
    """What speaks against these bookings, made together: errors first. Eight statements at most."""
    if not proposals:
        return ()
    kinds = [proposal.procedure_type for proposal in proposals if proposal.procedure_type]
    prefetch_related_objects(kinds, "allowed_stations")
    stations = list({proposal.station.pk: proposal.station for proposal in proposals}.values())
    patients = {p.patient.pk for p in proposals if p.patient and p.patient.pk}
    first = min(proposal.start for proposal in proposals)
    last = max(proposal.span.end for proposal in proposals)
    days = slots.days(stations, first.date(), last.date())
    theirs = []
    if patients:
        theirs = slots.booked_for(patients, (first - REPEATED).date(), (last + REPEATED).date())
    in_use = cache(lambda: list(Station.objects.filter(is_active=True)))
    found: list[Conflict] = []
    for number, proposal in enumerate(proposals):
        before = proposals[:number]
        mine = [
            *fits(proposal, in_use),
            *overlaps(proposal, _booked_on(proposal, days), before),
            *elsewhere_or_repeated(proposal, theirs, before),
            *hours(proposal, days),
            *past(proposal),
            *(risk for risk in risks(proposal) if risk.fingerprint not in proposal.accepted_risks),
        ]
        found += _to_an_emergency(mine) if proposal.is_emergency else mine
    once = {conflict.fingerprint: conflict for conflict in found}
    return tuple(sorted(once.values(), key=lambda conflict: conflict.level != "error"))


def _to_an_emergency(found: Iterable[Conflict]) -> Iterator[Conflict]:
    """Warnings give way, errors stay: no scanner does what it does not do."""
    for conflict in found:
        gives_way = conflict.level == "warning"
        yield replace(conflict, gives_way=True, needs_reason=False) if gives_way else conflict


def _booked_on(
    proposal: Proposal, days: dict[tuple[int, dt.date], StationDay]
) -> dict[int, Booked]:
    """What else stands on the station during the proposal's days, by step."""
    return {
        booked.step_id: booked
        for (station, _day), each in days.items()
        if station == proposal.station.pk
        for booked in each.booked
        if booked.step_id not in proposal.ignoring
    }
