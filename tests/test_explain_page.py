"""The explain page: what it shows, what its buttons do and take back; a query's funnel, replay."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import identifier
from dicomscp.asked import elements
from dicomscp.explain import cases, explanation, funnel
from dicomscp.explain.story import Cause
from dicomscp.identifier import Element
from dicomscp.models import Association, Heartbeat, Query
from dicomscp.server import WorklistScp
from tests import network, tools
from tests.asking import DATE, query
from tests.cast import DAY, actor, step
from tests.strategies import Key
from tests.strategies import Query as Request
from tests.test_heartbeat import beat
from worklist import catalogue, clock
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import ScheduledProcedureStep, Station, StepStatus, User
from worklist.scheduling import set_status

pytestmark = pytest.mark.django_db

LONG = ("+l", "1000000")
NOW = dt.datetime.combine(DAY, dt.time(10, 42))


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture(autouse=True)
def server(db: None) -> Heartbeat:
    """One that runs."""
    return beat()


def signed_in(role: str) -> Client:
    user = User(username=role.lower())
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name=role)]})
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin(db: None) -> Client:
    return signed_in("Administrator")


@pytest.fixture
def ct1(db: None) -> Station:
    made = Station(ae_title="CT_1", name="CT 1", modality="CT")
    return catalogue.save_station(made, seen=None, by=actor)


def logged(request: Request, *, calling: str = "CT_1", **more: Any) -> Query:
    """A query of the journal, asked just now over an association of its own."""
    association = Association.objects.create(
        opened=timezone.now(),
        calling=calling,
        called="WORKLIST",
        address="10.1.2.31",
        contexts="Modality Worklist Information Model - FIND: Implicit VR Little Endian",
        is_accepted=True,
        reason="known",
        ended="RELEASED",
    )
    usual: dict[str, Any] = {
        "association": association,
        "at": timezone.now(),
        "calling": calling,
        "address": "10.1.2.31",
        "identifier": network.encode(request, is_explicit=False),
        "transfer_syntax": ImplicitVRLittleEndian,
        "keys": len(request.keys),
        "matches": 0,
        "sent": 0,
        "status": 0,
        "milliseconds": 4,
    }
    return Query.objects.create(**{**usual, **more})


def told_of(shown: ScheduledProcedureStep, station: Station) -> Any:
    return explanation.of_station(shown, Station.objects.get(pk=station.pk))


def press(client: Client, address: str, remedy: str) -> Any:
    """The page after a button of it."""
    before = client.get(address)
    offered = [each.key for each, _ in before.context["remedies"]]
    assert remedy in offered
    told = before.context["told"]
    data = {
        "remedy": remedy,
        "version": told.caller.station.version,
        "step-version": told.step.version,
    }
    return client.post(address, data, follow=True)


# --- buttons --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "booked", "inside", "remedy"),
    [
        ({}, {}, {"ScheduledStationAETitle": "CT-1"}, "title:CT-1"),
        ({}, {"Modality": "DX"}, {"Modality": "CR"}, "alias:CR=DX"),
        ({}, {}, {"ScheduledStationAETitle": "MR9"}, "ignore:ScheduledStationAETitle"),
        (
            {},
            {},
            {"ScheduledPerformingPhysicianName": "Nobody"},
            "ignore:ScheduledPerformingPhysicianName",
        ),
        ({"sees": "MODALITY"}, {"Modality": "PT"}, {}, "alias:CT=PT"),
        ({}, {"ScheduledProcedureStepStatus": "COMPLETED"}, {}, "status:COMPLETED"),
        ({"hours_after": 4}, {"ScheduledProcedureStepStartTime": dt.time(18)}, {}, "hours-after:8"),
        (
            {"hours_before": 1},
            {"ScheduledProcedureStepStartTime": dt.time(8)},
            {},
            "hours-before:3",
        ),
    ],
)
def test_a_button_makes_the_scanner_see_it_and_takes_it_back(
    admin: Client,
    ct1: Station,
    settings: dict[str, Any],
    booked: dict[str, Any],
    inside: dict[str, str],
    remedy: str,
) -> None:
    for name, value in settings.items():
        setattr(ct1, name, value)
    catalogue.save_station(ct1, seen=None, by=actor)
    shown = step(stations=["CT_1"], **booked)
    logged(query(inside))
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    before = trail.snapshot(Station.objects.get())
    after = press(admin, address, remedy)
    assert after.context["told"].would_match
    assert AuditEvent.objects.filter(action="change", model="worklist.station").exists()
    back = admin.post(address, {"take-back": "1"}, follow=True)
    assert not back.context["told"].would_match
    restored = trail.snapshot(Station.objects.get())
    assert restored == before
    # Once only.
    again = admin.post(address, {"take-back": "1"}, follow=True)
    assert "cannot be taken back" in again.content.decode()


def test_what_is_in_the_way_on_that_scanner_is_not_overridden(admin: Client, ct1: Station) -> None:
    shown = step(stations=["CT_2"])
    step(stations=["CT_1"])
    logged(query({"ScheduledStationAETitle": "CT_1"}))
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    after = press(admin, address, "book:")
    assert "Something is in the way there" in after.content.decode()
    assert [str(each) for each in trail.ordered(shown, "stations")] == ["CT_2"]


def test_a_button_books_the_exam_on_that_scanner_too(admin: Client, ct1: Station) -> None:
    ct1.sees = "OWN"
    catalogue.save_station(ct1, seen=None, by=actor)
    shown = step(stations=["CT_2"])
    logged(query())
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    after = press(admin, address, "book:")
    assert after.context["told"].would_match
    assert [str(each) for each in trail.ordered(shown, "stations")] == ["CT_2", "CT_1 CT 1"]
    assert 'name="undo"' in after.content.decode()


def test_what_has_started_is_not_offered_to_be_booked(admin: Client, ct1: Station) -> None:
    ct1.sees = "OWN"
    catalogue.save_station(ct1, seen=None, by=actor)
    shown = step(stations=["CT_2"], ScheduledProcedureStepStatus="STARTED")
    logged(query())
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    assert Cause.RULE in admin.get(address).context["told"].causes
    assert "book:" not in [each.key for each, _ in admin.get(address).context["remedies"]]


def test_who_may_not_set_up_scanners_is_offered_no_button(ct1: Station) -> None:
    shown = step(stations=["CT_1"])
    logged(query({"ScheduledStationAETitle": "CT-1"}))
    technologist = signed_in("Technologist")
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    assert technologist.get(address).context["remedies"] == []
    assert technologist.post(address, {"remedy": "title:CT-1"}).status_code == 403
    assert technologist.post(address, {"take-back": "1"}).status_code == 403
    assert not Station.objects.get().titles.exists()


def test_a_button_that_would_not_help_does_nothing(admin: Client, ct1: Station) -> None:
    shown = step(stations=["CT_1"])
    logged(query({"ScheduledStationAETitle": "CT-1"}))
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    for remedy in ("title:EVIL", "status:COMPLETED", "allow:", "nonsense"):
        answer = admin.post(address, {"remedy": remedy, "version": ct1.version}, follow=True)
        assert "would not help" in answer.content.decode()
    stale = {"remedy": "title:CT-1", "version": ct1.version + 5}
    assert "changed meanwhile" in admin.post(address, stale, follow=True).content.decode()
    assert not Station.objects.get().titles.exists()


def test_of_a_cancelled_exam_no_button_shows_it(admin: Client, ct1: Station) -> None:
    shown = step(stations=["CT_1"], ScheduledProcedureStepStatus="CANCELED")
    logged(query())
    page = admin.get(f"/explain/?step={shown.pk}&station={ct1.pk}")
    assert page.context["remedies"] == []
    assert "book it again" in page.content.decode()


def test_a_caller_in_disguise_is_taken_in(admin: Client, ct1: Station) -> None:
    shown = step(stations=["CT_1"])
    logged(query(), calling="CT-1")
    address = f"/explain/?step={shown.pk}&station={ct1.pk}"
    after = press(admin, address, "title:CT-1")
    assert after.context["told"].cause is Cause.NOT_SINCE
    assert after.context["told"].would_match


# --- the page -------------------------------------------------------------------------------------


def test_a_look_is_signed_with_its_patient(ct1: Station) -> None:
    shown = step(stations=["CT_1"])
    asked = logged(query())
    signed_in("Technologist").get(f"/explain/?step={shown.pk}&station={ct1.pk}")
    event = AuditEvent.objects.get(action="view", model="worklist.patient")
    assert event.object_id == str(shown.requested_procedure.request.patient.pk)
    assert event.after == {"exam": shown.pk, "as": "explain", "query": asked.pk}


def test_the_page_costs_the_same_statements_however_much_there_is(ct1: Station) -> None:
    client = signed_in("Technologist")
    shown = step(stations=["CT_1"])
    asked = logged(query({"ScheduledProcedureStepStartDate": f"{DAY:%Y%m%d}"}))

    def statements(address: str) -> int:
        client.get(address)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        return len(captured)

    one = f"/explain/?step={shown.pk}&station={ct1.pk}"
    whole = f"/explain/?query={asked.pk}&all=1&run=same"
    before = statements(one), statements(whole)
    for number in range(12):
        step(stations=["CT_1"], ScheduledProcedureStepStartTime=dt.time(number))
        asked_too = logged(query())
        Query.objects.filter(pk=asked_too.pk).update(at=asked.at - dt.timedelta(minutes=1))
    assert (statements(one), statements(whole)) == before
    assert max(before) <= 40


def test_text_for_support_has_no_patient_in_it(ct1: Station) -> None:
    shown = step(stations=["CT_1"], PatientName="Rossi^Paolo", PatientID="P-1008")
    logged(query(PatientName="ROSI^P", PatientID="P_1008"))
    page = signed_in("Technologist").get(f"/explain/?step={shown.pk}&station={ct1.pk}")
    told = page.context["support"]
    for secret in ("Rossi", "ROSI", "1008", "Paolo"):
        assert secret not in told
    assert "x_9999" in told
    assert "P_1008" in page.content.decode()


def test_without_an_exam_or_a_query_one_chooses(ct1: Station) -> None:
    client = signed_in("Technologist")
    assert "CT 1" in client.get("/explain/").content.decode()
    page = client.get(f"/explain/?station={ct1.pk}")
    assert "has not asked for its list yet" in page.content.decode()
    for wrong in ("step=x", "step=99999", "query=-1", "station=²"):
        assert client.get(f"/explain/?{wrong}").status_code == 404


def test_a_strangers_query_is_explained_too(ct1: Station) -> None:
    shown = step(stations=["CT_1"])
    asked = logged(query({"Modality": "MR"}), calling="ELSEWHERE")
    page = signed_in("Technologist").get(f"/explain/?step={shown.pk}&query={asked.pk}")
    assert page.context["told"].cause is Cause.KEY
    assert page.context["remedies"] == []
    assert "ELSEWHERE asks for Modality MR" in page.content.decode()


# --- why only so many -----------------------------------------------------------------------------


def test_the_funnel_counts_what_each_condition_leaves(ct1: Station) -> None:
    ct1.sees = "OWN"
    catalogue.save_station(ct1, seen=None, by=actor)
    sent = step(stations=["CT_1"])
    mr = step(stations=["CT_1"], Modality="MR")
    done = step(stations=["CT_1"])
    set_status(done, StepStatus.COMPLETED, by=actor)
    elsewhere = step(stations=["CT_2"])
    step(stations=["CT_1"], ScheduledProcedureStepStartDate=DAY + dt.timedelta(days=1))
    day = f"{DAY:%Y%m%d}"
    asked = logged(query({"Modality": "CT", "ScheduledProcedureStepStartDate": day}))
    told = funnel.of(asked)
    assert (told.first, told.last, told.total) == (DAY, DAY, 4)
    named = [(stage.attributes[0].keyword, stage.asked, stage.left) for stage in told.stages]
    assert named == [
        ("ScheduledProcedureStepStartDate", day, 4),
        ("Modality", "CT", 3),
        ("ScheduledProcedureStepStatus", None, 2),
        ("ScheduledStationAETitle", None, 1),
    ] or named == [
        ("Modality", "CT", 3),
        ("ScheduledProcedureStepStartDate", day, 3),
        ("ScheduledProcedureStepStatus", None, 2),
        ("ScheduledStationAETitle", None, 1),
    ]
    assert told.steps == (sent.pk,)
    first = {pk: stage.attributes[0].keyword for pk, stage in told.left_out.items()}
    assert first == {
        mr.pk: "Modality",
        done.pk: "ScheduledProcedureStepStatus",
        elsewhere.pk: "ScheduledStationAETitle",
    }
    page = signed_in("Technologist").get(f"/explain/?query={asked.pk}")
    assert [row[0].pk for row in page.context["rows"]] == [mr.pk, done.pk, elsewhere.pk]
    assert "our own rule on Scheduled Station AE Title" in page.content.decode()
    event = AuditEvent.objects.filter(action="view").latest("pk")
    assert event.after["exams"] == [mr.pk, done.pk, elsewhere.pk]


def test_the_funnel_is_paged(ct1: Station) -> None:
    for _ in range(60):
        step(stations=["CT_1"], Modality="MR")
    asked = logged(query({"Modality": "CT", "ScheduledProcedureStepStartDate": f"{DAY:%Y%m%d}"}))
    client = signed_in("Technologist")
    first = client.get(f"/explain/?query={asked.pk}")
    later = client.get(f"/explain/?query={asked.pk}&from=50")
    assert (len(first.context["rows"]), len(later.context["rows"])) == (50, 10)


# --- once more ------------------------------------------------------------------------------------


def test_a_query_run_again_tells_what_came_and_went(ct1: Station) -> None:
    stays, goes = step(stations=["CT_1"]), step(stations=["CT_1"])
    asked = logged(query({"Modality": "CT"}), steps=[stays.pk, goes.pk], sent=2, matches=2)
    set_status(goes, StepStatus.COMPLETED, by=actor)
    comes = step(stations=["CT_1"])
    step(stations=["CT_1"], Modality="MR")
    client = signed_in("Technologist")
    page = client.get(f"/explain/?query={asked.pk}&run=same")
    assert page.context["again"].count == 2
    assert [each.pk for each in page.context["came"]] == [comes.pk]
    assert [each.pk for each in page.context["went"]] == [goes.pk]


def test_with_modality_and_date_alone_more_is_found(ct1: Station) -> None:
    shown = step(stations=["CT_1"])
    asked = logged(query({"Modality": "CT", "ScheduledStationAETitle": "CT-1"}))
    client = signed_in("Technologist")
    same = client.get(f"/explain/?step={shown.pk}&query={asked.pk}&run=same")
    narrow = client.get(f"/explain/?step={shown.pk}&query={asked.pk}&run=narrow")
    assert (same.context["has_step"], narrow.context["has_step"]) == (False, True)


# --- a case of it ---------------------------------------------------------------------------------

WIDE = query(
    {"Modality": ["CT", "MR"], "ScheduledProtocolCodeSequence": [{}], DATE: ""},
    PatientName="Müll*=王*",
    PatientComments="line\r\nline [1] # 2",
    PregnancyStatus=[4],
    AccessionNumber="",
)


def plain(elements: tuple[Element, ...]) -> dict[int, Any]:
    """Elements by tag, without padding; what was sent as bytes is the same text."""
    return {
        each.tag: tuple(map(plain, each.items)) if each.items else each.value.rstrip(b" \0")
        for each in elements
    }


@tools.needs("dcmtk")
def test_dump2dcm_makes_the_query_again(tmp_path: Path) -> None:
    program = tools.findscu()
    assert program is not None
    private = Key(0x00091001, "LO", ("private",))
    wide = Request(tuple(sorted((*WIDE.keys, private), key=lambda key: key.tag)))
    asked = logged(wide)
    (tmp_path / "q.dump").write_bytes(cases.dump(asked))
    # A data set alone, in Implicit VR Little Endian, as the query was sent.
    made = subprocess.run(
        [
            program.with_name("dump2dcm"),
            *LONG,
            "-F",
            "+ti",
            tmp_path / "q.dump",
            tmp_path / "q.dcm",
        ],
        capture_output=True,
        check=False,
    )
    # Of what a text in brackets cannot hold it warns: it stands there as bytes.
    assert made.returncode == 0
    assert [line[:2] for line in made.stderr.splitlines()] == [b"W:"]
    again = identifier.read((tmp_path / "q.dcm").read_bytes(), implicit_vr=True)
    assert plain(again) == plain(elements(asked))


@tools.needs("dcmtk")
@pytest.mark.django_db(transaction=True)
def test_findscu_gets_the_same_answer_with_the_saved_case(tmp_path: Path) -> None:
    program = tools.findscu()
    assert program is not None
    mine = step(PatientName="Müller^Anna")
    step(PatientName="Rossi^Paolo")
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    try:
        with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
            assert len(network.ask(assoc, query(PatientName="Mü*")).pendings) == 1
        port = scp.port
        network.over(scp)
        first = Query.objects.get()
        assert first.steps == [mine.pk]
        client = signed_in("Technologist")
        saved = client.get(f"/queries/{first.pk}/case.dump")
        assert (
            saved.headers["Content-Disposition"] == f'attachment; filename="query-{first.pk}.dump"'
        )
        (tmp_path / "q.dump").write_bytes(saved.content)
        subprocess.run(
            [program.with_name("dump2dcm"), *LONG, tmp_path / "q.dump", tmp_path / "q.dcm"],
            check=True,
        )
        subprocess.run(
            [
                program,
                "-W",
                "-aet",
                "CT1",
                "-aec",
                "WORKLIST",
                "127.0.0.1",
                str(port),
                tmp_path / "q.dcm",
            ],
            check=True,
            capture_output=True,
        )
        network.over(scp)
    finally:
        scp.stop()
    second = Query.objects.latest("pk")
    assert second.pk != first.pk
    assert (second.steps, second.status, second.keys) == (first.steps, 0, first.keys)
    assert AuditEvent.objects.filter(action="export").exists()


# --- the command's mistakes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--step", "NONE", "--station", "CT_1"), "No exam has the accession number"),
        (("--step", "TWICE", "--station", "CT_1"), "2 exams are called TWICE"),
        (("--step", "ONCE", "--station", "XX"), "No scanner is XX. There are: CT_1"),
        (("--step", "ONCE"), "Say which scanner"),
        (("--step", "ONCE", "--query", "7"), "The journal has no query 7"),
    ],
)
def test_the_command_says_what_it_does_not_understand(
    ct1: Station, arguments: tuple[str, ...], said: str
) -> None:
    step(stations=["CT_1"], AccessionNumber="ONCE")
    for number in range(2):
        step(stations=["CT_1"], AccessionNumber="TWICE", PatientID=f"T{number}")
    with pytest.raises(CommandError, match=said) as error:
        call_command("explain", *arguments)
    assert error.value.returncode == 2
