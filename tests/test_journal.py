"""The journal: every association and query is there, and no answer waits or fails for it."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association as Conversation
from pynetdicom.sop_class import CTImageStorage, ModalityWorklistInformationFind, Verification

from dicomscp import journal
from dicomscp.journal import JOURNAL, End, Journal
from dicomscp.models import MOST_STEPS, Association, Ended, Query
from dicomscp.server import WorklistScp
from dicomscp.wire import client
from tests import network, tools
from tests.asking import query
from tests.cast import DAY, station, step
from tests.waiting import until
from worklist.models import ScheduledProcedureStep

pytestmark = pytest.mark.django_db(transaction=True)

HERE = "127.0.0.1"


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


def call(port: int, *contexts: str, calling: str = "CT1") -> Conversation:
    ae = AE(calling)
    for context in contexts or (ModalityWorklistInformationFind,):
        ae.add_requested_context(context, ImplicitVRLittleEndian)
    return ae.associate(HERE, port, ae_title="WORKLIST", evt_handlers=client.HANDLERS)


def over(scp: WorklistScp) -> None:
    """Everything that was said stands in the journal."""
    scp.stop()


def test_an_association_and_its_query_are_there(scp: WorklistScp) -> None:
    mine = step(PatientID="P1")
    step(PatientID="P2")
    wanted = query(PatientID="P1")
    before = timezone.now()
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        assert len(network.ask(assoc, wanted).pendings) == 1
    over(scp)
    (row,) = Association.objects.all()
    assert (row.calling, row.called, row.address) == ("CT1", "WORKLIST", HERE)
    assert (row.is_accepted, row.reason, row.ended) == (True, "any", Ended.RELEASED)
    assert row.implementation_version.startswith("PYNETDICOM")
    assert row.implementation_uid
    assert "Implicit VR Little Endian" in row.contexts
    assert row.closed is not None
    assert before <= row.opened <= row.closed <= timezone.now()
    (asked,) = row.queries.all()
    assert bytes(asked.identifier) == network.encode(wanted, is_explicit=False)
    assert asked.transfer_syntax == ImplicitVRLittleEndian
    assert (asked.keys, asked.matches, asked.sent, asked.steps) == (3, 1, 1, [mine.pk])
    assert (asked.status, asked.comment, asked.calling) == (0, "", "CT1")
    assert before <= asked.at <= timezone.now()


def test_what_was_refused_says_why(scp: WorklistScp, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    station()
    assert call(scp.port, calling="EVIL").is_rejected
    assoc = call(scp.port, ModalityWorklistInformationFind, CTImageStorage)
    refused = network.ask(assoc, query(PatientID="x" * 70)).final
    assoc.abort()
    call(scp.port, Verification, calling="EVIL").release()
    over(scp)
    told = {
        (row.calling, row.reason, row.is_accepted, row.ended) for row in Association.objects.all()
    }
    assert told == {
        ("EVIL", "stranger", False, "REJECTED"),
        ("CT1", "known", True, "ABORTED"),
        ("EVIL", "verification", True, "RELEASED"),
    }
    assert "Worklist" in Association.objects.get(reason="stranger").refused_contexts
    contexts = Association.objects.get(reason="known")
    assert "Worklist" in contexts.contexts
    assert contexts.refused_contexts.startswith("CT Image Storage")
    assert "abstract syntax not supported" in contexts.refused_contexts
    asked = Query.objects.get()
    assert (asked.status, asked.matches, asked.sent) == (0xA900, None, 0)
    assert asked.comment == refused.ErrorComment == "Patient ID: more than 64 characters"


def test_more_than_the_limit_tells_how_many(scp: WorklistScp, settings: Any) -> None:
    settings.DICOM_MATCH_LIMIT = 1
    for _ in range(3):
        step()
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        network.ask(assoc, query())
    over(scp)
    asked = Query.objects.get()
    assert (asked.status, asked.matches, asked.sent, asked.steps) == (0xA700, 3, 0, [])


def many(count: int, **more: Any) -> None:
    first = step(PatientID="BIG", **more)
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            requested_procedure=first.requested_procedure,
            step_id=f"n{number}",
            start_date=DAY,
            start_time=dt.time(9),
            modality="CT",
        )
        for number in range(count - 1)
    )


def test_of_a_long_answer_the_first_steps_are_kept(scp: WorklistScp) -> None:
    many(MOST_STEPS + 1)
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        network.ask(assoc, query())
    over(scp)
    asked = Query.objects.get()
    assert (asked.matches, asked.sent, len(asked.steps)) == (MOST_STEPS + 1,) * 2 + (MOST_STEPS,)


# --- a thousand queries ---------------------------------------------------------------------------

ASSOCIATIONS, EACH = 20, 50


def test_a_thousand_queries_on_twenty_associations_are_each_there(scp: WorklistScp) -> None:
    dropped = JOURNAL.dropped
    # Answers of 10 MB are more than the buffers between the two hold.
    many(1000, PatientComments="x" * 10240)
    for number in range(5):
        for _ in range(number):
            step(PatientID=f"Q{number}")
    together = threading.Barrier(ASSOCIATIONS, timeout=60)

    def ask(number: int) -> None:
        assoc = call(scp.port, calling=f"CT{number}")
        together.wait()
        for asked in range(EACH - 1):
            wanted = Dataset()
            wanted.PatientID = f"Q{asked % 5}"
            answers = list(assoc.send_c_find(wanted, ModalityWorklistInformationFind))
            assert len(answers) == asked % 5 + 1
        if number < 14:
            wanted.PatientID = "nobody"
            list(assoc.send_c_find(wanted, ModalityWorklistInformationFind))
            assoc.release()
            return
        wanted.PatientID, wanted.PatientComments = "BIG", ""
        answers_ = assoc.send_c_find(wanted, ModalityWorklistInformationFind, msg_id=7)
        next(answers_)
        if number < 17:
            (context,) = assoc.accepted_contexts
            assert context.context_id is not None
            assoc.send_c_cancel(7, context.context_id)
            list(answers_)
            assoc.release()
        else:
            assoc.abort()

    with ThreadPoolExecutor(ASSOCIATIONS) as pool:
        list(pool.map(ask, range(ASSOCIATIONS)))
    over(scp)
    assert JOURNAL.dropped == dropped
    ended = Counter(Association.objects.values_list("ended", flat=True))
    assert ended == {"RELEASED": 17, "ABORTED": 3}
    assert Query.objects.count() == ASSOCIATIONS * EACH
    found = Counter(Query.objects.values_list("matches", "status"))
    # Of 49 queries, ten each are for Q0 to Q3, and nine for Q4.
    expected: dict[tuple[int, int | None], int] = {(n, 0): 20 * 10 for n in range(4)}
    expected[4, 0] = 20 * 9
    expected[0, 0] += 14
    expected |= {(1000, 0xFE00): 3, (1000, None): 3}
    assert found == expected
    for row in Query.objects.filter(status=0):
        assert row.sent == row.matches == len(row.steps)
    for row in Query.objects.exclude(status=0):
        assert 0 < row.sent < 1000
    per_association = Counter(Query.objects.values_list("association__calling", flat=True))
    assert per_association == {f"CT{number}": EACH for number in range(ASSOCIATIONS)}


# --- what cannot be written -----------------------------------------------------------------------


@pytest.fixture
def unwritable() -> Iterator[None]:
    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("dicomscp_query", "gone")
    yield
    rename("gone", "dicomscp_query")


@pytest.mark.usefixtures("unwritable")
def test_without_its_table_answers_do_not_change(
    scp: WorklistScp, caplog: pytest.LogCaptureFixture
) -> None:
    step(ScheduledProcedureStepID="S1")
    dropped = JOURNAL.dropped
    for _ in range(3):
        with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
            reply = network.ask(assoc, query())
        assert [status for status, _ in reply.pendings] == [0xFF00]
        assert reply.final.Status == 0
        assert JOURNAL.flush()
    over(scp)
    assert JOURNAL.dropped > dropped
    told = [record for record in caplog.records if "journal cannot be written" in record.message]
    assert len(told) == 1
    JOURNAL._is_failing = False


def entry(calling: str = "CT1", **more: Any) -> Query:
    usual = {"at": timezone.now(), "keys": 0, "sent": 0, "milliseconds": 0, "identifier": b""}
    return Query(calling=calling, **{**usual, **more})


def test_when_too_much_waits_it_is_dropped_and_counted() -> None:
    journal = Journal(most_entries=3, most_bytes=100)
    journal.start()
    gone = timezone.now()
    with journal._changed:  # the writer cannot take anything yet
        for number in range(5):
            journal.add(entry(f"CT{number}"))
        journal.add(End(Association().pk, gone, Ended.RELEASED))
    journal.stop()
    assert journal.dropped == 2
    assert set(Query.objects.values_list("calling", flat=True)) == {"CT0", "CT1", "CT2"}
    big = Journal(most_bytes=100)
    big.start()
    with big._changed:
        for _ in range(3):
            big.add(entry("BIG", identifier=b"x" * 50))
    big.stop()
    assert (big.dropped, Query.objects.filter(calling="BIG").count()) == (1, 2)


def test_a_query_whose_association_was_lost_is_kept() -> None:
    journal = Journal()
    journal.start()
    journal.add(entry(association_id=Association().pk))
    assert journal.flush()
    assert Query.objects.get().association is None
    journal.stop()


@tools.needs("postgres")
def test_a_connection_that_died_between_two_batches_loses_nothing() -> None:
    journal = Journal()
    journal._write([entry()], is_last=False)
    with connection.cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    journal._write([entry()], is_last=False)
    assert (Query.objects.count(), journal.dropped) == (2, 0)


def test_an_association_is_there_while_it_is_open(scp: WorklistScp) -> None:
    assoc = call(scp.port)
    # It is accepted a moment before it is written down.
    until(lambda: JOURNAL.flush() and Association.objects.exists())
    row = Association.objects.get()
    assert (row.closed, row.ended) == (None, "")
    assoc.release()
    over(scp)
    row.refresh_from_db()
    assert row.ended == Ended.RELEASED
    assert row.closed is not None


def test_nothing_is_taken_before_the_start_and_after_the_stop() -> None:
    journal = Journal()
    journal.add(entry())
    journal.start()
    journal.stop()
    journal.add(entry())
    assert not Query.objects.exists()


# --- what is old ----------------------------------------------------------------------------------


def test_purge_deletes_what_is_older_than_it_is_kept(settings: Any) -> None:
    now = timezone.now()
    for age in (1, 29, 31, 400):
        at = now - dt.timedelta(days=age)
        row = Association.objects.create(
            opened=at, calling=f"D{age}", called="W", address=HERE, is_accepted=True, reason="any"
        )
        entry(f"D{age}", at=at, association=row).save()
    # One that is still open, whose last query is not old.
    row = Association.objects.create(
        opened=now - dt.timedelta(days=40),
        calling="OPEN",
        called="W",
        address=HERE,
        is_accepted=True,
        reason="any",
    )
    entry("OPEN", association=row).save()
    month = now - dt.timedelta(days=30)
    assert journal.count(month) == 4
    assert sum(journal.forget(month)) == 4
    assert set(Query.objects.values_list("calling", flat=True)) == {"D1", "D29", "OPEN"}
    assert set(Association.objects.values_list("calling", flat=True)) == {"D1", "D29", "OPEN"}
    assert sum(journal.forget(timezone.now())) == 6
    assert not Query.objects.exists()
    assert not Association.objects.exists()
