"""What a station is shown: its rules as conditions, in Python, in SQL and in words."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from dicomscp import find, plan, scope, stations
from dicomscp.identifier import Element
from dicomscp.plan import QueryPlan
from dicomscp.scope import NO_RULES, Rules
from tests.cast import DAY, actor, station, step
from worklist import attributes, catalogue
from worklist.models import ModalityAlias, Station, StationTitle

NOW = dt.datetime.combine(DAY, dt.time(9))
STEP = attributes.find("ScheduledProcedureStepSequence")


def asking(**keys: str) -> QueryPlan:
    """The plan of a request with these keys; those of the step stand in its item."""
    inside: list[Element] = []
    outside: list[Element] = []
    for keyword, text in keys.items():
        attribute = next((a for a in STEP.items if a.keyword == keyword), None)
        here = attribute or attributes.find(keyword)
        (inside if attribute else outside).append(Element(here.tag, here.vr, text.encode()))
    item = Element(STEP.tag, "SQ", b"", (tuple(inside),)) if inside else None
    return plan.make((*outside, *([item] if item else [])))


def shown(rules: Rules, query: QueryPlan | None = None, *, now: dt.datetime = NOW) -> str:
    """The descriptions of the steps that a station with these rules is sent."""
    wanted = query or asking()
    returns = plan.everything().returns
    items = find.answer(QueryPlan(wanted.conditions, returns), rules, now=now)
    scoped = scope.under(wanted, rules, now=now)
    every = find.rows(QueryPlan((), returns))
    in_python = [
        item.step
        for item in every
        if all(one.matches(item) for one in (*scoped.plan.conditions, *scoped.conditions))
    ]
    assert [item.step for item in items] == in_python
    described = attributes.find(STEP.keyword, "ScheduledProcedureStepDescription")
    return " ".join(str(item.items[STEP][0].values[described][0]) for item in items)


def made(description: str, **more: Any) -> None:
    step(ScheduledProcedureStepDescription=description, **more)


@pytest.fixture
def cast(db: None) -> None:
    made("ct1")
    made("ct2", stations=["CT2"])
    made("both", stations=["CT2", "CT1"])
    made("none", stations=[])
    made("mr", stations=["MR1"], Modality="MR")
    made("dx", stations=["DX1"], Modality="DX")


CT1: Any = {"ae_title": "CT1", "modality": "CT"}


@pytest.mark.usefixtures("cast")
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (NO_RULES, "ct1 ct2 both none mr dx"),
        (Rules(**CT1, sees="ALL"), "ct1 ct2 both none mr dx"),
        (Rules(**CT1, sees="MODALITY"), "ct1 ct2 both none"),
        (Rules(**CT1, sees="OWN_AND_UNASSIGNED"), "ct1 both none"),
        (Rules(**CT1, sees="OWN"), "ct1 both"),
        (Rules(**CT1, sees="MODALITY", aliases=(("CT", "DX"),)), "ct1 ct2 both none dx"),
        (Rules(**CT1, calling_title_counts=True), "ct1 both"),
    ],
)
def test_what_a_station_is_shown(rules: Rules, expected: str) -> None:
    assert shown(rules) == expected


@pytest.mark.usefixtures("cast")
def test_the_calling_title_counts_only_when_the_query_names_none() -> None:
    rules = Rules(**CT1, calling_title_counts=True)
    assert shown(rules, asking(ScheduledStationAETitle="")) == "ct1 both"
    assert shown(rules, asking(ScheduledStationAETitle="*")) == "ct1 both"
    assert shown(rules, asking(ScheduledStationAETitle="CT2")) == "ct2 both"
    mine = Rules(**CT1, calling_title_counts=True, sees="OWN_AND_UNASSIGNED")
    assert shown(mine, asking(Modality="CT")) == "ct1 both"


@pytest.mark.usefixtures("cast")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("CR", "dx"),
        ("DX", "dx"),
        ("CR\\MR", "mr dx"),
        ("C?\\CR", "ct1 ct2 both none dx"),
        ("U", ""),
    ],
)
def test_one_modality_counts_as_another(asked: str, expected: str) -> None:
    rules = Rules(ae_title="CR1", aliases=(("CR", "DX"),))
    assert shown(rules, asking(Modality=asked)) == expected


@pytest.mark.usefixtures("cast")
def test_a_further_title_in_a_key_is_the_station() -> None:
    rules = Rules(**CT1, titles=("CT-01", "CT01"))
    assert shown(rules, asking(ScheduledStationAETitle="CT-01")) == "ct1 both"
    assert shown(rules, asking(ScheduledStationAETitle="CT-01\\MR1")) == "ct1 both mr"
    assert shown(rules, asking(ScheduledStationAETitle="CT-02")) == ""
    assert shown(rules, asking(ScheduledStationAETitle="CT-*")) == "ct1 both"
    assert shown(rules, asking(ScheduledStationAETitle="CT-*\\M*")) == "ct1 both mr"
    assert shown(rules, asking(ScheduledStationAETitle="?R*")) == "mr"
    assert shown(NO_RULES, asking(ScheduledStationAETitle="CT-01")) == ""


@pytest.mark.usefixtures("cast")
def test_a_key_that_is_ignored_sets_no_condition() -> None:
    query = asking(ScheduledPerformingPhysicianName="Nobody", Modality="MR", PatientID="P9")
    assert shown(NO_RULES, query) == ""
    whole = asking(ScheduledPerformingPhysicianName="Nobody", Modality="MR")
    rules = Rules(**CT1, ignored=("ScheduledPerformingPhysicianName",))
    assert shown(rules, whole) == "mr"
    # Never what means one patient, order or study, whatever is stored.
    rules = replace(rules, ignored=("ScheduledPerformingPhysicianName", "PatientID", "Nonsense"))
    assert shown(rules, query) == ""
    assert not {"PatientName", "AccessionNumber", "StudyInstanceUID"} & set(scope.IGNORABLE)
    # What it asks for is returned all the same.
    assert scope.under(whole, rules, now=NOW).plan.returns == whole.returns


@pytest.mark.usefixtures("cast")
def test_without_the_day_the_time_is_ignored_too() -> None:
    every = shown(NO_RULES)
    rules = Rules(ignored=("ScheduledProcedureStepStartDate",))
    for time in ("2300", "2300-2359"):
        for date in ("19990101", "19990101-19990102"):
            query = asking(
                ScheduledProcedureStepStartDate=date, ScheduledProcedureStepStartTime=time
            )
            assert shown(NO_RULES, query) == ""
            assert shown(rules, query) == every


def test_a_rule_holds_where_its_own_key_is_ignored() -> None:
    rules = Rules(
        **CT1,
        calling_title_counts=True,
        ignored=("ScheduledStationAETitle", "ScheduledProcedureStepStatus"),
    )
    query = asking(ScheduledStationAETitle="MR1", ScheduledProcedureStepStatus="COMPLETED")
    words = " / ".join(each.words for each in scope.under(query, rules, now=NOW).conditions)
    assert "Scheduled Station AE Title is CT1" in words
    assert "Status is SCHEDULED or" in words


def test_widening_and_rules_are_told_in_words() -> None:
    rules = Rules(**CT1, titles=("CT-01",), aliases=(("CR", "DX"),), sees="OWN", hours_before=2)
    query = asking(Modality="CR", ScheduledStationAETitle="CT-01")
    scoped = scope.under(query, rules, now=NOW)
    (asked,) = (condition.words for condition in scoped.plan.conditions)
    assert "Modality is CR or Modality is DX (DX counts as CR here)" in asked
    assert "(CT-01 is another AE title of CT1)" in asked
    words = " / ".join(condition.words for condition in scoped.conditions)
    assert "Status is SCHEDULED or ARRIVED or READY or STARTED" in words
    assert "Scheduled Station AE Title is CT1" in words
    assert "from 2024-07-05 07:00:00" in words


@pytest.mark.django_db
def test_statuses_are_the_stations_unless_a_key_asks_for_one() -> None:
    for status in ("SCHEDULED", "STARTED", "COMPLETED"):
        made(status, ScheduledProcedureStepStatus=status)
    assert shown(NO_RULES) == "SCHEDULED STARTED"
    rules = Rules(statuses=("STARTED", "COMPLETED"))
    assert shown(rules) == "STARTED COMPLETED"
    assert shown(rules, asking(ScheduledProcedureStepStatus="SCHEDULED")) == "SCHEDULED"


@pytest.mark.django_db
def test_a_window_of_hours_runs_over_midnight_and_has_two_sides() -> None:
    for name, hours in {"old": -3, "early": -2, "now": 0, "late": 24, "far": 25}.items():
        moment = NOW + dt.timedelta(hours=hours)
        made(
            name,
            PatientName=f"{name}^A",
            ScheduledProcedureStepStartDate=moment.date(),
            ScheduledProcedureStepStartTime=moment.time(),
        )
    assert shown(Rules(hours_before=2, hours_after=24)) == "early now late"
    assert shown(Rules(hours_before=2)) == "early now late far"
    assert shown(Rules(hours_after=0)) == "old early now"
    assert shown(Rules(hours_before=0, hours_after=0)) == "now"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "key",
    [
        {"PatientID": "P7"},
        {"AccessionNumber": "A7"},
        {"PatientName": "Far*"},
        {"RequestedProcedureID": "R7"},
    ],
)
def test_a_patient_is_found_outside_the_window_unless_the_station_says_no(
    key: dict[str, str],
) -> None:
    names = {"PatientID": "P7", "AccessionNumber": "A7", "RequestedProcedureID": "R7"}
    made("far", **names, PatientName="Far^Away")
    later = NOW + dt.timedelta(days=9)
    assert shown(Rules(hours_before=2), now=later) == ""
    assert shown(Rules(hours_before=2), asking(**key), now=later) == "far"
    strict = Rules(hours_before=2, keys_override_window=False)
    assert shown(strict, asking(**key), now=later) == ""
    # A key that is universal asks for nobody.
    assert shown(Rules(hours_before=2), asking(PatientID="*"), now=later) == ""


@pytest.mark.django_db
def test_a_stations_own_limit_refuses(settings: Any) -> None:
    made("a")
    made("b")
    with pytest.raises(find.TooManyMatches):
        shown(Rules(match_limit=1))
    settings.DICOM_MATCH_LIMIT = 1
    assert shown(Rules(match_limit=2)) == "a b"


# --- what is stored -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_station_without_rules_is_shown_what_a_stranger_is() -> None:
    station()
    rules = stations.rules("CT1")
    assert rules == Rules(ae_title="CT1", modality="CT")
    query = asking()
    assert scope.under(query, rules, now=NOW) == scope.under(query, NO_RULES, now=NOW)
    assert stations.known("EVIL") is None


@pytest.mark.django_db
def test_the_rules_are_read_in_one_statement_by_each_of_the_titles() -> None:
    ct1 = station()
    ct1.sees, ct1.hours_before, ct1.character_set = "OWN", 2, "ISO_IR 100"
    catalogue.save_station(
        ct1,
        titles=["CT01", "CT-01"],
        modality_aliases=[("CR", "DX"), ("CT", "PT")],
        shown_statuses=["SCHEDULED", "READY"],
        seen=None,
        by=actor,
    )
    station("MR1")
    for title in ("CT1", "CT01", "CT-01"):
        with CaptureQueriesContext(connection) as statements:
            found = stations.rules(title)
        assert len(statements) == 1
        assert found == Rules(
            ae_title="CT1",
            titles=("CT-01", "CT01"),
            modality="CT",
            sees="OWN",
            aliases=(("CR", "DX"), ("CT", "PT")),
            statuses=("READY", "SCHEDULED"),
            hours_before=2,
            character_set=("ISO_IR 100",),
        )
    assert stations.rules("ct01") == NO_RULES


@pytest.mark.django_db
def test_what_is_not_given_stays_and_a_list_is_signed() -> None:
    ct1 = station()
    catalogue.save_station(ct1, titles=["B", "A", " A "], seen=None, by=actor)
    catalogue.save_station(ct1, shown_statuses=["READY"], seen=None, by=actor)
    assert [str(title) for title in ct1.titles.all()] == ["A", "B"]
    catalogue.save_station(ct1, titles=[], seen=None, by=actor)
    assert stations.rules("CT1").titles == ()


@pytest.mark.django_db
def test_an_ae_title_belongs_to_one_station() -> None:
    ct1, mr1 = station(), station("MR1")
    catalogue.save_station(ct1, titles=["CT01"], seen=None, by=actor)
    for taken in ("MR1", "CT01"):
        other = mr1 if taken == "CT01" else ct1
        with pytest.raises(ValidationError) as refused:
            catalogue.save_station(other, titles=["NEW", taken], seen=None, by=actor)
        owner = (mr1 if taken == "MR1" else ct1).friendly_name
        told = f"{taken}: {owner} already has this AE title."
        assert refused.value.message_dict["titles"] == [told]
    for wrong in ("X" * 17, "CT\\1"):
        with pytest.raises(ValidationError) as refused:
            catalogue.save_station(ct1, titles=["NEW", wrong], seen=None, by=actor)
        (said,) = refused.value.message_dict["titles"]
        assert said.startswith(f"{wrong}: ")
    with pytest.raises(ValidationError) as refused:
        catalogue.save_station(Station(ae_title="CT01"), seen=None, by=actor)
    assert "ae_title" in refused.value.message_dict
    # A title that becomes the first one is no further one any more.
    ct1.ae_title = "CT01"
    catalogue.save_station(ct1, titles=["CT01", "CT1"], seen=None, by=actor)
    assert stations.rules("CT1").ae_title == stations.rules("CT01").ae_title == "CT01"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("10.1.2.0/24,10.1.2.31", "10.1.2.0/24, 10.1.2.31"),
        # As a socket of IPv6 shows what came by IPv4: it is the same machine.
        ("::ffff:10.1.2.3, ::ffff:10.1.2.0/120", "10.1.2.3, 10.1.2.0/24"),
        (" 10.1.2.31/32 ; fd00::/8 ", "10.1.2.31, fd00::/8"),
        ("", ""),
    ],
)
def test_networks_are_spelled_alike(text: str, stored: str) -> None:
    ct1 = Station(ae_title="CT1", networks=text)
    ct1.full_clean()
    assert ct1.networks == stored


@pytest.mark.parametrize("text", ["10.1.2", "10.1.2.31/24", "ct1.example.org", "10.1.2.3 10.1.2.4"])
def test_what_is_no_network_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Station(ae_title="CT1", networks=text).clean_fields()
    assert "10.1.2.0/24" in str(refused.value.message_dict["networks"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [
        Station(ae_title="X", sees="MODALITY"),
        Station(ae_title="X", sees="SOMETHING"),
        Station(ae_title="X", match_limit=0),
        Station(ae_title="X", match_limit=30_001),
        Station(ae_title="X", hours_before=10000),
    ],
)
def test_the_database_holds_the_rules(wrong: Station) -> None:
    with pytest.raises(IntegrityError):
        wrong.save()


@pytest.mark.django_db(transaction=True)
def test_the_database_holds_the_parts() -> None:
    ct1, mr1 = station(), station("MR1")
    StationTitle.objects.create(station=ct1, ae_title="A")
    with pytest.raises(IntegrityError):
        StationTitle.objects.create(station=mr1, ae_title="A")
    with pytest.raises(IntegrityError):
        ModalityAlias.objects.create(station=ct1, asked="CR", held="CR")
    with pytest.raises(ValidationError):
        catalogue.save_station(ct1, modality_aliases=[("CR", "CR")], seen=None, by=actor)
