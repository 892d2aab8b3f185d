"""What peers did is in the audit trail: each query, and each caller that was refused."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp.journal import JOURNAL
from dicomscp.models import Association, Query
from dicomscp.server import WorklistScp
from dicomscp.signing import REFUSALS_WITHIN, Signer
from dicomscp.wire import client
from tests import breaking, network
from tests.asking import query
from tests.audit_schema import faults
from tests.cast import station, step
from worklist import audited
from worklist.audit import happenings, trail
from worklist.audit.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    AuditEvent.objects.all().delete()
    yield scp
    scp.stop()


def events(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action).order_by("pk"))


def rejected(port: int, calling: str) -> None:
    ae = AE(calling)
    ae.add_requested_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
    assoc = ae.associate("127.0.0.1", port, ae_title="RADIOLOGY", evt_handlers=client.HANDLERS)
    assert assoc.is_rejected


def test_each_query_is_an_event_with_its_very_bytes(scp: WorklistScp) -> None:
    step()
    asked = query(), query(PatientID="x" * 70)
    before = timezone.now()
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        for each in asked:
            network.ask(assoc, each)
    scp.stop()
    found = events("query")
    assert [event.after["identifier"] for event in found] == [
        base64.b64encode(network.encode(each, is_explicit=False)).decode() for each in asked
    ]
    assert [(event.after["status"], event.after["matches"]) for event in found] == [
        ("0000", 1),
        ("A900", 0),
    ]
    assert [(event.actor, event.address, event.outcome) for event in found] == [
        ("CT1", "127.0.0.1", 0),
        ("CT1", "127.0.0.1", 4),
    ]
    assert {event.after["called"] for event in found} == {"WORKLIST"}
    assert before <= found[0].at <= found[1].at <= timezone.now()
    assert [faults(xml) for _, xml in audited.in_xml(found)] == [[], []]


def test_many_queries_are_signed_a_batch_at_a_time(
    scp: WorklistScp, django_assert_max_num_queries: Any
) -> None:
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        for _ in range(100):
            network.ask(assoc, query())
    scp.stop()
    assert len(events("query")) == 100
    signer = Signer()
    for _ in range(200):
        signer.asked(asked())
    with django_assert_max_num_queries(5):
        signer.write()
    assert len(events("query")) == 300


def test_a_site_may_leave_queries_out(scp: WorklistScp, settings: Any) -> None:
    settings.AUDIT_QUERIES = False
    settings.DICOM_ACCESS = "known"
    station()
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        network.ask(assoc, query())
    rejected(scp.port, "EVIL")
    scp.stop()
    assert (len(events("query")), len(events("refuse"))) == (0, 1)
    assert Query.objects.count() == 1


def test_a_flood_of_refused_calls_is_two_events(scp: WorklistScp, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    station()
    for _ in range(12):
        rejected(scp.port, "EVIL")
    scp.stop()
    first, others = events("refuse")
    assert (first.actor, first.address, first.outcome) == ("EVIL", "127.0.0.1", 8)
    assert first.reason == "its AE title is not set up"
    assert first.after == {"called": "RADIOLOGY"}
    assert others.after == {"called": "RADIOLOGY", "calls": 11}
    assert [faults(xml) for _, xml in audited.in_xml([first, others])] == [[], []]


# --- a minute of refusals, by a clock of the test -------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def call(calling: str = "EVIL", *, accepted: bool = False, reason: str = "stranger") -> Association:
    return Association(
        opened=timezone.now(),
        calling=calling,
        called="WORKLIST",
        address="10.0.0.9",
        is_accepted=accepted,
        reason=reason,
    )


def asked(**more: Any) -> Query:
    usual = {"at": timezone.now(), "keys": 0, "sent": 0, "milliseconds": 0, "identifier": b"abc"}
    return Query(**{**usual, "calling": "CT1", "address": "10.0.0.1", "status": 0, **more})


def counted() -> list[tuple[str, int]]:
    return [(event.actor, event.after.get("calls", 1)) for event in events("refuse")]


def test_a_refused_caller_is_signed_at_most_once_a_minute() -> None:
    clock = Clock()
    signer = Signer(clock=clock)
    assert signer.due_in() is None
    for _ in range(5):
        signer.opened(call())
    signer.write()
    assert counted() == [("EVIL", 1)]
    assert signer.due_in() == REFUSALS_WITHIN
    signer.opened(call("OTHER"))
    signer.write()
    clock.now += REFUSALS_WITHIN - 1
    signer.write()
    assert counted() == [("EVIL", 1), ("OTHER", 1)]
    assert signer.due_in() == 1
    clock.now += 1
    signer.write()
    assert counted()[2:] == [("EVIL", 4)]
    signer.opened(call())
    signer.write()
    assert len(counted()) == 3
    clock.now += REFUSALS_WITHIN
    signer.write()
    assert counted()[3:] == [("EVIL", 1)]
    clock.now += REFUSALS_WITHIN
    signer.write()
    # Nothing is kept of who does not call any longer, and the next call is told at once.
    assert signer.due_in() is None
    signer.opened(call())
    signer.write()
    assert counted()[4:] == [("EVIL", 1)]


def test_who_calls_under_ever_new_names_fills_no_trail() -> None:
    signer = Signer(clock=Clock())
    for number in range(1000):
        signer.opened(call(f"X{number}"))
    signer.write()
    assert len(counted()) == 101
    signer.write(is_last=True)
    assert sum(calls for _, calls in counted()) == 1000
    (many,) = AuditEvent.objects.filter(after__calls=899)
    assert many.reason == "too many callers to tell each"
    assert [faults(xml) for _, xml in audited.in_xml([many])] == [[]]


def test_a_caller_without_a_name_is_a_message_too() -> None:
    signer = Signer()
    signer.opened(call("", reason="not-tls"))
    signer.write()
    assert [faults(xml) for _, xml in audited.in_xml(events("refuse"))] == [[]]


def test_a_query_without_a_last_response_is_signed() -> None:
    signer = Signer()
    signer.opened(association := call("CT1", accepted=True, reason="known"))
    signer.asked(asked(association_id=association.pk, status=None, matches=3))
    signer.ended(association.pk)
    signer.asked(asked(association_id=association.pk, address="not an address"))
    signer.write()
    first, second = events("query")
    assert (first.after["status"], first.outcome, first.after["called"]) == ("", 4, "WORKLIST")
    assert (second.after["called"], second.address) == ("", None)
    assert [faults(xml) for _, xml in audited.in_xml([first, second])] == [[], []]


# --- a trail that cannot be written ---------------------------------------------------------------


def rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


def test_without_its_trail_answers_do_not_change_and_queries_are_signed_later(
    scp: WorklistScp, caplog: pytest.LogCaptureFixture
) -> None:
    step()
    table = AuditEvent._meta.db_table
    rename(table, "gone")
    try:
        with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
            assert len(network.ask(assoc, query()).pendings) == 1
            assert JOURNAL.flush()
    finally:
        rename("gone", table)
    assert Query.objects.count() == 1
    scp.stop()
    told = [record.message for record in caplog.records if "audit trail" in record.message]
    assert len(events("query")) == 1
    assert "again" in told[-1]
    assert told[0].startswith("queries are not in the audit trail yet: ")


def test_what_waits_is_bounded_and_the_newest_stays() -> None:
    signer = Signer(most_waiting=3)
    table = AuditEvent._meta.db_table
    for number in range(5):
        signer.asked(asked(calling=f"CT{number}"))
    rename(table, "gone")
    try:
        signer.write()
    finally:
        rename("gone", table)
    assert signer.lost == 2
    assert signer.due_in()
    signer.write()
    assert [event.actor for event in events("query")] == ["CT2", "CT3", "CT4"]
    assert signer.due_in() is None


def test_events_whose_transaction_failed_at_its_end_are_signed_once() -> None:
    """It has left its numbers with them, which are another's now."""
    signer = Signer()
    for number in range(3):
        signer.asked(asked(calling=f"CT{number}"))
    before = list(signer._waiting)
    with transaction.atomic():
        trail.sign(before)
        transaction.set_rollback(True)
    happenings.program_activity("start", "web")
    signer.write()
    assert [event.actor for event in events("query")] == ["CT0", "CT1", "CT2"]
    assert signer.lost == 0
    # What was written, though nobody was told so, is not written again.
    trail.sign(before)
    assert len(events("query")) == 3


def test_an_event_that_cannot_be_written_takes_no_other_with_it() -> None:
    signer = Signer()
    signer.asked(asked(calling="CT1"))
    signer.asked(asked(calling="CT2", at="no time" + str(dt.date.max)))
    signer.asked(asked(calling="CT3"))
    signer.write()
    assert [event.actor for event in events("query")] == ["CT1", "CT3"]
    assert signer.lost == 1
    assert signer.due_in() is None


# It cannot write its file, and a plan that a migration has made another one.
@pytest.mark.skipif("connection.vendor != 'postgresql'")
@pytest.mark.parametrize("code", ["XX000", "0A000"])
def test_what_is_the_databases_own_fault_loses_no_event(code: str) -> None:
    signer = Signer()
    signer.asked(asked(calling="CT1"))
    with breaking.writes_fail(AuditEvent, code):
        signer.write()
    assert signer.lost == 0
    signer.write()
    assert [event.actor for event in events("query")] == ["CT1"]


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_one_that_the_database_fails_at_holds_up_no_other() -> None:
    signer = Signer()
    for number in range(30):
        signer.asked(asked(calling="BAD" if number < 12 else f"CT{number}"))
    with breaking.writes_fail(AuditEvent, "XX002", when="NEW.actor = 'BAD'"):
        signer.write()
        signer.write()
        assert len(events("query")) == 18
        assert signer.lost == 0
    signer.write()
    assert len(events("query")) == 30
