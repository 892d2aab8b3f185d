from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core import signing

from tests.cast import MONDAY, NOW, actor, book, booked, patient, station
from tests.test_conflicts import at
from worklist import clock, scheduling
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import ScheduledProcedureStep, StepStatus
from worklist.scheduling import StaleVersion, bulk, undo
from worklist.scheduling.bulk import Afternoon
from worklist.scheduling.conflicts import ConflictsFound
from worklist.scheduling.undo import Former, TooLate

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def snapshot(step: ScheduledProcedureStep) -> dict[str, Any]:
    step.refresh_from_db()
    return trail.snapshot(step)


def test_move_to_another_scanner_is_taken_back_exactly_and_signed() -> None:
    step = booked("10:00", "10:30")
    before = snapshot(step)
    former = Former.of(step)
    moved = scheduling.reschedule(step, at("12:00"), stations=[station("CT2", "CT 2")], by=actor)
    token = undo.of("move", [(former, moved)])
    events = AuditEvent.objects.count()
    undo.take_back(token, by=actor)
    assert snapshot(step) == before
    assert AuditEvent.objects.count() == events + 1
    event = AuditEvent.objects.first()
    assert event is not None
    assert (event.actor, event.reason) == ("ines", "Taken back")


def test_cancellation_and_status_are_taken_back() -> None:
    step = booked("10:00", "10:30", ScheduledProcedureStepStatus="ARRIVED")
    former = Former.of(step)
    saved = scheduling.cancel(step, by=actor)
    undo.take_back(undo.of("cancel", [(former, saved)]), by=actor)
    step.refresh_from_db()
    assert step.status == "ARRIVED"


def test_booking_is_taken_back_as_a_cancellation() -> None:
    step = book(patient())
    undo.take_back(undo.of_booking([step]), by=actor)
    step.refresh_from_db()
    assert step.status == "CANCELED"
    event = AuditEvent.objects.first()
    assert event is not None
    assert event.reason == "Booked by mistake"


def test_what_was_changed_since_is_not_taken_back() -> None:
    step = booked("10:00", "10:30")
    former = Former.of(step)
    moved = scheduling.reschedule(step, at("12:00"), by=actor)
    scheduling.set_status(step, StepStatus.ARRIVED, by=actor)
    with pytest.raises(StaleVersion):
        undo.take_back(undo.of("move", [(former, moved)]), by=actor)
    step.refresh_from_db()
    assert step.start_time == dt.time(12)


def test_place_that_was_taken_meanwhile_is_told() -> None:
    step = booked("10:00", "10:30")
    former = Former.of(step)
    moved = scheduling.reschedule(step, at("12:00"), by=actor)
    other = booked("10:15", "10:45")
    token = undo.of("move", [(former, moved)])
    with pytest.raises(ConflictsFound) as found:
        undo.take_back(token, by=actor)
    assert [each.step_id for each in found.value.conflicts] == [other.pk]
    step.refresh_from_db()
    assert step.start_time == dt.time(12)


def test_cancelled_exam_whose_place_was_taken_asks_before_it_comes_back() -> None:
    step = booked("10:00", "10:30")
    former = Former.of(step)
    token = undo.of("cancel", [(former, scheduling.cancel(step, by=actor))])
    booked("10:15", "10:45")
    with pytest.raises(ConflictsFound) as found:
        undo.take_back(token, by=actor)
    step.refresh_from_db()
    assert step.status == "CANCELED"
    accepted = [each.fingerprint for each in found.value.conflicts]
    with pytest.raises(ConflictsFound):
        undo.take_back(token, by=actor, accepted=accepted)
    undo.take_back(token, by=actor, accepted=accepted, reason="Both fit")
    step.refresh_from_db()
    assert step.status == "SCHEDULED"
    event = AuditEvent.objects.first()
    assert event is not None
    assert event.reason == "Both fit"


def test_what_stood_there_before_is_not_asked_about_again() -> None:
    booked("10:15", "10:45")
    step = booked("10:00", "10:30")
    former = Former.of(step)
    token = undo.of("cancel", [(former, scheduling.cancel(step, by=actor))])
    undo.take_back(token, by=actor)
    step.refresh_from_db()
    assert step.status == "SCHEDULED"


def test_cancelled_exam_does_not_come_back_to_a_scanner_that_is_not_in_use() -> None:
    step = booked("10:00", "10:30")
    former = Former.of(step)
    token = undo.of("cancel", [(former, scheduling.cancel(step, by=actor))])
    ct1 = station()
    ct1.is_active = False
    trail.save(ct1, by=actor)
    with pytest.raises(ConflictsFound) as found:
        undo.take_back(token, by=actor)
    assert [each.code for each in found.value.conflicts] == ["inactive"]


def test_afternoon_is_taken_back_at_once() -> None:
    steps = [booked("13:00", "13:30"), booked("14:00", "14:30")]
    before = [snapshot(step) for step in steps]
    what = Afternoon(station(), MONDAY, dt.time(12), minutes=45, to=station("CT2"))
    seen = bulk.digest(bulk.selected(what))
    _, token = bulk.carry_out(what, seen=seen, accepted=(), reason="", by=actor, may_override=False)
    assert [snapshot(step) for step in steps] != before
    undo.take_back(token, by=actor)
    assert [snapshot(step) for step in steps] == before


def test_old_and_forged_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = undo.of_booking([book(patient())])
    token = undo.sign(made, owner="7 abc")
    assert undo.read(token, owner="7 abc") == made
    with pytest.raises(TooLate):
        undo.read(token, owner="7 abd")
    with pytest.raises(TooLate):
        undo.read(signing.dumps(["move", []], salt="another", compress=True), owner="7 abc")
    with pytest.raises(TooLate):
        undo.read(token[:-1] + ("A" if token[-1] != "A" else "B"), owner="7 abc")
    monkeypatch.setattr(undo, "LASTS", -1)
    with pytest.raises(TooLate):
        undo.read(token, owner="7 abc")


def test_token_holds_nothing_of_the_patient_and_of_the_session() -> None:
    token = undo.sign(undo.of_booking([book(patient(name="Geheim^Anna"))]), owner="7 abc")
    held = str(signing.loads(token, salt="worklist.scheduling.undo 7 abc"))
    assert "Geheim" not in held
    assert "abc" not in held
