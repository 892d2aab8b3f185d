from __future__ import annotations

import datetime as dt
import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.cast import MONDAY, NOW, actor, booked, kind, patient, station
from tests.pages import at_once, fields, sign_in
from tests.test_slots import with_hours
from worklist import clock
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import (
    ClosedDay,
    Patient,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
    StepStatus,
)
from worklist.scheduling import walk_ins

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW.replace(second=30))


@pytest.fixture
def ct1() -> Station:
    return station("CT1", "CT 1")


@pytest.fixture
def head(ct1: Station) -> ProcedureType:
    return kind("CTHEAD", "CT head", default_station=ct1, minutes=15)


def send(client: Client, head: ProcedureType, **typed: Any) -> Any:
    page = client.get("/walk-in/").content.decode()
    usual = {"exam": head.pk, "station": head.default_station_id, "act": "save", "urgency": "STAT"}
    return client.post("/walk-in/", {**fields(page), **usual, **typed})


def test_known_patient_is_on_the_list_at_once(head: ProcedureType, ct1: Station) -> None:
    anna = patient()
    response = send(sign_in(), head, patient=anna.pk, urgency="ROUTINE")
    assert response.status_code == 302
    made = ScheduledProcedureStep.objects.get()
    assert (made.start_date, made.start_time, made.end_time) == (
        MONDAY,
        dt.time(10, 42),
        dt.time(10, 57),
    )
    assert (made.status, made.requested_procedure.priority) == ("ARRIVED", "ROUTINE")
    assert made.requested_procedure.request.patient == anna
    assert trail.ordered(made, "stations") == [ct1]


@pytest.mark.parametrize(
    ("sex", "name", "stored"),
    [("M", "MALE", "M"), ("F", "FEMALE", "F"), ("O", "PERSON", "O"), ("", "PERSON", "O")],
)
def test_unknown_patient_has_a_name_and_an_id_that_scanners_take(
    head: ProcedureType, settings: Any, sex: str, name: str, stored: str
) -> None:
    settings.ISSUER_OF_PATIENT_ID = "HOSP"
    assert send(sign_in(), head, unknown="1", unknown_sex=sex).status_code == 302
    made = Patient.objects.get()
    assert made.name == f"UNKNOWN^{name}^23NOV1042"
    assert re.fullmatch(r"E\d\d-0001", made.patient_id)
    assert (made.sex, made.birth_date, made.issuer) == (stored, None, "HOSP")
    assert made.is_unknown


def test_two_unknown_patients_of_one_minute_have_their_own_ids(head: ProcedureType) -> None:
    client = sign_in()
    for _ in range(2):
        assert send(client, head, unknown="1").status_code == 302
    first, second = Patient.objects.order_by("pk")
    assert first.name == second.name
    assert first.patient_id != second.patient_id


def test_urgency_is_chosen_and_somebody_unknown_is_an_emergency(head: ProcedureType) -> None:
    client = sign_in()
    assert fields(client.get("/walk-in/").content.decode())["urgency"] == "ROUTINE"
    unknown = client.get("/walk-in/?unknown=1").content.decode()
    assert fields(unknown)["urgency"] == "STAT"
    assert send(client, head, unknown="1", urgency="HIGH").status_code == 302
    made = ScheduledProcedureStep.objects.get()
    assert made.requested_procedure.priority == "HIGH"


def test_what_speaks_against_a_walk_in_that_is_no_emergency_is_asked(head: ProcedureType) -> None:
    booked("10:30", "11:30")
    client = sign_in()
    page = send(client, head, unknown="1", urgency="ROUTINE")
    assert page.status_code == 422
    (tick,) = re.findall(r'name="accept" value="([^"]+)"', page.content.decode())
    data = {**fields(page.content.decode()), "act": "save", "accept": tick}
    assert client.post("/walk-in/", data).status_code == 422
    assert client.post("/walk-in/", {**data, "why": "Sent by the ward"}).status_code == 302
    event = AuditEvent.objects.filter(model="worklist.scheduledprocedurestep").latest("pk")
    assert event.reason == "Sent by the ward"


def test_nothing_blocks_an_emergency(head: ProcedureType, ct1: Station) -> None:
    booked("10:30", "11:30")
    with_hours(ct1, (0, "12:00", "13:00"))
    trail.save(ClosedDay(day=MONDAY), by=actor)
    assert send(sign_in(), head, unknown="1").status_code == 302


def test_start_at_a_time(head: ProcedureType) -> None:
    client = sign_in()
    assert send(client, head, unknown="1", start="at", time="11:20").status_code == 302
    made = ScheduledProcedureStep.objects.get()
    assert (made.start_date, made.start_time, made.status) == (MONDAY, dt.time(11, 20), "SCHEDULED")
    response = send(client, head, unknown="1", start="at", time="")
    assert response.status_code == 422
    assert "Enter the time" in response.content.decode()


@pytest.mark.parametrize(
    ("now", "typed", "day"),
    [("23:58", "00:10", 1), ("10:42", "10:30", 0), ("13:00", "02:00", 0), ("00:10", "23:50", 0)],
)
def test_time_after_midnight_is_tomorrows(
    head: ProcedureType, monkeypatch: pytest.MonkeyPatch, now: str, typed: str, day: int
) -> None:
    here = dt.datetime.combine(MONDAY, dt.time.fromisoformat(now))
    monkeypatch.setattr(clock, "now", lambda: here)
    client = sign_in()
    response = send(client, head, unknown="1", start="at", time=typed)
    made = ScheduledProcedureStep.objects.get()
    assert made.start_date == MONDAY + dt.timedelta(days=day)
    if day:
        page = client.get(response["Location"]).content.decode()
        assert "on the list of CT 1 at 24 Nov 2026, 00:10." in page


def test_form_without_patient_exam_and_scanner_says_so() -> None:
    response = sign_in().post("/walk-in/", {"act": "save", "start": "now", "urgency": "STAT"})
    assert response.status_code == 422
    for told in ("Choose the patient", "Choose the exam.", "Choose the scanner."):
        assert told in response.content.decode()


def test_patient_is_found_without_scripts(head: ProcedureType) -> None:
    anna = patient(name="Rossi^Paolo", birth_date=dt.date(1948, 9, 9))
    client = sign_in()
    values = {"exam": head.pk, "act": "default", "patient_query": "rossi, paolo 9.9.48"}
    page = client.post("/walk-in/", values).content.decode()
    assert "ROSSI, Paolo" in page
    page = client.post("/walk-in/", {**fields(page), "choose_patient": anna.pk}).content.decode()
    assert fields(page)["patient"] == str(anna.pk)
    assert fields(page)["exam"] == str(head.pk)


NEW = {"family": "Rossi", "given": "Paolo", "born": "9.9.48", "sex": "M"}


def test_patient_who_is_not_here_is_typed_right_there(head: ProcedureType, settings: Any) -> None:
    settings.ISSUER_OF_PATIENT_ID = "HOSP"
    client = sign_in()
    values = {
        "exam": head.pk,
        "station": head.default_station_id,
        "patient_query": "rossi paolo 9.9.48",
    }
    page = client.post("/walk-in/", {**values, "choose_patient": "new"}).content.decode()
    form = fields(page)
    assert (form["family"], form["given"], form["exam"]) == ("Rossi", "Paolo", str(head.pk))
    assert form["born"] == "1948-09-09"
    assert "sex" not in form
    form["born"] = ""
    response = client.post("/walk-in/", {**form, "act": "default"})
    assert response.status_code == 422
    for told in ("Enter the date of birth", "Choose the sex."):
        assert told in response.content.decode()
    assert client.post("/walk-in/", {**form, **NEW, "act": "default"}).status_code == 302
    made = Patient.objects.get()
    assert (made.name, made.birth_date, made.sex) == ("Rossi^Paolo", dt.date(1948, 9, 9), "M")
    assert re.fullmatch(r"P\d\d-000001", made.patient_id)
    assert (made.issuer, made.is_unknown) == ("HOSP", False)


def test_new_patient_who_may_be_here_is_asked_about(head: ProcedureType) -> None:
    stored = patient("P1", "Rossi^Paola", birth_date=dt.date(1948, 9, 9))
    client = sign_in()
    response = send(client, head, new="1", **NEW)
    page = response.content.decode()
    assert response.status_code == 422
    assert "Say whether this patient is here already." in page
    assert "ROSSI, Paola" in page
    twins = client.post("/walk-in/?part=twins", {"new": "1", **NEW}).content.decode()
    assert "ROSSI, Paola" in twins
    patient("P2", "Rossi^Paolo", birth_date=dt.date(1948, 9, 9))
    twins = client.post("/walk-in/?part=twins", {"new": "1", **NEW}).content.decode()
    told = re.findall(r"<h3>(.*?)</h3>", twins)
    assert told == [
        "A patient of this name was born on the same day",
        "A patient with a like name was born on the same day",
    ]
    Patient.objects.filter(patient_id="P2").delete()
    assert Patient.objects.count() == 1
    chosen = client.post("/walk-in/", {**fields(page), "choose_patient": stored.pk})
    assert fields(chosen.content.decode())["patient"] == str(stored.pk)
    (two_people,) = re.findall(r'name="accept" value="([^"]+)"', page)
    assert send(client, head, new="1", accept=two_people, **NEW).status_code == 302
    assert Patient.objects.count() == 2


def test_exam_is_searched_and_what_this_pc_has_booked_last_comes_first(
    head: ProcedureType,
) -> None:
    others = [kind(f"CT{n}", f"CT {n}", default_station=head.default_station) for n in range(9)]
    client = sign_in()

    def options() -> list[str]:
        answer = client.post("/exams/new/procedures/?on=walk-in", {"exam_query": "ct"})
        return re.findall(r'"choose_exam": "p(\d+)"', answer.content.decode())

    assert (
        'hx-post="/walk-in/?part=exam"'
        in client.post("/exams/new/procedures/?on=walk-in", {"exam_query": "ct"}).content.decode()
    )
    assert fields(client.get("/walk-in/").content.decode())["exam"] == ""
    for each in (head, others[8]):
        assert send(client, each, unknown="1").status_code == 302
    assert options()[:2] == [str(others[8].pk), str(head.pk)]
    assert len(options()) == 8
    assert fields(client.get("/walk-in/").content.decode())["exam"] == str(others[8].pk)
    found = client.post("/walk-in/", {"exam_query": "ct he", "act": "default", "unknown": "1"})
    assert fields(found.content.decode())["exam"] == str(head.pk)
    # Another PC knows nothing of it, and what is not in use any more is not proposed.
    assert fields(sign_in().get("/walk-in/").content.decode())["exam"] == ""
    others[8].is_active = False
    trail.save(others[8], by=actor)
    assert fields(client.get("/walk-in/").content.decode())["exam"] == ""


def test_scanners_that_can_do_it_say_when_they_are_free(head: ProcedureType) -> None:
    station("CT2", "CT 2"), station("US1", "US 1")
    booked("10:30", "11:20", on="CT1")
    booked("10:50", "11:00", on="CT2", ScheduledProcedureStepStatus="CANCELED")
    page = sign_in().get(f"/walk-in/?part=exam&exam={head.pk}").content.decode()
    told = re.sub(r"<[^>]*>|\s+", " ", page)
    assert re.findall(r"(\w\w \d) +free (\S+)", told) == [("CT 2", "now"), ("CT 1", "11:20")]
    assert 'value="' in page
    assert "US 1" not in page
    assert told.count("overlaps now") == 1
    ct2 = Station.objects.get(ae_title="CT2")
    assert f'value="{ct2.pk}" checked' in page


def test_what_the_walk_in_runs_into_is_counted(head: ProcedureType, ct1: Station) -> None:
    booked("10:30", "10:50", ScheduledProcedureStepStatus=StepStatus.STARTED)
    booked("10:45", "11:00")
    booked("11:00", "11:30")
    booked("12:00", "12:30")
    booked("13:00", "13:30", ScheduledProcedureStepStatus=StepStatus.CANCELED)
    booked("11:00", "11:30", on="CT2")
    send(sign_in(), head, unknown="1")
    made = ScheduledProcedureStep.objects.latest("pk")
    pushed = walk_ins.pushed_by(made, ct1)
    assert pushed == walk_ins.Pushed(ct1, dt.datetime(2026, 11, 23, 10, 45), 3, 15)


def test_following_exams_are_offered_to_be_moved(head: ProcedureType, ct1: Station) -> None:
    booked("10:45", "11:00")
    booked("11:00", "11:30")
    client = sign_in()
    address = send(client, head, unknown="1")["Location"]
    page = client.get(address).content.decode()
    assert "Move the following 2 exams by 15 min" in page
    assert 'name="undo"' in page


def test_offer_moves_what_it_says_and_not_the_walk_in_and_is_undone(
    head: ProcedureType, ct1: Station
) -> None:
    # It runs into one that should have begun, and others follow.
    others = [booked("10:30", "10:50"), booked("10:50", "11:10"), booked("13:00", "13:30")]
    yesterday = booked("10:45", "11:15")
    yesterday.start_date = yesterday.end_date = MONDAY - dt.timedelta(days=1)
    trail.save(yesterday, by=actor)
    client = sign_in()
    page = client.get(send(client, head, unknown="1")["Location"]).content.decode()
    told = re.search(r'href="(/move/[^"]+)">Move the following 3 exams by 30 min<', page)
    assert told, page
    here = unescape(told[1])
    preview = client.get(here).content.decode()
    (seen,) = re.findall(r'name="seen" value="([^"]+)"', preview)
    assert "3 exams on CT 1" in preview
    assert "UNKNOWN" not in preview
    data = {"seen": seen, "count": "3", "reason": "Emergency came in"}
    ticks = re.findall(r'name="accept" value="([^"]+)"', preview)
    response = client.post(here, {**data, "accept": ticks, "anyway": "1"})
    assert response["Location"] == "/today/?day=2026-11-23"
    walk_in = ScheduledProcedureStep.objects.latest("pk")

    def times() -> str:
        rows = [ScheduledProcedureStep.objects.get(pk=each.pk) for each in (walk_in, *others)]
        return " ".join(f"{row.start_time:%H:%M}" for row in rows)

    assert times() == "10:42 11:00 11:20 13:30"
    page = client.get(response["Location"]).content.decode()
    tokens = re.findall(r'name="undo" value="([^"]+)"', page)
    client.post("/undo/", {"undo": tokens[-1]})
    assert times() == "10:42 10:30 10:50 13:00"


def test_walk_in_that_runs_into_nothing_moves_nothing(head: ProcedureType, ct1: Station) -> None:
    booked("11:00", "11:30")
    send(sign_in(), head, unknown="1")
    assert walk_ins.pushed_by(ScheduledProcedureStep.objects.latest("pk"), ct1) is None


def test_walk_in_asks_a_fixed_number_of_statements(head: ProcedureType) -> None:
    client = sign_in()

    def statements() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as seen:
            client.get(f"/walk-in/?exam={head.pk}")
        with CaptureQueriesContext(connection) as sent:
            assert send(client, head, unknown="1").status_code == 302
        return len(seen), len(sent)

    statements()
    booked("10:45", "11:00")
    few = statements()
    for minute in range(10, 30):
        booked(f"11:{minute}", "12:00")
        kind(f"CT{minute}", f"CT {minute}", default_station=head.default_station)
    assert statements() == few


@pytest.mark.django_db(transaction=True)
def test_walk_in_that_is_sent_twice_at_once_is_one(head: ProcedureType) -> None:
    clients = [sign_in(), sign_in()]
    key = fields(clients[0].get("/walk-in/").content.decode())["form_key"]
    responses = at_once(
        *(lambda client=client: send(client, head, unknown="1", form_key=key) for client in clients)
    )
    assert [response.status_code for response in responses] == [302, 302]
    assert ScheduledProcedureStep.objects.count() == 1
