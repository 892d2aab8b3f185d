"""Taking back what was just done: a signed token holds what it was, and the version that it became.

It holds for whom it was made for, the session of a person, and has a key by which it is used once.
Taking back is a write like any other, with an event of its own in the trail.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from worklist.audit.trail import Actor
from worklist.models import Patient, ScheduledProcedureStep, Station, StepStatus
from worklist.scheduling import conflicts, held, steps
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.scheduling.orders import save_step
from worklist.scheduling.versions import locked

# Seconds for which a token holds: longer than the offer stands, since not every page hides it.
LASTS = 10 * 60
TAKEN_BACK = gettext_noop("Taken back")
BY_MISTAKE = gettext_noop("Booked by mistake")

Kind = Literal["move", "cancel", "status", "booking"]
# What puts a step where another may stand by now, and what then speaks against it.
_TAKES_PLACES = ("move", "cancel")
_MEANWHILE = ("overlap", "elsewhere", "inactive")
_KINDS = ("move", "cancel", "status", "booking")


class TooLate(Exception):
    """The token is too old, or none that was made for this person's session."""


@dataclass(frozen=True)
class Former:
    """A step as it was before a change."""

    pk: int
    start: str
    end: tuple[str, str]
    stations: tuple[int, ...]
    station_names: str
    status: str

    @classmethod
    def of(cls, step: ScheduledProcedureStep, stations: Sequence[Station] | None = None) -> Former:
        """The step as it stands; `stations` are its own, where they are known already."""
        return cls(
            step.pk,
            f"{step.start_date.isoformat()}T{step.start_time.isoformat()}",
            (
                step.end_date.isoformat() if step.end_date else "",
                step.end_time.isoformat() if step.end_time else "",
            ),
            tuple(
                station.pk for station in (held.stations_of(step) if stations is None else stations)
            ),
            step.station_names,
            step.status,
        )


@dataclass(frozen=True)
class Token:
    """What is to be taken back: of each step, what it was and the version that the change made.

    `form` is the key of the form that made it, which may be sent again afterwards.
    """

    kind: Kind
    formers: tuple[tuple[Former, int], ...]
    key: uuid.UUID = field(default_factory=uuid.uuid4)
    form: uuid.UUID | None = None


def of(kind: Kind, changed: Sequence[tuple[Former, ScheduledProcedureStep]]) -> Token:
    """What takes back these changes: each step as it was, and as it was saved."""
    return Token(kind, tuple((former, saved.version) for former, saved in changed))


def of_booking(booked: Sequence[ScheduledProcedureStep], *, form: uuid.UUID | None = None) -> Token:
    """What takes back a booking: what was booked by mistake is canceled."""
    return Token("booking", tuple((Former.of(step), step.version) for step in booked), form=form)


def sign(token: Token, *, owner: str) -> str:
    """The token as a text that this owner, and nobody else, can give back."""
    rows = [
        (
            former.pk,
            version,
            former.start,
            former.end,
            former.stations,
            former.station_names,
            former.status,
        )
        for former, version in token.formers
    ]
    made = [token.kind, token.key.hex, token.form.hex if token.form else "", rows]
    return signing.dumps(made, salt=_salt(owner), compress=True)


def read(text: str, *, owner: str) -> Token:
    """What this token takes back. Raises TooLate."""
    try:
        kind, key, form, rows = signing.loads(text, salt=_salt(owner), max_age=LASTS)
    except signing.BadSignature:
        raise TooLate from None
    assert kind in _KINDS
    formers = tuple(_former(row) for row in rows)
    return Token(kind, formers, uuid.UUID(key), uuid.UUID(form) if form else None)


def _salt(owner: str) -> str:
    # Not in what is signed, which anybody can read: the owner is known by a session's key.
    return f"{__name__} {owner}"


def _former(row: Sequence[Any]) -> tuple[Former, int]:
    pk, version, start, end, stations, station_names, status = row
    former = Former(pk, start, (end[0], end[1]), tuple(stations), station_names, status)
    return former, version


def take_back(
    token: Token,
    *,
    by: Actor,
    accepted: Collection[str] = (),
    reason: str = "",
    may_override: bool = False,
) -> tuple[ScheduledProcedureStep, ...]:
    """Make every step again what it was, all of them or none; answer them.

    Raises StaleVersion when somebody has changed one since, and ConflictsFound when a place was
    taken meanwhile: `accepted` are the fingerprints of what the person has seen of that.
    """
    with transaction.atomic():
        at = Station.objects.in_bulk({pk for former, _ in token.formers for pk in former.stations})
        # Stations and patients wait for each other before steps do, as when booking.
        steps = [former.pk for former, _ in token.formers]
        of = Q(requests__procedures__steps__in=steps)
        conflicts.hold(
            at.values() if token.kind in _TAKES_PLACES else [],
            Patient.objects.filter(of).distinct(),
        )
        if token.kind == "booking":
            return tuple(_canceled(former, version, by) for former, version in token.formers)
        in_order = sorted(token.formers, key=lambda each: each[0].pk)
        rows = [locked(ScheduledProcedureStep(pk=f.pk), version=version) for f, version in in_order]
        since = min((row.changed_at for row in rows), default=timezone.now())
        why = reason.strip()
        back = [
            _restored(row, former, at, by, why)
            for row, (former, _) in zip(rows, in_order, strict=True)
        ]
        if token.kind in _TAKES_PLACES:
            found = _taken(back, since, may_override=may_override)
            if any(
                each.level == "error"
                or each.fingerprint not in accepted
                or (each.needs_reason and not why)
                for each in found
            ):
                raise ConflictsFound(found)
        return tuple(back)


def _canceled(former: Former, version: int, by: Actor) -> ScheduledProcedureStep:
    step = ScheduledProcedureStep.objects.get(pk=former.pk)
    return steps.cancel(step, version=version, by=by, reason=BY_MISTAKE)


def _restored(
    step: ScheduledProcedureStep, former: Former, at: dict[int, Station], by: Actor, why: str
) -> ScheduledProcedureStep:
    start = dt.datetime.fromisoformat(former.start)
    step.start_date, step.start_time = start.date(), start.time()
    end_date, end_time = former.end
    step.end_date = dt.date.fromisoformat(end_date) if end_date else None
    step.end_time = dt.time.fromisoformat(end_time) if end_time else None
    step.station_names = former.station_names
    step.status = StepStatus(former.status)
    stations = [at[pk] for pk in former.stations]
    return save_step(step, stations=stations, by=by, reason=why or TAKEN_BACK)


def _taken(
    back: Sequence[ScheduledProcedureStep], since: dt.datetime, *, may_override: bool
) -> tuple[Conflict, ...]:
    """What somebody has done meanwhile with the places that were free for a moment."""
    together = frozenset(step.pk for step in back)
    holds = held.of_all(back)
    planned = [
        proposal
        for step in back
        for proposal in held.proposals(
            step,
            dt.datetime.combine(step.start_date, step.start_time),
            held=holds[step.pk],
            ignoring=together,
            may_override=may_override,
        )
        if not proposal.is_emergency
    ]
    found = [each for each in conflicts.find(planned) if each.code in _MEANWHILE]
    # What stood there before has been asked about before.
    others = ScheduledProcedureStep.objects.filter(
        pk__in=[each.step_id for each in found if each.step_id], changed_at__gte=since
    )
    came = set(others.values_list("pk", flat=True))
    return tuple(each for each in found if each.step_id in came or each.level == "error")
