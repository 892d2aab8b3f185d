from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from tests import tools
from tests.cast import MONDAY, NOW, actor, book, booked, patient, station
from tests.test_conflicts import at
from worklist import clock, scheduling
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor
from worklist.models import StepStatus
from worklist.scheduling import StaleVersion, bulk, held
from worklist.scheduling.bulk import Afternoon, SelectionChanged
from worklist.scheduling.conflicts import ConflictsFound

pytestmark = pytest.mark.django_db
OTTO = Actor("otto")


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def last() -> AuditEvent:
    event = AuditEvent.objects.first()
    assert event is not None
    return event


# --- versions -------------------------------------------------------------------------------------


def test_save_on_an_old_version_is_told_who_changed_what_and_changes_nothing() -> None:
    step = booked("10:00", "10:30")
    scheduling.reschedule(step, at("10:30"), by=OTTO)
    scheduling.set_status(step, StepStatus.ARRIVED, by=OTTO)
    scheduling.reschedule(step, at("11:00"), by=OTTO)
    with pytest.raises(StaleVersion) as told:
        scheduling.reschedule(step, at("14:00"), by=actor, version=step.version)
    assert (told.value.actor, told.value.at) == ("otto", last().at)
    assert {(each.column, each.before, each.after) for each in told.value.changes} == {
        ("start_time", "10:00:00", "11:00:00"),
        ("end_time", "10:30:00", "11:30:00"),
        ("status", "SCHEDULED", "ARRIVED"),
    }
    step.refresh_from_db()
    assert step.start_time == dt.time(11)


def test_what_was_changed_and_changed_back_is_no_difference() -> None:
    step = booked("10:00", "10:30")
    scheduling.reschedule(step, at("10:30"), by=OTTO)
    scheduling.reschedule(step, at("10:00"), by=OTTO)
    with pytest.raises(StaleVersion) as told:
        scheduling.cancel(step, by=actor, version=step.version)
    assert told.value.changes == ()


def test_current_version_is_saved_with_its_reason_and_counted_up() -> None:
    step = booked("10:00", "10:30")
    moved = scheduling.reschedule(
        step, at("12:00"), by=actor, version=step.version, reason="Emergency came in"
    )
    assert moved.version == step.version + 1
    assert last().reason == "Emergency came in"


def test_amend_checks_step_procedure_and_request() -> None:
    step = book(patient())
    procedure = step.requested_procedure
    request = procedure.request
    seen = (step.version, procedure.version, request.version)
    request.comments = "Call the ward"
    scheduling.save_request(request, by=OTTO)
    step.comments = "Lying"
    with pytest.raises(StaleVersion):
        scheduling.amend(step, procedure, by=actor, versions=seen)
    scheduling.amend(
        step, procedure, by=actor, versions=(step.version, procedure.version, request.version)
    )
    step.refresh_from_db()
    assert step.comments == "Lying"


@pytest.mark.django_db(transaction=True)
@tools.needs("postgres")
def test_two_saves_on_one_version_are_one_save_and_one_told() -> None:
    step = booked("10:00", "10:30")
    start = threading.Barrier(2)
    told: list[Any] = []

    def save(hour: int) -> None:
        try:
            start.wait(timeout=10)
            scheduling.reschedule(
                step, at(f"{hour}:00"), by=actor, version=step.version, accepted=()
            )
            told.append("saved")
        except StaleVersion as error:
            told.append(error.actor)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=(hour,)) for hour in (12, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(told) == ["ines", "saved"]
    step.refresh_from_db()
    assert step.version == 2


# --- moving ---------------------------------------------------------------------------------------


def test_move_onto_another_exam_asks_first_and_keeps_the_reason() -> None:
    station("CT1", "CT 1")
    booked("11:00", "11:30", PatientName="Müller^Jürgen")
    step = booked("13:00", "13:30")
    with pytest.raises(ConflictsFound) as found:
        scheduling.reschedule(step, at("11:15"), by=actor, version=1, accepted=())
    accepted = {each.fingerprint for each in found.value.conflicts}
    with pytest.raises(ConflictsFound):
        scheduling.reschedule(step, at("11:15"), by=actor, version=1, accepted=accepted)
    scheduling.reschedule(
        step, at("11:15"), by=actor, version=1, accepted=accepted, reason="Both are short"
    )
    assert last().reason == "Both are short"


def test_exam_on_two_scanners_is_not_elsewhere_from_itself() -> None:
    step = booked("13:00", "13:30")
    both = [station("CT1"), station("CT2")]
    scheduling.reschedule(step, at("14:00"), stations=both, by=actor, version=1, accepted=())


def test_length_is_the_end_then_the_catalogue_then_the_usual() -> None:
    assert held.minutes_of(booked("13:00", "13:40"), None) == 40
    assert held.minutes_of(book(patient()), None) == 30


# --- status ---------------------------------------------------------------------------------------

FORWARD = {
    "SCHEDULED": "ARRIVED READY STARTED",
    "ARRIVED": "READY STARTED",
    "READY": "STARTED",
    "STARTED": "COMPLETED DISCONTINUED",
    "DEPARTED": "COMPLETED DISCONTINUED",
    "COMPLETED": "",
    "DISCONTINUED": "",
    "CANCELED": "",
}
BACK = {
    "ARRIVED": "SCHEDULED",
    "READY": "ARRIVED",
    "STARTED": "READY",
    "COMPLETED": "STARTED",
    "DISCONTINUED": "STARTED",
}


@pytest.mark.parametrize("now", FORWARD)
def test_people_set_the_next_statuses_alone(now: str) -> None:
    for status in StepStatus:
        step = booked("13:00", "13:30", ScheduledProcedureStepStatus=now)
        allowed = status in FORWARD[now].split() or status == now
        try:
            scheduling.set_status(step, status, by=actor, version=1)
        except ValidationError:
            assert not allowed, status
        else:
            assert allowed, status


@pytest.mark.parametrize(("now", "before"), BACK.items())
def test_one_step_back_takes_the_right_and_a_reason(now: str, before: str) -> None:
    step = booked("13:00", "13:30", ScheduledProcedureStepStatus=now)
    status = StepStatus(before)
    with pytest.raises(ValidationError, match="supervisor"):
        scheduling.set_status(step, status, by=actor, version=1, reason="Wrong row")
    with pytest.raises(ValidationError, match="Say why"):
        scheduling.set_status(step, status, by=actor, version=1, may_step_back=True, reason=" ")
    scheduling.set_status(step, status, by=actor, version=1, may_step_back=True, reason="Wrong row")
    assert last().reason == "Wrong row"


def test_exam_that_has_started_is_stopped_not_cancelled() -> None:
    step = booked("10:00", "10:30", ScheduledProcedureStepStatus="STARTED")
    with pytest.raises(ValidationError, match="Stopped"):
        scheduling.cancel(step, by=actor, version=1)


# --- a scanner's afternoon ------------------------------------------------------------------------


def afternoon(**more: Any) -> Afternoon:
    return Afternoon(station(), MONDAY, dt.time(12), **more)


def carry_out(what: Afternoon, *, seen: str = "", reason: str = "", **more: Any) -> Any:
    usual: dict[str, Any] = {"accepted": (), "by": actor, "may_override": False}
    seen = seen or bulk.digest(bulk.selected(what))
    return bulk.carry_out(what, seen=seen, reason=reason, **{**usual, **more})


def test_afternoon_moves_whole_and_what_has_started_stays() -> None:
    morning = booked("11:00", "11:30")
    started = booked("12:00", "12:30", ScheduledProcedureStepStatus="STARTED")
    first, second = booked("13:00", "13:30"), booked("13:30", "14:00")
    count, _ = carry_out(afternoon(minutes=30), reason="Scanner was down")
    assert count == 2
    for step, time in (
        (morning, "11:00"),
        (started, "12:00"),
        (first, "13:30"),
        (second, "14:00"),
    ):
        step.refresh_from_db()
        assert f"{step.start_time:%H:%M}" == time
    assert last().reason == "Scanner was down"


def test_afternoon_moves_to_another_scanner() -> None:
    step = booked("13:00", "13:30")
    carry_out(afternoon(to=station("CT2", "CT 2")))
    step.refresh_from_db()
    assert [each.ae_title for each in held.stations_of(step)] == ["CT2"]
    assert step.station_names == "CT 2"


def test_afternoon_that_changed_since_the_preview_is_looked_at_again() -> None:
    step = booked("13:00", "13:30")
    seen = bulk.digest(bulk.selected(afternoon()))
    booked("15:00", "15:30")
    with pytest.raises(SelectionChanged):
        carry_out(afternoon(minutes=30), seen=seen)
    step.refresh_from_db()
    assert step.start_time == dt.time(13)


def test_afternoon_with_a_conflict_moves_nothing_until_it_is_accepted() -> None:
    booked("13:30", "14:00", on="CT2")
    step = booked("13:00", "13:30")
    what = afternoon(minutes=30, to=station("CT2"))
    with pytest.raises(ConflictsFound) as found:
        carry_out(what)
    accepted = {each.fingerprint for each in found.value.conflicts}
    assert carry_out(what, accepted=accepted, reason="They share")[0] == 1
    step.refresh_from_db()
    assert step.start_time == dt.time(13, 30)
