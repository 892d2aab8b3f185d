"""Whether a patient who is about to be registered is here already, under this or a like name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from worklist import lookup, names, values
from worklist.models import Patient
from worklist.scheduling.patients import resolve

# How much of two names is the same, from which on one may be a slip of the other.
_LIKE = 0.8
_MANY = 50
_SUREST = {"id": 0, "same": 1, "id-elsewhere": 2}

Why = Literal["id", "id-elsewhere", "same", "swapped", "like", "name"]


@dataclass(frozen=True)
class Duplicate:
    """A stored patient who may be the same: the ID is in use, or name and birth date are alike.

    `issuer` is who gave that ID, where it is in use with somebody else's ("id-elsewhere").
    """

    patient: Patient
    why: Why
    issuer: str = ""

    @property
    def is_certain(self) -> bool:
        """The database holds one patient an ID and issuer: another ID, or the stored patient."""
        return self.why == "id"

    @property
    def fingerprint(self) -> str:
        """What a person accepts who says that these are two people."""
        return f"two-people-{self.patient.pk}-{self.patient.version}"


def find(new: Patient) -> tuple[Duplicate, ...]:
    """The stored patients who may be this new one, each once, the surest first. Two statements."""
    found = [*_of_the_id(new), *_of_the_name(new)]
    found.sort(key=lambda duplicate: _SUREST.get(duplicate.why, len(_SUREST)))
    once: dict[int, Duplicate] = {}
    for duplicate in found:
        once.setdefault(duplicate.patient.pk, duplicate)
    return tuple(once.values())[:_MANY]


def _of_the_id(new: Patient) -> Iterable[Duplicate]:
    """Whoever has this ID, whoever gave it; that of a merged patient leads to the survivor."""
    if not new.patient_id:
        return
    for stored in Patient.objects.filter(patient_id=new.patient_id).order_by("pk")[:_MANY]:
        why: Why = "id" if stored.issuer == new.issuer else "id-elsewhere"
        yield Duplicate(resolve(stored), why, stored.issuer)


def _of_the_name(new: Patient) -> Iterable[Duplicate]:
    standing = Patient.objects.filter(merged_into=None).order_by("pk")
    if new.birth_date is None:
        words = " ".join(_parts(new.name))
        for stored in lookup.with_words(standing, words)[:_MANY] if words.strip() else ():
            if _same(new.name, stored.name):
                yield Duplicate(stored, "name")
        return
    for stored in standing.filter(birth_date=new.birth_date):
        if _same(new.name, stored.name):
            yield Duplicate(stored, "same")
        elif _swapped(new.name, stored.name):
            yield Duplicate(stored, "swapped")
        elif _are_alike(new.name, stored.name):
            yield Duplicate(stored, "like")


def _parts(name: str) -> tuple[str, str]:
    alphabetic, ideographic, _ = names.groups(name)
    group = alphabetic if alphabetic.family or alphabetic.given else ideographic
    return group.family, group.given


def _plain(name: str) -> tuple[str, str]:
    family, given = _parts(name)
    return values.search_words(family), values.search_words(given)


def _spellings(name: str) -> tuple[set[str], set[str]]:
    """Family and given name, each in the spellings that it has without umlauts."""
    family, given = ({values.search_words(part), values.spelt_out(part)} for part in _parts(name))
    return family, given


def _same(one: str, other: str) -> bool:
    """Müller and Mueller are the same name."""
    pairs = zip(_spellings(one), _spellings(other), strict=True)
    return all(spellings & others for spellings, others in pairs)


def _swapped(one: str, other: str) -> bool:
    """Family and given name stand in each other's place."""
    pairs = zip(_spellings(one), _spellings(other)[::-1], strict=True)
    return all(spellings & others for spellings, others in pairs)


def _are_alike(one: str, other: str) -> bool:
    if names.similarity_key(one) == names.similarity_key(other):
        return True
    return SequenceMatcher(None, " ".join(_plain(one)), " ".join(_plain(other))).ratio() >= _LIKE
