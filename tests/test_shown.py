"""What a scanner sees, on the screen: choices and preview; and that C-FIND sends the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from dicomscp import access, asked, callers, doubts, preview, scope, stations
from dicomscp.access import Reason
from dicomscp.doubts import Kind
from dicomscp.models import Association, Query
from dicomscp.scope import Rules
from dicomscp.server import WorklistScp
from tests import network, tools
from tests.asking import query
from tests.cast import DAY, YAMADA, actor, code, station, step
from tests.test_findscu import STEP, Findscu
from worklist import catalogue, clock
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import Station, User

pytestmark = pytest.mark.django_db

NOW = dt.datetime.combine(DAY, dt.time(9))


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def admin(client: Client) -> Client:
    user = User(username="admin", is_superuser=True)
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Administrator")]})
    client.force_login(user)
    return client


CHOICES: dict[str, Any] = {
    "sees": "OWN",
    "shown_statuses": ["SCHEDULED", "ARRIVED", "READY", "STARTED"],
    "keys_override_window": "on",
    "modality_aliases": "",
    "character_set": "",
}


def text(response: Any) -> str:
    return str(response.content.decode())


def test_the_choices_are_saved_and_signed(admin: Client) -> None:
    ct1 = station()
    sent = {
        **CHOICES,
        "shown_statuses": ["SCHEDULED", "COMPLETED"],
        "modality_aliases": "cr = dx\nCT=PT",
        "hours_before": "2",
        "match_limit": "200",
        "alphabetic_only": "on",
        "ignored_keys": ["ReferringPhysicianName", "Modality"],
        "version": "1",
    }
    response = admin.post(f"/setup/scanners/{ct1.pk}/list/", sent)
    assert response.status_code == 302
    assert stations.rules("CT1") == Rules(
        ae_title="CT1",
        modality="CT",
        sees="OWN",
        aliases=(("CR", "DX"), ("CT", "PT")),
        statuses=("COMPLETED", "SCHEDULED"),
        hours_before=2,
        match_limit=200,
        alphabetic_only=True,
        ignored=("Modality", "ReferringPhysicianName"),
    )
    event = AuditEvent.objects.get(model="worklist.station", action="change")
    assert event.after["modality_aliases"] == ["CR=DX", "CT=PT"]
    assert event.after["shown_statuses"] == ["COMPLETED", "SCHEDULED"]


def test_the_usual_statuses_are_no_rule(admin: Client) -> None:
    ct1 = station()
    admin.post(f"/setup/scanners/{ct1.pk}/list/", {**CHOICES, "version": "1"})
    assert not ct1.shown_statuses.exists()
    assert stations.rules("CT1").statuses == scope.OPEN_STATUSES


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shown_statuses": []}, "tick one"),
        ({"modality_aliases": "CR"}, "write CR=DX"),
        ({"modality_aliases": "CR=CR"}, "These are two modalities."),
        ({"match_limit": "0"}, "greater than or equal to 1"),
        ({"match_limit": "30001"}, "less than or equal to 30000"),
        ({"hours_before": "-1"}, "greater than or equal to 0"),
        ({"ignored_keys": ["PatientID"]}, "PatientID is not one of the available choices"),
        ({"sees": "MODALITY"}, "Say which modality the scanner is of."),
    ],
)
def test_a_mistake_is_told_and_nothing_is_saved(
    admin: Client, wrong: dict[str, Any], said: str
) -> None:
    nameless = Station(ae_title="X1")
    catalogue.save_station(nameless, seen=None, by=actor)
    response = admin.post(
        f"/setup/scanners/{nameless.pk}/list/", {**CHOICES, "version": "1", **wrong}
    )
    assert response.status_code == 422
    assert said in text(response)
    assert stations.rules("X1") == Rules(ae_title="X1")


def test_beside_the_choices_stands_what_it_gets_with_them(admin: Client) -> None:
    ct1 = station()
    step(PatientName="Mine^A")
    step(PatientName="Other^B", stations=["CT2"])
    step(PatientName="Done^C", ScheduledProcedureStepStatus="COMPLETED")
    step(PatientName="Later^D", ScheduledProcedureStepStartDate=DAY + dt.timedelta(days=1))
    page = text(admin.get(f"/setup/scanners/{ct1.pk}/list/"))
    assert "of 3 exams of today" in page
    assert "MINE, A" in page
    assert "OTHER, B" in page
    now_ = f"/setup/scanners/{ct1.pk}/list/now/"
    part = text(admin.post(now_, CHOICES))
    assert '<strong class="big">1</strong> of 3 exams of today' in part
    assert "MINE, A" in part
    assert "OTHER, B" not in part
    part = text(admin.post(now_, {**CHOICES, "shown_statuses": ["COMPLETED"]}))
    assert "DONE, C" in part
    assert stations.rules("CT1").sees == "ALL"
    assert "do not go together" in text(admin.post(now_, {**CHOICES, "shown_statuses": []}))
    looks = AuditEvent.objects.filter(action="view").order_by("pk")
    assert [len(look.after["exams"]) for look in looks] == [2, 1, 1]


def test_an_ignored_key_counts_beside_the_choices_before_it_is_saved(admin: Client) -> None:
    ct1 = station()
    step(stations=["CT1"])
    wrong = query({"ScheduledStationAETitle": "X"}, PatientSex="O")
    Query.objects.create(
        at=timezone.now(),
        calling="CT1",
        identifier=network.encode(wrong, is_explicit=False),
        transfer_syntax=ImplicitVRLittleEndian,
        keys=2,
        sent=0,
        status=0,
        milliseconds=1,
    )
    path = f"/setup/scanners/{ct1.pk}/list/now/"
    sent = {**CHOICES, "sees": "ALL", "of": "last", "version": "1"}
    assert admin.post(path, sent).context["count"] == 0
    # What it asked for is offered, too.
    both = ["PatientSex", "ScheduledStationAETitle"]
    answer = admin.post(path, {**sent, "ignored_keys": both})
    assert answer.context["count"] == 1
    assert "Patient&#x27;s Sex is ignored in what it asks for" in text(answer)


def test_a_list_that_is_too_long_is_said_to_be_refused(admin: Client) -> None:
    ct1 = station()
    for _ in range(3):
        step()
    part = text(admin.post(f"/setup/scanners/{ct1.pk}/list/now/", {**CHOICES, "match_limit": "2"}))
    assert "Refused: 3 exams, and no more than 2 are sent." in part


def test_doubts_are_told_at_the_exam(admin: Client) -> None:
    ct1 = station()
    step(PatientName=YAMADA, stations=[])
    url = f"/setup/scanners/{ct1.pk}/list/now/"
    every = {**CHOICES, "sees": "ALL"}
    part = text(admin.post(url, {**every, "character_set": "ISO_IR 100"}))
    assert "has letters that are not in Western European (ISO_IR 100): sent in Unicode." in part
    assert "Scheduled Station AE Title must not be empty, and is." in part
    old = {**every, "character_set": "ISO_IR 100", "alphabetic_only": "on"}
    assert "has letters" not in text(admin.post(url, old))


def test_a_value_that_is_too_long_is_a_doubt() -> None:
    step(AccessionNumber="A1")
    (item,) = preview.of(preview.today(), scope.NO_RULES, now=NOW).items
    accession = next(a for a in item.values if a.keyword == "AccessionNumber")
    long = type(item)({**item.values, accession: ("x" * 17,)}, item.items)
    (doubt,) = doubts.of(preview.today(), long, wanted=("ISO_IR 192",))
    assert (doubt.attribute.keyword, doubt.kind) == ("AccessionNumber", Kind.LONG)


def test_the_number_of_statements_is_fixed(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    ct1 = station()
    for _ in range(10):
        step(codes=[])
    with django_assert_max_num_queries(24):
        admin.get(f"/setup/scanners/{ct1.pk}/list/")


# --- callers --------------------------------------------------------------------------------------


def called(calling: str, reason: Reason, *, address: str = "10.1.2.31", hours: int = 0) -> None:
    Association.objects.create(
        opened=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC) + dt.timedelta(hours=hours),
        calling=calling,
        called="WORKLIST",
        address=address,
        is_accepted=access.Verdict(reason).is_accepted,
        reason=reason,
    )


def test_who_asked_and_is_not_set_up_is_added_with_one_click(admin: Client, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    ct1 = station()
    catalogue.save_station(ct1, titles=["CT01"], seen=None, by=actor)
    called("CT1", Reason.KNOWN)
    called("CT01", Reason.ADDRESS)
    called("MONITOR", Reason.VERIFICATION)
    called("CT-2", Reason.STRANGER, hours=1)
    called("CT-2", Reason.STRANGER, hours=2)
    called("<MR&1>", Reason.SET_UP_MODE, address="10.1.2.9")
    found = [(each.calling, each.reason, each.times) for each in callers.to_look_at()]
    assert found == [
        ("CT-2", Reason.STRANGER, 2),
        ("<MR&1>", Reason.SET_UP_MODE, 1),
        ("CT01", Reason.ADDRESS, 1),
    ]
    page = text(admin.get("/setup/scanners/"))
    assert "Asked but are not set up (2)" in page
    assert "Refused although they are set up" in page
    add = "/setup/scanners/add/?ae_title=CT-2&address=10.1.2.31"
    assert add.replace("&", "&amp;") in page
    assert "ae_title=%3CMR%261%3E" in page
    form = text(admin.get(add))
    assert 'value="CT-2"' in form
    assert 'value="10.1.2.31"' in form
    sent = {"ae_title": "CT-2", "networks": "10.1.2.31", "is_allowed": "on", "titles": ""}
    assert admin.post(add, sent).status_code == 302
    assert access.on_request(access.Call("CT-2", "10.1.2.31")).reason == Reason.KNOWN
    assert "Asked but are not set up (1)" in text(admin.get("/setup/scanners/"))


def test_set_up_mode_is_switched_in_the_browser(admin: Client, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    station()
    assert "Set-up mode: answer every caller" in text(admin.get("/setup/scanners/"))
    admin.post("/setup/scanners/mode/", {"mode": "on"})
    assert access.set_up_mode()
    assert "Set-up mode is on" in text(admin.get("/setup/scanners/"))
    admin.post("/setup/scanners/mode/", {"mode": "off"})
    assert access.set_up_mode() is None
    assert AuditEvent.objects.filter(model="dicomscp.setupmode", actor="admin").count() == 2


def test_a_scanner_is_saved_with_further_titles_and_addresses(admin: Client) -> None:
    ct1, mr1 = station(), station("MR1")
    sent = {"ae_title": "CT1", "modality": "CT", "titles": "CT01\r\n CT-01 \r\n", "version": "1"}
    path = f"/setup/scanners/{ct1.pk}/"
    assert admin.post(path, {**sent, "networks": "10.1.2.0/24"}).status_code == 302
    assert stations.rules("CT-01").titles == ("CT-01", "CT01")
    assert "CT-01\nCT01" in text(admin.get(path))
    assert not Station.objects.get(pk=ct1.pk).is_allowed
    refused = admin.post(f"/setup/scanners/{mr1.pk}/", {**sent, "ae_title": "MR1"})
    assert refused.status_code == 422
    assert "CT-01: CT Ground Floor already has this AE title." in text(refused)
    refused = admin.post(path, {**sent, "networks": "10.1.2", "version": "2"})
    assert "10.1.2.0/24, with a comma between several" in text(refused)


# --- the preview is what is sent ------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


def as_sent(dataset: Dataset) -> Dataset:
    """A data set as it comes out at the other end."""
    encoded = encode(dataset, True, True)
    assert encoded is not None
    return dcmread(DicomBytesIO(encoded), force=True)


RULES: tuple[dict[str, Any], ...] = (
    {},
    {"sees": "OWN"},
    {"sees": "MODALITY", "character_set": "ISO_IR 100"},
    {"character_set": "\\ISO 2022 IR 87", "hours_before": 1, "hours_after": 1},
    {"alphabetic_only": True, "sees": "OWN_AND_UNASSIGNED"},
)


def fill() -> Station:
    thorax = code()
    step(PatientName="Müller^Anna", codes=[thorax], ScheduledProcedureStepDescription="CT Thorax")
    step(PatientName=YAMADA, RequestingPhysician="Straße^Karl", stations=["CT1", "CT2"])
    step(PatientName="None^Of", stations=[], PatientBirthDate=dt.date(1979, 4, 12))
    step(PatientName="Łukasz^Jan", Modality="MR", stations=["MR1"])
    step(PatientName="Done^Long", ScheduledProcedureStepStatus="COMPLETED")
    step(PatientName="Late^Comer", ScheduledProcedureStepStartTime=dt.time(18))
    return station()


@tools.needs("dcmtk")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "-".join(rules) or "none")
def test_the_preview_and_findscu_have_equal_data_sets(
    scp: WorklistScp, tmp_path: Path, rules: dict[str, Any]
) -> None:
    ct1 = fill()
    for name, value in rules.items():
        setattr(ct1, name, value)
    catalogue.save_station(ct1, titles=["CT01"], seen=None, by=actor)
    keys = (
        "SpecificCharacterSet=ISO_IR 192",
        f"{STEP}[0].ScheduledProcedureStepStartDate=20240705",
        f"{STEP}[0].ScheduledStationAETitle",
        f"{STEP}[0].ScheduledProtocolCodeSequence",
        f"{STEP}[0].ScheduledProcedureStepID",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "RequestingPhysician",
        "StudyInstanceUID",
    )
    found = Findscu(scp.port, tmp_path).ask(*keys)
    assert found.final == "0000"
    assert found.answers
    network.over(scp)
    last = asked.last_of(ct1)
    assert last is not None
    seen = preview.of(asked.plan_of(last), stations.rules("CT1"), now=clock.now())
    previewed = [as_sent(seen.data_set(item)) for item in seen.items]
    assert [item.step for item in seen.items] == last.steps
    for ours, theirs in zip(previewed, found.answers, strict=True):
        assert [element.tag for element in ours] == [element.tag for element in theirs]
        for mine, sent in zip(ours, theirs, strict=True):
            assert (mine.tag, mine.value) == (sent.tag, sent.value)


@pytest.mark.django_db(transaction=True)
def test_the_page_shows_the_answer_to_the_last_query(scp: WorklistScp, admin: Client) -> None:
    ct1 = fill()
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        network.ask(assoc, query({"Modality": "MR"}, PatientName=""))
    network.over(scp)
    page = text(admin.get(f"/setup/scanners/{ct1.pk}/list/?of=last"))
    assert "ŁUKASZ, Jan" in page
    assert "MÜLLER" not in page
    assert "exam, as it asked last" in page
    (mr,) = Query.objects.get().steps
    shown = text(admin.get(f"/exams/{mr}/dicom/?station={ct1.pk}&as=last"))
    assert "PatientName" in shown
    assert "StudyInstanceUID" not in shown
    whole = text(admin.get(f"/exams/{mr}/dicom/?station={ct1.pk}"))
    assert "StudyInstanceUID" in whole
    assert admin.get(f"/exams/{mr}/dicom/?station=x").status_code == 404
