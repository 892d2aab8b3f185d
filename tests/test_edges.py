"""Days at the calendar's edges and endless numbers: told at the field, or no such choice."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.cast import NOW, kind, patient, station
from tests.pages import Desk, sign_in
from worklist import clock
from worklist.models import ProcedureType, ScheduledProcedureStep

pytestmark = pytest.mark.django_db

BIG = "9" * 5000


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def head() -> ProcedureType:
    return kind("CTHEAD", "CT head", default_station=station("CT1", "CT 1"), minutes=15)


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1899-12-31", "2200-01-01"])
def test_day_of_no_reasonable_year_is_told_at_its_field(head: ProcedureType, day: str) -> None:
    desk = Desk(query=f"?patient={patient().pk}").press("choose_exam", f"p{head.pk}")
    for time in ("23:50", "00:00"):
        assert desk.save(**{"0-day": day, "0-time": time}).status_code == 422
        assert "Enter a year from 1900 to 2199." in desk.text
        for part in ("when", "advice", "exam"):
            data = {**desk.values, "0-day": day, "0-time": time}
            answer = desk.client.post(f"/exams/new/slots/?part={part}", data)
            assert answer.status_code == 200
    data = {**desk.values, "contrast": "on", "creatinine": "1", "creatinine_date": day}
    assert desk.client.post("/exams/new/", {**data, "act": "save"}).status_code == 422
    assert Desk(desk.client, f"?day={day}&time=23:59").response.status_code == 200
    assert desk.client.get(f"/today/?day={day}").status_code == 200


@pytest.mark.parametrize("day", ["1900-01-01", "2199-12-31"])
def test_first_and_last_day_can_be_looked_at(head: ProcedureType, day: str) -> None:
    desk = Desk(query=f"?patient={patient().pk}&day={day}").press("choose_exam", f"p{head.pk}")
    assert desk.values["0-day"] == day
    assert desk.client.get(f"/today/?day={day}").status_code == 200


@pytest.mark.parametrize("number", [BIG, "9" * 30, "-1", "1e3"])
def test_number_of_nothing_is_no_choice(head: ProcedureType, number: str) -> None:
    client = sign_in()

    def ask(address: str, **data: Any) -> int:
        answer = client.post(address, data) if data else client.get(address)
        return answer.status_code

    for name in ("patient", "after", "station"):
        assert ask(f"/exams/new/?{name}={number}") == 200
    for name in ("patient", "exam", "station"):
        assert ask(f"/walk-in/?{name}={number}") == 200
        assert ask("/walk-in/", **{"act": "save", "start": "now", name: number}) == 422
    opened = Desk(client, f"?patient={patient().pk}").press("choose_exam", f"p{head.pk}")
    for name in ("0-station", "0-minutes", "0-day", "0-time", "after", "exam", "order_version"):
        for part in ("when", "advice", "exam"):
            data = {**opened.values, name: number}
            assert ask(f"/exams/new/slots/?part={part}", **data) == 200
    for name in ("0-station", "0-minutes"):
        assert ask("/exams/new/", **{**opened.values, name: number, "act": "save"}) == 422
    for slot in (f"{number} 1 2026-11-23 11:00", f"0 {number} {number} {number}", "0 x y z"):
        assert ask("/exams/new/", **{**opened.values, "slot": slot}) == 200
    assert not ScheduledProcedureStep.objects.exists()


def test_search_for_anything_is_answered(head: ProcedureType) -> None:
    client: Client = sign_in()
    for text in (" ".join(f"w{number}" for number in range(3000)), "%_" * 500):
        assert client.post("/exams/new/patients/", {"patient_query": text}).status_code == 200
        assert client.post("/exams/new/procedures/", {"exam_query": text}).status_code == 200
