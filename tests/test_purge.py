from __future__ import annotations

import datetime as dt
import functools
import io
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from dicomscp.models import Association, Query
from tests import tools
from tests.cast import actor, new_step, patient, step
from tests.processes import ROOT
from tests.waiting import until
from worklist import audited, clock, scheduling
from worklist.audit import seals
from worklist.audit.models import AuditEvent
from worklist.models import (
    FormSubmission,
    ImagingServiceRequest,
    Patient,
    PatientMerge,
    RequestedProcedure,
    ScheduledProcedureStep,
)

pytestmark = pytest.mark.django_db


def test_purge_forgets_forms_of_last_week_and_sessions_that_have_ended() -> None:
    now = timezone.now()
    for days in (0, 6, 8, 30):
        FormSubmission.objects.create(key=uuid.uuid4(), at=now - dt.timedelta(days=days))
    for key, days in (("a", -1), ("b", 1)):
        Session.objects.create(session_key=key, expire_date=now + dt.timedelta(days=days))
    for days in (1, 31):
        at = now - dt.timedelta(days=days)
        call = Association.objects.create(opened=at, is_accepted=True, reason="any")
        Query.objects.create(
            association=call, at=at, identifier=b"", keys=0, sent=0, milliseconds=1
        )
    told = io.StringIO()
    call_command("purge", stdout=told)
    assert told.getvalue().splitlines() == [
        "forms that were sent: 2 deleted",
        "sessions that have ended: 1 deleted",
        "associations and queries of scanners: 2 deleted",
        "heartbeats of runscp: 0 deleted",
    ]
    assert FormSubmission.objects.count() == 2
    assert Session.objects.get().session_key == "b"
    call_command("purge", stdout=io.StringIO())
    assert FormSubmission.objects.count() == 2


# --- orders that are over -------------------------------------------------------------------------


def purge(**options: Any) -> str:
    told = io.StringIO()
    call_command("purge", stdout=told, **options)
    return told.getvalue()


def exam(*, days: int, changed: int | None = None, **more: Any) -> ScheduledProcedureStep:
    """An exam of so many days ago, touched for the last time then."""
    day = clock.today() - dt.timedelta(days=days)
    made = step(ScheduledProcedureStepStartDate=day, **more)
    at = timezone.now() - dt.timedelta(days=days if changed is None else changed)
    ScheduledProcedureStep.objects.filter(pk=made.pk).update(changed_at=at)
    return made


OVER: dict[str, Any] = {"ScheduledProcedureStepStatus": "COMPLETED"}


def test_orders_that_are_over_go_when_the_site_says_so(settings: Any) -> None:
    old = exam(days=100, **OVER)
    exam(days=100, ScheduledProcedureStepStatus="CANCELED")
    kept = [
        exam(days=80, **OVER),
        exam(days=100, changed=10, **OVER),
        exam(days=100),
        exam(days=100, order=exam(days=100, **OVER), ScheduledProcedureStepStatus="STARTED"),
    ]
    assert "orders" not in purge()
    settings.ORDER_DAYS = 90
    assert "orders that are over: 2 would be deleted (dry run)" in purge(dry_run=True)
    assert ScheduledProcedureStep.objects.count() == 7
    assert "orders that are over: 2 deleted" in purge()
    left = set(ScheduledProcedureStep.objects.values_list("pk", flat=True))
    assert {each.pk for each in kept} < left
    assert len(left) == 5
    assert old.requested_procedure.request not in ImagingServiceRequest.objects.all()
    # The patient stays, and is `anonymise`'s.
    assert Patient.objects.count() == 6


def test_an_order_that_goes_is_signed_without_what_it_said_of_the_patient(settings: Any) -> None:
    settings.ORDER_DAYS = 90
    said: dict[str, Any] = {
        "ImagingServiceRequestComments": "call Mr Sentinel",
        "AccessionNumber": "A17",
    }
    made = exam(days=100, **said, **OVER)
    purge()
    events = AuditEvent.objects.filter(action="delete").order_by("pk")
    assert [event.model.rpartition(".")[2] for event in events] == [
        "scheduledprocedurestep",
        "requestedprocedure",
        "imagingservicerequest",
    ]
    assert {(event.actor, event.reason) for event in events} == {("purge", "its time is over")}
    order = events[2].before
    assert (order["accession_number"], order["comments"]) == ("A17", "(hidden)")
    assert order["patient"] == made.requested_procedure.request.patient_id
    assert "Sentinel" not in str([event.before for event in events])
    # Its messages still tell whose it was.
    about = audited.subjects(events)[events[0].pk]
    assert [person.patient_id for person in about.patients] == [Patient.objects.get().patient_id]


def test_fewer_days_than_the_journal_keeps_are_refused(settings: Any) -> None:
    settings.ORDER_DAYS, settings.PATIENT_DAYS, settings.JOURNAL_DAYS = 10, 20, 30
    with pytest.raises(CommandError, match=r"ORDER_DAYS \(10\) is less"):
        purge()
    settings.ORDER_DAYS = 0
    with pytest.raises(CommandError, match=r"PATIENT_DAYS \(20\) is less"):
        purge()


def test_what_is_yet_to_come_is_never_taken(settings: Any) -> None:
    settings.ORDER_DAYS = settings.OPEN_ORDER_DAYS = settings.PATIENT_DAYS = 90
    for status in ("SCHEDULED", "STARTED", "CANCELED"):
        exam(days=-1, changed=4000, ScheduledProcedureStepStatus=status)
    Patient.objects.update(changed_at=timezone.now() - dt.timedelta(days=4000))
    purge()
    assert ScheduledProcedureStep.objects.count() == 3
    assert not Patient.objects.exclude(anonymised_at=None).exists()


def test_an_exam_that_was_never_closed_keeps_its_order_unless_the_site_says_for_how_long(
    settings: Any,
) -> None:
    settings.ORDER_DAYS = 90
    exam(days=400)
    exam(days=400, order=exam(days=400, **OVER))
    kept = [exam(days=300), exam(days=400, changed=10)]
    assert "orders that are over: 0 deleted" in purge()
    settings.OPEN_ORDER_DAYS = 365
    assert "orders that are over: 2 would be deleted (dry run)" in purge(dry_run=True)
    assert "orders that are over: 2 deleted" in purge()
    assert list(ScheduledProcedureStep.objects.order_by("pk")) == kept
    settings.ORDER_DAYS = 0
    with pytest.raises(CommandError, match=r"OPEN_ORDER_DAYS \(365\) is less"):
        purge()


def test_many_orders_take_few_statements_each_batch_in_a_transaction_of_its_own(
    settings: Any, django_assert_max_num_queries: Any
) -> None:
    settings.ORDER_DAYS = 90
    made_up(250)
    with django_assert_max_num_queries(120) as asked:
        assert "orders that are over: 250 deleted" in purge()
    batches = [each for each in asked if each["sql"].startswith("SAVEPOINT")]
    assert len(batches) >= 3
    assert AuditEvent.objects.filter(action="delete").count() == 750
    told = AuditEvent.objects.filter(model="worklist.scheduledprocedurestep").first()
    assert told
    assert len(told.before["stations"]) == len(told.before["protocol_codes"]) == 1


def made_up(count: int) -> None:
    """So many orders, over and unchanged for a year."""
    call_command("synthesize", count, verbosity=0, stdout=io.StringIO())
    year_ago = timezone.now() - dt.timedelta(days=365)
    ScheduledProcedureStep.objects.update(
        status="COMPLETED", changed_at=year_ago, start_date=year_ago.date(), end_date=None
    )
    Patient.objects.update(changed_at=year_ago)


# --- patients without orders ----------------------------------------------------------------------


def unchanged(**more: Any) -> Patient:
    """A patient of long ago, without an order."""
    made = patient(name="Sentinel^Anna", **more)
    made.changed_at = timezone.now() - dt.timedelta(days=400)
    Patient.objects.filter(pk=made.pk).update(changed_at=made.changed_at)
    return made


def test_patients_without_orders_go_when_the_site_says_so(settings: Any) -> None:
    old = unchanged(patient_id="P1", address="Sentinel street 1")
    kept = {patient("P2").pk, exam(days=10, PatientID="P3").requested_procedure.request.patient_id}
    assert "patients" not in purge()
    settings.PATIENT_DAYS = 365
    assert "patients without orders: 1 would be deleted (dry run)" in purge(dry_run=True)
    assert "patients without orders: 1 deleted" in purge()
    assert set(Patient.objects.values_list("pk", flat=True)) == kept
    event = AuditEvent.objects.get(action="delete")
    assert (event.actor, event.object_id) == ("purge", str(old.pk))
    assert "sentinel" not in f"{event.object_label} {event.before}".lower()
    # What was told when she was registered still tells whom older events are about.
    about = audited.subjects([event])[event.pk]
    assert [person.patient_id for person in about.patients] == ["P1"]


def test_a_patient_goes_with_the_last_order_and_one_whose_orders_stay_becomes_a_pseudonym(
    settings: Any,
) -> None:
    settings.ORDER_DAYS = settings.PATIENT_DAYS = 365
    exam(days=400, PatientID="P1", **OVER)
    exam(days=400, PatientID="P2")
    exam(days=300, PatientID="P3")
    Patient.objects.update(changed_at=timezone.now() - dt.timedelta(days=400))
    told = purge(dry_run=True)
    assert "patients without orders: 1 would be deleted" in told
    assert "patients with orders: 1 would be anonymised" in told
    assert Patient.objects.filter(anonymised_at=None).count() == 3
    told = purge()
    assert "patients without orders: 1 deleted" in told
    assert "patients with orders: 1 anonymised" in told
    assert not Patient.objects.filter(patient_id__in=("P1", "P2")).exists()
    assert Patient.objects.exclude(anonymised_at=None).count() == 1
    told = purge()
    assert "patients without orders: 0 deleted" in told
    assert "patients with orders: 0 anonymised" in told


def test_those_who_were_merged_go_with_the_one_whom_they_became(settings: Any) -> None:
    settings.PATIENT_DAYS = 365
    first, second, third, other = (unchanged(patient_id=f"P{n}") for n in range(4))
    scheduling.merge(second, third, by=actor)
    scheduling.merge(first, second, by=actor)
    undone = scheduling.merge(first, other, by=actor)
    scheduling.unmerge(undone, by=actor)
    assert "patients without orders: 0 deleted" in purge()  # a merge is a change
    Patient.objects.exclude(pk=other.pk).update(changed_at=first.changed_at)
    assert "patients without orders: 1 deleted" in purge()
    assert list(Patient.objects.all()) == [other]
    assert not PatientMerge.objects.exists()
    events = AuditEvent.objects.filter(actor="purge")
    assert events.count() == 6
    assert "sentinel" not in str([(each.object_label, each.before) for each in events]).lower()


# --- whoever is at work meanwhile -----------------------------------------------------------------


@tools.needs("postgres")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "held", [Patient, ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep]
)
def test_what_somebody_holds_stays_for_the_next_time_and_nobody_is_waited_for(
    settings: Any, held: type[models.Model]
) -> None:
    settings.ORDER_DAYS = settings.PATIENT_DAYS = 90
    exam(days=100, PatientID="P1", **OVER)
    exam(days=100, PatientID="P2", **OVER)
    Patient.objects.update(changed_at=timezone.now() - dt.timedelta(days=400))
    first = held._default_manager.order_by("pk")[0]
    with transaction.atomic():
        held._default_manager.select_for_update().get(pk=first.pk)
        with ThreadPoolExecutor(1) as beside:
            told = beside.submit(in_thread).result(timeout=20)
    assert "orders that are over: 1 deleted" in told
    assert "patients without orders: 1 deleted" in told
    told = purge()
    assert "orders that are over: 1 deleted" in told
    assert "patients without orders: 1 deleted" in told
    assert not Patient.objects.exists()


@tools.needs("postgres")
@pytest.mark.django_db(transaction=True)
def test_an_exam_that_is_added_meanwhile_keeps_its_order(settings: Any) -> None:
    settings.ORDER_DAYS = 90
    old = exam(days=100, **OVER)
    with transaction.atomic():
        procedure = old.requested_procedure
        scheduling.save_step(
            new_step(requested_procedure=procedure, start_date=clock.today()), by=actor
        )
        with ThreadPoolExecutor(1) as beside:
            told = beside.submit(in_thread).result(timeout=20)
    assert "orders that are over: 0 deleted" in told
    assert ScheduledProcedureStep.objects.filter(requested_procedure=procedure).count() == 2


def in_thread() -> str:
    try:
        return purge()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_purge_that_is_killed_leaves_each_order_whole_or_gone_and_goes_on(settings: Any) -> None:
    settings.ORDER_DAYS = settings.PATIENT_DAYS = 90
    made_up(1500)
    seals.seal()
    for more in (1, 400):
        with started() as process:
            enough = deleted() + more
            until(functools.partial(has_deleted, enough), "purge deletes nothing")
            process.kill()
        halves = Q(procedures=None) | Q(procedures__steps=None)
        assert not ImagingServiceRequest.objects.filter(halves).exists()
    assert ImagingServiceRequest.objects.exists()
    purge(rest=0)
    assert not ImagingServiceRequest.objects.exists()
    assert not Patient.objects.exists()
    events = AuditEvent.objects.filter(action="delete", actor="purge")
    for model in ("imagingservicerequest", "requestedprocedure", "scheduledprocedurestep"):
        told = events.filter(model=f"worklist.{model}").values_list("object_id", flat=True)
        assert len(told) == len(set(told)) == 1500
    seals.seal()
    assert seals.verify().faults == []


def has_deleted(count: int) -> bool:
    return deleted() >= count


def deleted() -> int:
    told = AuditEvent.objects.filter(action="delete", actor="purge")
    return told.filter(model="worklist.imagingservicerequest").count()


@contextmanager
def started() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "purge", "--rest=0"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": tools.database_url(),
            "DJANGO_SETTINGS_MODULE": "worklist.settings",
            "ORDER_DAYS": "90",
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
