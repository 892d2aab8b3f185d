from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction

from tests import tools
from tests.cast import actor, book, new_step, patient
from tests.test_roles import signed_in
from worklist import scheduling
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    PatientMerge,
    RequestedProcedure,
    StepStatus,
)
from worklist.scheduling import PlannedStep, StaleVersion, patients

pytestmark = pytest.mark.django_db


def snapshots(*rows: models.Model) -> list[dict[str, Any]]:
    for row in rows:
        row.refresh_from_db()
    return [trail.snapshot(row) for row in rows]


def of(step: Any) -> ImagingServiceRequest:
    request: ImagingServiceRequest = step.requested_procedure.request
    request.refresh_from_db()
    return request


def test_merge_moves_the_requests_and_the_merged_leads_to_the_survivor() -> None:
    anna, other = patient("P1"), patient("P2", "Mueller^Anna", allergies="Iodine")
    step = book(other)
    done = scheduling.merge(anna, other, by=actor, reason="Same person")
    assert of(step).patient == anna
    anna.refresh_from_db()
    other.refresh_from_db()
    assert (anna.other_ids, anna.other_names, anna.allergies) == ("P2", "Mueller^Anna", "Iodine")
    assert scheduling.resolve(other) == anna
    assert done.request_ids == [of(step).pk]
    signed = AuditEvent.objects.filter(reason="Same person")
    assert sorted(event.model.partition(".")[2] for event in signed) == [
        "imagingservicerequest",
        "patient",
        "patient",
        "patientmerge",
    ]


def test_unmerge_restores_everything_exactly() -> None:
    anna = patient("P1", allergies="Latex", other_ids="X1")
    other = patient("P2", "Mueller^Anna", allergies="Iodine\\Latex", medical_alerts="Pacemaker")
    rows = (anna, other, of(book(anna)), of(book(other)), of(book(other)))
    before = snapshots(*rows)
    done = scheduling.merge(anna, other, by=actor)
    assert snapshots(*rows) != before
    scheduling.unmerge(done, by=actor)
    assert snapshots(*rows) == before


def test_what_was_booked_or_noted_since_stays_with_the_survivor() -> None:
    anna, other = patient("P1"), patient("P2", allergies="Iodine")
    old = book(other)
    done = scheduling.merge(anna, other, by=actor)
    new = book(anna)
    anna.refresh_from_db()
    anna.allergies += "\\Penicillin"
    patients.amend(anna, version=anna.version, by=actor)
    scheduling.unmerge(done, by=actor)
    anna.refresh_from_db()
    assert (of(old).patient, of(new).patient) == (other, anna)
    assert anna.allergies == "Penicillin"


def test_merges_form_a_chain_and_are_taken_back_from_the_newest() -> None:
    one, two, three = (patient(f"P{n}") for n in (1, 2, 3))
    step = book(one)
    first = scheduling.merge(two, one, by=actor)
    second = scheduling.merge(three, two, by=actor)
    one.refresh_from_db()
    assert scheduling.resolve(one) == three
    assert of(step).patient == three
    with pytest.raises(ValidationError, match="came later"):
        scheduling.unmerge(first, by=actor)
    scheduling.unmerge(second, by=actor)
    scheduling.unmerge(first, by=actor)
    assert of(step).patient == one
    with pytest.raises(ValidationError, match="taken back already"):
        scheduling.unmerge(first, by=actor)


def test_unmerge_moves_nothing_that_somebody_has_done_since() -> None:
    anna = patient("P1", "Müller^Anna", weight="70", allergies="Latex\\Nuts")
    other = patient("P2", "Mueller^Anna", allergies="Iodine\\Nuts")
    old = book(other)
    done = scheduling.merge(anna, other, by=actor)
    new = book(anna)
    anna.refresh_from_db()
    anna.name, anna.weight, anna.allergies = "Meier^Anna", "72", "Nuts\\Iodine\\Penicillin"
    patients.amend(anna, version=anna.version, by=actor)
    old.refresh_from_db()
    scheduling.set_status(old, StepStatus.ARRIVED, by=actor)
    scheduling.unmerge(done, by=actor)
    anna.refresh_from_db()
    other.refresh_from_db()
    assert (of(old).patient, of(new).patient) == (other, anna)
    assert (anna.name, anna.weight) == ("Meier^Anna", "72")
    assert (anna.allergies, other.allergies) == ("Nuts\\Penicillin", "Iodine\\Nuts")
    assert (anna.other_ids, anna.other_names, other.merged_into) == ("", "", None)
    old.refresh_from_db()
    assert old.status == "ARRIVED"


def test_nobody_is_merged_into_itself_or_twice() -> None:
    one, two, three = (patient(f"P{n}") for n in (1, 2, 3))
    with pytest.raises(ValidationError, match="itself"):
        scheduling.merge(one, one, by=actor)
    scheduling.merge(two, one, by=actor)
    for survivor, merged in ((three, one), (one, three)):
        with pytest.raises(ValidationError, match="P1 was merged"):
            scheduling.merge(survivor, merged, by=actor)
    assert PatientMerge.objects.count() == 1


def test_same_accession_number_on_both_sides_is_told() -> None:
    one, two = patient("P1"), patient("P2")
    for each in (one, two):
        scheduling.save_request(
            ImagingServiceRequest(patient=each, accession_number="A77"), by=actor
        )
    with pytest.raises(ValidationError, match="A77"):
        scheduling.merge(one, two, by=actor)


def test_merge_on_an_old_version_is_told() -> None:
    one, two = patient("P1"), patient("P2")
    two.allergies = "Iodine"
    patients.amend(two, version=1, by=actor)
    with pytest.raises(StaleVersion):
        scheduling.merge(one, two, by=actor, versions=(1, 1))


def test_order_for_a_merged_patient_is_the_survivors() -> None:
    one, two = patient("P1"), patient("P2")
    stale = Patient.objects.get(pk=one.pk)
    scheduling.merge(two, one, by=actor)
    (step,) = scheduling.place_order(
        ImagingServiceRequest(patient=stale),
        RequestedProcedure(),
        steps=[PlannedStep(new_step())],
        by=actor,
    )
    assert of(step).patient == two


def test_merged_patient_is_not_amended() -> None:
    one, two = patient("P1"), patient("P2")
    scheduling.merge(two, one, by=actor)
    one.refresh_from_db()
    with pytest.raises(ValidationError, match="merged into another"):
        patients.amend(one, version=one.version, by=actor)


def test_unknown_patient_leaves_no_second_name() -> None:
    anna = patient("P1")
    unknown = patient("E26-0001", "UNKNOWN^FEMALE^23NOV1042", is_unknown=True)
    step = book(unknown)
    scheduling.merge(anna, unknown, by=actor)
    anna.refresh_from_db()
    assert (anna.other_ids, anna.other_names) == ("", "")
    assert of(step).patient == anna


def test_what_is_unknown_of_the_survivor_is_filled_in_and_given_back_exactly() -> None:
    anna = patient("P1", sex="", comments="Deaf")
    born = dt.date(1990, 1, 1)
    known: dict[str, Any] = {
        "sex": "F",
        "birth_date": born,
        "weight": "61",
        "telephone_numbers": "123\\456",
    }
    other = patient("P2", special_needs="Wheelchair", pregnancy_status=3, comments="Shy", **known)
    before = snapshots(anna, other)
    done = scheduling.merge(anna, other, by=actor)
    anna.refresh_from_db()
    assert {name: getattr(anna, name) for name in known} == known
    assert (anna.special_needs, anna.pregnancy_status) == ("Wheelchair", 3)
    # What was known of the survivor stands.
    assert anna.comments == "Deaf"
    scheduling.unmerge(done, by=actor)
    assert snapshots(anna, other) == before


@pytest.mark.parametrize(
    ("mine", "others", "stands"), [(1, 3, 3), (3, 1, 3), (4, 1, 1), (None, 4, 4), (2, None, 2)]
)
def test_of_two_answers_on_pregnancy_the_one_that_asks_for_care_stands(
    mine: int | None, others: int | None, stands: int
) -> None:
    anna = patient("P1", pregnancy_status=mine, special_needs="Wheelchair")
    other = patient("P2", pregnancy_status=others, special_needs="Interpreter")
    done = scheduling.merge(anna, other, by=actor)
    anna.refresh_from_db()
    assert anna.pregnancy_status == stands
    assert anna.special_needs == "Wheelchair; Interpreter"
    anna.weight = "62"
    patients.amend(anna, version=anna.version, by=actor)
    scheduling.unmerge(done, by=actor)
    anna.refresh_from_db()
    assert (anna.pregnancy_status, anna.special_needs, anna.weight) == (mine, "Wheelchair", "62")


def test_special_needs_that_do_not_fit_together_are_told() -> None:
    anna, other = patient("P1", special_needs="A" * 40), patient("P2", special_needs="B" * 40)
    with pytest.raises(ValidationError, match="shorten one of them first"):
        scheduling.merge(anna, other, by=actor)


def test_guess_at_an_unknown_patient_is_no_knowledge() -> None:
    anna = patient("P1", sex="")
    scheduling.merge(anna, patient("U1", "UNKNOWN^PERSON", sex="O", is_unknown=True), by=actor)
    anna.refresh_from_db()
    assert anna.sex == ""


@pytest.mark.django_db(transaction=True)
@tools.needs("postgres")
def test_two_who_give_one_new_id_at_once_are_one_who_saves_and_one_who_is_told() -> None:
    anna, other = patient("P1"), patient("P2")
    clerk = signed_in("Clerk")
    answers: list[Any] = []
    data = {"family": "Müller", "given": "Anna", "patient_id": "P9", "version": 1}

    def save() -> None:
        answers.append(clerk.post(f"/patients/{anna.pk}/edit/", data))
        connection.close()

    saving = threading.Thread(target=save)
    with transaction.atomic():
        other.patient_id = "P9"
        scheduling.save_patient(other, by=actor)
        saving.start()
        waiting = False
        until = time.monotonic() + 20
        while not waiting and time.monotonic() < until:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM pg_locks WHERE NOT granted"
                    " AND database = (SELECT oid FROM pg_database WHERE datname=current_database())"
                    " OR NOT granted AND locktype = 'transactionid'"
                )
                waiting = cursor.fetchone() is not None
    saving.join(timeout=20)
    (answer,) = answers
    assert answer.status_code == 422
    assert "gave this patient ID to another patient a moment ago" in answer.content.decode()
