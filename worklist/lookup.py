"""Finding patients and catalogue entries by what people type: any words, an ID, a date of birth.

Reads alone. Words match from their start, without accents and case, in any script.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import CharField, F, Func, Q, QuerySet, Value
from django.db.models.functions import Concat

from worklist import clock, values
from worklist.dates import split_birth_date
from worklist.models import (
    OrderSet,
    Patient,
    ProcedureType,
    ScheduledProcedureStep,
    StepStatus,
)

RESULTS = 8
_SHORTEST = 2
# What is longer is no search: it is cut, and so many of its words count.
_LONGEST = 64
_WORDS = 8


@dataclass(frozen=True)
class Visit:
    """An exam that a patient had or will have."""

    start: dt.datetime
    scanner: str


@dataclass(frozen=True)
class FoundPatient:
    """A patient, the last exam before now and the next one, if any."""

    patient: Patient
    last: Visit | None = None
    next: Visit | None = None

    @property
    def other_issuer(self) -> str:
        """Who gave the ID, when it was not this site."""
        issuer = self.patient.issuer
        return "" if issuer == settings.ISSUER_OF_PATIENT_ID else issuer


def find_patients(text: str, *, limit: int = RESULTS) -> tuple[FoundPatient, ...]:
    """The patients that are meant: the one with this ID first, then by birth date, then by name.

    Less than two characters find nobody. Merged patients are left out. Five statements at most.
    """
    text = text.strip()[:_LONGEST]
    if not is_search(text):
        return ()
    found: dict[int, Patient] = {}
    for patients in _queries(text):
        if len(found) < limit:
            found |= {each.pk: each for each in patients[:limit]}
    return with_visits(list(found.values())[:limit])


def is_search(text: str) -> bool:
    """Whether the text is long enough to be looked for."""
    return len(text.strip()) >= _SHORTEST


def _queries(text: str) -> Iterable[QuerySet[Patient]]:
    everyone = Patient.objects.filter(merged_into=None)
    yield everyone.filter(patient_id__in={text, text.upper()})
    rest, born = split_birth_date(text, today=clock.today())
    if born is not None:
        yield with_words(everyone.filter(birth_date=born), rest)
    yield _by_name(with_words(everyone, text), text)


def _by_name(patients: QuerySet[Patient], text: str) -> QuerySet[Patient]:
    """In the order of their names, which PostgreSQL is kept from reading off the index of names.

    It would walk that index for the first eight, past hundreds of thousands when they stand late;
    the words' own index has them at once. Two letters alone are everywhere: there it is right.
    """
    if len(text.strip()) <= _SHORTEST:
        return patients
    return patients.order_by(Concat("name_folded", Value("")), "pk")


class _Spaced(Func):
    """The words with a space before the first: PostgreSQL has an index of that (0010, 0014)."""

    template = "(' ' || %(expressions)s)"
    output_field = CharField()


def with_words(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Those with words to be searched by of which each of these words begins one."""
    return with_spelt(rows, words_of(text))


def with_spelt(rows: QuerySet[Any], words: Iterable[Sequence[str]]) -> QuerySet[Any]:
    """The same of words that words_of has read."""
    found = rows.alias(words=_Spaced(F("search")))
    for spellings in words:
        is_meant = Q()
        for word in spellings:
            is_meant |= Q(words__contains=f" {word}")
        found = found.filter(is_meant)
    return found


def words_of(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of a search, each in its spellings; of a long text the first ones."""
    return values.search_spellings(text[:_LONGEST])[:_WORDS]


def has_words(searched: str, words: Iterable[Sequence[str]]) -> bool:
    """Whether each of these words, in one of its spellings, is part of what is searched by."""
    return all(any(word in searched for word in spellings) for spellings in words)


def with_visits(patients: Iterable[Patient]) -> tuple[FoundPatient, ...]:
    """Each with the last exam and the next, in one statement."""
    patients = list(patients)
    now = clock.now()
    last: dict[int, Visit] = {}
    following: dict[int, Visit] = {}
    rows = (
        ScheduledProcedureStep.objects.filter(
            requested_procedure__request__patient__in=[patient.pk for patient in patients]
        )
        .exclude(status=StepStatus.CANCELED)
        .order_by("start_date", "start_time", "pk")
        .values_list(
            "requested_procedure__request__patient_id",
            "start_date",
            "start_time",
            "stations__name",
            "stations__ae_title",
        )
    )
    for pk, day, time, name, ae_title in rows if patients else ():
        visit = Visit(dt.datetime.combine(day, time), name or ae_title or "")
        if visit.start <= now:
            last[pk] = visit
        else:
            following.setdefault(pk, visit)
    return tuple(
        FoundPatient(patient, last.get(patient.pk), following.get(patient.pk))
        for patient in patients
    )


@dataclass(frozen=True)
class Choice:
    """What a clerk can choose in the catalogue: a procedure, or an order set of several."""

    key: str
    label: str
    code: str
    modality: str
    minutes: int


def find_procedures(text: str, *, limit: int = RESULTS) -> tuple[Choice, ...]:
    """The entries of the catalogue of which each of these words begins a word; "" finds all.

    Who types a code means that entry: it comes first.
    """
    words = words_of(text)
    code = text.strip().casefold()
    found = []
    for choice in _catalogue():
        searched = f" {values.searched_by(f'{choice.code} {choice.label}')}"
        if all(any(f" {word}" in searched for word in spellings) for spellings in words):
            found.append(choice)
    return tuple(sorted(found, key=lambda choice: choice.code.casefold() != code)[:limit])


def _catalogue() -> list[Choice]:
    """Every entry in use. A catalogue has hundreds of entries: it is searched here."""
    types = ProcedureType.objects.filter(is_active=True).values_list(
        "pk", "description", "code", "modality", "minutes"
    )
    choices = [Choice(f"p{row[0]}", *row[1:]) for row in types]
    sets: dict[int, list[tuple[str, int]]] = {}
    names = {}
    items = OrderSet.objects.filter(is_active=True, procedure_types__is_active=True).values_list(
        "pk", "name", "code", "procedure_types__modality", "procedure_types__minutes"
    )
    for pk, name, code, modality, minutes in items:
        names[pk] = (name, code)
        sets.setdefault(pk, []).append((modality, minutes))
    for pk, parts in sets.items():
        modalities = " + ".join(sorted({modality for modality, _ in parts}))
        minutes = sum(minutes for _, minutes in parts)
        choices.append(Choice(f"s{pk}", *names[pk], modalities, minutes))
    return choices
