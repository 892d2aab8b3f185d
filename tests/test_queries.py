"""The log of queries on the screen: found by scanner, day and outcome; told key by key."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicomscp import asked
from dicomscp.models import Association, Query
from tests import network
from tests.asking import STEP, keys, query
from tests.cast import DAY, actor, station, step
from tests.strategies import Key
from tests.strategies import Query as Request
from worklist import catalogue, clock
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import User

pytestmark = pytest.mark.django_db

NOW = dt.datetime.combine(DAY, dt.time(10, 42))


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def technologist(client: Client) -> Client:
    user = User(username="ted")
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Technologist")]})
    client.force_login(user)
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def asking(
    request: Request | None = None, *, minutes: int = 0, explicit: bool = False, **more: Any
) -> Query:
    usual = {
        "at": timezone.make_aware(NOW - dt.timedelta(minutes=minutes)),
        "calling": "CT1",
        "address": "10.1.2.31",
        "identifier": network.encode(request or query(), is_explicit=explicit),
        "transfer_syntax": ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian,
        "keys": 3,
        "matches": 1,
        "sent": 1,
        "status": 0,
        "milliseconds": 4,
    }
    return Query.objects.create(**{**usual, **more})


def listed(client: Client, search: str = "") -> list[int]:
    response = client.get(f"/queries/{search}")
    assert response.status_code == 200
    return [row.query.pk for row in response.context["rows"]]


def test_queries_are_found_by_scanner_day_and_outcome(technologist: Client) -> None:
    ct1 = station()
    catalogue.save_station(ct1, titles=["CT01"], seen=None, by=actor)
    now_ = asking()
    other_title = asking(minutes=1, calling="CT01")
    stranger = asking(minutes=2, calling="EVIL", matches=0, sent=0)
    refused = asking(minutes=3, status=0xA900, matches=None, sent=0, comment="Patient ID: no")
    aborted = asking(minutes=4, status=None, matches=9, sent=3)
    cancelled = asking(minutes=5, status=0xFE00, matches=9, sent=3)
    yesterday = asking(minutes=24 * 60, matches=0, sent=0)
    today = [now_, other_title, stranger, refused, aborted, cancelled]
    assert listed(technologist) == [each.pk for each in today]
    assert listed(technologist, "?day=") == [each.pk for each in [*today, yesterday]]
    assert listed(technologist, f"?day={DAY - dt.timedelta(days=1)}") == [yesterday.pk]
    of_ct1 = [each.pk for each in today if each != stranger]
    assert listed(technologist, f"?station={ct1.pk}") == of_ct1
    assert listed(technologist, "?empty=on") == [stranger.pk]
    assert listed(technologist, "?failed=on") == [refused.pk, aborted.pk]
    page = text(technologist.get("/queries/"))
    assert "Patient ID: no" in page
    assert "the association ended after 3" in page
    assert "cancelled by the scanner after 3" in page
    assert "not set up" in page


def test_the_list_tells_what_was_asked_for(technologist: Client) -> None:
    asking(query({"Modality": "CT", "ScheduledProcedureStepStartDate": "20240705"}))
    asking(query(PatientName="Müller*"))
    asking(query())
    page = text(technologist.get("/queries/"))
    assert "Start Date = 20240705" in page
    assert "Modality = CT" in page
    assert "Patient&#x27;s Name = Müller*" in page
    assert "everything" in page


def test_a_long_list_is_leafed_through(technologist: Client) -> None:
    made = [asking(minutes=number // 2).pk for number in range(60)]
    first = listed(technologist)
    assert len(first) == 50
    assert sorted(first + listed(technologist, f"?before={first[-1]}")) == sorted(made)


def test_a_query_is_told_key_by_key(technologist: Client) -> None:
    mine = step(PatientName="Müller^Anna", PatientID="P1")
    association = Association.objects.create(
        opened=timezone.now(),
        calling="CT1",
        called="WORKLIST",
        address="10.1.2.31",
        implementation_version="OFFIS_DCMTK_367",
        contexts="Modality Worklist: Implicit VR Little Endian",
        is_accepted=True,
        reason="known",
    )
    unknown = Key(0x00091001, "LO", ("ACME",))
    request = query({"Modality": "CT"}, PatientName="müll*", PatientID="")
    request = Request(tuple(sorted((*request.keys, unknown), key=lambda key: key.tag)))
    made = asking(request, association=association, steps=[mine.pk, 999999], sent=2, matches=2)
    response = technologist.get(f"/queries/{made.pk}/")
    page = text(response)
    told = {
        (key.depth, key.keyword or key.tag_text): (key.text, key.words)
        for key in response.context["keys"]
    }
    assert told[1, "Modality"] == ("CT", "Modality is CT")
    assert told[0, "PatientName"] == ("müll*", "Patient's Name is like müll*")
    assert told[0, "PatientID"] == ("", "")
    assert told[0, "(0009,1001)"] == ("ACME", "")
    assert told[0, STEP] == (None, "")
    assert "not known here: left out" in page
    assert "how the others are read" in page
    assert "OFFIS_DCMTK_367" in page
    assert "MÜLLER, Anna" in page
    assert "1 exam that it was sent is there no longer." in page
    assert "it is set up" in page
    assert "0x0000 Success" in page
    look = AuditEvent.objects.get(action="view")
    assert look.after == {"query": made.pk, "exams": [mine.pk]}


def test_a_query_that_was_refused_shows_its_keys_all_the_same(technologist: Client) -> None:
    bad = asking(
        query({"ScheduledProcedureStepStartDate": "20241301"}, PatientID="P1"),
        status=0xA900,
        matches=None,
        comment="SPS Start Date: not a date or date range",
        explicit=True,
    )
    page = text(technologist.get(f"/queries/{bad.pk}/"))
    assert "20241301" in page
    assert "not a date or date range" in page
    garbage = asking(identifier=b"\xff" * 9, status=0xC001, matches=None)
    assert "cannot be read" in text(technologist.get(f"/queries/{garbage.pk}/"))
    empty = asking(identifier=b"", keys=0, status=None)
    assert technologist.get(f"/queries/{empty.pk}/").status_code == 200


def test_bytes_that_are_no_text_are_shown_as_numbers() -> None:
    latin = Request(keys({"SpecificCharacterSet": "ISO_IR 6"}))
    raw = network.encode(latin, is_explicit=False) + b"\x10\x00\x10\x00\x04\x00\x00\x00M\xfcll"
    (_, name) = asked.keys_of(asking(identifier=raw, status=0xA900))
    assert (name.keyword, name.text) == ("PatientName", "4d fc 6c 6c")


def test_looking_at_the_list_is_signed_and_names_no_patient_in_it(technologist: Client) -> None:
    made = asking(query(PatientName="Secret^Anna"))
    listed(technologist)
    look = AuditEvent.objects.get(action="view")
    assert (look.actor, look.after) == ("ted", {"queries": [made.pk]})


def test_the_number_of_statements_does_not_grow(technologist: Client) -> None:
    station()
    technologist.get("/queries/")
    counts = []
    for more in (1, 20):
        for _ in range(more):
            made = asking(steps=[step().pk for _ in range(more)])
        for path in ("/queries/", f"/queries/{made.pk}/"):
            with CaptureQueriesContext(connection) as statements:
                assert technologist.get(path).status_code == 200
            counts.append(len(statements))
    assert counts[:2] == counts[2:]
    assert max(counts) <= 12


def test_a_clerk_may_not_look(client: Client) -> None:
    user = User(username="clerk")
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Clerk")]})
    client.force_login(user)
    assert client.get("/queries/").status_code == 403
    assert client.get(f"/queries/{asking().pk}/").status_code == 403
