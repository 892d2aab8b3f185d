"""An exam is changed after it was booked: its procedure, its scanner, its minutes."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.cast import NOW, actor, booked, kind, station
from tests.pages import fields, sign_in
from worklist import clock, scheduling
from worklist.models import ProcedureType, ScheduledProcedureStep, StepStatus
from worklist.scheduling import held

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def clerk() -> Client:
    return sign_in("Clerk")


@pytest.fixture
def head() -> ProcedureType:
    return kind(minutes=15)


@pytest.fixture
def shown(head: ProcedureType) -> ScheduledProcedureStep:
    station("CT1", "CT 1"), station("CT2", "CT 2"), station("MR1", "MR 1")
    made = booked(
        "11:00",
        "11:15",
        RequestedProcedureDescription="CT head",
        RequestedProcedureComments="Nothing to eat",
    )
    procedure = made.requested_procedure
    procedure.code = head.requested_procedure_code
    scheduling.save_procedure(procedure, by=actor)
    return ScheduledProcedureStep.objects.get(pk=made.pk)


class Page:
    """The page on which an exam is edited, in a browser without scripts."""

    def __init__(self, client: Client, step: ScheduledProcedureStep) -> None:
        self.client, self.address = client, f"/exams/{step.pk}/edit/"
        self.response = client.get(self.address)
        self.read()

    def read(self) -> None:
        self.text = self.response.content.decode()
        self.values = fields(self.text, "edit")
        self.values["accept"] = re.findall(r'name="accept" value="([^"]+)"', self.text)

    def save(self, **typed: Any) -> int:
        given = {name.replace("__", "-"): str(value) for name, value in typed.items()}
        self.response = self.client.post(self.address, {**self.values, **given})
        if self.response.status_code != 302:
            self.read()
        status: int = self.response.status_code
        return status


def told(page: Page) -> dict[str, str]:
    rows = re.findall(r"<dt>(.*?)</dt><dd>(.*?) → <strong>(.*?)</strong>", page.text)
    return {label: f"{before} → {after}" for label, before, after in rows}


def test_another_procedure_tells_its_consequences_before_it_is_saved(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    brain = kind("MRBRAIN", "MR brain", minutes=40, modality="MR", preparation="No metal")
    page = Page(clerk, shown)
    assert page.save(plan__kind=brain.pk) == 422
    assert told(page) == {
        "Exam": "CT head → MR brain",
        "Modality": "Computed tomography → Magnetic resonance",
        "Code": "CTHEAD 99SITE CT head → MRBRAIN 99SITE MR brain",
        "Protocol codes": "– → P-MRBRAIN 99SITE MR brain",
        "Minutes": "15 → 40",
        "Scanner": "CT 1 → MR 1",
    }
    shown.refresh_from_db()
    assert shown.modality == "CT"
    assert page.save() == 302
    shown.refresh_from_db()
    procedure = shown.requested_procedure
    procedure.refresh_from_db()
    assert (shown.modality, shown.description) == ("MR", "MR brain")
    assert (procedure.description, procedure.code) == ("MR brain", brain.requested_procedure_code)
    assert procedure.comments == "No metal"
    assert (shown.start_time, shown.end_time) == (dt.time(11), dt.time(11, 40))
    assert [str(each) for each in held.protocol_codes_of(shown)] == ["P-MRBRAIN 99SITE MR brain"]
    assert [each.ae_title for each in held.stations_of(shown)] == ["MR1"]
    assert shown.station_names == "MR 1"


def test_minutes_that_run_into_the_next_exam_ask_for_a_reason(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    booked("11:30", "12:00", PatientName="Rossi^Paolo")
    page = Page(clerk, shown)
    assert page.save(plan__minutes=40, step__comments="Lying") == 422
    assert told(page) == {"Minutes": "15 → 40"}
    assert "11:00–11:40 overlaps ROSSI, Paolo" in page.text
    assert page.save() == 422
    assert "Tick the box to change it anyway." in page.text
    assert page.save(anyway="1") == 422
    assert "Say why it is changed all the same." in page.text
    assert page.save(anyway="1", why="Both are short") == 302
    shown.refresh_from_db()
    assert (shown.end_time, shown.comments) == (dt.time(11, 40), "Lying")


def test_minutes_typed_after_another_procedure_stay(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    chest = kind("CTCHEST", "CT chest", minutes=30)
    page = Page(clerk, shown)
    page.save(plan__kind=chest.pk)
    assert page.values["plan-minutes"] == "30"
    assert page.save(plan__minutes=15) == 422
    assert "Minutes" not in told(page)
    assert page.save() == 302
    shown.refresh_from_db()
    assert (shown.description, shown.end_time) == ("CT chest", dt.time(11, 15))


def test_scanner_that_does_not_do_it_is_told_and_not_saved(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    page = Page(clerk, shown)
    for _ in range(2):
        assert page.save(plan__station=station("MR1").pk, anyway="1", why="Please") == 422
        assert "MR 1 does Magnetic resonance only. Choose CT 1 or CT 2." in page.text
    assert page.save(plan__station=station("CT2").pk) == 422
    assert page.save() == 302
    assert [each.ae_title for each in held.stations_of(shown)] == ["CT2"]


def test_exam_that_has_started_keeps_procedure_scanner_and_minutes(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    before = Page(clerk, shown)
    scheduling.set_status(shown, StepStatus.STARTED, by=actor)
    page = Page(clerk, shown)
    assert "plan-minutes" not in page.values
    assert "This exam has started" in page.text
    assert page.save(plan__minutes=40) == 302
    assert before.save(plan__minutes=40) == 409
    shown.refresh_from_db()
    assert shown.end_time == dt.time(11, 15)


def test_plan_on_an_old_version_keeps_what_somebody_else_has_changed(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    page = Page(clerk, shown)
    scheduling.reschedule(
        shown, dt.datetime(2026, 11, 23, 12), stations=[station("CT2")], by=actor, version=None
    )
    page.save(plan__minutes=20)
    assert page.save() == 409
    assert "scanner" in page.text
    assert page.values["plan-station"] == str(station("CT2").pk)
    assert page.values["plan-minutes"] == "20"
    assert page.save() == 422
    assert told(page) == {"Minutes": "15 → 20"}
    assert page.save() == 302
    shown.refresh_from_db()
    assert (shown.start_time, shown.end_time) == (dt.time(12), dt.time(12, 20))


def test_procedure_of_several_exams_is_not_made_another(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    booked("12:00", "12:15", order=shown)
    chest = kind("CTCHEST", "CT chest", minutes=30)
    page = Page(clerk, shown)
    page.save(plan__kind=chest.pk)
    assert page.save() == 422
    assert "This procedure has several exams" in page.text


def test_edit_page_asks_a_fixed_number_of_statements(
    clerk: Client, shown: ScheduledProcedureStep
) -> None:
    brain = kind("MRBRAIN", "MR brain", minutes=40, modality="MR")

    def statements() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as seen:
            page = Page(clerk, shown)
        with CaptureQueriesContext(connection) as sent:
            assert page.save(plan__kind=brain.pk) == 422
        return len(seen), len(sent)

    clerk.get("/patients/")
    few = statements()
    for number in range(15):
        kind(f"CT{number}", f"CT {number}")
        station(f"CT{number}0")
        booked("11:00", "11:30", on="MR1")
    assert statements() == few
