"""What speaks against a booking, in a clerk's words, and whether it may stand all the same.

`find` tells; `settle` decides, in the transaction that saves. Nothing is written here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from django.db.models import prefetch_related_objects
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from worklist import clock, names, values
from worklist.modalities import IONISING, modality_name
from worklist.models import Patient, ProcedureType, Station
from worklist.scheduling import slots
from worklist.scheduling.slots import Booked, Span, StationDay

# Minutes that a patient needs from one scanner to the next.
TRAVEL = 10
# Minutes after which a start has passed.
_GRACE = 15
_REPEATED = dt.timedelta(hours=24)
# PS3.3 C.2.4: possibly and definitely pregnant.
_PREGNANT = (2, 3)

Code = Literal[
    "overlap",
    "elsewhere",
    "repeated",
    "closed",
    "modality",
    "inactive",
    "past",
    "pregnancy",
    "allergy",
]
Level = Literal["warning", "error"]


@dataclass(frozen=True)
class Conflict:
    """One thing that speaks against a booking. `step_id` is the pk of the other step, if any."""

    code: Code
    level: Level
    message: str
    step_id: int | None = None
    needs_reason: bool = False

    @property
    def fingerprint(self) -> str:
        """What a person accepts who has seen it: another time, or another patient, asks again."""
        seen = f"{self.code} {self.step_id} {self.message}"
        return f"{self.code}-{hashlib.sha256(seen.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Proposal:
    """A step that is to be booked or moved; `start` is wall-clock time, `ignoring` are moved, too.

    A patient who is not registered yet has no row to be looked up.
    """

    patient: Patient | None
    station: Station
    start: dt.datetime
    minutes: int
    modality: str
    procedure_type: ProcedureType | None = None
    ignoring: frozenset[int] = frozenset()
    is_emergency: bool = False
    may_override: bool = False

    @property
    def span(self) -> Span:
        return slots.span(self.start, self.minutes)


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


def settle(proposals: Sequence[Proposal], *, accepted: frozenset[str], reason: str) -> str:
    """Decide, inside the transaction that saves; answer the reason to sign with.

    `accepted` are the fingerprints of the conflicts that the person has seen and accepted. Raises
    ConflictsFound, with all there are, when one is an error, was not accepted, or lacks a reason.
    Nothing blocks an emergency.
    """
    hold(
        [proposal.station for proposal in proposals],
        [proposal.patient for proposal in proposals if proposal.patient],
    )
    found = find([proposal for proposal in proposals if not proposal.is_emergency])
    reason = reason.strip()
    if any(
        conflict.level == "error"
        or conflict.fingerprint not in accepted
        or (conflict.needs_reason and not reason)
        for conflict in found
    ):
        raise ConflictsFound(found)
    return reason or ", ".join(sorted({conflict.code for conflict in found}))


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
        theirs = slots.booked_for(patients, (first - _REPEATED).date(), (last + _REPEATED).date())
    found: list[Conflict] = []
    for number, proposal in enumerate(proposals):
        booked = _booked_on(proposal, days)
        before = proposals[:number]
        found += _station(proposal)
        found += _overlaps(proposal, booked, before)
        found += _patient(proposal, theirs, before)
        found += _hours(proposal, days)
        found += _past(proposal)
        found += _risks(proposal)
    once = {conflict.fingerprint: conflict for conflict in found}
    return tuple(sorted(once.values(), key=lambda conflict: conflict.level != "error"))


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


# --- the scanner ----------------------------------------------------------------------------------


def _station(proposal: Proposal) -> Iterator[Conflict]:
    station, modality, kind = proposal.station, proposal.modality, proposal.procedure_type
    if not station.is_active:
        yield Conflict(
            "inactive",
            "error",
            _("%(scanner)s is not in use. %(choose)s")
            % {"scanner": station.friendly_name, "choose": _choose(proposal)},
        )
    if station.modality and station.modality != modality:
        yield Conflict(
            "modality",
            "error",
            _("%(scanner)s does %(modality)s only. %(choose)s")
            % {
                "scanner": station.friendly_name,
                "modality": modality_name(station.modality),
                "choose": _choose(proposal),
            },
        )
    elif kind is not None:
        allowed = {each.pk for each in kind.allowed_stations.all()}
        if allowed and station.pk not in allowed:
            yield Conflict(
                "modality",
                "error",
                _("%(exam)s is not done on %(scanner)s. %(choose)s")
                % {
                    "exam": kind.description,
                    "scanner": station.friendly_name,
                    "choose": _choose(proposal),
                },
            )


def _choose(proposal: Proposal) -> str:
    fitting = [each.friendly_name for each in stations_for(proposal)]
    if not fitting:
        return _("No scanner for it is set up: ask your administrator.")
    *others, last = fitting
    if not others:
        return _("Choose %(scanner)s.") % {"scanner": last}
    return _("Choose %(scanners)s or %(last)s.") % {"scanners": ", ".join(others), "last": last}


def stations_for(proposal: Proposal) -> list[Station]:
    """The stations in use on which this could be done."""
    allowed = (
        list(proposal.procedure_type.allowed_stations.all()) if proposal.procedure_type else []
    )
    if allowed:
        return [station for station in allowed if station.is_active]
    return list(Station.objects.filter(is_active=True, modality=proposal.modality))


def _overlaps(
    proposal: Proposal, booked: dict[int, Booked], before: Sequence[Proposal]
) -> Iterator[Conflict]:
    said = _("%(time)s overlaps %(patient)s %(their_time)s on %(scanner)s.")
    scanner = proposal.station.friendly_name
    for other in booked.values():
        if other.span.overlaps(proposal.span):
            yield Conflict(
                "overlap",
                "warning",
                said
                % {
                    "time": proposal.span,
                    "patient": names.text(other.patient_name),
                    "their_time": other.span,
                    "scanner": scanner,
                },
                step_id=other.step_id,
                needs_reason=True,
            )
    for earlier in before:
        if earlier.station.pk == proposal.station.pk and earlier.span.overlaps(proposal.span):
            who = names.text(earlier.patient.name) if earlier.patient else ""
            yield Conflict(
                "overlap",
                "warning",
                said
                % {
                    "time": proposal.span,
                    "patient": who,
                    "their_time": earlier.span,
                    "scanner": scanner,
                },
                needs_reason=True,
            )


# --- the patient ----------------------------------------------------------------------------------


def _patient(
    proposal: Proposal, theirs: Sequence[Booked], before: Sequence[Proposal]
) -> Iterator[Conflict]:
    patient = proposal.patient
    if patient is None:
        return
    near = proposal.span.widened(TRAVEL)
    others = [
        booked
        for booked in theirs
        if booked.patient_id == patient.pk and booked.step_id not in proposal.ignoring
    ]
    here = {booked.step_id for booked in others if booked.station_id == proposal.station.pk}
    said = _("This patient is on %(scanner)s at %(time)s.")
    for booked in others:
        if booked.station_id and booked.step_id not in here and booked.span.overlaps(near):
            told = {"scanner": booked.station_name, "time": f"{booked.span.start:%H:%M}"}
            yield Conflict("elsewhere", "warning", said % told, step_id=booked.step_id)
    for earlier in _of_patient(before, patient):
        if earlier.station.pk != proposal.station.pk and earlier.span.overlaps(near):
            told = {"scanner": earlier.station.friendly_name, "time": f"{earlier.start:%H:%M}"}
            yield Conflict("elsewhere", "warning", said % told)
    yield from _repeated(proposal, others, _of_patient(before, patient))


def _of_patient(proposals: Sequence[Proposal], patient: Patient) -> list[Proposal]:
    """A patient that is new has no key: the row in hand is the same."""
    return [each for each in proposals if each.patient is patient or each.patient == patient]


def _repeated(
    proposal: Proposal, others: Sequence[Booked], before: Sequence[Proposal]
) -> Iterator[Conflict]:
    kind = proposal.procedure_type
    if kind is None:
        return
    for booked in {booked.step_id: booked for booked in others}.values():
        same = (
            booked.code_id == kind.requested_procedure_code_id
            if booked.code_id and kind.requested_procedure_code_id
            else booked.description == kind.description
        )
        if same and abs(booked.span.start - proposal.start) < _REPEATED:
            yield Conflict(
                "repeated",
                "warning",
                _("%(exam)s for this patient is already booked %(when)s (%(accession)s).")
                % {
                    "exam": kind.description,
                    "when": when(booked.span.start),
                    "accession": booked.accession_number or "–",
                },
                step_id=booked.step_id,
            )
    for earlier in before:
        if (
            earlier.procedure_type == kind
            and abs(earlier.start - proposal.start) < _REPEATED
            and not proposal.ignoring
        ):
            yield Conflict(
                "repeated",
                "warning",
                _("%(exam)s is booked twice here, %(when)s.")
                % {"exam": kind.description, "when": when(earlier.start)},
            )


def when(moment: dt.datetime) -> str:
    """today 14:00, else the date with the time."""
    told = {"time": f"{moment:%H:%M}", "date": date_format(moment.date())}
    if moment.date() == clock.today():
        return _("today %(time)s") % told
    return _("on %(date)s, %(time)s") % told


def _risks(proposal: Proposal) -> Iterator[Conflict]:
    patient, kind = proposal.patient, proposal.procedure_type
    if patient is None:
        return
    exam = kind.description if kind else modality_name(proposal.modality)
    who = names.text(patient.name)
    if patient.pregnancy_status in _PREGNANT and proposal.modality in IONISING:
        yield Conflict(
            "pregnancy",
            "warning",
            _("%(patient)s may be pregnant, and %(exam)s uses radiation. Ask the radiologist.")
            % {"patient": who, "exam": exam},
        )
    if kind is not None and kind.uses_contrast and patient.allergies:
        yield Conflict(
            "allergy",
            "warning",
            _(
                "%(exam)s uses a contrast agent, and %(patient)s has an allergy noted: "
                "%(allergies)s. Ask the radiologist."
            )
            % {
                "exam": exam,
                "patient": who,
                "allergies": ", ".join(values.split(patient.allergies)),
            },
        )


# --- the time -------------------------------------------------------------------------------------


def _hours(proposal: Proposal, days: dict[tuple[int, dt.date], StationDay]) -> Iterator[Conflict]:
    span = proposal.span
    day = days[proposal.station.pk, span.start.date()]
    over = days.get((proposal.station.pk, span.end.date()), day)
    open_spans = _joined([*day.open, *(over.open if over is not day else ())])
    if any(stretch.covers(span) for stretch in open_spans):
        return
    shut = over if day.open and over.closed else day
    level: Level = "warning" if proposal.may_override else "error"
    yield Conflict("closed", level, _closed(proposal.station, shut))


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Stretches of which one begins as the other ends, at midnight say, are one."""
    joined = list(spans[:1])
    for _before, span in pairwise(spans):
        if joined[-1].end == span.start:
            joined[-1] = replace(joined[-1], end=span.end)
        else:
            joined.append(span)
    return joined


def _closed(station: Station, day: StationDay) -> str:
    told = {
        "scanner": station.friendly_name,
        "day": date_format(day.day),
        "days": _weekdays()[day.day.weekday()],
        "hours": ", ".join(str(span) for span in day.open),
    }
    if day.closed and day.closed.reason:
        told["reason"] = day.closed.reason
        return _("%(scanner)s is closed on %(day)s: %(reason)s.") % told
    if day.closed:
        return _("%(scanner)s is closed on %(day)s.") % told
    if not day.open:
        # Translators: %(days)s is the name of a weekday, as in "Sundays".
        return _("%(scanner)s is closed on %(days)s.") % told
    return _("%(scanner)s is open %(hours)s on %(days)s.") % told


def _weekdays() -> tuple[str, ...]:
    return (
        pgettext("closed on …", "Mondays"),
        pgettext("closed on …", "Tuesdays"),
        pgettext("closed on …", "Wednesdays"),
        pgettext("closed on …", "Thursdays"),
        pgettext("closed on …", "Fridays"),
        pgettext("closed on …", "Saturdays"),
        pgettext("closed on …", "Sundays"),
    )


def _past(proposal: Proposal) -> Iterator[Conflict]:
    if proposal.start < clock.now() - dt.timedelta(minutes=_GRACE):
        told = {"time": f"{proposal.start:%H:%M}", "date": date_format(proposal.start.date())}
        is_today = proposal.start.date() == clock.today()
        said = _("%(time)s has passed.") if is_today else _("%(date)s, %(time)s has passed.")
        yield Conflict("past", "warning", said % told)
