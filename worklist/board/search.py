"""Searching: what of a day is meant by what people type, and what of other days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from worklist import clock
from worklist.board.filters import Filters
from worklist.board.shown import COLUMNS, Exam, exam_of
from worklist.dates import split_birth_date
from worklist.lookup import has_words, with_spelt, words_of
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
)

ELSEWHERE_SHOWN = 20
# What is shorter is found everywhere: it takes a longer word beside it.
_SHORTEST = 2


@dataclass(frozen=True)
class Reading:
    """A way to read what was typed: words, each in its spellings, and a date of birth, if any."""

    words: tuple[tuple[str, ...], ...]
    born: dt.date | None = None


def readings(text: str) -> tuple[Reading, ...]:
    """The ways in which a text can be meant: all as words, or one part as a date of birth."""
    words = Reading(words_of(text))
    if not words.words:
        return ()
    rest, born = split_birth_date(text, today=clock.today())
    if born is None:
        return (words,)
    return words, Reading(words_of(rest), born)


def matches(exam: Exam, wanted: Sequence[Reading], searched: str) -> bool:
    """Whether, in one of these readings, each word is part of what the exam is searched by."""
    return any(
        reading.born in (None, exam.birth_date) and has_words(searched, reading.words)
        for reading in wanted
    )


def elsewhere(filters: Filters, wanted: Sequence[Reading]) -> tuple[Exam, ...]:
    """Exams of other days in which each word begins one, the latest day first.

    One more than is shown, when there are more. One statement.
    """
    steps = ScheduledProcedureStep.objects.order_by()
    found = [
        _read(steps, reading)
        for reading in wanted
        if reading.born or max(len(word) for word, *_ in reading.words) >= _SHORTEST
    ]
    if not found:
        return ()
    rows = steps.filter(pk__in=found[0].union(*found[1:])).exclude(start_date=filters.day)
    if filters.modality:
        rows = rows.filter(modality=filters.modality)
    rows = rows.order_by("-start_date", "start_time", "pk")
    return tuple(map(exam_of, rows.values_list(*COLUMNS)[: ELSEWHERE_SHOWN + 1]))


def _read(
    steps: QuerySet[ScheduledProcedureStep], reading: Reading
) -> QuerySet[ScheduledProcedureStep, int]:
    if reading.born:
        steps = steps.filter(requested_procedure__request__patient__birth_date=reading.born)
    for spellings in reading.words:
        steps = steps.filter(pk__in=_with_word(spellings))
    return steps.values_list("pk", flat=True)


def _with_word(spellings: tuple[str, ...]) -> QuerySet[ScheduledProcedureStep, int]:
    """The steps that have this word anywhere, in one of its spellings.

    A union, not a condition with OR: so that each place is asked through its own index.
    """
    steps = ScheduledProcedureStep.objects.order_by()
    # LIKE tells capital from small letters on both databases.
    is_meant = Q()
    for word in spellings:
        is_meant |= Q(folded__startswith=word)
    codes = Code.objects.order_by().alias(folded=Lower("value")).filter(is_meant)
    words = (spellings,)
    procedure = "requested_procedure"
    places = {
        f"{procedure}__request__patient__in": with_spelt(Patient.objects.order_by(), words),
        f"{procedure}__request__in": with_spelt(ImagingServiceRequest.objects.order_by(), words),
        f"{procedure}__in": with_spelt(RequestedProcedure.objects.order_by(), words),
        f"{procedure}__code__in": codes,
    }
    elsewhere = [steps.filter(**{place: rows}) for place, rows in places.items()]
    return (
        with_spelt(steps, words)
        .values_list("pk", flat=True)
        .union(*(rows.values_list("pk", flat=True) for rows in elsewhere))
    )
