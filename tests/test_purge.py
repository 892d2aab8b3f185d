from __future__ import annotations

import datetime as dt
import io
import uuid
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone

from dicomscp.models import Association, Query
from tests.cast import step
from worklist import audited, clock
from worklist.audit.models import AuditEvent
from worklist.models import (
    FormSubmission,
    ImagingServiceRequest,
    Patient,
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
    settings.ORDER_DAYS, settings.JOURNAL_DAYS = 10, 30
    with pytest.raises(CommandError, match=r"ORDER_DAYS \(10\) is less"):
        purge()
