from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from tests.cast import MONDAY, NOW, actor, booked, patient, station
from tests.cast import kind as coded
from tests.test_slots import with_hours
from worklist import clock
from worklist.audit import trail
from worklist.models import ClosedDay, Patient
from worklist.scheduling import conflicts
from worklist.scheduling.conflicts import ConflictsFound, Proposal

pytestmark = pytest.mark.django_db

kind = partial(coded, is_coded=False)


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def at(time: str, day: dt.date = MONDAY) -> dt.datetime:
    return dt.datetime.combine(day, dt.time.fromisoformat(time))


def proposal(start: str = "11:00", minutes: int = 30, **more: Any) -> Proposal:
    usual = {"patient": None, "station": station(), "modality": "CT"}
    return Proposal(start=at(start), minutes=minutes, **{**usual, **more})


def told(*proposals: Proposal) -> list[tuple[str, str, str]]:
    found = conflicts.find(proposals)
    return [(each.code, each.level, each.message) for each in found]


def codes(*proposals: Proposal) -> list[str]:
    return [each.code for each in conflicts.find(proposals)]


@pytest.mark.parametrize(
    ("start", "minutes", "overlaps"),
    [
        ("11:00", 30, True),
        ("11:15", 5, True),
        ("11:29", 30, True),
        ("10:55", 60, True),
        ("11:30", 30, False),
        ("10:50", 10, False),
    ],
)
def test_overlap_on_the_scanner(start: str, minutes: int, overlaps: bool) -> None:
    station("CT1", "CT 1")
    other = booked("11:00", "11:30", PatientName="Müller^Jürgen")
    found = conflicts.find([proposal(start, minutes)])
    assert [each.code for each in found] == ["overlap"] * overlaps
    if overlaps:
        (conflict,) = found
        assert (conflict.level, conflict.step_id, conflict.needs_reason) == (
            "warning",
            other.pk,
            True,
        )
        assert "overlaps MÜLLER, Jürgen 11:00–11:30 on CT 1." in conflict.message


def test_nothing_that_is_over_cancelled_moved_or_on_another_scanner_overlaps() -> None:
    for status in ("COMPLETED", "CANCELED", "DISCONTINUED"):
        booked("11:00", "11:30", ScheduledProcedureStepStatus=status)
    booked("11:00", "11:30", on="CT2")
    moved = booked("11:00", "11:30")
    assert codes(proposal(ignoring=frozenset({moved.pk}))) == []
    assert codes(proposal()) == ["overlap"]


@pytest.mark.parametrize(
    ("start", "is_near"), [("11:00", True), ("11:35", True), ("10:55", True), ("11:40", False)]
)
def test_patient_elsewhere_with_ten_minutes_to_walk(start: str, is_near: bool) -> None:
    anna = patient()
    booked("11:00", "11:30", on="MR1", PatientID=anna.patient_id, Modality="MR")
    expected = [("elsewhere", "warning", "This patient is on MR1 at 11:00.")]
    assert told(proposal(start, 5, patient=anna)) == (expected if is_near else [])
    assert told(proposal(start, 5, patient=patient("P2"))) == []


def test_exam_on_the_same_scanner_overlaps_and_is_not_elsewhere() -> None:
    anna = patient()
    booked("11:00", "11:30", PatientID=anna.patient_id)
    assert codes(proposal("11:15", patient=anna)) == ["overlap"]
    assert codes(proposal("11:30", patient=anna)) == []


def test_same_exam_within_a_day() -> None:
    anna, head = patient(), kind()
    other = booked(
        "14:00",
        "14:15",
        PatientID=anna.patient_id,
        RequestedProcedureDescription="CT head",
        AccessionNumber="A261123019",
    )
    (found,) = conflicts.find([proposal(patient=anna, procedure_type=head)])
    assert (found.code, found.level, found.step_id) == ("repeated", "warning", other.pk)
    assert found.message == ("CT head for this patient is already booked today 14:00 (A261123019).")
    tomorrow = at("14:00", MONDAY + dt.timedelta(days=1))
    later = Proposal(anna, station(), tomorrow, 15, "CT", head)
    assert codes(later) == []
    assert codes(proposal(patient=anna, procedure_type=kind("CTX", "CT x"))) == []


@pytest.mark.parametrize(
    ("may_override", "level"), [(False, "error"), (True, "warning")], ids=["clerk", "supervisor"]
)
def test_outside_opening_hours(may_override: bool, level: str) -> None:
    ct1 = with_hours(station(), (0, "08:00", "12:00"), (0, "13:00", "17:00"))
    name = ct1.name
    sunday = at("11:00", MONDAY + dt.timedelta(days=6))

    def say(start: dt.datetime, minutes: int = 30) -> list[tuple[str, str, str]]:
        return told(Proposal(None, ct1, start, minutes, "CT", may_override=may_override))

    assert say(at("11:00")) == []
    assert say(at("11:45")) == [
        ("closed", level, f"{name} is open 08:00–12:00, 13:00–17:00 on Mondays.")
    ]
    assert say(sunday) == [("closed", level, f"{name} is closed on Sundays.")]
    trail.save(ClosedDay(day=MONDAY, reason="Service"), by=actor)
    assert say(at("11:00")) == [("closed", level, f"{name} is closed on 23 Nov 2026: Service.")]


def test_exam_over_midnight_of_an_open_scanner_is_open() -> None:
    assert codes(proposal("23:45", 30)) == []


def test_scanner_of_another_modality() -> None:
    station("CT1", "CT 1"), station("CT2", "CT 2")
    us1 = station("US1", "US 1")
    assert told(proposal(station=us1)) == [
        ("modality", "error", "US 1 does Ultrasound only. Choose CT 1 or CT 2.")
    ]


def test_scanner_that_the_catalogue_does_not_allow() -> None:
    ct1, ct2, head = station("CT1", "CT 1"), station("CT2", "CT 2"), kind()
    trail.save(head, by=actor, lists={"allowed_stations": [ct2]})
    assert told(proposal(station=ct1, procedure_type=head)) == [
        ("modality", "error", "CT head is not done on CT 1. Choose CT 2.")
    ]
    assert codes(proposal(station=ct2, procedure_type=head)) == []


def test_scanner_that_is_not_in_use() -> None:
    ct1, ct2 = station("CT1", "CT 1"), station("CT2", "CT 2")
    ct1.is_active = False
    trail.save(ct1, by=actor)
    assert told(proposal(station=ct1)) == [
        ("inactive", "error", "CT 1 is not in use. Choose CT 2.")
    ]
    assert ct2.is_active


@pytest.mark.parametrize(
    ("start", "has_passed"), [("10:30", False), ("10:27", False), ("10:26", True), ("08:00", True)]
)
def test_start_that_has_passed_by_more_than_a_quarter_of_an_hour(
    start: str, has_passed: bool
) -> None:
    expected = [("past", "warning", f"{start} has passed.")]
    assert told(proposal(start)) == (expected if has_passed else [])


@pytest.mark.parametrize(
    ("status", "modality", "warns"),
    [(2, "CT", True), (3, "CT", True), (1, "CT", False), (4, "CT", False), (2, "US", False)],
)
def test_pregnancy_and_radiation(status: int, modality: str, warns: bool) -> None:
    anna = patient(pregnancy_status=status)
    at_it = proposal(patient=anna, station=station(f"{modality}1"), modality=modality)
    assert codes(at_it) == ["pregnancy"] * warns


def test_contrast_and_an_allergy() -> None:
    anna = patient(allergies="Iodine\\Latex")
    with_contrast = kind("CTC", "CT contrast", uses_contrast=True)
    (found,) = conflicts.find([proposal(patient=anna, procedure_type=with_contrast)])
    assert found.code == "allergy"
    assert "Iodine, Latex" in found.message
    assert codes(proposal(patient=anna, procedure_type=kind())) == []
    assert codes(proposal(patient=patient("P2"), procedure_type=with_contrast)) == []


def test_proposals_conflict_among_themselves() -> None:
    new, head = Patient(name="Rossi^Paolo", patient_id="P9"), kind()
    mr = station("MR1", "MR 1")
    first = proposal("11:00", patient=new, procedure_type=head)
    assert codes(first, proposal("11:15", patient=new)) == ["overlap"]
    assert codes(first, proposal("11:35", patient=new, station=mr, modality="MR")) == ["elsewhere"]
    assert codes(first, proposal("13:00", patient=new, procedure_type=head)) == ["repeated"]
    assert codes(first, proposal("11:30", patient=new)) == []


def test_errors_come_first() -> None:
    booked("11:00", "11:30", on="MR1")
    assert codes(proposal(station=station("MR1"))) == ["modality", "overlap"]


def settle(*proposals: Proposal, accepted: Any = (), reason: str = "") -> str:
    with transaction.atomic():
        return conflicts.settle(proposals, accepted=frozenset(accepted), reason=reason)


def test_warning_stands_until_it_is_accepted_with_its_reason() -> None:
    booked("11:00", "11:30")
    asked = proposal()
    with pytest.raises(ConflictsFound) as raised:
        settle(asked)
    (conflict,) = raised.value.conflicts
    with pytest.raises(ConflictsFound):
        settle(asked, accepted={conflict.fingerprint}, reason="  ")
    with pytest.raises(ConflictsFound):
        settle(asked, reason="Ward asked for it")
    assert settle(asked, accepted={conflict.fingerprint}, reason=" Ward asked ") == "Ward asked"


def test_new_conflict_asks_again() -> None:
    booked("11:00", "11:30")
    (seen,) = conflicts.find([proposal()])
    booked("11:10", "11:20")
    with pytest.raises(ConflictsFound) as raised:
        settle(proposal(), accepted={seen.fingerprint}, reason="Ward asked")
    assert len(raised.value.conflicts) == 2


def test_error_stands_whatever_is_accepted() -> None:
    asked = proposal(station=station("MR1"))
    (found,) = conflicts.find([asked])
    with pytest.raises(ConflictsFound):
        settle(asked, accepted={found.fingerprint}, reason="Because")


def test_warnings_give_way_to_an_emergency_and_are_signed() -> None:
    booked("11:00", "11:30")
    trail.save(ClosedDay(day=MONDAY), by=actor)
    urgent = proposal(is_emergency=True)
    assert settle(urgent) == "closed, overlap"
    assert all(each.gives_way and not each.needs_reason for each in conflicts.find([urgent]))
    with pytest.raises(ConflictsFound):
        settle(replace(urgent, is_moved=True))
    assert settle(replace(urgent, is_moved=True, may_override=True)) == "closed, overlap"


def test_errors_block_an_emergency_too() -> None:
    booked("11:00", "11:30", on="MR1")
    with pytest.raises(ConflictsFound) as raised:
        settle(proposal(station=station("MR1"), is_emergency=True))
    assert [each.code for each in raised.value.conflicts] == ["modality"]


def test_number_of_statements_does_not_grow(django_assert_max_num_queries: Any) -> None:
    head = kind()
    people = [patient(f"Q{number}", f"Rossi^P{number}") for number in range(12)]
    for number, person in enumerate(people):
        booked(f"{8 + number:02}:00", f"{8 + number:02}:20", PatientID=person.patient_id)
    asked = [
        proposal("11:00", patient=person, procedure_type=head, station=station("CT1"))
        for person in people
    ]
    with django_assert_max_num_queries(5):
        conflicts.find(asked)
