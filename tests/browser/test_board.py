from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import cast
from tests.browser.conftest import MONDAY, OpenPage
from tests.browser.looks import faults_everywhere
from worklist import scheduling
from worklist.audit import trail
from worklist.models import OpeningHours, OpeningTime, ScheduledProcedureStep, StepStatus

TODAY = MONDAY.date()


def step(at: str = "11:00", name: str = "Müller^Anna", **values: Any) -> ScheduledProcedureStep:
    return cast.step(
        **{
            "PatientName": name,
            "ScheduledProcedureStepStartDate": TODAY,
            "ScheduledProcedureStepStartTime": dt.time.fromisoformat(at),
            "RequestedProcedureDescription": "CT Thorax",
            **values,
        }
    )


def full_day() -> list[ScheduledProcedureStep]:
    """A day with everything that a board can show."""
    hours = OpeningHours(name="Weekdays")
    trail.save(hours, by=cast.actor)
    for weekday in range(5):
        time = OpeningTime(hours=hours, weekday=weekday, opens=dt.time(8), closes=dt.time(16))
        trail.save(time, by=cast.actor)
    for title in ("CT1", "MR1"):
        station = cast.station(title, f"{title[:2]} Ground Floor")
        station.opening_hours = hours
        trail.save(station, by=cast.actor)
    made = [
        step("09:00", ScheduledProcedureStepStatus="COMPLETED", AccessionNumber="A261123001"),
        step("10:15", cast.YAMADA, ScheduledProcedureStepStatus="STARTED"),
        step("10:20", "Smith^John"),
        step("10:40", "Rossi^Paolo", RequestedProcedurePriority="STAT"),
        step(
            "11:10",
            "Rossi^Paola",
            PatientBirthDate=dt.date(1990, 1, 1),
            stations=("MR1",),
            Modality="MR",
        ),
        step("12:00", "Łukasiewicz^Jan", ScheduledProcedureStepStatus="CANCELED"),
        step("13:00", "Haddad^Leila", stations=()),
    ]
    unknown = cast.step(
        PatientName="UNKNOWN^MALE", PatientID="E26-1", ScheduledProcedureStepStartDate=TODAY
    ).requested_procedure.request.patient
    unknown.is_unknown = True
    scheduling.save_patient(unknown, by=cast.actor)
    return made


def hurry(page: Page) -> None:
    """Refreshes without end, one soon after the other."""
    page.evaluate(
        """() => {
            document.getElementById('board').dataset.every = '0.05';
            for (const n of [1, 2]) document.querySelector('[data-pause]').click();
        }"""
    )


def refreshed(page: Page, status: int = 200) -> None:
    """Wait for the next answer of this status and for what it does to the page."""
    page.wait_for_event(
        "response", lambda answer: "/today/" in answer.url and answer.status == status
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


# --- looks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_pages_of_the_board_have_no_faults(open_page: OpenPage, locale: str) -> None:
    step_of_today = full_day()[0]
    page = open_page("Clerk", "/today/?status=all", locale=locale)
    paths = (
        "/today/?status=all",
        "/today/?view=times",
        "/today/?view=wall",
        "/today/?q=nobody",
        "/today/?day=2026-11-29&modality=US",
        "/help/keys/",
        "/print/day/?initials=1",
        f"/exams/{step_of_today.pk}/slip/",
    )
    for path in paths:
        page.goto(path)
        assert faults_everywhere(page) == [], path


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_board_without_scanners_has_no_faults(open_page: OpenPage, locale: str) -> None:
    page = open_page("Clerk", "/today/", locale=locale)
    expect(page.locator("#empty")).to_be_visible()
    assert faults_everywhere(page) == []


def test_empty_board_says_why_and_what_to_do(open_page: OpenPage) -> None:
    page = open_page("Clerk", "/today/")
    expect(page.locator("#empty")).to_contain_text("Ask your administrator to add a scanner")
    cast.station("CT1")
    page.reload()
    expect(page.locator("#empty")).to_contain_text("Nothing is booked for today")
    page.goto("/today/?q=mueler")
    expect(page.locator("#empty")).to_contain_text("No exam matches “mueler” today")
    page.get_by_role("link", name="Clear search").click()
    expect(page.locator("#empty")).to_contain_text("Nothing is booked for today")
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page).not_to_have_url(re.compile("q="))


def test_wall_shows_no_name(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/?view=wall")
    text = page.content().lower()
    assert not [
        name for name in ("rossi", "yamada", "müller", "e26-1", "a261123001") if name in text
    ]
    expect(page.get_by_role("navigation")).to_have_count(0)


# --- refreshing -----------------------------------------------------------------------------------


def test_focus_and_scroll_survive_ten_refreshes(open_page: OpenPage) -> None:
    steps = [step(f"{8 + n // 6:02}:{n % 6 * 10:02}", f"Person{n}^P") for n in range(48)]
    page = open_page("Clerk", "/today/")
    link = page.get_by_role("link", name="PERSON30, P", exact=True)
    link.scroll_into_view_if_needed()
    link.focus()
    hurry(page)
    for n in range(10):
        top = link.bounding_box()
        if n % 3 == 0:
            step("17:00", f"Added{n}^A")
        elif n % 3 == 1:
            moved = dt.datetime.combine(TODAY, dt.time(18, n))
            scheduling.reschedule(steps[31 + n], moved, by=cast.actor)
        else:
            scheduling.cancel(steps[31 + n], by=cast.actor)
        refreshed(page)
        assert page.evaluate("document.activeElement.textContent") == "PERSON30, P"
        assert link.bounding_box() == top
    scheduling.set_status(steps[30], StepStatus.ARRIVED, by=cast.actor)
    expect(page.locator("tr", has=link)).to_contain_text("Arrived")
    assert page.evaluate("document.activeElement.textContent") == "PERSON30, P"
    # Its own row, too, may move.
    scheduling.reschedule(steps[30], dt.datetime.combine(TODAY, dt.time(19)), by=cast.actor)
    expect(page.locator("tr", has=link)).to_contain_text("19:00")
    assert page.evaluate("document.activeElement.textContent") == "PERSON30, P"


def test_half_typed_search_survives_ten_refreshes(open_page: OpenPage) -> None:
    steps = [step("11:00", f"Rossi^P{n}") for n in range(12)]
    page = open_page("Clerk", "/today/")
    hurry(page)
    box = page.get_by_role("searchbox")
    box.press_sequentially("ros p")
    box.press("ArrowLeft")
    expect(page).to_have_url(re.compile("q=ros"))
    for n in range(10):
        scheduling.cancel(steps[n], by=cast.actor)
        expect(page.locator("#board tr[data-v]")).to_have_count(11 - n)
        assert page.evaluate(
            "(({id, value, selectionStart}) => [id, value, selectionStart])(document.activeElement)"
        ) == ["q", "ros p", 4]


def test_refresh_without_a_change_leaves_the_page_alone(open_page: OpenPage) -> None:
    step()
    page = open_page("Clerk", "/today/")
    hurry(page)
    refreshed(page, 304)
    page.evaluate("document.querySelector('#board tr[data-v]').dataset.mine = 'yes'")
    refreshed(page, 304)
    refreshed(page, 304)
    expect(page.locator("[data-mine]")).to_have_count(1)


def test_refreshes_rest_while_paused_or_a_menu_is_open(open_page: OpenPage) -> None:
    step()
    page = open_page("Clerk", "/today/")
    hurry(page)
    refreshed(page, 304)
    page.locator("a.more").click()
    expect(page.locator("#row-menu")).to_be_visible()
    expect(page.locator("#row-menu [data-name]")).to_have_text(
        re.compile(r"MÜLLER, Anna · N\d+ · date of birth unknown")
    )
    page.wait_for_load_state("networkidle")
    step("12:00", "Rossi^Paolo")
    page.wait_for_timeout(400)
    expect(page.get_by_text("ROSSI, Paolo")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#row-menu")).to_be_hidden()
    expect(page.locator("a.more").first).to_be_focused()
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_visible()
    page.locator("[data-pause]").click()
    step("12:10", "Smith^John")
    page.wait_for_timeout(400)
    expect(page.get_by_text("SMITH, John")).to_have_count(0)


def test_open_menu_of_a_row_has_no_faults(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/")
    page.locator("a.more").first.click()
    expect(page.locator("#row-menu")).to_be_visible()
    assert faults_everywhere(page) == []


def test_changed_row_glows_and_an_added_emergency_is_said(open_page: OpenPage) -> None:
    cast.station("CT1", "CT Ground Floor")
    known = step("11:00")
    step("11:30", "Rossi^Paolo", RequestedProcedurePriority="STAT")
    page = open_page("Clerk", "/today/")
    hurry(page)
    scheduling.set_status(known, StepStatus.ARRIVED, by=cast.actor)
    expect(page.locator("tr.is-new")).to_have_count(1)
    expect(page.locator("tr.is-new")).to_contain_text("MÜLLER")
    expect(page.locator("#live")).to_have_text("")
    step("12:10", "Smith^John", RequestedProcedurePriority="STAT")
    expect(page.locator("#live")).to_have_text(
        "Emergency exam added: SMITH, John, CT Ground Floor, 12:10."
    )
    expect(page.locator("tr.is-new")).to_have_count(0)


def test_lost_connection_is_told_and_found_again(open_page: OpenPage) -> None:
    step()
    page = open_page("Clerk", "/today/")
    hurry(page)
    refreshed(page, 304)
    page.context.set_offline(True)
    lost = page.locator("#lost")
    expect(lost).to_contain_text("Not connected since")
    expect(page.locator("#board")).to_have_class("board is-lost")
    page.locator("a.more").click()
    expect(page.locator("#row-menu")).to_be_hidden()
    # Nothing but the button asks again.
    page.evaluate("document.getElementById('board').dataset.every = '3600'")
    page.wait_for_timeout(200)
    page.context.set_offline(False)
    step("12:00", "Rossi^Paolo")
    page.get_by_role("button", name="Try now").click()
    expect(lost).to_be_hidden()
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_visible()
    expect(page.locator("#board")).to_have_class("board")


# --- searching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["muller", "12.4.79", "1979-04-12", "mü anna"])
def test_search_as_one_types_is_blind_to_accents_and_knows_birth_dates(
    open_page: OpenPage, typed: str
) -> None:
    step("11:00", PatientBirthDate=dt.date(1979, 4, 12))
    step("12:00", "Rossi^Paolo", PatientBirthDate=dt.date(1948, 9, 9))
    cast.step(PatientID="P900", PatientBirthDate=dt.date(1979, 4, 12))
    page = open_page("Clerk", "/today/")
    page.keyboard.press("/")
    page.keyboard.type(typed)
    expect(page.locator(".lane tr[data-v]")).to_have_count(1)
    expect(page.locator(".lane tr[data-v]")).to_contain_text("MÜLLER, Anna")
    expect(page.get_by_role("heading", name="1 more on other days")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".lane tr[data-v]")).to_have_count(2)


def test_everything_is_there_without_javascript(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/", java_script_enabled=False)
    rows = page.locator("tr[data-v]")
    expect(rows).to_have_count(7)
    page.fill("#q", "rossi")
    page.press("#q", "Enter")
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="MR", exact=True).click()
    expect(rows).to_have_count(1)
    assert page.input_value("#q") == "rossi"
    page.goto("/today/")
    page.select_option("#status", "COMPLETED")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Next day").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("24 Nov 2026")
    page.get_by_role("link", name="Times").click()
    expect(page.locator("#timetable, #empty").first).to_be_visible()


# --- keys -----------------------------------------------------------------------------------------


def test_keys_walk_through_rows_days_and_scanners(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.closest('tr').id")
    page.keyboard.press("2")
    expect(page.locator("section.lane")).to_have_count(1)
    expect(page.locator("section.lane h2")).to_contain_text("MR1")
    page.keyboard.press("0")
    expect(page.locator("section.lane")).to_have_count(3)
    page.keyboard.press("]")
    page.wait_for_url("**/today/?day=2026-11-24")
    page.keyboard.press("t")
    page.wait_for_url(lambda url: "day=" not in url)
    page.keyboard.press("p")
    page.wait_for_url("**/print/day/*")
    page.go_back()
    page.keyboard.press("?")
    page.wait_for_url("**/help/keys/")


def test_filters_fold_on_a_phone_and_say_how_many_there_are(open_page: OpenPage) -> None:
    full_day()
    page = open_page(
        "Clerk", "/today/?modality=CT&status=open", viewport={"width": 390, "height": 844}
    )
    expect(page.get_by_text("Filter (2)")).to_be_visible()
    expect(page.locator("#status")).to_be_hidden()
    page.get_by_text("Filter (2)").click()
    expect(page.locator("#status")).to_be_visible()
