"""The way through booking and walk-in: what is filled in, where it leads, what the notices say."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from tests.cast import actor, kind, patient, station
from tests.pages import Desk, fields, sign_in
from worklist.audit import trail
from worklist.forms.patient import names_in
from worklist.models import OrderSet, ProcedureType, ScheduledProcedureStep, Station

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stand_still")]

BOARD = "http://testserver/today/?day=2026-11-25&modality=CT&q=rossi"


def from_board(client: Client, query: str = "", *, at: str = "/exams/new/") -> dict[str, Any]:
    """The form as it opens when a link of the board led to it."""
    return fields(client.get(f"{at}{query}", headers={"Referer": BOARD}).content.decode())


@pytest.mark.parametrize(
    ("typed", "family", "given", "born"),
    [
        ("berg anna 12.4.79", "Berg", "Anna", "1979-04-12"),
        ("muster, eva 1980-02-03", "Muster", "Eva", "1980-02-03"),
        ("9 Sep 1948 rossi", "Rossi", "", "1948-09-09"),
        ("12.4.79", "", "", "1979-04-12"),
        ("Rossi, Paolo", "Rossi", "Paolo", ""),
        ("P1008", "", "", ""),
    ],
)
def test_search_for_somebody_new_fills_name_and_birth_date(
    typed: str, family: str, given: str, born: str
) -> None:
    said = names_in(typed)
    assert [said.get(name, "") for name in ("family", "given", "born")] == [family, given, born]
    desk = Desk().press("choose_patient", "new", patient_query=typed)
    assert (desk.values["family"], desk.values["born"]) == (family, born)


def test_booking_and_cancel_lead_back_to_the_board_one_came_from(head: ProcedureType) -> None:
    client, anna = sign_in(), patient()
    page = client.get("/exams/new/", headers={"Referer": BOARD}).content.decode()
    here = "/today/?day=2026-11-25&modality=CT&q=rossi"
    assert f'href="{here}">Cancel' in unescape(page)
    desk = Desk(client, f"?patient={anna.pk}").press("choose_exam", f"p{head.pk}")
    desk.values["next"] = from_board(client)["next"]
    assert desk.save()["Location"] == here
    walk_in = from_board(client, f"?exam={head.pk}&patient={anna.pk}", at="/walk-in/")
    answer = client.post("/walk-in/", {**walk_in, "urgency": "STAT", "act": "save"})
    assert answer["Location"] == here


@pytest.mark.parametrize("led", ["https://evil.example/today/", "", "http://testserver/exams/new/"])
def test_booking_leads_to_the_day_of_the_exam_otherwise(head: ProcedureType, led: str) -> None:
    client = sign_in()
    page = client.get("/exams/new/", headers={"Referer": led}).content.decode()
    assert fields(page)["next"] == ""
    desk = Desk(client, f"?patient={patient().pk}").press("choose_exam", f"p{head.pk}")
    desk.values["next"] = "https://evil.example/today/"
    assert desk.save()["Location"] == "/today/?day=2026-11-23"


def test_another_exam_keeps_the_way_back_without_the_name_in_its_address(
    head: ProcedureType,
) -> None:
    client = sign_in()
    desk = Desk(client, f"?patient={patient().pk}").press("choose_exam", f"p{head.pk}")
    desk.values["next"] = from_board(client)["next"]
    answer = client.post("/exams/new/", {**desk.values, "act": "save-another"})
    assert "rossi" not in answer["Location"]
    page = client.get(answer["Location"]).content.decode()
    assert fields(page)["next"] == "/today/?day=2026-11-25&modality=CT"
    assert re.search(r'id="id_exam_query"[^>]* autofocus', page)
    assert page.count(" autofocus") == 1


def test_notice_of_a_set_names_each_exam_with_its_time_and_scanner(
    head: ProcedureType, ct1: Station
) -> None:
    us1 = station("US1", "US 1")
    abdomen = kind("USABD", "US abdomen", modality="US", default_station=us1, minutes=20)
    both = OrderSet(name="Both", code="BOTH")
    trail.save(both, by=actor, lists={"procedure_types": [head, abdomen]})
    desk = Desk(query=f"?patient={patient().pk}").press("choose_exam", f"s{both.pk}")
    address = desk.save(**{"1-time": "12:00"})["Location"]
    number = ScheduledProcedureStep.objects.latest("pk").requested_procedure.request
    page = desk.client.get(address).content.decode()
    assert (
        f"MÜLLER, Anna is booked for CT head today 10:45 on CT 1 ({number.accession_number}); "
        f"US abdomen today 12:00 on US 1 ({number.accession_number})." in page
    )


def test_scanners_that_do_not_do_it_stand_apart(head: ProcedureType) -> None:
    station("MR1", "MR 1"), station("CT2", "CT 2")
    desk = Desk().press("choose_exam", f"p{head.pk}")
    (select,) = re.findall(r'<select name="0-station".*?</select>', desk.text, re.S)
    fitting, _group, others = select.partition('<optgroup label="Does not do this">')
    assert re.findall(r"\((\w+)\)", fitting) == ["CT1", "CT2"]
    assert re.findall(r"\((\w+)\)", others) == ["MR1"]


def test_list_that_opens_says_that_nothing_matches(head: ProcedureType) -> None:
    client = sign_in()
    for query in ("zebra", "x"):
        found = client.post("/exams/new/procedures/", {"exam_query": query}).content.decode()
        assert f"No exam matches “{query}”." in found
    found = client.post("/exams/new/patients/", {"patient_query": "zebra"}).content.decode()
    assert "No patient matches “zebra”." in found
    assert "+ New patient “zebra”" in found
    found = client.post("/exams/new/patients/", {"patient_query": "z"}).content.decode()
    assert "No patient matches" not in found
    patient("P1", "Zebra^Anna", birth_date=dt.date(1990, 1, 1))
    found = client.post("/exams/new/patients/", {"patient_query": "zebra"}).content.decode()
    assert "No patient matches" not in found


def test_minutes_that_are_typed_over_say_what_the_catalogue_says(head: ProcedureType) -> None:
    desk = Desk().press("choose_exam", f"p{head.pk}")
    answer = desk.client.post("/exams/new/slots/?part=when", {**desk.values, "0-minutes": "20"})
    assert "catalogue says 15" in answer.content.decode()


def test_texts_have_no_asterisks(head: ProcedureType) -> None:
    desk = Desk().press("choose_patient", "new")
    desk.save(sex="", reason="x" * 80)
    found = re.sub(r"<[^>]*>", "", desk.text)
    assert "tick “Make one”" in found
    assert not re.search(r"\*\w", found)
