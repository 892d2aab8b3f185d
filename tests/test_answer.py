"""A C-FIND's answer as the wire takes it: bytes; what is remembered of it, and what is not."""

from __future__ import annotations

import datetime as dt
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from dicomscp import find, handlers, lease, plan, questions, scope, stations
from dicomscp.scope import NO_RULES, Rules
from dicomscp.status import PENDING, Refusal
from dicomscp.wire.requests import Titles
from tests import network
from tests.asking import query
from tests.cast import actor, station, step
from tests.oracle import tag_of
from tests.strategies import Key, Query, one_of_each, queries
from tests.test_oracle import store
from worklist import clock
from worklist.audit import trail
from worklist.models import ScheduledProcedureStep

pytestmark = pytest.mark.django_db(transaction=True)


def ask(
    wanted: Query, *, implicit_vr: bool = True, calling: str = "CT1", takes_bytes: bool = True
) -> list[tuple[Any, Any]]:
    """What the handler gives to the wire."""
    peer = SimpleNamespace(ae_title=calling, address="127.0.0.1")
    syntax = ImplicitVRLittleEndian if implicit_vr else ExplicitVRLittleEndian
    encoded = network.encode(wanted, is_explicit=not implicit_vr)
    event: Any = SimpleNamespace(
        assoc=SimpleNamespace(
            requestor=peer, titles=Titles(calling, "WORKLIST"), takes_bytes=takes_bytes
        ),
        request=SimpleNamespace(Identifier=BytesIO(encoded)),
        context=SimpleNamespace(transfer_syntax=syntax),
        is_cancelled=False,
    )
    return list(handlers.on_find(event))


def statuses(answers: list[tuple[Any, Any]]) -> list[Any]:
    return [status for status, _ in answers]


# --- bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("implicit_vr", [True, False])
def test_an_answer_is_bytes_unless_the_plain_path_is_asked_for(implicit_vr: bool) -> None:
    step(ScheduledProcedureStepID="S1")
    wanted = query(PatientName="")
    fast = ask(wanted, implicit_vr=implicit_vr)
    plain = ask(wanted, implicit_vr=implicit_vr, takes_bytes=False)
    assert statuses(fast) == statuses(plain) == [PENDING]
    assert isinstance(fast[0][1], bytes)
    assert fast[0][1] == encode(plain[0][1], implicit_vr, True)


def test_both_paths_answer_every_query_alike() -> None:
    worklist = one_of_each()
    store(worklist)
    entries = worklist.entries()

    @how(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(wanted=queries(entries), implicit_vr=st.booleans())
    def alike(wanted: Query, implicit_vr: bool) -> None:
        plain = [
            (status, encode(answer, implicit_vr, True) if answer is not None else None)
            for status, answer in ask(wanted, implicit_vr=implicit_vr, takes_bytes=False)
        ]
        # The second time from what was kept of the first.
        for _ in range(2):
            fast = ask(wanted, implicit_vr=implicit_vr)
            assert len(fast) == len(plain)
            for (status, answer), (expected_status, expected) in zip(fast, plain, strict=True):
                assert (status, answer) == (expected_status, expected)

    lease.keep()
    try:
        alike()
    finally:
        lease.close()


# --- what is remembered ---------------------------------------------------------------------------


def test_the_same_bytes_are_understood_once_and_others_anew() -> None:
    encoded = network.encode(query(PatientID="P1"), is_explicit=False)
    first = questions.understand(encoded, implicit_vr=True)
    assert questions.understand(bytes(bytearray(encoded)), implicit_vr=True) is first
    other = network.encode(query(PatientID="P2"), is_explicit=False)
    assert questions.understand(other, implicit_vr=True) is not first
    explicit = network.encode(query(PatientID="P1"), is_explicit=True)
    assert questions.understand(explicit, implicit_vr=False) is not first
    now = clock.now()
    answering = questions.answering(first, NO_RULES, now=now)
    assert questions.answering(first, NO_RULES, now=now + dt.timedelta(days=1)) is answering
    assert questions.answering(first, Rules(sees="OWN", ae_title="CT1"), now=now) is not answering


def test_questions_that_differ_in_a_number_share_their_statement_and_nothing_else() -> None:
    mine = {
        number: step(AccessionNumber=f"A{number}", PatientID=f"P{number}", StudyInstanceUID=uid)
        for number, uid in ((1, "1.2.1"), (2, "1.2.2"), (3, "1.2.3"))
    }

    def steps(wanted: Query) -> tuple[Any, list[int]]:
        encoded = network.encode(wanted, is_explicit=False)
        question = questions.understand(encoded, implicit_vr=True)
        answering = questions.answering(question, NO_RULES, now=clock.now())
        return answering.shared, [row[0] for row in answering.rows()]

    first, found = steps(query(AccessionNumber="A1", PatientID="P1"))
    assert found == [mine[1].pk]
    for accession_number, patient_id, expected in (
        ("A2", "P2", [mine[2].pk]),
        ("A2", "P1", []),
        ("P2", "A2", []),
        ("A9", "P2", []),
    ):
        shared, found = steps(query(AccessionNumber=accession_number, PatientID=patient_id))
        assert shared is first
        assert found == expected
    several = Key(tag_of("StudyInstanceUID"), "UI", ("1.2.3", "1.2.1", "1.2.9"))
    _, found = steps(Query((several,)))
    assert sorted(found) == [mine[1].pk, mine[3].pk]
    other, found = steps(query(AccessionNumber="A*", PatientID="P1"))
    assert other is not first
    assert found == [mine[1].pk]


def test_too_many_of_one_number_are_counted(settings: Any) -> None:
    settings.DICOM_MATCH_LIMIT = 1
    for number in range(3):
        step(PatientID="P1", ScheduledProcedureStepID=f"S{number}")
    ((told, nothing),) = ask(query(PatientID="P1"))
    assert (told.Status, nothing) == (0xA700, None)
    assert told.ErrorComment == "3 matches, limit 1: narrow the query"
    assert len(ask(query({"ScheduledProcedureStepID": "S1"}, PatientID="P1"))) == 1


def test_a_long_request_is_not_remembered() -> None:
    encoded = network.encode(query(PatientComments="x" * 9000), is_explicit=False)
    assert questions.understand(encoded, implicit_vr=True) is not questions.understand(
        encoded, implicit_vr=True
    )


def test_a_refusal_is_made_anew_each_time() -> None:
    encoded = network.encode(query(PatientBirthDate="nonsense"), is_explicit=False)
    for _ in range(2):
        question = questions.understand(encoded, implicit_vr=True)
        with pytest.raises(Refusal):
            questions.answering(question, NO_RULES, now=clock.now())


def test_hours_are_counted_from_the_minute_that_it_is() -> None:
    rules = Rules(hours_before=1, hours_after=1)
    question = questions.understand(network.encode(query(), is_explicit=False), implicit_vr=True)
    now = dt.datetime(2026, 3, 1, 12, 0, 5)
    answering = questions.answering(question, rules, now=now)
    assert questions.answering(question, rules, now=now.replace(second=59)) is answering
    assert questions.answering(question, rules, now=now.replace(minute=1)) is not answering
    assert (
        scope.under(question.plan, rules, now=now)
        .conditions[1]
        .words.endswith("2026-03-01 11:00:00 to 2026-03-01 13:00:00")
    )


def test_what_is_committed_is_what_the_next_query_sees() -> None:
    mine = step(ScheduledProcedureStepID="S1", PatientName="Doe^Jane")
    wanted = query(PatientName="")
    (before,) = ask(wanted)
    assert b"Doe^Jane" in before[1]
    patient = mine.requested_procedure.request.patient
    patient.name = "Doe^Joan"
    trail.save(patient, by=actor)
    (after,) = ask(wanted)
    assert after[1] == before[1].replace(b"Doe^Jane", b"Doe^Joan")
    step(ScheduledProcedureStepID="S2")
    assert len(ask(wanted)) == 2
    mine.status = "CANCELED"
    trail.save(mine, by=actor)
    assert len(ask(wanted)) == 1


def test_a_rule_that_changed_holds_for_the_next_query(settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    step(ScheduledProcedureStepID="S1", PatientName="Yamada^Tarou=山田^太郎")
    mine = station("CT1")
    wanted = query(PatientName="")
    assert len(ask(wanted)) == 1
    mine.alphabetic_only = True
    trail.save(mine, by=actor)
    ((_, answer),) = ask(wanted)
    assert "山田".encode() not in answer
    mine.match_limit = 1
    trail.save(mine, by=actor)
    step(ScheduledProcedureStepID="S2")
    ((told, nothing),) = ask(wanted)
    assert (told.Status, nothing) == (0xA700, None)
    mine.is_allowed = False
    trail.save(mine, by=actor)
    ((told, nothing),) = ask(wanted)
    assert told.Status == 0x0124


# --- statements -----------------------------------------------------------------------------------


def test_a_query_takes_two_statements_however_much_is_asked_for(settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    station("CT1")
    for number in range(3):
        step(ScheduledProcedureStepID=f"S{number}")
    with CaptureQueriesContext(connection) as statements:
        assert stations.known("CT1") is not None
        assert len(find.answer(plan.everything(), NO_RULES, now=clock.now())) == 3
    assert len(statements) == 2


def test_candidates_that_sql_lets_through_are_looked_at_past_the_limit() -> None:
    # SQL does not compare numbers: each patient with a weight is a candidate.
    for number in range(5):
        step(ScheduledProcedureStepID=f"S{number}")
    wanted = plan.make(
        questions.understand(
            network.encode(query(PatientWeight="70.0"), is_explicit=False), implicit_vr=True
        ).elements
    )
    patients = [one.requested_procedure.request.patient for one in steps_in_order()]
    for patient, weight in zip(patients, ("1", "2", "3", "70", "7.0E1"), strict=True):
        patient.weight = weight
        trail.save(patient, by=actor)
    # Of five candidates the last two match, though no more than three are read at first.
    assert [item.step for item in find.rows(wanted, limit=2)] == [
        one.pk for one in steps_in_order()[3:]
    ]
    with pytest.raises(find.TooManyMatches):
        find.rows(wanted, limit=1)


def steps_in_order() -> list[ScheduledProcedureStep]:
    return list(ScheduledProcedureStep.objects.order_by("start_date", "start_time", "id"))
