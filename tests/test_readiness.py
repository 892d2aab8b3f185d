"""The light of an exam on a scanner agrees with a real C-FIND; silent scanners are told."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import access, readiness, scope
from dicomscp.explain import explanation
from dicomscp.models import Association, Query
from dicomscp.readiness import Light, State
from dicomscp.server import WorklistScp
from tests import network
from tests.asking import DATE, query
from tests.cast import DAY, actor, step
from tests.strategies import AE_TITLES, STATUSES, Worklist, conversations
from tests.strategies import Query as Asked
from tests.test_oracle import store
from worklist import catalogue, clock
from worklist.audit import trail
from worklist.models import (
    ScheduledProcedureStep,
    Station,
    StationTitle,
    StepStatus,
    User,
)
from worklist.scheduling import undo

NOW = dt.datetime.combine(DAY, dt.time(10, 42))


# --- the light and the SCP ------------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


def set_up(station: Station, chance: random.Random) -> None:
    """Rules that hide something, often."""
    station.sees = chance.choice(["ALL", "ALL", "MODALITY", "OWN", "OWN_AND_UNASSIGNED"])
    station.modality = chance.choice(["CT", "MR"])
    station.calling_title_counts = chance.random() < 0.3
    station.hours_before = chance.choice([None, None, None, 24])
    station.match_limit = chance.choice([None, None, 1, 3])
    station.ignored_keys = " ".join(
        chance.sample(sorted(scope.IGNORABLE), chance.choice([0, 0, 9]))
    )
    catalogue.save_station(
        station,
        titles=[f"{station.ae_title}-2"],
        modality_aliases=chance.choice([[], [("CT", "MR")], [("CR", "PT"), ("MR", "CT")]]),
        shown_statuses=chance.choice([[], [], list(STATUSES)]),
        seen=None,
        by=actor,
    )


def sent(scp: WorklistScp, station: Station, asked: Asked) -> set[int]:
    """The steps that this scanner is really sent."""
    with network.association(scp.port, ImplicitVRLittleEndian, ae_title=station.ae_title) as assoc:
        network.ask(assoc, asked)
    network.over(scp)
    return set(Query.objects.filter(calling=station.ae_title).latest("at", "pk").steps)


def test_the_light_and_explain_agree_with_a_real_c_find(scp: WorklistScp) -> None:
    seen = dict.fromkeys(State, 0)

    @settings(
        max_examples=14,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(conversations(len(AE_TITLES)))
    def check(conversation: tuple[Worklist, list[Asked]]) -> None:
        worklist, queries = conversation
        Query.objects.all().delete()
        StationTitle.objects.all().delete()
        store(worklist)
        chance = random.Random(repr(queries))
        stations = list(Station.objects.order_by("pk"))
        for station, asked in zip(stations, queries, strict=True):
            set_up(station, chance)
            sent(scp, station, asked)
        steps = list(ScheduledProcedureStep.objects.values_list("pk", flat=True))
        lights = readiness.of(steps, stations)
        assert len(lights) == len(steps) * len(stations)
        for station, asked in zip(stations, queries, strict=True):
            explained = {
                each.pk
                for each in ScheduledProcedureStep.objects.select_related(
                    "requested_procedure__request__patient"
                )
                if explanation.of_station(each, station).would_match
            }
            really = sent(scp, station, asked)
            # What explain says of each step, too, is what the SCP does by the network.
            assert explained == really, asked
            for pk in steps:
                light = lights[pk, station.pk]
                seen[light.state] += 1
                assert (light.state is State.READY) == (pk in really), (light.words, asked)
                assert light.words

    check()
    # The same worklists in each run: that both lights were seen is no matter of chance.
    assert seen[State.READY] > 0
    assert seen[State.BLOCKED] > 0


# --- what it says ---------------------------------------------------------------------------------


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def ct1(db: None, now: None) -> Station:
    made = Station(ae_title="CT1", name="CT 1", modality="CT")
    return catalogue.save_station(made, seen=None, by=actor)


def asked(
    request: Asked | None = None, *, minutes: float = 0, calling: str = "CT1", **more: Any
) -> Query:
    usual: dict[str, Any] = {
        "at": timezone.make_aware(NOW - dt.timedelta(minutes=minutes)),
        "calling": calling,
        "identifier": network.encode(request or query(), is_explicit=False),
        "transfer_syntax": ImplicitVRLittleEndian,
        "keys": 3,
        "sent": 0,
        "status": 0,
        "milliseconds": 4,
    }
    return Query.objects.create(**{**usual, **more})


def light_of(shown: ScheduledProcedureStep) -> Light:
    (light,) = readiness.of_own([shown.pk])[shown.pk]
    return light


def test_before_it_has_asked_the_rules_alone_decide(ct1: Station) -> None:
    shown = step()
    assert light_of(shown).words == "Will show on CT 1, which has not asked yet"
    shown.status = StepStatus.COMPLETED
    trail.save(shown, by=actor)
    assert light_of(shown).words == "Not on CT 1: status Done is not on the list of CT 1"


def test_what_is_in_the_way_is_said(ct1: Station) -> None:
    shown = step()
    asked(query({"Modality": "CT", DATE: f"{DAY:%Y%m%d}"}))
    assert light_of(shown).words == "Will show on CT 1 from its next query"
    asked(query({"Modality": "MR"}))
    assert light_of(shown).words == "Not on CT 1: it asks for Modality MR"
    asked(query(PatientID="x" * 70))
    assert "makes no sense" in light_of(shown).words
    ct1.is_allowed = False
    catalogue.save_station(ct1, seen=None, by=actor)
    assert "makes no sense" in light_of(shown).words


def test_a_scanner_that_may_not_ask(ct1: Station, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    shown = step()
    asked()
    ct1.is_allowed = False
    catalogue.save_station(ct1, seen=None, by=actor)
    assert light_of(shown).words == "Not on CT 1: it may not ask"


def test_one_that_is_turned_away_where_it_calls_from(ct1: Station, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    shown = step()
    asked(address="10.1.2.31", steps=[shown.pk], sent=1)
    ct1.networks = "10.9.9.9"
    catalogue.save_station(ct1, seen=None, by=actor)
    said = "Not on CT 1: it called from an address that is not the scanner's"
    assert light_of(shown).words == said
    access.let_anybody_in(by=actor)
    assert light_of(shown).state is State.READY
    access.end_set_up_mode(by=actor)
    asked(address="10.9.9.9")
    assert light_of(shown).state is State.READY
    ct1.certificates = "ab" * 32
    catalogue.save_station(ct1, seen=None, by=actor)
    row = Association.objects.create(opened=timezone.now(), is_accepted=True, reason="known")
    asked(address="10.9.9.9", association=row)
    assert "certificate" in light_of(shown).words
    settings.DICOM_ACCESS = "any"
    assert light_of(shown).state is State.READY


def test_one_that_was_sent_says_when(ct1: Station) -> None:
    shown = step()
    asked(minutes=3, steps=[shown.pk], sent=1)
    assert light_of(shown).words == "On the list of CT 1: it was sent at 10:39:00"


def test_a_bar_code_that_is_read_is_not_taken_for_the_list(ct1: Station) -> None:
    shown = step()
    asked(query({"Modality": "CT"}), minutes=2)
    asked(query(AccessionNumber="ELSE"), minutes=1)
    assert light_of(shown).state is State.READY


def test_who_asks_for_one_at_a_time_may_ask_for_this_one(ct1: Station) -> None:
    shown, other = step(AccessionNumber="A1"), step(AccessionNumber="A2", Modality="MR")
    for minutes in range(1, 9):
        asked(query({"Modality": "CT"}, AccessionNumber=f"ELSE{minutes}"), minutes=minutes)
    light = light_of(shown)
    assert (light.state, light.is_by_number) == (State.LATER, True)
    assert light.words == "Will show on CT 1 when it asks for that patient or order"
    # What else it asks for is in the way all the same.
    assert light_of(other).state is State.BLOCKED
    assert "Modality CT" in light_of(other).words
    asked(query({"Modality": "CT"}, AccessionNumber="A1"), minutes=0)
    assert light_of(shown).state is State.READY


@pytest.mark.parametrize(
    ("days", "dates", "state"),
    [
        (0, "20240704", State.READY),
        (0, "20240704-20240704", State.READY),
        (1, "20240704", State.LATER),
        (-1, "20240704", State.BLOCKED),
        (0, "20240601", State.BLOCKED),
        (3, "20240704-", State.READY),
    ],
)
def test_who_asked_for_that_day_yesterday_asks_for_this_one_today(
    ct1: Station, days: int, dates: str, state: State
) -> None:
    shown = step(ScheduledProcedureStepStartDate=DAY + dt.timedelta(days=days))
    asked(query({DATE: dates}), minutes=24 * 60)
    assert light_of(shown).state is state


@pytest.mark.parametrize("name", ["", "Rossi*"])
@pytest.mark.parametrize(("limit", "state"), [(2, State.BLOCKED), (3, State.READY)])
def test_past_the_limit_none_is_sent(ct1: Station, name: str, limit: int, state: State) -> None:
    ct1.match_limit = limit
    catalogue.save_station(ct1, seen=None, by=actor)
    shown = [step(PatientName="Rossi^Paolo") for _ in range(3)]
    # Which names match is not for SQL alone to say: these are near enough for it.
    step(PatientName="Anna=Rossi", ScheduledProcedureStepStatus="COMPLETED")
    asked(query(PatientName=name))
    lights = readiness.of_own([each.pk for each in shown])
    assert {light.state for several in lights.values() for light in several} == {state}
    if state is State.BLOCKED:
        assert light_of(shown[0]).words == "Not on CT 1: too many exams match what it asks for"


def test_the_hours_that_are_shown_will_come(ct1: Station) -> None:
    ct1.hours_after, ct1.hours_before = 2, 1
    catalogue.save_station(ct1, seen=None, by=actor)
    asked()
    late, gone = (step(ScheduledProcedureStepStartTime=dt.time(hour)) for hour in (18, 8))
    assert light_of(late).state is State.LATER
    assert light_of(gone).state is State.BLOCKED
    assert "outside the hours" in light_of(gone).words


def test_the_statements_do_not_depend_on_steps_or_stations(ct1: Station) -> None:
    def statements() -> int:
        steps = list(ScheduledProcedureStep.objects.values_list("pk", flat=True))
        with CaptureQueriesContext(connection) as captured:
            readiness.of_own(steps)
        return len(captured)

    step()
    asked(query({"Modality": "CT"}, PatientName=""))
    before = statements()
    for number in range(8):
        title = f"CT{number + 2}"
        step(stations=["CT1", title], PatientName="Rossi^Paolo")
        asked(query({"Modality": "CT"}), calling=title)
    assert statements() == before
    assert before <= 12


# --- parts of pages -------------------------------------------------------------------------------


@pytest.fixture
def technologist(ct1: Station) -> Client:
    user = User(username="ted")
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Technologist")]})
    client = Client()
    client.force_login(user)
    return client


def test_the_exam_page_and_a_notice_ask_for_the_light(technologist: Client) -> None:
    shown = step()
    asked(query({"Modality": "MR"}))
    page = technologist.get(f"/exams/{shown.pk}/").content.decode()
    assert f'hx-get="/readiness/exam/{shown.pk}/"' in page
    part = technologist.get(f"/readiness/exam/{shown.pk}/").content.decode()
    assert "it asks for Modality MR" in part
    assert f"/explain/?step={shown.pk}" in part
    owner = f"{technologist.session['_auth_user_id']} {technologist.session.session_key}"
    token = undo.sign(undo.of_booking([shown]), owner=owner)
    told = technologist.get("/readiness/notice/", {"undo": token})
    assert "it asks for Modality MR" in told.content.decode()
    other = undo.sign(undo.of_booking([shown]), owner="somebody else")
    assert technologist.get("/readiness/notice/", {"undo": other}).content.strip() == b""
    assert technologist.get("/readiness/notice/?undo=nonsense").content.strip() == b""


def test_the_board_is_told_of_silence_and_of_what_will_not_show(technologist: Client) -> None:
    shown = step()
    asked(query({"Modality": "MR"}), minutes=180)
    step(ScheduledProcedureStepStatus="COMPLETED")
    board = technologist.get(f"/today/?day={DAY}").content.decode()
    assert 'data-lanes="/readiness/lanes/"' in board
    part = " ".join(technologist.get("/readiness/lanes/").content.decode().split())
    assert "last asked 3 h ago" in part
    assert "1 exam will not show" in part
    assert f"/explain/?step={shown.pk}" in part
    other = technologist.get(f"/readiness/lanes/?day={DAY + dt.timedelta(days=1)}")
    assert "ago" not in other.content.decode()


def test_a_scanner_that_never_asked_is_looked_at_if_it_may(
    technologist: Client, ct1: Station
) -> None:
    part = technologist.get("/readiness/lanes/").content.decode()
    assert "has never asked for its list" in part
    assert f"/explain/?station={ct1.pk}" in part
    ct1.is_allowed = False
    catalogue.save_station(ct1, seen=None, by=actor)
    part = technologist.get("/readiness/lanes/").content.decode()
    assert "has never asked for its list" in part
    assert "/explain/" not in part
