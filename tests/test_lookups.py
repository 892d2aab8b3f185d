"""What SQL finds by the lookups of C-FIND is what Python finds in the same texts."""

from __future__ import annotations

import pytest

from dicomscp import lookups
from tests import cast
from worklist.models import Patient

pytestmark = pytest.mark.django_db

LAST = "\U0010ffff"
TEXTS = (
    "rossi^paolo",
    "rossi",
    "rossj",
    "rosso",
    "Rossi",
    "\ud7ff^a",
    "\ue000^a",
    "a" + LAST,
    "a" + LAST + "b",
    "b",
    LAST + LAST,
    "yamada^tarou=山田^太郎=やまだ",
    "山田^太郎",
    "=山田",
    "100%",
    "100",
)


@pytest.fixture(autouse=True)
def texts() -> None:
    for number, text in enumerate(TEXTS):
        cast.patient(f"P{number}")
        # As it stands, whatever folding would make of it.
        Patient.objects.filter(patient_id=f"P{number}").update(name_folded=text)


def found(**by: object) -> set[str]:
    return set(Patient.objects.filter(**by).values_list("name_folded", flat=True))


@pytest.mark.parametrize(
    "begin", [*TEXTS, "ros", "\ud7ff", "\ue000", "a", LAST, "100", "山", "Ros", "none"]
)
def test_a_beginning_finds_all_that_begin_so(begin: str) -> None:
    wanted = {text for text in TEXTS if text.startswith(begin)}
    assert found(name_folded__dicom_begins=begin) == wanted
    assert found(name_folded__dicom_like_of_few=begin.replace("%", r"\%") + "%") == wanted


def test_in_a_group_finds_only_names_of_several_groups() -> None:
    assert found(name_folded__dicom_like_in_group="%=山田%") == {TEXTS[11], TEXTS[13]}
    assert found(name_folded__dicom_like_in_group="%rossi%") == set()


def test_no_status_has_a_character_that_sql_reads_otherwise() -> None:
    assert all(text.isalpha() for text in lookups.KNOWN_STATUSES)
