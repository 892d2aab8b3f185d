"""Searching: what of a day is meant by what people type, and what of other days."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q

from worklist import clock, values
from worklist.board.filters import Filters
from worklist.board.shown import COLUMNS, Exam, exam_of
from worklist.dates import parse_birth_date
from worklist.models import ImagingServiceRequest, Patient, ScheduledProcedureStep

ELSEWHERE_SHOWN = 20
_CANDIDATES = 200


def matches(exam: Exam, text: str, words: Sequence[str], patient: str) -> bool:
    """Each word is part of what the exam is found by, or the date of birth; or all make a date.

    `patient` is what the patient is found by.
    """
    born, today = exam.birth_date, clock.today()
    if born and parse_birth_date(text, today=today) == born:
        return True
    searched = f"{patient} {values.search_words(f'{exam.accession_number} {exam.description}')}"
    return all(
        word in searched or (born and parse_birth_date(word, today=today) == born) for word in words
    )


def elsewhere(filters: Filters, words: Sequence[str]) -> tuple[Exam, ...]:
    """Exams of other days, the latest first: of patients whom all words describe, or by number.

    One more than is shown, when there are more.
    """
    described = Q()
    for word in words:
        born = parse_birth_date(word, today=clock.today())
        described &= Q(search__contains=word) | (Q(birth_date=born) if born else Q(pk__in=()))
    if born := parse_birth_date(filters.q, today=clock.today()):
        described |= Q(birth_date=born)
    patients = list(Patient.objects.filter(described).order_by().values_list("pk")[:_CANDIDATES])
    wanted = Q(patient__in=[pk for (pk,) in patients]) | Q(
        accession_number__in={filters.q, filters.q.upper()}
    )
    steps = (
        ScheduledProcedureStep.objects.filter(
            requested_procedure__request__in=ImagingServiceRequest.objects.filter(wanted)
        )
        .exclude(start_date=filters.day)
        .order_by("-start_date", "start_time", "pk")
    )
    if filters.modality:
        steps = steps.filter(modality=filters.modality)
    return tuple(map(exam_of, steps.values_list(*COLUMNS)[: ELSEWHERE_SHOWN + 1]))
