from __future__ import annotations

import datetime as dt
import io
import uuid

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from dicomscp.models import Association, Query
from worklist.models import FormSubmission

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
