"""Whether a patient who is about to be registered is here already, under this or a like name."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from django.db.models import Q

from worklist import names, values
from worklist.models import Patient

# How much of two names is the same, from which on one may be a slip of the other.
_LIKE = 0.8
_MANY = 50
_SUREST = {"id": 0, "same": 1}


@dataclass(frozen=True)
class Duplicate:
    """A stored patient who may be the same: the ID is taken, or name and birth date are alike."""

    patient: Patient
    why: Literal["id", "same", "swapped", "like", "name"]

    @property
    def is_certain(self) -> bool:
        """The database holds one patient an ID: another ID, or the stored patient."""
        return self.why == "id"

    @property
    def fingerprint(self) -> str:
        """What a person accepts who says that these are two people."""
        return f"two-people-{self.patient.pk}-{self.patient.version}"


def find(new: Patient) -> tuple[Duplicate, ...]:
    """The stored patients who may be this new one, the surest first. One statement."""
    same_id = Q(patient_id=new.patient_id, issuer=new.issuer) if new.patient_id else Q(pk=None)
    if new.birth_date:
        alike = Q(birth_date=new.birth_date)
    else:
        alike = Q(name_folded=values.fold_name(new.name))
    candidates = Patient.objects.filter(same_id | (alike & Q(merged_into=None)))
    found = []
    for stored in candidates.select_related("merged_into").order_by("pk"):
        if stored.patient_id == new.patient_id and stored.issuer == new.issuer:
            # The ID of a patient who was merged leads to the survivor.
            found.append(Duplicate(stored.merged_into or stored, "id"))
        elif new.birth_date is None:
            found.append(Duplicate(stored, "name"))
        elif _plain(new.name) == _plain(stored.name):
            found.append(Duplicate(stored, "same"))
        elif _swapped(new.name, stored.name):
            found.append(Duplicate(stored, "swapped"))
        elif _are_alike(new.name, stored.name):
            found.append(Duplicate(stored, "like"))
    found.sort(key=lambda duplicate: _SUREST.get(duplicate.why, len(_SUREST)))
    return tuple(found[:_MANY])


def _plain(name: str) -> tuple[str, str]:
    alphabetic, ideographic, _ = names.groups(name)
    group = alphabetic if alphabetic.family or alphabetic.given else ideographic
    return values.search_words(group.family), values.search_words(group.given)


def _swapped(one: str, other: str) -> bool:
    """Family and given name stand in each other's place."""
    return _plain(one) == _plain(other)[::-1] != _plain(other)


def _are_alike(one: str, other: str) -> bool:
    if names.similarity_key(one) == names.similarity_key(other):
        return True
    return SequenceMatcher(None, " ".join(_plain(one)), " ".join(_plain(other))).ratio() >= _LIKE
