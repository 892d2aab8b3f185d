from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.utils import timezone

from tests.cast import actor, book, patient
from worklist import identifiers, values
from worklist.audit import trail
from worklist.models import Counter, ImagingServiceRequest, RequestedProcedure

GIVEN = (identifiers.accession_number, identifiers.requested_procedure_id, identifiers.step_id)


def test_study_instance_uid_is_a_uid_and_new_each_time() -> None:
    made = {identifiers.study_instance_uid() for _ in range(100)}
    assert len(made) == 100
    for uid in made:
        assert uid.startswith("2.25.")
        values.check_text(uid, "UI")


@pytest.mark.django_db
def test_numbers_say_their_kind_and_day_and_fit_their_vr() -> None:
    day = f"{timezone.localdate():%y%m%d}"
    for letter, make in zip("ARS", GIVEN, strict=True):
        assert (make(), make()) == (f"{letter}{day}0001", f"{letter}{day}0002")


@pytest.mark.django_db
def test_number_keeps_growing_past_four_digits_within_16_characters() -> None:
    Counter.objects.create(name=f"A{timezone.localdate():%y%m%d}", value=10**9 - 2)
    made = identifiers.accession_number()
    assert made.endswith("999999999")
    assert len(made) == 16


@pytest.mark.django_db
def test_number_that_came_from_elsewhere_is_passed_over() -> None:
    day = f"A{timezone.localdate():%y%m%d}"
    theirs = ImagingServiceRequest(patient=patient(), accession_number=f"{day}0001")
    trail.save(theirs, by=actor)
    assert identifiers.accession_number() == f"{day}0002"


@pytest.mark.django_db
def test_complete_leaves_what_is_known() -> None:
    procedure = RequestedProcedure(procedure_id="P1", study_instance_uid="1.2.3")
    identifiers.complete(procedure)
    assert (procedure.procedure_id, procedure.study_instance_uid) == ("P1", "1.2.3")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_first", [True, False])
def test_threads_never_get_the_same_number(is_first: bool) -> None:
    if not is_first:
        identifiers.next_number("race")
    start, made = threading.Barrier(2, timeout=20), []

    def take() -> None:
        try:
            start.wait()
            for _ in range(20):
                made.append(identifiers.next_number("race"))
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    first = 1 if is_first else 2
    assert sorted(made) == list(range(first, first + 40))


@pytest.mark.django_db(transaction=True)
def test_two_orders_at_once_share_no_identifier() -> None:
    known, start, steps = patient(), threading.Barrier(2, timeout=20), []

    def place() -> None:
        try:
            start.wait()
            steps.append(book(known))
        finally:
            connection.close()

    threads = [threading.Thread(target=place) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    one, other = steps
    assert one.step_id != other.step_id
    assert one.requested_procedure.procedure_id != other.requested_procedure.procedure_id
    assert (
        one.requested_procedure.request.accession_number
        != other.requested_procedure.request.accession_number
    )
