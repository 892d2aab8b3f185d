from __future__ import annotations

import datetime as dt

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MONDAY, OpenPage
from tests.browser.looks import WIDE, faults, faults_everywhere
from tests.cast import kind, patient, station, step
from worklist.models import Patient, ScheduledProcedureStep, Station

LOCALES = pytest.mark.parametrize("locale", ["en-GB", "de-DE"])


@pytest.fixture
def ct1() -> Station:
    """A site with three scanners, a catalogue, patients of like names, and a busy morning."""
    ct1 = station("CT1", "CT 1")
    station("CT2", "CT 2"), station("US1", "US 1")
    kind("CTHEAD", "CT head", default_station=ct1, minutes=15)
    kind("CTABDC", "CT abdomen", default_station=ct1, minutes=30, uses_contrast=True)
    born = dt.date(1948, 9, 9)
    patient("P1008", "Rossi^Paolo", birth_date=born, sex="M", allergies="Iodine")
    patient("P2231", "Rossi^Paola", birth_date=dt.date(1990, 1, 1), sex="F")
    for start in (dt.time(11), dt.time(11, 30)):
        step(
            PatientName="Müller^Jürgen",
            ScheduledProcedureStepStartDate=MONDAY.date(),
            ScheduledProcedureStepStartTime=start,
        )
    return ct1


@pytest.mark.usefixtures("ct1")
def test_walk_in_remembers_the_last_exam_of_this_pc(open_page: OpenPage) -> None:
    page = open_page("Technologist", "/walk-in/")
    page.get_by_label("Unknown patient").check()
    page.get_by_label("Female").check()
    choose(page, "#id_exam_query", "ct he", "CT head")
    page.locator(".chosen").wait_for()
    page.get_by_role("button", name="Put on the list").click()
    page.get_by_text("UNKNOWN, FEMALE 23NOV1042 (E").wait_for()
    page.goto("/walk-in/")
    expect(page.locator(".chosen")).to_contain_text("CT head")
    expect(page.locator("#scanners")).not_to_contain_text("US 1")


@pytest.mark.usefixtures("ct1")
def test_walk_in_of_somebody_new_by_the_keyboard(open_page: OpenPage) -> None:
    page = open_page("Technologist", "/walk-in/")
    page.locator("#id_patient_query[role=combobox]").wait_for()
    page.keyboard.type("rossi, paolina")
    page.locator("#patient-option-new").wait_for()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    for _ in range(5):
        if page.locator("#patient-option-new[aria-selected=true]").count():
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Family name")).to_have_value("Rossi")
    page.get_by_label("Born").fill("1.1.1990")
    page.get_by_label("Female").check()
    # A stored patient of a like name was born on that day.
    expect(page.locator("#twins")).to_contain_text("ROSSI, Paola")
    page.get_by_label("These are two people").check()
    choose(page, "#id_exam_query", "ct he", "CT head")
    page.locator(".chosen").wait_for()
    assert faults_everywhere(page) == []
    page.set_viewport_size(WIDE)
    page.get_by_role("button", name="Put on the list").click()
    page.get_by_text("ROSSI, Paolina (P").wait_for()


@pytest.mark.usefixtures("ct1")
def test_book_and_walk_in_without_scripts(open_page: OpenPage) -> None:
    page = open_page("Clerk", "/exams/new/", java_script_enabled=False)
    page.get_by_label("Name, patient ID or date of birth").fill("rossi")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Choose ROSSI, Paola").click()
    page.get_by_label("Exam").first.fill("ct he")
    page.get_by_label("Reason", exact=True).fill("Fall")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="13:00 on CT 1").or_(
        page.get_by_role("button", name="10:45 on CT 2")
    ).first.click()
    page.get_by_role("button", name="Save exam").click()
    page.get_by_text("ROSSI, Paola: CT head is booked").wait_for()
    made = ScheduledProcedureStep.objects.latest("pk")
    assert made.requested_procedure.reason == "Fall"
    page.goto("/walk-in/")
    page.get_by_label("Patient: name").fill("P1008")
    page.locator("#who").get_by_role("button", name="Search").click()
    page.get_by_role("button", name="Choose ROSSI, Paolo").click()
    page.locator("#id_exam_query").fill("ct he")
    page.keyboard.press("Enter")
    page.get_by_label("CT 2").check()
    page.get_by_label("Emergency").check()
    page.get_by_role("button", name="Put on the list").click()
    page.get_by_text("is on the list of CT 2").wait_for()


def choose(page: Page, field: str, text: str, option: str) -> None:
    page.fill(field, "")
    page.locator(field).press_sequentially(text)
    page.locator("[role=option]", has_text=option).first.click()


@pytest.mark.usefixtures("ct1")
def test_choices_speak_to_each_other_and_lose_nothing(open_page: OpenPage) -> None:
    page = open_page("Clerk", "/exams/new/")
    page.fill("#id_reason", "Fall")
    choose(page, "#id_exam_query", "abd", "CT abdomen")
    expect(page.locator("#id_0-minutes")).to_have_value("30")
    expect(page.locator("#id_contrast")).to_be_checked()
    expect(page.locator("#id_0-time")).to_have_value("12:00")
    choose(page, "#id_patient_query", "rossi", "P1008")
    expect(page.locator("#conflicts")).to_contain_text("allergy noted: Iodine")
    expect(page.locator("#id_exam_query")).to_be_focused()
    page.fill("#id_0-minutes", "45")
    page.keyboard.press("Tab")
    page.select_option("#id_0-station", label="CT 2 (CT2)")
    expect(page.locator("#id_0-time")).to_have_value("10:45")
    expect(page.locator("#id_0-minutes")).to_have_value("45")
    expect(page.get_by_text("catalogue says 30")).to_be_visible()
    page.select_option("#id_0-station", label="CT 1 (CT1)")
    expect(page.locator("#id_0-time")).to_have_value("12:00")
    page.fill("#id_0-time", "11:10")
    page.keyboard.press("Tab")
    expect(page.locator("#conflicts")).to_contain_text("overlaps MÜLLER, Jürgen")
    page.get_by_role("button", name="Take 12:00 instead").click()
    expect(page.locator("#id_0-time")).to_have_value("12:00")
    expect(page.locator("#conflicts")).not_to_contain_text("overlaps")
    expect(page.locator("#id_reason")).to_have_value("Fall")
    page.get_by_role("button", name="Next day").click()
    expect(page.locator("#id_0-day")).to_have_value("2026-11-24")
    page.get_by_label("Book anyway").check()
    page.get_by_role("button", name="Save exam").click()
    page.get_by_text("ROSSI, Paolo: CT abdomen is booked on 24 Nov 2026").wait_for()


@pytest.mark.usefixtures("ct1")
def test_combobox_follows_arrows_escape_and_tells_the_count(open_page: OpenPage) -> None:
    page = open_page("Clerk", "/exams/new/")
    field = page.get_by_role("combobox", name="Name, patient ID or date of birth")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-expanded", "false")
    page.keyboard.type("rossi")
    expect(field).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#live")).to_have_text("2 patients found")
    page.keyboard.press("ArrowUp")
    expect(field).to_have_attribute("aria-activedescendant", "patient-option-new")
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "patient-option-1")
    page.keyboard.press("Escape")
    expect(field).to_have_attribute("aria-expanded", "false")
    expect(field).to_have_value("rossi")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("ROSSI, Paola")


@LOCALES
@pytest.mark.usefixtures("ct1")
def test_no_state_of_the_form_has_faults(open_page: OpenPage, locale: str) -> None:
    page = open_page("Clerk", "/exams/new/", locale=locale)
    assert faults_everywhere(page) == []
    page.set_viewport_size(WIDE)
    page.locator("#id_patient_query").press_sequentially("rossi")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("ArrowDown")
    assert faults_everywhere(page) == []
    page.locator("[role=option]", has_text="P1008").click()
    page.wait_for_selector(".patient-chosen")
    choose(page, "#id_exam_query", "abd", "CT abdomen")
    page.wait_for_selector(".chosen")
    page.fill("#id_0-time", "11:10")
    page.keyboard.press("Tab")
    page.wait_for_selector("#id_why")
    assert faults_everywhere(page) == []
    page.click("[name=act][value=save]")
    page.wait_for_selector("[role=alert]")
    expect(page.get_by_role("alert")).to_be_focused()
    assert faults_everywhere(page) == []


@LOCALES
@pytest.mark.usefixtures("ct1")
def test_new_patient_and_duplicate_have_no_faults(open_page: OpenPage, locale: str) -> None:
    page = open_page("Clerk", "/exams/new/", locale=locale)
    page.click("[name=choose_patient][value=new]")
    page.fill("#id_family", "Rossi")
    page.fill("#id_given", "Paolina")
    page.fill("#id_patient_id", "P1008*")
    page.fill("#id_born", "1.1.1990")
    page.keyboard.press("Tab")
    page.wait_for_selector("#twins .caution")
    assert faults_everywhere(page) == []
    page.click("[name=act][value=save]")
    page.wait_for_selector("[role=alert]")
    assert page.locator("#id_patient_id").get_attribute("aria-invalid") == "true"
    assert faults_everywhere(page) == []


@LOCALES
@pytest.mark.usefixtures("ct1")
def test_walk_in_has_no_faults(open_page: OpenPage, locale: str) -> None:
    page = open_page("Clerk", "/walk-in/", locale=locale)
    assert faults_everywhere(page) == []
    page.check("[name=unknown]")
    expect(page.locator("#id_urgency_2")).to_be_checked()
    page.click("[name=act][value=save]")
    page.wait_for_selector("[role=alert]")
    assert faults(page) == []
    page.locator("#id_exam_query").press_sequentially("zebra")
    page.wait_for_selector("#exam-option-none")
    page.keyboard.press("ArrowDown")
    assert faults_everywhere(page) == []
    page.set_viewport_size(WIDE)
    choose(page, "#id_exam_query", "ct he", "CT head")
    page.wait_for_selector(".chosen")
    page.check("#id_urgency_0")
    page.check("[name=start][value=at]")
    page.fill("#id_time", "11:10")
    page.locator("#id_station input").first.check()
    page.get_by_text("CT 1").click()
    page.click("[name=act][value=save]")
    page.wait_for_selector("#conflicts")
    assert faults_everywhere(page) == []


@pytest.mark.usefixtures("ct1")
def test_another_exam_has_no_faults(open_page: OpenPage) -> None:
    page = open_page("Clerk", f"/exams/new/?patient={Patient.objects.get(patient_id='P2231').pk}")
    expect(page.locator("#id_exam_query")).to_be_focused()
    choose(page, "#id_exam_query", "ct he", "CT head")
    expect(page.locator("#id_0-time")).to_have_value("10:45")
    page.fill("#id_0-minutes", "20")
    page.keyboard.press("Tab")
    expect(page.get_by_text("catalogue says 15")).to_be_visible()
    page.get_by_role("button", name="Save and add another").click()
    expect(page.get_by_text("The exam is added to the order")).to_be_visible()
    expect(page.locator("#id_exam_query")).to_be_focused()
    page.get_by_role("button", name="Close").click()
    assert faults_everywhere(page) == []
