"""One visit of one patient is booked: one procedure or several, each a step of its own."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.base import ModelState
from django.utils.translation import gettext as _

from worklist import identifiers, legible
from worklist.audit.trail import Actor
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepStatus,
)
from worklist.models.catalogue import character_sets
from worklist.scheduling import conflicts, held
from worklist.scheduling.conflicts import Conflict, Proposal
from worklist.scheduling.orders import PlannedStep, place_order, save_patient, save_request
from worklist.scheduling.patients import resolve
from worklist.scheduling.versions import locked

EMERGENCY = "STAT"
_CHARACTERS = 4


@dataclass(frozen=True)
class PlannedExam:
    """One entry of the catalogue, where and when (wall-clock time of the site) it is to be."""

    procedure_type: ProcedureType
    station: Station
    start: dt.datetime
    minutes: int


@dataclass(frozen=True)
class Booking:
    """What was booked, and what speaks against it and gave way to an emergency."""

    steps: tuple[ScheduledProcedureStep, ...]
    gave_way: tuple[Conflict, ...]


@dataclass(frozen=True)
class Visit:
    """What is booked together. The request, and its patient, may be new or known.

    With `one_request` all exams stand under one accession number, else each has its own. With
    `amends_patient` the answer about a pregnancy, in the row in hand, is saved with the patient. A
    known request is amended by what the row in hand says, from this version of it.
    """

    request: ImagingServiceRequest
    exams: tuple[PlannedExam, ...]
    priority: str = "ROUTINE"
    reason: str = ""
    contrast_agent: str = ""
    comments: str = ""
    one_request: bool = True
    amends_patient: bool = False
    order_version: int | None = None
    has_arrived: bool = False

    @property
    def patient(self) -> Patient:
        return self.request.patient

    @property
    def is_emergency(self) -> bool:
        return self.priority == EMERGENCY

    def gives_contrast(self, exam: PlannedExam) -> bool:
        """Whether a contrast agent is meant for this exam: where several are booked, for those of
        which the catalogue says so, if it says so of any."""
        using = [each for each in self.exams if each.procedure_type.uses_contrast]
        return exam in using or not using


def book(
    visit: Visit,
    *,
    by: Actor,
    accepted: frozenset[str] = frozenset(),
    reason: str = "",
    may_override: bool = False,
) -> Booking:
    """Book all of it or nothing. A new patient without an ID gets one of ours.

    Raises ConflictsFound until each conflict is accepted (see conflicts.decide), ValidationError
    when a row cannot be what it is told to be, StaleVersion when the order to be amended changed.
    """
    with transaction.atomic():
        _take_as_it_stands(visit)
        settled = conflicts.decide(
            proposals(visit, may_override=may_override),
            accepted=accepted,
            reason=reason,
            beside=list(illegible(visit)),
        )
        patient = visit.patient
        if patient._state.adding and not patient.patient_id:
            patient.patient_id = identifiers.patient_id(
                patient.issuer, is_unknown=patient.is_unknown
            )
        if patient._state.adding or visit.amends_patient:
            save_patient(patient, by=by)
        if not visit.request._state.adding:
            save_request(visit.request, by=by)
        steps: list[ScheduledProcedureStep] = []
        asked = proposals(visit, may_override=may_override)
        for exam, request, proposal in zip(visit.exams, _requests(visit), asked, strict=True):
            planned = _step(visit, exam)
            held.accept_risks(planned.step, [proposal])
            steps += place_order(
                request,
                _procedure(visit, exam),
                steps=[planned],
                by=by,
                reason=settled.reason,
            )
        return Booking(tuple(steps), settled.gave_way)


def _take_as_it_stands(visit: Visit) -> None:
    """Make the visit's rows ours until the transaction ends, as others have left them.

    Of the patient in hand the answer about a pregnancy counts, and nothing else.
    """
    conflicts.hold([exam.station for exam in visit.exams], [visit.patient])
    patient, request = visit.patient, visit.request
    if not patient._state.adding:
        answer = patient.pregnancy_status
        patient = Patient.objects.get(pk=resolve(patient, for_booking=True).pk)
        if visit.amends_patient:
            patient.pregnancy_status = answer
    if not request._state.adding:
        now = locked(request, version=visit.order_version)
        if now.patient_id != patient.pk:
            raise ValidationError(_("This order is another patient's by now."))
    request.patient = patient


def objections(visit: Visit, *, may_override: bool) -> tuple[Conflict, ...]:
    """What speaks against this visit, as `book` will see it."""
    found = conflicts.find(proposals(visit, may_override=may_override))
    return (*found, *illegible(visit))


def proposals(visit: Visit, *, may_override: bool) -> list[Proposal]:
    return [
        Proposal(
            patient=visit.patient,
            station=exam.station,
            start=exam.start,
            minutes=exam.minutes,
            modality=exam.procedure_type.modality,
            procedure_type=exam.procedure_type,
            is_emergency=visit.is_emergency,
            may_override=may_override,
            gives_contrast=visit.gives_contrast(exam) and bool(visit.contrast_agent),
        )
        for exam in visit.exams
    ]


def _procedure(visit: Visit, exam: PlannedExam) -> RequestedProcedure:
    kind = exam.procedure_type
    return RequestedProcedure(
        description=kind.description,
        code=kind.requested_procedure_code,
        priority=visit.priority,
        reason=visit.reason,
        comments=kind.preparation,
    )


def _step(visit: Visit, exam: PlannedExam) -> PlannedStep:
    kind = exam.procedure_type
    end = exam.start + dt.timedelta(minutes=exam.minutes)
    step = ScheduledProcedureStep(
        start_date=exam.start.date(),
        start_time=exam.start.time(),
        end_date=end.date(),
        end_time=end.time(),
        modality=kind.modality,
        description=kind.description,
        location=exam.station.location,
        contrast_agent=visit.contrast_agent if visit.gives_contrast(exam) else "",
        comments=visit.comments if visit.gives_contrast(exam) else "",
        status=StepStatus.ARRIVED if visit.has_arrived else StepStatus.SCHEDULED,
    )
    codes = kind.protocol_codes.order_by("proceduretypecode__position")
    return PlannedStep(step, (exam.station,), tuple(codes))


def _requests(visit: Visit) -> list[ImagingServiceRequest]:
    """The request of each exam: the same, or one each that says the same."""
    requests = [visit.request]
    for _exam in visit.exams[1:]:
        request = visit.request
        if not visit.one_request:
            # Django's own way to copy a row: its state says that it is new.
            request = copy.copy(visit.request)
            request._state = ModelState()
            request.pk, request.accession_number = None, ""
        requests.append(request)
    for request in requests:
        # All of them before the first procedure's number: whoever books at the same time takes the
        # counters in this order, too, and nobody waits in a circle.
        if request._state.adding:
            identifiers.complete(request)
    return requests


# --- what a scanner can show ----------------------------------------------------------------------


def texts(visit: Visit) -> Iterator[tuple[str, str]]:
    """What the clerk wrote or chose that scanners receive, with its VR."""
    yield visit.patient.name, "PN"
    yield visit.request.referring_physician, "PN"
    yield visit.reason, "LO"
    yield visit.contrast_agent, "LO"
    yield visit.comments, "LT"
    yield visit.request.comments, "LT"
    for exam in visit.exams:
        yield exam.procedure_type.description, "LO"


def illegible(visit: Visit) -> Iterator[Conflict]:
    """Words that a scanner's character set lacks: they are sent in Unicode (ruling 8)."""
    stations = {exam.station.pk: exam.station for exam in visit.exams}
    for station in stations.values():
        terms = legible.terms_of(station.character_set)
        words: dict[str, tuple[str, ...]] = {}
        for text, vr in texts(visit):
            for word in text.replace("^", " ").replace("=", " ").split():
                if lacking := legible.missing(word, terms, vr=vr):
                    words[word] = lacking
        if words:
            said = _cannot_show(station, words)
            yield Conflict("text", "warning", said, gives_way=visit.is_emergency)


def _cannot_show(station: Station, words: dict[str, tuple[str, ...]]) -> str:
    characters = list(dict.fromkeys(c for lacking in words.values() for c in lacking))
    return _(
        "%(scanner)s is set to %(set)s and cannot show %(characters)s in %(words)s. Its list will "
        "be sent in Unicode, which it may show wrongly."
    ) % {
        "scanner": station.friendly_name,
        "set": dict(character_sets()).get(station.character_set, station.character_set),
        "characters": _some(characters),
        "words": _some(list(words)),
    }


def _some(what: Sequence[str]) -> str:
    shown = ", ".join(f"“{each}”" for each in what[:_CHARACTERS])
    return f"{shown} …" if len(what) > _CHARACTERS else shown


def spelt_for(visit: Visit, text: str, *, vr: str) -> str:
    """The text as every scanner of the visit can show it; "" when there is nothing to change."""
    made = text
    for exam in visit.exams:
        terms = legible.terms_of(exam.station.character_set)
        made = legible.spelt(made, terms, vr=vr)
    return "" if made == text else made
