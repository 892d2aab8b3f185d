"""Rows that are written past the ORM hold what the ORM would have written."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.utils import timezone

from dicomscp.access import Reason
from dicomscp.models import Association, Ended, Query
from worklist.audit import inserts
from worklist.audit.models import AuditEvent, Outcome

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()
THERE = uuid.uuid4()


def call(**more: Any) -> Association:
    given: dict[str, Any] = {
        "opened": NOW,
        "calling": "CT 1\\u4e00",
        "address": "fe80::1%eth0",
        "contexts": 'a\tb\nc\\N "d"',
        "is_accepted": False,
        "reason": Reason.STRANGER,
    }
    return Association(**{**given, **more})


def asked(**more: Any) -> Query:
    given: dict[str, Any] = {
        "at": NOW.astimezone(dt.timezone(dt.timedelta(hours=5))),
        "address": "10.0.0.1",
        "identifier": bytes(range(256)),
        "transfer_syntax": "1.2.840.10008.1.2",
        "keys": 7,
        "steps": [1, None, 3],
        "sent": 3,
        "milliseconds": 12,
    }
    return Query(**{**given, **more})


def event(**more: Any) -> AuditEvent:
    given: dict[str, Any] = {"at": NOW, "actor": "CT1", "action": "query", "model": ""}
    return AuditEvent(**{**given, **more})


ROWS: list[Callable[[], models.Model]] = [
    lambda: call(closed=NOW, ended=Ended.REJECTED),
    lambda: call(is_accepted=True, reason=str(Reason.KNOWN)),
    lambda: asked(association_id=THERE, status=0xA700, matches=5000, comment="Müller\n\t\\."),
    lambda: asked(status=None, matches=None),
    lambda: event(outcome=Outcome.MINOR_FAILURE, address="::1", after={"a": ["ä", None, NOW]}),
    lambda: event(object_label="山田^太郎", reason="\\N", before={"x": "\\", "y": {}}),
]


@pytest.mark.parametrize("make", ROWS)
def test_a_row_is_the_same_as_the_orms(make: Callable[[], models.Model]) -> None:
    call(pk=THERE).save(force_insert=True)
    mine, orms = make(), make()
    manager: Any = type(mine)._default_manager
    manager.exclude(pk=THERE).delete()
    inserts.insert([mine])
    (held,) = manager.exclude(pk=THERE).values()
    orms.save(force_insert=True)
    expected = manager.filter(pk=orms.pk).values().get()
    for other_each_time in ("id", "number"):
        held.pop(other_each_time, None)
        expected.pop(other_each_time, None)
    assert held == expected
