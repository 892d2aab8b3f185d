"""What is booked together: contrast in a set, another exam of an order, rows as they stand."""

from __future__ import annotations

import datetime as dt
import re
import threading
from typing import Any

import pytest
from django.db import connection, transaction

from tests import tools
from tests.cast import actor, kind, patient
from tests.pages import Desk, at_once, fields
from worklist import scheduling
from worklist.audit import trail
from worklist.models import (
    ImagingServiceRequest,
    OrderSet,
    Patient,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling import booking
from worklist.scheduling.booking import PlannedExam, Visit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stand_still")]


@pytest.fixture
def chest(ct1: Station) -> ProcedureType:
    return kind("CTCHEST", "CT chest", default_station=ct1, minutes=15)


def test_contrast_of_a_set_is_for_the_exams_that_use_it(ct1: Station, head: ProcedureType) -> None:
    abdomen = kind("CTABD", "CT abdomen", default_station=ct1, minutes=15, uses_contrast=True)
    both = OrderSet(name="Both", code="BOTH")
    trail.save(both, by=actor, lists={"procedure_types": [abdomen, head]})
    desk = Desk(query=f"?patient={patient(allergies='Iodine').pk}")
    desk.press("choose_exam", f"s{both.pk}", contrast_agent="Iohexol", creatinine="80 µmol/l")
    desk.save()
    accept = re.findall(r'name="accept" value="([^"]+)"', desk.text)
    assert [each.partition("-")[0] for each in accept] == ["allergy"]
    assert "CT head uses a contrast agent" not in desk.text
    assert desk.save(accept=accept).status_code == 302
    found = ScheduledProcedureStep.objects.order_by("start_time")
    assert [(each.description, each.contrast_agent, each.comments) for each in found] == [
        ("CT abdomen", "Iohexol", "Creatinine: 80 µmol/l"),
        ("CT head", "", ""),
    ]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"contrast_agent": "Iohexol"}, "Tick “A contrast agent is given”, or empty this field."),
        ({"creatinine": "0.9"}, "Tick “A contrast agent is given”, or empty this field."),
        ({"creatinine_date": "2026-11-20"}, "Tick “A contrast agent is given”"),
        ({"contrast": "on", "creatinine_date": "2026-11-20"}, "Enter the creatinine, or empty"),
    ],
)
def test_nothing_of_a_contrast_agent_is_dropped(
    head: ProcedureType, typed: dict[str, str], message: str
) -> None:
    desk = Desk(query=f"?patient={patient().pk}").press("choose_exam", f"p{head.pk}")
    assert desk.save(**typed).status_code == 422
    assert message in desk.text
    assert typed.items() <= fields(desk.text).items()
    assert "Creatinine in mg/dL" in desk.text


# --- another exam of the order --------------------------------------------------------------------


def booked_before(head: ProcedureType) -> tuple[Desk, ScheduledProcedureStep]:
    """The form for another exam, and the first, whose order says something in every field."""
    desk = Desk(query=f"?patient={patient().pk}").press("choose_exam", f"p{head.pk}")
    said = {"history": "Fell", "ward": "Ward 7", "placer_number": "PL9", "admission_id": "AD9"}
    data = {**desk.values, **said, "referring": "House, Greg", "act": "save-another"}
    response = desk.client.post("/exams/new/", data)
    return Desk(desk.client, response["Location"].removeprefix("/exams/new/")), (
        ScheduledProcedureStep.objects.get()
    )


def test_order_that_gets_another_exam_stands_in_the_form_and_is_amended(
    head: ProcedureType, chest: ProcedureType
) -> None:
    desk, first = booked_before(head)
    order = first.requested_procedure.request
    assert desk.values["history"] == "Fell"
    assert (desk.values["ward"], desk.values["admission_id"]) == ("Ward 7", "AD9")
    assert f"added to the order {order.accession_number}" in desk.text
    assert "empty: that of the order" in desk.text
    desk.press("choose_exam", f"p{chest.pk}", history="Fell, on metformin", ward="")
    assert desk.save(referring="Other, Doctor").status_code == 302
    order.refresh_from_db()
    assert ImagingServiceRequest.objects.count() == 1
    assert (order.comments, order.patient_location) == ("Fell, on metformin", "")
    assert (order.placer_order_number, order.admission_id) == ("PL9", "AD9")
    assert order.referring_physician == "Other^Doctor"


def test_order_of_its_own_says_what_the_form_says(
    head: ProcedureType, chest: ProcedureType
) -> None:
    desk, first = booked_before(head)
    desk.press("choose_exam", f"p{chest.pk}", ward="Ward 8")
    desk.values.pop("one_request")
    assert desk.save().status_code == 302
    old, new = ImagingServiceRequest.objects.order_by("pk")
    assert (old.patient_location, new.patient_location) == ("Ward 7", "Ward 8")
    assert new.comments == "Fell"
    assert new.pk != first.requested_procedure.request_id


def test_order_that_somebody_has_changed_meanwhile_is_not_written_over(
    head: ProcedureType, chest: ProcedureType
) -> None:
    desk, first = booked_before(head)
    order = first.requested_procedure.request
    desk.press("choose_exam", f"p{chest.pk}", history="On metformin")
    order.refresh_from_db()
    order.patient_location = "Ward 9"
    scheduling.save_request(order, by=actor)
    assert desk.save().status_code == 422
    assert "is “Ward 9” by now" in desk.text
    assert ScheduledProcedureStep.objects.count() == 1
    desk.values = fields(desk.text)
    assert desk.values["history"] == "On metformin"
    assert desk.save(ward="Ward 9").status_code == 302
    order.refresh_from_db()
    assert (order.patient_location, order.comments) == ("Ward 9", "On metformin")


def test_order_says_nothing_of_another_patient(head: ProcedureType, chest: ProcedureType) -> None:
    desk, _ = booked_before(head)
    otto = patient("P2", "Weber^Otto")
    desk.press("choose_exam", f"p{chest.pk}", ward="Ward 8")
    desk.press("choose_patient", "none")
    assert "after" not in desk.values
    assert (desk.values["history"], desk.values["ward"]) == ("", "Ward 8")
    desk.press("choose_patient", str(otto.pk))
    assert desk.save().status_code == 302
    last = ScheduledProcedureStep.objects.latest("pk").requested_procedure.request
    assert (last.patient, last.comments, last.admission_id) == (otto, "", "")


def test_order_number_that_is_typed_again_is_the_same_order(
    head: ProcedureType, chest: ProcedureType
) -> None:
    desk, first = booked_before(head)
    number = first.requested_procedure.request.accession_number
    desk.press("choose_exam", f"p{chest.pk}")
    assert desk.save(accession_number=number).status_code == 302
    assert ImagingServiceRequest.objects.count() == 1


# --- rows as they stand ---------------------------------------------------------------------------


def visit_of(anna: Patient, head: ProcedureType, ct1: Station, **more: Any) -> Visit:
    start = dt.datetime(2026, 11, 23, 15)
    return Visit(ImagingServiceRequest(patient=anna), (PlannedExam(head, ct1, start, 15),), **more)


def test_answer_about_a_pregnancy_is_all_that_is_saved_of_the_patient(
    head: ProcedureType, ct1: Station
) -> None:
    anna = patient(sex="F", weight="60")
    seen = Patient.objects.get(pk=anna.pk)
    anna.weight, anna.allergies = "61", "Iodine"
    scheduling.save_patient(anna, by=actor)
    seen.pregnancy_status = 1
    booking.book(visit_of(seen, head, ct1, amends_patient=True), by=actor)
    anna.refresh_from_db()
    assert (anna.pregnancy_status, anna.weight, anna.allergies) == (1, "61", "Iodine")


def test_risk_that_was_noted_meanwhile_asks(ct1: Station) -> None:
    contrast = kind("CTC", "CT contrast", uses_contrast=True, default_station=ct1)
    anna = patient()
    seen = Patient.objects.get(pk=anna.pk)
    anna.allergies = "Iodine"
    scheduling.save_patient(anna, by=actor)
    with pytest.raises(booking.conflicts.ConflictsFound) as raised:
        booking.book(visit_of(seen, contrast, ct1), by=actor)
    assert [each.code for each in raised.value.conflicts] == ["allergy"]


def test_booking_for_one_who_was_merged_meanwhile_is_the_survivors(
    head: ProcedureType, ct1: Station
) -> None:
    anna, survivor = patient(sex="F"), patient("P2", sex="F")
    seen = Patient.objects.get(pk=anna.pk)
    scheduling.merge(survivor, anna, by=actor)
    seen.pregnancy_status = 1
    booking.book(visit_of(seen, head, ct1, amends_patient=True), by=actor)
    anna.refresh_from_db()
    survivor.refresh_from_db()
    assert (anna.pregnancy_status, survivor.pregnancy_status) == (None, 1)
    assert ImagingServiceRequest.objects.get().patient == survivor


@tools.needs("postgres")
@pytest.mark.django_db(transaction=True)
def test_booking_waits_for_a_merge_that_is_under_way(head: ProcedureType, ct1: Station) -> None:
    anna, survivor = patient(sex="F", weight="60"), patient("P2", sex="F")
    seen = Patient.objects.get(pk=anna.pk)
    seen.pregnancy_status = 1
    is_merged = threading.Event()

    def merge() -> None:
        with transaction.atomic():
            scheduling.merge(survivor, anna, by=actor)
            is_merged.set()
            with connection.cursor() as cursor:
                for _ in range(1000):
                    cursor.execute(
                        "SELECT count(*), pg_sleep(0.01) FROM pg_locks WHERE NOT granted"
                    )
                    if cursor.fetchone()[0]:
                        return
        raise AssertionError("nobody waits")

    def book() -> None:
        assert is_merged.wait(20)
        booking.book(visit_of(seen, head, ct1, amends_patient=True), by=actor)

    assert at_once(merge, book) == [None, None]
    anna.refresh_from_db()
    survivor.refresh_from_db()
    assert (anna.pregnancy_status, anna.merged_into, survivor.pregnancy_status) == (
        None,
        survivor,
        1,
    )
    assert ImagingServiceRequest.objects.get().patient == survivor
