"""The causes of explain, each made by DCMTK against one running SCP and read in a browser."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from dicomscp import heartbeat
from dicomscp.explain.story import Cause
from dicomscp.server import WorklistScp
from tests import tools
from tests.browser.conftest import MONDAY, OpenPage
from tests.cast import actor, step
from tests.test_explain_faults import DATE, MODALITY, TITLE, Scanner
from tests.waiting import until
from worklist import catalogue, scheduling
from worklist.models import ScheduledProcedureStep, Station, StepStatus

pytestmark = tools.needs("dcmtk")
TODAY = MONDAY.date()
USUAL = (f"{DATE}={TODAY:%Y%m%d}", f"{MODALITY}=CT", "PatientName", "PatientID")


@pytest.fixture
def scanner(
    transactional_db: None, settings: Any, now: Callable[[dt.datetime], None]
) -> Iterator[Scanner]:
    settings.DICOM_ACCESS = "known"
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    scanner = Scanner(scp)
    scanner.heart.start()
    until(heartbeat.is_running)
    yield scanner
    scanner.heart.stop()
    scp.stop()


def set_up(title: str, **settings: object) -> Station:
    """A scanner for one cause alone: what it has said is of no other."""
    made = Station(ae_title=title, name=title.title(), modality="CT", **settings)
    return catalogue.save_station(made, seen=None, by=actor)


def book(at: Station, name: str = "Rossi^Paolo") -> ScheduledProcedureStep:
    return step(
        stations=[at.ae_title],
        PatientName=name,
        ScheduledProcedureStepStartDate=TODAY,
        ScheduledProcedureStepStartTime=dt.time(18),
    )


def exam(title: str, name: str = "Rossi^Paolo", **settings: object) -> ScheduledProcedureStep:
    return book(set_up(title, **settings), name)


def echo(scanner: Scanner, calling: str) -> None:
    program = tools.findscu()
    assert program is not None
    command = [str(program.with_name("echoscu")), "-aet", calling]
    subprocess.run([*command, "127.0.0.1", str(scanner.port)], check=True, timeout=60)
    scanner.over()


def never_heard(scanner: Scanner) -> ScheduledProcedureStep:
    return exam("SPINE")


def other_title(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("CT_ROOM")
    scanner.ask(*USUAL, calling="CT-ROOM")
    return shown


def rejected(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("HEART", networks="10.1.2.31")
    scanner.ask(*USUAL, calling="HEART")
    return shown


def no_context(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("KNEE")
    echo(scanner, "KNEE")
    return shown


def not_since(scanner: Scanner) -> ScheduledProcedureStep:
    lung = set_up("LUNG")
    scanner.ask(*USUAL, calling="LUNG")
    return book(lung)


def key(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("LIVER_A")
    scanner.ask(*USUAL, f"{TITLE}=LIVER-A", calling="LIVER_A")
    return shown


def rule(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("WRIST")
    scheduling.set_status(shown, StepStatus.COMPLETED, by=actor)
    scanner.ask(*USUAL, calling="WRIST")
    return shown


def not_encodable(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("BRAIN", "Łukasz^Żółć", character_set="ISO_IR 100")
    scanner.ask(*USUAL, calling="BRAIN")
    return shown


def delivered(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("FOOT")
    scanner.ask(*USUAL, calling="FOOT")
    return shown


def limit(scanner: Scanner) -> ScheduledProcedureStep:
    shown = exam("ELBOW", match_limit=1)
    book(shown.stations.get())
    scanner.ask(*USUAL, calling="ELBOW")
    return shown


def not_running(scanner: Scanner) -> ScheduledProcedureStep:
    """The last of them: the server does not come back."""
    shown = exam("THUMB")
    scanner.heart.stop()
    return shown


# What makes each, and what the page says of it in English and in German.
CAUSES: dict[Cause, tuple[Callable[[Scanner], ScheduledProcedureStep], str, str]] = {
    Cause.NEVER_HEARD: (
        never_heard,
        "Spine never called us.",
        "Spine hat uns noch nie angerufen.",
    ),
    Cause.OTHER_TITLE: (
        other_title,
        "as “CT-ROOM”; Ct_Room is set up as CT_ROOM.",
        "Ct_Room ist als CT_ROOM eingerichtet.",
    ),
    Cause.REJECTED: (rejected, "We turned Heart away", "Wir haben Heart abgewiesen"),
    Cause.NO_CONTEXT: (
        no_context,
        "Knee called, and no worklist service was agreed on.",
        "Knee hat angerufen, aber es wurde kein Worklist-Dienst vereinbart.",
    ),
    Cause.NOT_SINCE: (
        not_since,
        "This exam was made at",
        "Diese Untersuchung wurde danach angelegt",
    ),
    Cause.KEY: (
        key,
        "Liver_A asks for Scheduled Station AE Title LIVER-A; the exam has LIVER_A.",
        "Liver_A fragt nach Scheduled Station AE Title LIVER-A; die Untersuchung hat LIVER_A.",
    ),
    Cause.RULE: (
        rule,
        "status Done is not on the list of Wrist",
        "Status „Fertig“ steht nicht auf der Liste von Wrist",
    ),
    Cause.LIMIT: (limit, "the limit is 1: none is sent", "die Grenze ist 1: keine wird gesendet"),
    Cause.NOT_ENCODABLE: (
        not_encodable,
        "Patient's Name cannot be written in ISO_IR 100",
        "Patient's Name lässt sich nicht in ISO_IR 100 schreiben",
    ),
    Cause.DELIVERED: (
        delivered,
        "Foot was sent this exam at",
        "Foot hat diese Untersuchung bekommen",
    ),
    Cause.NOT_RUNNING: (
        not_running,
        "The worklist service is not running.",
        "Der Worklist-Dienst läuft nicht.",
    ),
}


def test_short_answer_names_each_cause(scanner: Scanner, open_page: OpenPage) -> None:
    windows = [open_page("Technologist", "/today/", locale=locale) for locale in ("en-GB", "de-DE")]
    for cause, (make, *said) in CAUSES.items():
        shown = make(scanner)
        station = shown.stations.get()
        for page, sentence in zip(windows, said, strict=True):
            page.goto(f"/explain/?step={shown.pk}&station={station.pk}")
            answer = page.locator(".explain-short")
            expect(answer).to_have_attribute("data-cause", cause)
            expect(answer).to_contain_text(sentence)
