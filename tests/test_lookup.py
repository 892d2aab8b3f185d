from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection

from tests import tools
from tests.cast import YAMADA, actor, patient, station, step
from worklist import clock, lookup
from worklist.audit import trail
from worklist.models import OrderSet, OrderSetItem, Patient, ProcedureType

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 23, 10, 42)


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def people() -> None:
    patient("P1008", "Rossi^Paolo", birth_date=dt.date(1948, 9, 9))
    patient("P2231", "Rossi^Paola", birth_date=dt.date(1990, 1, 1))
    patient("P3", "Müller-Łukasz^Jürgen", birth_date=dt.date(1979, 4, 12))
    patient("P4", YAMADA, birth_date=dt.date(1979, 4, 12))
    patient("P5", "O'Brien^Mary Kate", other_ids="X-77")
    patient("P10080", "Иванов^Сергей")


def found(text: str) -> list[str]:
    return [one.patient.patient_id for one in lookup.find_patients(text)]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rossi", ["P2231", "P1008"]),
        ("rossi pa", ["P2231", "P1008"]),
        ("Paolo ROSSI", ["P1008"]),
        ("paolo, rossi", ["P1008"]),
        ("ossi", []),
        ("rossi mary", []),
        ("muller", ["P3"]),
        ("MÜLLER-ŁUK", ["P3"]),
        ("muller-luk jurg", ["P3"]),
        ("山田", ["P4"]),
        ("やまだ", ["P4"]),
        ("yamada tar", ["P4"]),
        ("o'brien", ["P5"]),
        ("mary", ["P5"]),
        ("kate", ["P5"]),
        ("x-77", ["P5"]),
        ("ив", ["P10080"]),
        ("P1008", ["P1008", "P10080"]),
        ("p1008", ["P1008", "P10080"]),
        ("12.4.79", ["P3", "P4"]),
        ("1979-04-12", ["P3", "P4"]),
        ("12 Apr 1979", ["P3", "P4"]),
        ("yamada 12.4.1979", ["P4"]),
        ("rossi, paolo 9.9.48", ["P1008"]),
        ("9 Sep 1948 rossi", ["P1008"]),
        ("r", []),
        ("", []),
        ("%", []),
        ("100%", []),
        ("ro_si", []),
        ("\\", []),
        ("' OR 1=1", []),
    ],
)
def test_patients_are_found_by_what_people_type(text: str, expected: list[str]) -> None:
    if text in ("12.4.79", "1979-04-12", "12 Apr 1979"):
        assert sorted(found(text)) == expected
    else:
        assert found(text) == expected


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Müller^Jürgen", "mueller juergen"),
        ("Mueller^Juergen", "müller jürgen"),
        ("Mu\u0308ller^Anna", "muell"),
        ("Müller^Anna", "MÜL"),
        ("Muller^Anna", "müller"),
        ("Weiß^Anna", "weiss"),
        ("Weiss^Anna", "weiß"),
        ("Strasser^Anna", "straß"),
        ("Böhm-Köhler^Anna", "boehm-koe"),
        ("Jørgensen^Pål", "joergensen paal"),
        ("Joergensen^Anna", "jørgensen"),
    ],
)
def test_umlauts_are_found_in_either_spelling(stored: str, typed: str) -> None:
    patient("P1", stored)
    patient("P2", "Doetsch^Manuel")
    assert found(typed) == ["P1"]
    assert found("do") == ["P2"]
    assert found("du") == []


def test_long_search_is_cut() -> None:
    patient("P1", "Rossi^Paolo")
    assert found("rossi " * 1000) == ["P1"]
    assert found("p p p p p p p p zebra") == ["P1"]
    assert lookup.find_procedures("w " * 30_000) == ()


def test_merged_patients_are_left_out() -> None:
    stays = patient("P1", "Rossi^Paolo")
    gone = patient("P2", "Rossi^Paolo")
    gone.merged_into = stays
    trail.save(gone, by=actor)
    assert found("rossi") == ["P1"]
    assert found("P2") == []


def test_eight_are_shown_and_the_exact_id_is_one_of_them() -> None:
    for number in range(20):
        patient(f"ROSSI-{number}", f"Rossi^{chr(65 + number)}")
    assert len(found("rossi")) == 8
    assert found("rossi-19")[0] == "ROSSI-19"


def test_last_and_next_exam_stand_beside_each() -> None:
    patient("P1", "Rossi^Paolo")
    station("MR1", "MR 1")
    for day, time, status in (
        (dt.date(2026, 10, 3), dt.time(9), "COMPLETED"),
        (dt.date(2026, 9, 3), dt.time(9), "COMPLETED"),
        (dt.date(2026, 11, 23), dt.time(11), "CANCELED"),
        (dt.date(2026, 11, 23), dt.time(14), "SCHEDULED"),
        (dt.date(2026, 12, 23), dt.time(14), "SCHEDULED"),
    ):
        step(
            PatientID="P1",
            stations=("MR1",),
            ScheduledProcedureStepStartDate=day,
            ScheduledProcedureStepStartTime=time,
            ScheduledProcedureStepStatus=status,
        )
    (one,) = lookup.find_patients("rossi")
    assert one.last == lookup.Visit(dt.datetime(2026, 10, 3, 9), "MR 1")
    assert one.next == lookup.Visit(dt.datetime(2026, 11, 23, 14), "MR 1")


def test_another_issuer_is_named(settings: Any) -> None:
    settings.ISSUER_OF_PATIENT_ID = "HOSP"
    patient("P1", "Rossi^Paolo", issuer="HOSP")
    patient("P2", "Rossi^Paolo", issuer="ELSEWHERE")
    assert [one.other_issuer for one in lookup.find_patients("rossi")] == ["", "ELSEWHERE"]


@pytest.mark.usefixtures("people")
def test_lookup_takes_a_fixed_number_of_statements(django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(4):
        lookup.find_patients("rossi 9.9.48")


def test_words_have_their_index_on_postgresql() -> None:
    tools.require_trigrams()
    with connection.cursor() as cursor:
        query = lookup.with_words(Patient.objects.all(), "kowälska ewa").order_by("pk")
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        assert "worklist_patient_words" in query.explain()


# --- the catalogue --------------------------------------------------------------------------------


@pytest.fixture
def catalogue() -> None:
    kinds = [
        ProcedureType(code="CTABDC", description="CT abdomen with contrast", modality="CT"),
        ProcedureType(code="CTHEAD", description="CT head", modality="CT", minutes=15),
        ProcedureType(code="USABD", description="Ultraschall Bäuche", modality="US", minutes=20),
        ProcedureType(code="OLD", description="CT old", modality="CT", is_active=False),
    ]
    for each in kinds:
        trail.save(each, by=actor)
    trauma = OrderSet(code="TRAUMA", name="Trauma work-up")
    trail.save(trauma, by=actor)
    for position, each in enumerate((kinds[1], kinds[2])):
        item = OrderSetItem(order_set=trauma, procedure_type=each, position=position)
        trail.save(item, by=actor)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ct ab", ["CTABDC"]),
        ("abdomen ct", ["CTABDC"]),
        ("ctabdc", ["CTABDC"]),
        ("cthead", ["CTHEAD"]),
        ("bauch", ["USABD"]),
        ("trauma", ["TRAUMA"]),
        ("old", []),
        ("", ["CTABDC", "CTHEAD", "USABD", "TRAUMA"]),
    ],
)
def test_catalogue_is_searched_by_words_and_codes(text: str, expected: list[str]) -> None:
    assert [choice.code for choice in lookup.find_procedures(text)] == expected


@pytest.mark.usefixtures("catalogue")
def test_order_set_tells_what_it_books() -> None:
    (choice,) = lookup.find_procedures("trauma")
    assert (choice.key[0], choice.modality, choice.minutes) == ("s", "CT + US", 35)
