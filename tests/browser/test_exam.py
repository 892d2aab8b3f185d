"""The exam's and the patient's pages in a real browser: keys alone, no script, dialogs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pydicom.uid import ExplicitVRLittleEndian

from dicomscp.server import WorklistScp
from tests import network
from tests.browser.conftest import OpenPage
from tests.browser.looks import PHONE, WIDE, faults_everywhere
from tests.cast import YAMADA, actor, code, kind, patient, station, step
from tests.test_dicom_view import elements, everything
from worklist import scheduling
from worklist.models import Patient, ScheduledProcedureStep, StepStatus

MONDAY = dt.date(2026, 11, 23)


def booked(start: str = "11:00", end: str = "11:30", **more: Any) -> ScheduledProcedureStep:
    station("CT1", "CT 1")
    return step(
        **{
            "ScheduledProcedureStepStartDate": MONDAY,
            "ScheduledProcedureStepStartTime": dt.time.fromisoformat(start),
            "ScheduledProcedureStepEndDate": MONDAY,
            "ScheduledProcedureStepEndTime": dt.time.fromisoformat(end),
            "PatientName": "Rossi^Paolo",
            "PatientID": "P1008",
            "PatientBirthDate": dt.date(1948, 9, 9),
            "PatientSex": "M",
            "RequestedProcedureDescription": "CT head",
            **more,
        }
    )


def patient_of(shown: ScheduledProcedureStep) -> Patient:
    return shown.requested_procedure.request.patient


# --- how the pages look ---------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_pages_have_no_faults(open_page: OpenPage, locale: str) -> None:
    shown = booked(Allergies="Iodine", codes=[code()])
    booked("12:00", "12:30", ScheduledProcedureStepStatus="CANCELED")
    booked("13:00", "13:30", PatientID="P7", PatientName="Müller^Jürgen")
    anna = patient("P2231", "Rossi^Paola")
    merged = patient("P0044", "Rosi^Paolo")
    who = patient_of(shown)
    scheduling.set_status(shown, StepStatus.ARRIVED, by=actor, reason="Ward called")
    scheduling.merge(who, merged, by=actor)
    page = open_page("Supervisor", "/patients/", locale=locale)
    for text in ("ros", "nobody"):
        page.locator("#id_q").fill(text)
        page.locator("#id_q").press("Enter")
        page.wait_for_url("**/patients/?search=*")
        assert faults_everywhere(page) == []
    for path in (
        f"/exams/{shown.pk}/",
        f"/exams/{shown.pk}/status/",
        f"/exams/{shown.pk}/cancel/",
        f"/exams/{shown.pk}/move/",
        f"/exams/{shown.pk}/edit/",
        f"/exams/{shown.pk}/dicom/",
        f"/move/?station={station().pk}&day=2026-11-23&after=10:00&minutes=45",
        "/move/?day=&after=10:00",
        f"/patients/{who.pk}/",
        f"/patients/{merged.pk}/",
        f"/patients/{who.pk}/edit/",
        f"/patients/{who.pk}/merge/",
        f"/patients/{who.pk}/merge/?with={anna.pk}",
        f"/patients/{who.pk}/unmerge/",
    ):
        page.goto(path)
        assert (path, faults_everywhere(page)) == (path, [])


def test_answers_that_ask_back_have_no_faults(open_page: OpenPage) -> None:
    shown = booked()
    booked("13:00", "13:30", PatientID="P7", PatientName="Müller^Jürgen")
    page = open_page("Supervisor", f"/exams/{shown.pk}/move/")
    page.fill("#id_time", "13:00")
    page.get_by_role("button", name="Move", exact=True).last.click()
    expect(page.get_by_role("alert")).to_contain_text("overlaps MÜLLER, Jürgen")
    assert faults_everywhere(page) == []
    scheduling.set_status(shown, StepStatus.ARRIVED, by=actor)
    page.get_by_role("button", name="Move", exact=True).last.click()
    expect(page.get_by_role("alert")).to_contain_text("ines changed this exam")
    assert faults_everywhere(page) == []
    page.goto(f"/patients/{patient_of(shown).pk}/edit/")
    page.fill("#id_family", "Ros^si")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Remove '^'")
    assert faults_everywhere(page) == []


# --- by the keyboard ------------------------------------------------------------------------------


def test_status_move_cancel_and_undo_by_the_keyboard(open_page: OpenPage) -> None:
    shown = booked()
    page = open_page("Clerk", f"/exams/{shown.pk}/")

    def now() -> ScheduledProcedureStep:
        shown.refresh_from_db()
        return shown

    page.keyboard.press("a")
    expect(page.get_by_text("ROSSI, Paolo: Arrived.")).to_be_visible()
    assert now().status == "ARRIVED"
    page.keyboard.press("r")
    expect(page.get_by_role("dialog", name="Reschedule")).to_be_visible()
    page.get_by_label("Time").focus()
    page.get_by_label("Time").fill("14:15")
    page.keyboard.press("Enter")
    expect(page.get_by_text("is now at 23 Nov 2026 14:15")).to_be_visible()
    assert f"{now().start_time:%H:%M}" == "14:15"
    undo = page.get_by_role("button", name="Undo").first
    undo.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Undone.")).to_be_visible()
    assert f"{now().start_time:%H:%M}" == "11:00"
    page.keyboard.press("x")
    expect(page.get_by_role("dialog", name="Cancel exam")).to_be_visible()
    expect(page.get_by_role("link", name="Keep it")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("is cancelled.")).to_be_visible()
    assert now().status == "CANCELED"
    page.get_by_role("button", name="Undo").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Undone.")).to_be_visible()
    assert now().status == "ARRIVED"


@pytest.mark.parametrize("what", ["Reschedule", "Cancel"])
def test_dialog_holds_the_focus_and_gives_it_back(open_page: OpenPage, what: str) -> None:
    shown = booked()
    page = open_page("Clerk", f"/exams/{shown.pk}/")
    link = page.get_by_role("link", name=f"{what}…")
    dialog = page.get_by_role("dialog")
    # Between the last and the first the browser's own bar has its turn.
    inside = "() => document.activeElement.matches('body, dialog *')"
    for close in ("Escape", "Keep"):
        link.focus()
        page.keyboard.press("Enter")
        expect(dialog).to_be_visible()
        assert page.url.endswith(f"/exams/{shown.pk}/")
        if what == "Cancel":
            expect(page.get_by_role("link", name="Keep it")).to_be_focused()
        for _ in range(25):
            page.keyboard.press("Tab")
            assert page.evaluate(inside)
        if close == "Escape":
            page.keyboard.press("Escape")
        else:
            dialog.get_by_role("link", name="Keep").click()
        expect(dialog).to_be_hidden()
        expect(link).to_be_focused()
    shown.refresh_from_db()
    assert shown.version == 1


def test_dialogs_have_no_faults_and_ask_back_where_they_are(open_page: OpenPage) -> None:
    shown = booked()
    booked("13:00", "13:30", PatientID="P7", PatientName="Müller^Jürgen")
    page = open_page("Clerk", f"/exams/{shown.pk}/")
    dialog = page.get_by_role("dialog")
    page.get_by_role("link", name="Cancel…").click()
    expect(dialog).to_be_visible()
    assert faults_everywhere(page) == []
    page.set_viewport_size(WIDE)
    page.get_by_label("Other", exact=True).check()
    page.get_by_role("button", name="Cancel exam").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Say why the exam is cancelled.")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Reschedule…").click()
    page.get_by_label("Time").fill("13:00")
    dialog.get_by_role("button", name="Move", exact=True).last.click()
    expect(dialog.get_by_role("alert")).to_contain_text("overlaps MÜLLER, Jürgen")
    assert faults_everywhere(page) == []
    page.set_viewport_size(WIDE)
    dialog.locator("#free").get_by_role("button", name="Next day").click()
    expect(dialog.locator("#free")).to_contain_text("24 Nov 2026")
    dialog.locator("#free").get_by_role("button", name="09:00").click()
    expect(page.get_by_label("Time")).to_have_value("09:00")
    expect(page.get_by_label("Time")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("is now at 24 Nov 2026 09:00")).to_be_visible()
    expect(dialog).to_be_hidden()


def test_on_a_phone_moving_has_a_page_of_its_own(open_page: OpenPage) -> None:
    shown = booked()
    page = open_page("Clerk", f"/exams/{shown.pk}/", viewport=PHONE)
    page.get_by_role("link", name="Reschedule…").click()
    page.wait_for_url("**/move/")


def test_another_exam_is_told_while_one_chooses(open_page: OpenPage) -> None:
    kind(minutes=30)
    kind("CTCHEST", "CT chest", minutes=45)
    station("CT2", "CT 2")
    shown = booked(RequestedProcedureDescription="CT head")
    page = open_page("Clerk", f"/exams/{shown.pk}/edit/")
    page.locator("#id_plan-kind").focus()
    page.locator("#id_plan-kind").select_option(label="CT chest · CT")
    told = page.locator("#conflicts")
    expect(told).to_contain_text("30 → 45")
    expect(page.get_by_label("Minutes")).to_have_value("45")
    expect(page.locator("#id_plan-kind")).to_be_focused()
    assert faults_everywhere(page) == []
    page.set_viewport_size(WIDE)
    page.get_by_label("Ward or place").fill("Ward 3")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(f"**/exams/{shown.pk}/")
    shown.refresh_from_db()
    assert (shown.description, f"{shown.end_time:%H:%M}") == ("CT chest", "11:45")


def test_free_times_follow_the_scanner_that_is_chosen(open_page: OpenPage) -> None:
    station("CT2", "CT 2")
    shown = booked()
    booked("10:45", "12:00", PatientID="P7", stations=("CT2",))
    page = open_page("Clerk", f"/exams/{shown.pk}/move/")
    free = page.locator("#free")
    expect(free.get_by_role("button", name="11:15")).to_be_visible()
    page.get_by_label("Scanner").select_option(label="CT 2 (CT2)")
    expect(free).to_contain_text("Free on CT 2")
    expect(free.get_by_role("button", name="11:15")).to_have_count(0)
    free.get_by_role("button", name="12:00").click()
    expect(page.get_by_label("Time")).to_have_value("12:00")
    page.get_by_role("button", name="Move", exact=True).last.click()
    page.wait_for_url(f"**/exams/{shown.pk}/")
    shown.refresh_from_db()
    assert f"{shown.start_time:%H:%M}" == "12:00"
    assert [each.ae_title for each in shown.stations.all()] == ["CT2"]


# --- without script -------------------------------------------------------------------------------


def test_move_cancel_and_undo_without_javascript(open_page: OpenPage) -> None:
    shown = booked()
    booked("14:00", "14:30", PatientID="P7", PatientName="Müller^Jürgen")
    page = open_page("Clerk", f"/exams/{shown.pk}/", java_script_enabled=False)
    page.get_by_role("link", name="Reschedule…").click()
    page.get_by_role("button", name="Next day").click()
    expect(page.locator("#free")).to_contain_text("24 Nov 2026")
    page.locator("#free").get_by_role("button", name="09:00").click()
    expect(page.locator("#id_time")).to_have_value("09:00")
    page.fill("#id_day", "2026-11-23")
    page.fill("#id_time", "14:00")
    page.get_by_role("button", name="Move", exact=True).last.click()
    expect(page.locator("#conflicts")).to_contain_text("overlaps MÜLLER, Jürgen")
    page.get_by_label("Move anyway").check()
    page.get_by_label("Why?").fill("Both are short")
    page.get_by_role("button", name="Move", exact=True).last.click()
    expect(page.get_by_text("is now at 23 Nov 2026 14:00")).to_be_visible()
    page.get_by_role("link", name="Cancel…").click()
    page.get_by_label("Equipment").check()
    page.get_by_role("button", name="Cancel exam").click()
    expect(page.get_by_text("CT head of ROSSI, Paolo is cancelled.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone.")).to_be_visible()
    shown.refresh_from_db()
    assert (shown.status, f"{shown.start_time:%H:%M}") == ("SCHEDULED", "14:00")


# --- merging --------------------------------------------------------------------------------------


def test_merge_and_take_it_back(open_page: OpenPage) -> None:
    shown = booked()
    other = patient("P0044", "Rosi^Paolo", birth_date=dt.date(1948, 9, 9))
    page = open_page("Supervisor", f"/patients/{other.pk}/")
    page.get_by_role("link", name="Merge…").click()
    page.get_by_role("link", name="ROSSI, Paolo").click()
    page.get_by_role("radio", name="ROSSI, Paolo").check()
    page.get_by_label("To confirm").fill("P1008")
    page.get_by_role("button", name="Merge").click()
    page.wait_for_url(f"**/patients/{patient_of(shown).pk}/")
    expect(page.get_by_text("Merged from")).to_be_visible()
    page.get_by_role("link", name="Take the last merge back…").click()
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_text("are two patients again")).to_be_visible()
    other.refresh_from_db()
    assert other.merged_into is None


# --- what scanners receive ------------------------------------------------------------------------


def shown_lines(page: Page) -> list[tuple[int, str, str, str]]:
    found = page.locator(".record-dicom tbody tr").evaluate_all(
        """rows => rows.map((row) => {
             const cells = [...row.cells].map((cell) => cell.textContent);
             return [Number(row.dataset.depth), cells[0], cells[2], cells[3]];
           })"""
    )
    return [(depth, tag, vr, value) for depth, tag, vr, value in found]


def test_what_the_page_shows_is_what_a_scanner_receives(open_page: OpenPage) -> None:
    shown = booked(PatientName=YAMADA, codes=[code()], Allergies="Iodine\\Latex")
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    try:
        with network.association(scp.port, ExplicitVRLittleEndian) as assoc:
            ((_, received),) = network.ask(assoc, everything()).pendings
    finally:
        scp.stop()
    page = open_page("Clerk", f"/exams/{shown.pk}/")
    page.get_by_role("link", name="Show the DICOM data set").click()
    expect(page.get_by_text("On scanners' lists now: yes.")).to_be_visible()
    assert page.url.endswith(f"/exams/{shown.pk}/")
    assert shown_lines(page) == list(elements(received))
    assert faults_everywhere(page) == []
