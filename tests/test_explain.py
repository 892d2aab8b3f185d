"""Explain: it says that a step is sent if and only if the SCP sends it, and names what is near."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dicomscp import find, scope
from dicomscp.asked import plan_of
from dicomscp.explain import explanation, nearness
from dicomscp.explain.nearness import Near
from dicomscp.explain.story import Caller, Cause
from dicomscp.matching import condition
from dicomscp.models import Query
from dicomscp.scope import OPEN_STATUSES, Rules
from dicomscp.status import Refusal
from tests import network
from tests.strategies import (
    AE_TITLES,
    FIRST_DAY,
    STATUSES,
    Worklist,
    conversations,
)
from tests.strategies import Query as Asked
from tests.test_oracle import store
from worklist import attributes, clock
from worklist.models import ScheduledProcedureStep

IMPLICIT = "1.2.840.10008.1.2"
STEP = attributes.find("ScheduledProcedureStepSequence")


def asked(query: Asked, calling: str = "CT1", **more: Any) -> Query:
    """A row of the journal for this query, as if it had just been answered."""
    usual: dict[str, Any] = {
        "at": timezone.now(),
        "identifier": network.encode(query, is_explicit=False),
        "transfer_syntax": IMPLICIT,
        "keys": len(query.keys),
        "sent": 0,
        "status": 0,
        "milliseconds": 3,
        "address": "10.1.2.31",
    }
    return Query(calling=calling, **{**usual, **more})


# --- explain and the SCP --------------------------------------------------------------------------

WORKLISTS, QUERIES = 12, 6

_hours = st.sampled_from((None, None, 0, 2, 24))


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """The rules of a station, often such that hide something."""
    return Rules(
        ae_title="CT1",
        titles=draw(st.sampled_from(((), ("CT2",), ("ct1", "CT_1")))),
        modality=draw(st.sampled_from(("CT", "MR"))),
        sees=draw(st.sampled_from(("ALL", "ALL", "MODALITY", "OWN_AND_UNASSIGNED", "OWN"))),
        calling_title_counts=draw(st.booleans()),
        aliases=draw(st.sampled_from(((), (("CT", "MR"),), (("CR", "PT"), ("MR", "CT"))))),
        statuses=draw(st.sampled_from((OPEN_STATUSES, STATUSES, ("STARTED",)))),
        hours_before=draw(_hours),
        hours_after=draw(_hours),
        keys_override_window=draw(st.booleans()),
        match_limit=draw(st.sampled_from((None, None, 1, 3))),
        character_set=draw(st.sampled_from((None, ("ISO_IR 100",)))),
        ignored=draw(st.lists(st.sampled_from(sorted(scope.IGNORABLE)), max_size=4).map(tuple)),
    )


def sent_by_the_scp(query: Query, of: Rules) -> set[int | None] | str:
    """The steps that the SCP answers this query with, by the way that it goes."""
    try:
        wanted = plan_of(query)
        return {item.step for item in find.answer(wanted, of, now=clock.now())}
    except Refusal:
        return "refused"
    except find.TooManyMatches:
        return "too many"


@pytest.mark.django_db
@settings(
    max_examples=WORKLISTS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(conversations(QUERIES), st.lists(rules(), min_size=QUERIES, max_size=QUERIES))
def test_explain_says_match_if_and_only_if_the_scp_sends_the_step(
    conversation: tuple[Worklist, list[Asked]], many_rules: list[Rules]
) -> None:
    worklist, queries = conversation
    noon = dt.datetime.combine(FIRST_DAY, dt.time(12))
    with pytest.MonkeyPatch.context() as patch, transaction.atomic():
        patch.setattr(clock, "now", lambda: noon)
        store(worklist)
        for each, of in zip(queries, many_rules, strict=True):
            query = asked(each)
            expected = sent_by_the_scp(query, of)
            caller = Caller((AE_TITLES[0], *of.titles), None, of)
            for step in ScheduledProcedureStep.objects.all():
                told = explanation._explained(step, caller, query, None)
                if expected == "refused":
                    assert told.cause is Cause.MALFORMED
                    continue
                says = told.keys.match and told.rules.match
                if expected == "too many":
                    is_over = told.rules.place is not None and told.rules.place.is_over
                    assert says == is_over
                    assert not told.would_match
                    continue
                assert says == told.would_match == (step.pk in expected), (each, of, told)
                assert told.causes
        transaction.set_rollback(True)


# --- near misses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "key", "held", "kinds"),
    [
        ("PatientID", "pat-001", "PAT-001", (Near.CASE,)),
        ("PatientID", "PAT_001", "PAT-001", (Near.DASH,)),
        ("PatientID", "PAT001", "PAT-001", (Near.DASH,)),
        ("PatientID", "PAT-1", "PAT-001", (Near.ZEROS,)),
        ("PatientID", "1", "0001", (Near.ZEROS,)),
        ("PatientID", "A B", "AB", (Near.BLANKS,)),
        ("PatientID", "pat_1", "PAT-001", (Near.CASE, Near.DASH, Near.ZEROS)),
        ("PatientID", "PAT", "PAT-001", (Near.BEGINNING,)),
        ("PatientID", "pat*", "PAT-001", (Near.CASE,)),
        ("PatientID", "4711", "PAT-001", ()),
        ("PatientID", "1", "", (Near.EMPTY,)),
        ("PatientName", "Anna^Müller", "Müller^Anna", (Near.SWAPPED,)),
        ("PatientName", "Muller^Anna", "Müller^Anna", (Near.ACCENTS,)),
        ("PatientName", "Müller, Anna", "Müller^Anna", (Near.COMMA,)),
        ("PatientName", "Müller Anna", "Müller^Anna", (Near.COMMA,)),
        ("PatientName", "Müller", "Müller^Anna", (Near.BEGINNING,)),
        ("PatientName", "Rossi*", "Müller^Anna", ()),
        ("PatientBirthDate", "19700102", dt.date(1970, 1, 3), (Near.OTHER_DAY,)),
        ("PatientBirthDate", "-19700102", dt.date(1970, 1, 3), (Near.OTHER_DAY,)),
    ],
)
def test_a_near_miss_is_told_by_what_differs(
    keyword: str, key: str, held: Any, kinds: tuple[Near, ...]
) -> None:
    attribute = attributes.find(keyword)
    wanted = condition(attribute, key)
    assert wanted is not None
    assert nearness.of(wanted, (held,) if held else ()).kinds == kinds


@pytest.mark.parametrize(
    ("one", "other", "kinds"),
    [
        ("CT-01", "CT01", (Near.DASH,)),
        ("ct01", "CT01", (Near.CASE,)),
        ("CT1", "CT01", (Near.ZEROS,)),
        ("CT1", "CT10", ()),
        ("CT1", "CT2", ()),
        ("CT1", "MR1", ()),
    ],
)
def test_titles_that_are_easily_taken_for_each_other(
    one: str, other: str, kinds: tuple[Near, ...]
) -> None:
    assert nearness.of_titles(one, other) == kinds
