"""What the product promises its clerks, from the first key to the scanner, in each language."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MONDAY, OpenPage
from tests.browser.words import Words
from tests.cast import actor, patient, station, step
from tests.findscu import DATE, IN_STEP, UNICODE, Findscu
from tests.test_booking import kind
from worklist import scheduling
from worklist.models import Patient, ScheduledProcedureStep, StepStatus

TODAY = MONDAY.date()
MOST_KEYS = 25
WALK_IN_SECONDS = 15.0

OpenIt = Callable[..., Page]


@pytest.fixture(params=["en-GB", "de-DE"])
def words(request: pytest.FixtureRequest) -> Words:
    return Words(request.param)


@pytest.fixture
def open_it(open_page: OpenPage, words: Words) -> OpenIt:
    """As open_page, in the language of the test."""

    def opened(role: str, path: str, **options: object) -> Page:
        return open_page(role, path, locale=words.locale, **options)

    return opened


@pytest.fixture
def site() -> None:
    """Three scanners, a catalogue, patients of like names, and a busy morning."""
    ct1 = station("CT1", "CT 1")
    station("CT2", "CT 2"), station("US1", "US 1")
    kind("CTHEAD", "CT head", default_station=ct1, minutes=15)
    kind("CTABDC", "CT abdomen", default_station=ct1, minutes=30)
    patient("P1008", "Rossi^Paolo", birth_date=dt.date(1948, 9, 9), sex="M")
    patient("P2231", "Rossi^Paola", birth_date=dt.date(1990, 1, 1), sex="F")
    for hour, minute in ((11, 0), (11, 30)):
        booked(f"{hour}:{minute:02}", "Müller^Jürgen")


def booked(at: str, name: str, **more: Any) -> ScheduledProcedureStep:
    start = dt.time.fromisoformat(at)
    end = (dt.datetime.combine(TODAY, start) + dt.timedelta(minutes=30)).time()
    return step(
        **{
            "PatientName": name,
            "ScheduledProcedureStepStartDate": TODAY,
            "ScheduledProcedureStepStartTime": start,
            "ScheduledProcedureStepEndDate": TODAY,
            "ScheduledProcedureStepEndTime": end,
            "RequestedProcedureDescription": "CT head",
            **more,
        }
    )


def on_the_list(findscu: Findscu) -> list[str]:
    """The names that the scanner CT1 shows after it has asked."""
    title = f"{IN_STEP}ScheduledStationAETitle=CT1"
    found = findscu.ask(UNICODE, "PatientName", title, f"{DATE}={TODAY:%Y%m%d}")
    assert found.final == "0000"
    return [str(answer.PatientName) for answer in found.answers]


class Keys:
    """A keyboard that counts its presses; what is typed as text counts nothing."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pressed = 0

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.pressed += 1

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def tab_to(self, field_id: str) -> None:
        while self.page.evaluate("() => document.activeElement.id") != field_id:
            assert self.pressed < 2 * MOST_KEYS, f"{field_id} is not reached"
            self.press("Tab")


@pytest.mark.usefixtures("site")
def test_new_patients_ct_is_booked_by_keyboard_and_reaches_the_scanner(
    open_it: OpenIt, words: Words, findscu: Findscu
) -> None:
    page = open_it("Clerk", "/today/")
    keys = Keys(page)
    keys.press("n")
    expect(page.locator("#id_patient_query")).to_be_focused()
    keys.type("kowalska, ewa")
    expect(page.locator("#patient-option-new")).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.locator("#id_patient_id")).to_be_focused()
    keys.type("P77001")
    keys.tab_to("id_born")
    keys.type("12.4.79")
    keys.tab_to("id_sex_0")
    keys.press("ArrowDown")
    expect(page.locator("#id_sex_1")).to_be_checked()
    keys.tab_to("id_exam_query")
    keys.type("ct he")
    expect(page.locator("#exam-option-1")).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.locator("#id_0-time")).to_have_value("10:45")
    keys.press("Enter")
    said = words.fits("%(patient)s: %(exam)s is booked %(when)s on %(scanner)s (%(accession)s).")
    notice = page.get_by_text(said)
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("KOWALSKA, Ewa")
    assert keys.pressed <= MOST_KEYS
    made = Patient.objects.get(patient_id="P77001")
    assert (made.name, made.sex, made.birth_date) == ("Kowalska^Ewa", "F", dt.date(1979, 4, 12))
    assert "Kowalska^Ewa" in on_the_list(findscu)


@pytest.mark.usefixtures("site")
def test_walk_in_reaches_the_scanner_within_fifteen_seconds(
    open_it: OpenIt, words: Words, findscu: Findscu
) -> None:
    page = open_it("Technologist", "/today/")
    began = time.monotonic()
    page.get_by_role("main").get_by_role("link", name=words("Walk-in")).click()
    # The script that listens has made a combobox of the field.
    expect(page.get_by_role("combobox").first).to_be_focused()
    page.keyboard.type("rossi, paolo 9.9.48")
    expect(page.locator("#patient-option-1")).to_contain_text("ROSSI, Paolo")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".patient-banner")).to_contain_text("ROSSI, Paolo")
    page.locator("#id_exam_query").press_sequentially("ct he")
    page.locator("#exam-option-1").click()
    expect(page.locator("#scanners")).not_to_contain_text("US 1")
    page.get_by_label("CT 1").check()
    page.get_by_role("button", name=words("Put on the list")).click()
    said = "%(patient)s (%(id)s): %(exam)s is on the list of %(scanner)s at %(time)s."
    expect(page.get_by_text(words.fits(said))).to_be_visible()
    assert "Rossi^Paolo" in on_the_list(findscu)
    assert time.monotonic() - began < WALK_IN_SECONDS


def refreshed_after(page: Page, change: Callable[[], object]) -> None:
    """Change something, and wait for the answer that has it and for what it does to the page."""
    with page.expect_response(lambda answer: "/today/" in answer.url and answer.status == 200):
        change()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def test_focus_scroll_and_half_typed_search_survive_ten_refreshes(open_it: OpenIt) -> None:
    steps = [booked(f"{8 + n // 6:02}:{n % 6 * 10:02}", f"Person{n}^P") for n in range(48)]
    page = open_it("Clerk", "/today/")
    link = page.get_by_role("link", name="PERSON30, P", exact=True)
    link.scroll_into_view_if_needed()
    link.focus()
    hurry(page)
    for n in range(10):
        top = link.bounding_box()
        refreshed_after(page, lambda n=n: change(n, steps))  # type: ignore[misc]
        assert page.evaluate("document.activeElement.textContent") == "PERSON30, P"
        assert link.bounding_box() == top
    box = page.get_by_role("searchbox")
    box.press_sequentially("rson p")
    box.press("ArrowLeft")
    expect(page.locator("#board[data-typing]")).to_have_count(0)
    for n in range(10, 20):
        refreshed_after(page, lambda n=n: change(n, steps))  # type: ignore[misc]
        assert page.evaluate(
            "(({id, value, selectionStart}) => [id, value, selectionStart])(document.activeElement)"
        ) == ["q", "rson p", 5]


def hurry(page: Page) -> None:
    """Refreshes without end, one soon after the other."""
    page.evaluate(
        """() => {
            document.getElementById('board').dataset.every = '0.05';
            for (const n of [1, 2]) document.querySelector('[data-pause]').click();
        }"""
    )


def change(number: int, steps: list[ScheduledProcedureStep]) -> None:
    """Add a row, move one, or remove one."""
    if number % 3 == 0:
        booked("17:00", f"Person{number}^Added")
    elif number % 3 == 1:
        moved = dt.datetime.combine(TODAY, dt.time(18, number))
        scheduling.reschedule(steps[31 + number if number < 10 else number], moved, by=actor)
    else:
        scheduling.cancel(steps[31 + number if number < 10 else number], by=actor)


def test_second_of_two_people_is_told_and_nothing_is_lost(open_it: OpenIt, words: Words) -> None:
    station("CT1", "CT 1")
    shown = booked("11:00", "Rossi^Paolo", CommentsOnTheScheduledProcedureStep="Lying")
    first, second = (open_it(role, f"/exams/{shown.pk}/edit/") for role in ("Clerk", "Supervisor"))
    save = words("Save")
    first.fill("#id_step-comments", "Sitting")
    first.fill("#id_step-performing_physician", "Weber, Eva")
    first.get_by_role("button", name=save).click()
    first.wait_for_url(f"**/exams/{shown.pk}/")
    second.fill("#id_step-comments", "Standing")
    second.fill("#id_order-patient_location", "Ward 3")
    second.get_by_role("button", name=save).click()
    told = second.get_by_role("alert")
    expect(told).to_be_focused()
    expect(told).to_contain_text(
        words.fits(
            "%(who)s changed this exam %(ago)s (%(what)s). "
            "Look at the new version, then save again."
        )
    )
    expect(told).to_contain_text("Ines Clerk")
    row = told.get_by_role("row").filter(has_text="Standing")
    expect(row.get_by_role("cell")).to_have_text(["Lying", "Sitting", "Standing"])
    expect(second.locator("#id_step-performing_physician")).to_have_value("Weber, Eva")
    second.get_by_role("button", name=save).click()
    second.wait_for_url(f"**/exams/{shown.pk}/")
    shown.refresh_from_db()
    request = shown.requested_procedure.request
    request.refresh_from_db()
    assert (shown.comments, shown.performing_physician) == ("Standing", "Weber^Eva")
    assert request.patient_location == "Ward 3"


@pytest.mark.usefixtures("site")
def test_search_book_move_and_cancel_work_without_javascript(open_it: OpenIt, words: Words) -> None:
    page = open_it("Clerk", "/today/", java_script_enabled=False)
    page.fill("#q", "muller")
    page.press("#q", "Enter")
    expect(page.locator("tr[data-v]")).to_have_count(2)
    page.get_by_role("main").get_by_role("link", name=words("New exam")).click()
    page.fill("#id_patient_query", "rossi")
    page.keyboard.press("Enter")
    rossi = Patient.objects.get(patient_id="P2231")
    page.locator(f"button[name=choose_patient][value='{rossi.pk}']").click()
    page.fill("#id_exam_query", "ct he")
    page.keyboard.press("Enter")
    page.locator("#id_0-time").fill("14:00")
    page.get_by_role("button", name=words("Save exam")).click()
    expect(page.get_by_text("ROSSI, Paola: CT head")).to_be_visible()
    made = ScheduledProcedureStep.objects.latest("pk")
    page.goto(f"/exams/{made.pk}/")
    page.get_by_role("link", name=words("Reschedule…")).click()
    page.fill("#id_time", "15:30")
    page.get_by_role("button", name=words("Move"), exact=True).last.click()
    page.wait_for_url(f"**/exams/{made.pk}/")
    made.refresh_from_db()
    assert f"{made.start_time:%H:%M}" == "15:30"
    page.get_by_role("link", name=words("Cancel…")).click()
    page.get_by_label(words("Booked by mistake")).check()
    page.get_by_role("button", name=words("Cancel exam")).click()
    page.wait_for_url(f"**/exams/{made.pk}/")
    made.refresh_from_db()
    assert made.status == StepStatus.CANCELED
    page.get_by_role("button", name=words("Undo")).first.click()
    expect(page.get_by_text(words.one("Undone."))).to_be_visible()
