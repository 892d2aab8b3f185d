"""What speaks against a booking of this patient: another exam near it, or the same again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _

from worklist.models import Patient
from worklist.scheduling.conflicts.findings import Conflict, Proposal, when
from worklist.scheduling.slots import Booked

# Minutes that a patient needs from one scanner to the next.
TRAVEL = 10
# Within which the same exam is asked about.
REPEATED = dt.timedelta(hours=24)


def elsewhere_or_repeated(
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
        if same and abs(booked.span.start - proposal.start) < REPEATED:
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
            and abs(earlier.start - proposal.start) < REPEATED
            and not proposal.ignoring
        ):
            yield Conflict(
                "repeated",
                "warning",
                _("%(exam)s is booked twice here, %(when)s.")
                % {"exam": kind.description, "when": when(earlier.start)},
            )
