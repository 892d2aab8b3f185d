"""Fourteen faults, each made with a running SCP and a modality: explain names it first."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from django.utils import translation
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from dicomscp import heartbeat
from dicomscp.explain import explanation, short, words
from dicomscp.explain.story import Cause, Explanation, Mark
from dicomscp.heartbeat import Heart
from dicomscp.server import WorklistScp
from dicomscp.wire import client
from tests import network, tools
from tests.cast import DAY, actor, step
from tests.waiting import until
from worklist import catalogue, clock, scheduling
from worklist.audit import trail
from worklist.models import ScheduledProcedureStep, Station, StepStatus, User

pytestmark = [pytest.mark.django_db(transaction=True), tools.needs("dcmtk")]

IN_STEP = "(0040,0100)[0]."
DATE = f"{IN_STEP}ScheduledProcedureStepStartDate"
MODALITY = f"{IN_STEP}Modality"
TITLE = f"{IN_STEP}ScheduledStationAETitle"
TODAY = (f"{DATE}={DAY:%Y%m%d}", f"{MODALITY}=CT", "PatientName", "PatientID")


class Scanner:
    """A modality of DCMTK that calls our SCP."""

    def __init__(self, scp: WorklistScp) -> None:
        self.scp = scp
        self.port = scp.port
        self.heart = Heart(scp)

    def over(self) -> None:
        """What was said stands in the journal."""
        network.over(self.scp)

    def ask(self, *keys: str, calling: str = "CT_1", called: str = "WORKLIST") -> str:
        program = tools.findscu()
        assert program is not None
        command = [str(program), "-v", "-W", "-aet", calling, "-aec", called]
        for key in keys or TODAY:
            command += ["-k", key]
        run = subprocess.run(
            [*command, "127.0.0.1", str(self.port)], capture_output=True, timeout=60, check=False
        )
        self.over()
        return (run.stdout + run.stderr).decode("utf-8", "backslashreplace")


@pytest.fixture
def scanner(
    transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scanner]:
    settings.DICOM_ACCESS = "known"
    monkeypatch.setattr(clock, "now", lambda: dt.datetime.combine(DAY, dt.time(9)))
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    scanner = Scanner(scp)
    scanner.heart.start()
    until(heartbeat.is_running)
    yield scanner
    scanner.heart.stop()
    scp.stop()


def ct(**more: Any) -> Station:
    """The scanner as it is set up, with these of its settings changed."""
    made = Station.objects.filter(ae_title="CT_1").first() or Station(
        ae_title="CT_1", name="CT 1", modality="CT"
    )
    for name, value in more.items():
        setattr(made, name, value)
    return catalogue.save_station(made, seen=None, by=actor)


def booked(**more: Any) -> ScheduledProcedureStep:
    ct()
    return step(stations=["CT_1"], PatientName="Rossi^Paolo", **more)


def told_first(shown: ScheduledProcedureStep, cause: Cause, *said: str, well: bool = False) -> None:
    """The page and the command name this cause first, in these words."""
    told = explanation.of_station(
        shown, Station.objects.get(ae_title="CT_1"), is_running=heartbeat.is_running()
    )
    assert told.cause is cause, (told.causes, short.answer(told))
    answer = " ".join(short.answer(told))
    for part in said:
        assert part in answer
    out = StringIO()
    code = 0
    try:
        call_command("explain", "--step", str(shown.pk), "--station", "CT_1", stdout=out)
    except SystemExit as end:
        code = int(str(end.code))
    assert code == (0 if well else 1)
    assert " ".join(out.getvalue().split("\n\n")[1].split()) == " ".join(answer.split())
    for number in range(1, 9):
        assert f"\n{number} " in out.getvalue()
    assert "Rossi" not in out.getvalue()
    address = f"/explain/?step={shown.pk}&station={told.caller.station.pk}"  # type: ignore[union-attr]
    german = as_technologist().get(address, headers={"Accept-Language": "de"})
    with translation.override("de"):
        assert german.context["short"] == short.answer(told)
    page = as_technologist().get(address)
    assert page.context["short"] == short.answer(told)
    assert german.context["short"] != page.context["short"]
    assert f'data-cause="{cause}"' in german.content.decode()
    assert f'data-cause="{cause}"' in page.content.decode()


def explained(shown: ScheduledProcedureStep) -> Explanation:
    return explanation.of_station(shown, Station.objects.get(ae_title="CT_1"))


def as_technologist() -> Client:
    user = User.objects.filter(username="ted").first()
    if user is None:
        user = User(username="ted")
        trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Technologist")]})
    client = Client()
    client.force_login(user)
    return client


def test_01_wrong_ae_title(scanner: Scanner) -> None:
    shown = booked()
    assert "Association Rejected" in scanner.ask(calling="CT-1")
    told_first(shown, Cause.OTHER_TITLE, "“CT-1”", "set up as CT_1")


def test_02_its_title_is_another_in_its_key(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(*TODAY, f"{TITLE}=ROOM7")
    told_first(shown, Cause.KEY, "asks for Scheduled Station AE Title ROOM7", "exam has CT_1")


def test_03_hyphen_for_underscore(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(*TODAY, f"{TITLE}=CT-1")
    told_first(shown, Cause.KEY, "CT-1", "exam has CT_1", "differs in “-” or “_”")


def test_04_other_modality(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(f"{DATE}={DAY:%Y%m%d}", f"{MODALITY}=CR", "PatientName")
    told_first(shown, Cause.KEY, "Modality CR; the exam has CT")


def test_05_other_day(scanner: Scanner) -> None:
    shown = booked(ScheduledProcedureStepStartDate=DAY + dt.timedelta(days=1))
    scanner.ask()
    told_first(shown, Cause.KEY, "SPS Start Date 20240705", "1 day later")


def test_06_status_finished(scanner: Scanner) -> None:
    shown = booked()
    scheduling.set_status(shown, StepStatus.COMPLETED, by=actor)
    scanner.ask()
    told_first(shown, Cause.RULE, "status Done is not on the list of CT 1")


def test_07_outside_the_window(scanner: Scanner) -> None:
    shown = booked(ScheduledProcedureStepStartTime=dt.time(18))
    ct(hours_before=2, hours_after=4)
    scanner.ask()
    told_first(shown, Cause.RULE, "outside the hours", "13:00")


def test_08_over_the_limit(scanner: Scanner) -> None:
    shown = booked()
    booked()
    ct(match_limit=1)
    scanner.ask()
    told_first(shown, Cause.LIMIT, "2 exams match, the limit is 1")


def test_09_not_asked_since_it_was_booked(scanner: Scanner) -> None:
    ct()
    scanner.ask()
    shown = booked()
    told_first(shown, Cause.NOT_SINCE, "This exam was made at", "it would get this", well=True)


def test_09_not_asked_since_it_was_changed(scanner: Scanner) -> None:
    shown = booked(Modality="MR")
    scanner.ask()
    shown.modality = "CT"
    trail.save(shown, by=actor)
    told_first(shown, Cause.NOT_SINCE, "This exam was changed at", "it would get this", well=True)


def test_09_not_asked_since_and_it_would_not_help(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(*TODAY, f"{TITLE}=CT-1")
    shown.description = "Changed"
    trail.save(shown, by=actor)
    told_first(shown, Cause.NOT_SINCE, "This exam was changed at", "And then: CT 1 asks for")


def test_10_refused(scanner: Scanner) -> None:
    shown = booked()
    ct(networks="10.1.2.31")
    assert "Association Rejected" in scanner.ask()
    told_first(shown, Cause.REJECTED, "turned CT 1 away", "from an address")
    ct(networks="", is_allowed=False)
    assert "Association Rejected" in scanner.ask()
    told_first(shown, Cause.REJECTED, "may not ask")


def test_10_refused_by_the_called_title(scanner: Scanner, settings: Any) -> None:
    settings.DICOM_CHECK_CALLED_AE_TITLE = True
    shown = booked()
    assert "Association Rejected" in scanner.ask(called="BROKER")
    told_first(shown, Cause.REJECTED, "by another AE title than ours", "to WORKLIST")


def test_11_no_worklist_context(scanner: Scanner) -> None:
    shown = booked()
    ae = AE("CT_1")
    ae.add_requested_context(CTImageStorage)
    assoc = ae.associate(
        "127.0.0.1", scanner.port, ae_title="WORKLIST", evt_handlers=client.HANDLERS
    )
    assoc.abort()
    scanner.over()
    told_first(shown, Cause.NO_CONTEXT, "no worklist service was agreed on")


def test_12_a_name_that_the_set_cannot_hold(scanner: Scanner) -> None:
    ct(character_set="ISO_IR 100")
    shown = step(stations=["CT_1"], PatientName="Łukasz^Żółć")
    scanner.ask()
    told_first(
        shown, Cause.NOT_ENCODABLE, "Patient's Name cannot be written in ISO_IR 100", well=True
    )


def test_13_a_key_in_the_wrong_place(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask("Modality=CT", "PatientName", "PatientID")
    told_first(shown, Cause.MISPLACED, "the key Modality in the wrong place", well=True)


def test_14_delivered_and_dropped(scanner: Scanner) -> None:
    ct()
    shown = step(stations=["CT_1"], PatientName="Rossi", AccessionNumber="")
    scanner.ask(*TODAY, "AccessionNumber")
    told_first(shown, Cause.DELIVERED, "CT 1 was sent this exam at", "see step 8", well=True)
    told = explanation.of_station(shown, Station.objects.get())
    (dropped,) = [each for each in words.sections(told) if each.number == 8]
    assert dropped.mark is Mark.WARN
    assert [line.text for line in dropped.lines] == [
        "the name has one part only, without “^”",
        "the order has no accession number",
    ]


# --- what else can be in the way ------------------------------------------------------------------


def test_the_server_does_not_run(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(*TODAY, f"{TITLE}=CT-1")
    told_first(shown, Cause.KEY, "CT-1")
    scanner.heart.stop()
    said = ("The worklist service is not running.", "And then: CT 1 asks for")
    told_first(shown, Cause.NOT_RUNNING, *said)


def test_the_exam_is_on_no_scanner(scanner: Scanner) -> None:
    ct(sees="OWN")
    shown = step(stations=[], PatientName="Rossi^Paolo")
    scanner.ask()
    told_first(shown, Cause.RULE, "sees its own exams, and this one is on no scanner")


def test_never_heard(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(calling="MR1")
    told_first(shown, Cause.NEVER_HEARD, "CT 1 never called us", "AE title WORKLIST")


def test_calls_and_never_asks(scanner: Scanner) -> None:
    shown = booked()
    program = tools.findscu()
    assert program is not None
    subprocess.run(
        [program.with_name("echoscu"), "-aet", "CT_1", "127.0.0.1", str(scanner.port)], check=True
    )
    scanner.over()
    told_first(shown, Cause.NO_CONTEXT)


def test_a_key_that_means_nothing(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(f"{DATE}=20241301", "PatientName")
    told_first(shown, Cause.MALFORMED, "SPS Start Date: not a date or date range")


def test_a_key_that_nobody_can_switch_off_is_ignored(scanner: Scanner) -> None:
    shown = booked()
    wrong = f"{IN_STEP}ScheduledPerformingPhysicianName=Nobody"
    assert "Pending" not in scanner.ask(*TODAY, wrong)
    told_first(shown, Cause.KEY, "Scheduled Performing Physician's Name Nobody")
    ct(ignored_keys="ScheduledPerformingPhysicianName")
    told_first(shown, Cause.NOT_SINCE, "it would get this", well=True)
    assert "Find Response: 1 (Pending)" in scanner.ask(*TODAY, wrong)
    told_first(shown, Cause.DELIVERED, well=True)
    (step_4,) = [each for each in words.sections(explained(shown)) if each.number == 4]
    ignored = "Scheduled Performing Physician's Name: Nobody, ignored by this scanner's rules"
    assert (Mark.NONE, ignored) in [(line.mark, line.text) for line in step_4.lines]
    page = as_technologist().get(f"/explain/?step={shown.pk}&station={Station.objects.get().pk}")
    assert "ignored by this scanner" in page.content.decode()


def test_in_disguise_with_everybody_let_in(scanner: Scanner, settings: Any) -> None:
    settings.DICOM_ACCESS = "any"
    shown = booked()
    scanner.ask(calling="ct_1")
    told_first(shown, Cause.OTHER_TITLE, "“ct_1”")


def test_a_chosen_query_is_explained_and_not_the_last_one(scanner: Scanner) -> None:
    shown = booked()
    scanner.ask(*TODAY, f"{TITLE}=CT-1")
    scanner.ask()
    told_first(shown, Cause.DELIVERED, well=True)
    station = Station.objects.get()
    first = explanation.of_station(shown, station).asked.others[-1]
    told = explanation.of_station(shown, station, query=first)
    assert told.cause is Cause.KEY
    assert told.delivered.last is not None
    assert explanation.of_query(shown, first).cause is Cause.KEY
