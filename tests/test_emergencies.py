"""Emergencies: what gives way to them is said and signed, what no scanner does stays an error."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from tests.cast import MONDAY, actor, booked, patient, station
from tests.pages import Desk, fields, sign_in
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import ClosedDay, ProcedureType, ScheduledProcedureStep, Station

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stand_still")]


def said(client: Client) -> str:
    page = client.get("/today/").content.decode()
    found = re.findall(r'<div class="notice.*?<p>(.*?)</p>', page, re.S)
    return " ".join(map(unescape, found))


def reason_of(step: ScheduledProcedureStep) -> str:
    events = AuditEvent.objects.filter(model="worklist.scheduledprocedurestep", object_id=step.pk)
    return events.latest("pk").reason


def walk_in(client: Client, head: ProcedureType, **typed: Any) -> Any:
    page = client.get("/walk-in/").content.decode()
    usual = {"exam": head.pk, "station": head.default_station_id, "urgency": "STAT"}
    return client.post("/walk-in/", {**fields(page), **usual, "act": "save", **typed})


def test_what_gives_way_to_an_emergency_is_said_and_signed(head: ProcedureType) -> None:
    other = booked("11:00", "11:30", PatientName="Weber^Otto")
    trail.save(ClosedDay(day=MONDAY, reason="Holiday"), by=actor)
    anna = patient(sex="F", pregnancy_status=3)
    desk = Desk(query=f"?patient={anna.pk}&day=2026-11-23&time=11:00")
    desk.press("choose_exam", f"p{head.pk}")
    assert desk.save(urgency="STAT").status_code == 302
    made = ScheduledProcedureStep.objects.exclude(pk=other.pk).get()
    assert reason_of(made) == "closed, overlap, pregnancy"
    told = said(desk.client)
    assert "Booked all the same:" in told
    for one in (
        "overlaps WEBER, Otto",
        "CT 1 is closed on 23 Nov 2026: Holiday.",
        "may be pregnant",
    ):
        assert one in told


def test_what_a_walk_in_pushes_aside_is_said_and_signed(head: ProcedureType) -> None:
    other = booked("10:30", "11:30")
    client = sign_in()
    assert walk_in(client, head, unknown="1").status_code == 302
    assert reason_of(ScheduledProcedureStep.objects.exclude(pk=other.pk).get()) == "overlap"
    assert "Booked all the same: 10:42–10:57 overlaps" in said(client)


def test_scanner_that_does_not_do_it_is_an_error_for_everybody(
    head: ProcedureType, ct1: Station
) -> None:
    mr1, old = station("MR1", "MR 1"), station("CT9", "CT 9")
    anna, client = patient(), sign_in("Supervisor")
    response = walk_in(client, head, patient=anna.pk, station=mr1.pk)
    assert response.status_code == 422
    assert re.search("MR 1 does .* only. Choose CT 1 or CT 9.", response.content.decode())
    desk = Desk(client, f"?patient={anna.pk}").press("choose_exam", f"p{head.pk}")
    response = desk.save(urgency="STAT", **{"0-station": str(mr1.pk)})
    assert response.status_code == 422
    assert 'name="accept"' not in desk.text
    trail.save(head, by=actor, lists={"allowed_stations": [ct1]})
    assert walk_in(client, head, patient=anna.pk, station=old.pk).status_code == 422
    assert not ScheduledProcedureStep.objects.exists()


def test_making_it_an_emergency_opens_no_closed_day_to_a_move(head: ProcedureType) -> None:
    made = booked("11:00", "11:30", RequestedProcedurePriority="STAT")
    trail.save(ClosedDay(day=dt.date(2026, 11, 24)), by=actor)
    data = {"station": head.default_station_id, "day": "2026-11-24", "time": "12:00", "version": 1}
    response = sign_in("Technologist").post(f"/exams/{made.pk}/move/", data)
    assert response.status_code == 422
    assert "CT 1 is closed on 24 Nov 2026." in response.content.decode()
