from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, Route, ViewportSize, expect

from tests import cast
from tests.browser.conftest import MONDAY, PASSWORD, OpenPage, person
from tests.browser.looks import SCHEMES, faults, faults_everywhere
from worklist import scheduling
from worklist.audit import trail
from worklist.models import (
    OpeningHours,
    OpeningTime,
    ScheduledProcedureStep,
    StepStatus,
    WallScreen,
)
from worklist.scheduling import steps

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


def wall() -> str:
    """The address of a screen on the wall."""
    screen = WallScreen.objects.first() or WallScreen(name="Corridor")
    trail.save(screen, by=cast.actor)
    return screen.get_absolute_url()


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
        wall(),
        "/today/?day=2026-11-29&modality=US",
        "/help/keys/",
        "/print/day/?initials=1",
        f"/exams/{step_of_today.pk}/slip/",
    )
    for path in paths:
        page.goto(path)
        assert faults_everywhere(page) == [], path
    page.goto("/today/")
    page.get_by_role("searchbox").fill("nobody")
    expect(page.locator("#empty")).to_be_visible()
    assert faults_everywhere(page) == []


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_board_without_scanners_has_no_faults(open_page: OpenPage, locale: str) -> None:
    page = open_page("Clerk", "/today/", locale=locale)
    expect(page.locator("#empty")).to_be_visible()
    assert faults_everywhere(page) == []


@pytest.mark.parametrize("view", ["list", "times"])
def test_empty_board_says_why_and_what_to_do(open_page: OpenPage, view: str) -> None:
    page = open_page("Clerk", f"/today/?view={view}")
    empty = page.locator("#empty")
    expect(empty).to_contain_text("Ask your administrator to add a scanner")
    boss = open_page("Administrator", f"/today/?view={view}")
    steps = boss.locator("#empty li a")
    assert steps.evaluate_all("all => all.map(({pathname}) => pathname)") == [
        *("/setup/hours/", "/setup/scanners/add/", "/setup/procedures/")
    ]
    cast.station("CT1")
    page.reload()
    expect(empty).to_contain_text("Nothing is booked for today")
    expect(empty.get_by_role("link", name="New exam")).to_be_visible()
    page.goto(f"/today/?view={view}&status=STARTED")
    expect(empty).to_contain_text("No exam matches these filters")
    empty.get_by_role("link", name="Clear filters").click()
    expect(empty).to_contain_text("Nothing is booked for today")
    step("11:00", "Mueler^Jo", ScheduledProcedureStepStartDate=dt.date(2026, 11, 30))
    page.goto(f"/today/?view={view}")
    page.get_by_role("searchbox").fill("mueler")
    expect(empty).to_contain_text("No exam matches “mueler” today")
    empty.get_by_role("link", name="Look on all days").click()
    expect(page.locator("#elsewhere")).to_be_in_viewport()
    expect(page.locator("#elsewhere")).to_contain_text("1 more on other days")
    page.get_by_role("link", name="Clear search").click()
    expect(page.locator("#empty")).to_contain_text("Nothing is booked for today")
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_wall_shows_no_name(open_page: OpenPage) -> None:
    full_day()
    page = open_page(None, wall())
    text = page.content().lower()
    assert not [
        name for name in ("rossi", "yamada", "müller", "e26-1", "a261123001") if name in text
    ]
    expect(page.get_by_role("navigation")).to_have_count(0)


def test_wall_goes_on_by_itself_until_its_link_is_taken_away(
    open_page: OpenPage, now: Callable[[dt.datetime], None]
) -> None:
    step()
    step(
        "08:00",
        ScheduledProcedureStepStartDate=dt.date(2026, 11, 24),
        RequestedProcedureDescription="CT Becken",
    )
    page = open_page(None, wall())
    expect(page.locator("h1")).to_contain_text("23 Nov 2026")
    page.evaluate("document.getElementById('board').dataset.every = '0.1'")
    page.evaluate("dispatchEvent(new Event('online'))")
    now(dt.datetime(2026, 11, 24, 0, 0, 5))
    expect(page.locator("h1")).to_contain_text("24 Nov 2026")
    expect(page.locator("#board")).to_contain_text("CT Becken")
    trail.delete(WallScreen.objects.get(), by=cast.actor)
    expect(page.locator("#board")).to_have_count(0)


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


def hold(page: Page) -> list[Route]:
    """Hold back the board's refreshes: each waits in the list until it is told to go on."""
    held: list[Route] = []
    page.route(
        lambda url: "/today/" in url,
        lambda route: (
            held.append(route) if route.request.headers.get("hx-request") else route.continue_()
        ),
    )
    return held


def held_one(page: Page, held: list[Route]) -> Route:
    """The next refresh that is held back."""
    for _ in range(100):
        if held:
            return held.pop(0)
        page.wait_for_timeout(50)
    raise AssertionError("no refresh in five seconds")


def let_go(page: Page, route: Route) -> None:
    """Let a refresh go on, and wait for what its answer does to the page."""
    page.evaluate(
        """() => {
            window.over = new Promise((done) => {
                document.addEventListener("htmx:finally:request", done, { once: true });
            });
        }"""
    )
    route.continue_()
    page.evaluate("() => window.over.then(() => new Promise(requestAnimationFrame))")


@pytest.mark.parametrize("what", ["pause", "menu", "user menu", "dialog", "typing"])
def test_answer_that_was_under_way_changes_nothing_any_more(open_page: OpenPage, what: str) -> None:
    step()
    page = open_page("Clerk", "/today/")
    held = hold(page)
    hurry(page)
    route = held_one(page, held)
    if "A" in route.request.headers.get("x-background", "A"):
        # The first was asked for by the button; refreshes of the page's own are meant here.
        let_go(page, route)
        route = held_one(page, held)
    step("12:00", "Rossi^Paolo")
    updated = page.locator("[data-updated]").text_content()
    if what == "pause":
        page.locator("[data-pause]").click()
    elif what == "menu":
        page.locator("a.more").first.click()
    elif what == "user menu":
        page.locator(".top-end details summary").click()
    elif what == "dialog":
        page.evaluate("document.getElementById('session').showModal()")
    else:
        page.evaluate("document.getElementById('board').dataset.typing = ''")
    let_go(page, route)
    expect(page.get_by_text("ROSSI, Paolo")).to_have_count(0)
    assert page.locator("[data-updated]").text_content() == updated
    # What was dropped comes as soon as the page may move again.
    page.unroute_all()
    if what == "pause":
        page.locator("[data-pause]").click()
    elif what == "dialog":
        page.evaluate("document.getElementById('session').close()")
    elif what == "typing":
        page.evaluate("delete document.getElementById('board').dataset.typing")
    else:
        page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_visible()


def test_answer_to_what_is_no_longer_asked_is_not_shown(open_page: OpenPage) -> None:
    step("11:00", "Rossi^Paolo")
    step("12:00")
    page = open_page("Clerk", "/today/")
    held = hold(page)
    page.get_by_role("searchbox").press_sequentially("ros")
    first = held_one(page, held)
    assert first.request.headers["x-search"] == "ros"
    page.get_by_role("searchbox").fill("mül")
    expect(page.locator("#board[data-typing]")).to_have_count(0)
    let_go(page, first)
    expect(page.locator("#board tr[data-v]")).to_have_count(2)
    held_one(page, held).continue_()
    expect(page.locator("#board tr[data-v]")).to_have_count(1)
    expect(page.locator("#board tr[data-v]")).to_contain_text("MÜLLER")


def test_typing_keeps_the_page_still_until_it_is_sent(open_page: OpenPage) -> None:
    step()
    page = open_page("Clerk", "/today/")
    box = page.get_by_role("searchbox")
    # Time stands still, or a slow machine would be past the pause before it is looked at.
    page.clock.install(time="2031-05-01T03:03:03Z")
    page.clock.pause_at("2031-05-01T03:03:04Z")
    box.press("m")
    assert page.evaluate("'typing' in document.getElementById('board').dataset")
    page.clock.run_for(250)
    assert not page.evaluate("'typing' in document.getElementById('board').dataset")


# --- the site's clock -----------------------------------------------------------------------------


def test_times_are_those_of_the_site_whatever_the_computer_says(
    open_page: OpenPage, now: Callable[[dt.datetime], None]
) -> None:
    step()
    page = open_page("Clerk", "/today/", timezone_id="Pacific/Auckland")
    page.clock.set_system_time("2031-05-01T03:03:03Z")
    expect(page.locator("[data-updated]")).to_have_text("10:42:00")
    now(MONDAY.replace(minute=50, second=7))
    hurry(page)
    expect(page.locator("[data-updated]")).to_have_text("10:50:07")
    page.route(lambda url: "/today/" in url, lambda route: route.abort("internetdisconnected"))
    expect(page.locator("#lost")).to_contain_text("Not connected since 10:50.")


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


NEEDS_SERVER = ":is(header, main) :is(a[href], button, select, input:not([type=hidden]))"


@pytest.mark.parametrize("query", ["", "?view=times"])
def test_without_connection_nothing_leads_away_and_everything_says_so(
    open_page: OpenPage, query: str
) -> None:
    full_day()
    page = open_page("Supervisor", f"/today/{query}")
    address = page.url
    # What is asked for after the page itself, such as when each scanner asked, has come.
    page.wait_for_load_state("networkidle")
    hurry(page)
    page.route("**/*", lambda route: route.abort("internetdisconnected"))
    lost = page.locator("#lost")
    expect(lost).to_be_visible()
    on = (
        page.locator(NEEDS_SERVER)
        .locator("visible=true")
        .and_(page.locator(":not([aria-disabled=true])"))
    )
    assert sorted(on.all_text_contents()) == ["Pause updates", "Try now"]
    for name in ("New exam", "Walk-in", "Print", "Download CSV", "Next day", "Patients"):
        page.evaluate("document.getElementById('live').textContent = ''")
        page.get_by_role("link", name=name, exact=name != "New exam").first.click(force=True)
        expect(page.locator("#live")).to_contain_text("Not connected since 10:42")
    for key in ("n", "w", "p", "]"):
        page.keyboard.press(key)
    page.locator("#board a").first.focus()
    for key in ("a", "r", "x", "Enter"):
        page.keyboard.press(key)
    assert page.url == address
    page.locator("#q").press_sequentially("ros")
    expect(page.locator("#q")).to_have_value("")
    expect(page.locator("#status")).to_be_disabled()
    # Nothing but the button asks again.
    page.evaluate("document.getElementById('board').dataset.every = '3600'")
    page.wait_for_timeout(200)
    page.unroute_all()
    page.get_by_role("button", name="Try now").click()
    expect(lost).to_be_hidden()
    expect(page.locator("#live")).to_have_text("Connected again.")
    assert page.locator("[aria-disabled]").count() == 0
    page.locator("#q").press_sequentially("ros")
    expect(page.locator("#q")).to_have_value("ros")
    page.get_by_role("link", name="New exam").first.click()
    page.wait_for_url("**/exams/new/**")


def test_session_that_ends_while_there_is_no_connection_is_taken_up_again(
    open_page: OpenPage,
) -> None:
    step()
    page = open_page("Clerk", "/today/")
    page.route(lambda url: "/today/" in url, lambda route: route.abort("internetdisconnected"))
    hurry(page)
    expect(page.locator("#lost")).to_be_visible()
    Session.objects.all().delete()
    page.unroute_all()
    expect(page.locator("#session")).to_be_visible()
    expect(page.locator("#lost")).to_be_hidden()
    page.fill("#session-password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#session")).to_be_hidden()
    step("12:00", "Rossi^Paolo")
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_visible()


def test_right_that_is_taken_away_is_no_lost_connection(open_page: OpenPage) -> None:
    step()
    page = open_page("Clerk", "/today/")
    trail.save(person("Clerk"), by=cast.actor, lists={"groups": []})
    hurry(page)
    expect(page.locator("#board")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("MÜLLER")


@pytest.mark.parametrize("query", ["?status=all", "?view=times"])
def test_board_without_connection_can_be_read(open_page: OpenPage, query: str) -> None:
    full_day()
    page = open_page("Clerk", f"/today/{query}")
    page.route(lambda url: "/today/" in url, lambda route: route.abort("internetdisconnected"))
    hurry(page)
    expect(page.locator("#lost")).to_be_visible()
    assert faults_everywhere(page) == []
    # What axe passes over: the colours of what is switched off.
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(
            "document.querySelectorAll('[aria-disabled]')"
            ".forEach((each) => each.removeAttribute('aria-disabled'))"
        )
        assert faults(page) == []


def test_lost_connection_is_told_and_found_again(open_page: OpenPage) -> None:
    step()
    page = open_page("Clerk", "/today/")
    hurry(page)
    refreshed(page, 304)
    page.context.set_offline(True)
    lost = page.locator("#lost")
    expect(lost).to_contain_text("Not connected since")
    expect(page.locator("body")).to_have_class(re.compile("is-lost"))
    page.locator("a.more").click(force=True)
    expect(page.locator("#row-menu")).to_be_hidden()
    # Nothing asks again but the browser's word that there is a network.
    page.evaluate("document.getElementById('board').dataset.every = '3600'")
    page.wait_for_timeout(200)
    step("12:00", "Rossi^Paolo")
    page.context.set_offline(False)
    expect(lost).to_be_hidden()
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_visible()
    expect(page.locator("body")).not_to_have_class(re.compile("is-lost"))


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


PHONE: ViewportSize = {"width": 390, "height": 844}


def test_filters_fold_on_a_phone_and_say_how_many_there_are(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/?modality=CT&status=open", viewport=PHONE)
    expect(page.get_by_text("Filter (2)")).to_be_visible()
    expect(page.locator("#status")).to_be_hidden()
    page.get_by_text("Filter (2)").click()
    expect(page.locator("#status")).to_be_visible()
    # The number follows what is chosen, without another page.
    page.select_option("#status", "")
    expect(page.get_by_text("Filter (1)")).to_be_visible()
    page.select_option("#station", str(cast.station("CT1").pk))
    expect(page.get_by_text("Filter (2)")).to_be_visible()


def box(found: Locator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    at = found.bounding_box()
    assert at
    return at["x"], at["y"], at["x"] + at["width"], at["y"] + at["height"]


def test_rows_are_cards_on_a_phone_and_the_actions_stay_at_the_bottom(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/", viewport=PHONE)
    row = row_of(page, "SMITH, John")
    cells = [box(row.locator(f"> :nth-child({n})")) for n in range(2, 6)]
    assert all(above[3] <= below[1] + 1 for above, below in pairwise(cells))
    assert all(left >= 0 and right <= 390 for left, _, right, _ in cells)
    for y in (0, 10_000):
        page.evaluate("y => scrollTo(0, y)", y)
        for name in ("New exam", "Walk-in"):
            action = page.locator(".board-actions").get_by_role("link", name=name)
            assert 760 < box(action)[1] < box(action)[3] <= 844
    last = page.locator("#board tr[data-v]").last
    assert box(last)[3] < box(page.locator(".board-actions"))[1]


def test_times_keep_the_hour_in_sight_on_a_phone(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/?view=times", viewport=PHONE)
    times = page.locator(".times")
    assert times.evaluate("each => each.scrollHeight <= each.clientHeight")
    times.evaluate("each => { each.scrollLeft = 150; }")
    left, _, right, _ = box(page.get_by_role("rowheader", name="09:00"))
    assert 0 <= left < right < 120
    expect(page.locator("#timetable tr.now")).to_have_count(1)


def test_line_of_now_stands_at_its_time(open_page: OpenPage) -> None:
    full_day()
    page = open_page("Clerk", "/today/?view=times")
    line = page.locator("#timetable tr.now")
    assert line.evaluate("row => getComputedStyle(row, '::after').borderTopStyle") == "solid"
    before, after = (page.get_by_role("rowheader", name=at) for at in ("10:30", "11:00"))
    assert box(before)[1] < box(line)[1] < box(after)[1]
    assert box(line)[2] - box(line)[0] > 900
    page.goto("/today/?view=times&day=2026-11-24")
    expect(line).to_have_count(0)


# --- from a row and back --------------------------------------------------------------------------


def row_of(page: Page, name: str) -> Locator:
    return page.locator("#board tr[data-v]", has=page.get_by_role("link", name=name, exact=True))


def go_to(page: Page, name: str) -> None:
    """Walk to the row of this name by keys."""
    link = page.get_by_role("link", name=name, exact=True)
    for _ in range(60):
        page.keyboard.press("j")
        if link.evaluate("(link) => link === document.activeElement"):
            return
    raise AssertionError(f"j never came to {name}")


def test_keys_of_a_row_do_what_they_say_and_lead_back_to_it(open_page: OpenPage) -> None:
    made = [step(f"{8 + n // 6:02}:{n % 6 * 10:02}", f"Person{n}^P") for n in range(40)]
    page = open_page("Clerk", "/today/?modality=CT&status=open")
    address = page.url

    def is_back(name: str, *, has_moved: bool = False) -> None:
        page.wait_for_url(address)
        expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()
        expect(page.get_by_role("link", name=name, exact=True)).to_be_in_viewport()
        assert has_moved or abs(page.evaluate("scrollY") - top) < 80  # the notice's height

    go_to(page, "PERSON30, P")
    top = page.evaluate("scrollY")
    assert top > 500
    page.keyboard.press("a")
    expect(row_of(page, "PERSON30, P")).to_contain_text("Arrived")
    is_back("PERSON30, P")
    # Where the exam has gone one way, the same key does nothing.
    page.keyboard.press("a")
    assert page.url == address

    page.keyboard.press("r")
    page.wait_for_url("**/exams/*/move/*")
    page.fill("[name=time]", "17:30")
    page.get_by_role("button", name="Move", exact=True).click()
    is_back("PERSON30, P", has_moved=True)
    expect(row_of(page, "PERSON30, P")).to_contain_text("17:30")

    page.reload()
    go_to(page, "PERSON20, P")
    top = page.evaluate("scrollY")
    page.keyboard.press("x")
    page.wait_for_url("**/exams/*/cancel/*")
    page.get_by_role("button", name="Cancel exam").click()
    # What has left the list leaves its place to the next.
    is_back("PERSON21, P")
    expect(page.get_by_text("PERSON20, P", exact=True)).to_have_count(0)
    made[20].refresh_from_db()
    assert made[20].status == StepStatus.CANCELED


def test_menu_of_a_row_offers_what_may_be_done_to_it(open_page: OpenPage) -> None:
    for n, status in enumerate(StepStatus):
        step(f"{8 + n:02}:00", f"{status}^P", ScheduledProcedureStepStatus=status)
    for role in ("Clerk", "Technologist"):
        page = open_page(role, "/today/?status=all")
        for status in StepStatus:
            row_of(page, f"{status}, P").locator("a.more").click()
            items = page.locator("#row-menu :is(a, button)").locator("visible=true")
            wanted = [
                "Open",
                *(each.label for each in steps.forward(status)),
                *(["Reschedule…"] if steps.may_move(status) else []),
                *(["Cancel…"] if steps.may_cancel(status) and role == "Clerk" else []),
                "Print slip",
                *(["Why does the scanner not see it?"] if role == "Technologist" else []),
                "Patient",
            ]
            assert items.all_text_contents() == wanted
            page.keyboard.press("Escape")
    assert {"Arrived", "Ready", "Started", "Done"} <= {
        str(each.label) for status in StepStatus for each in steps.forward(status)
    }


def test_menu_of_a_row_works_by_keyboard_alone(open_page: OpenPage) -> None:
    step("11:00", "Rossi^Paolo", ScheduledProcedureStepStatus="STARTED")
    page = open_page("Technologist", "/today/?status=open")
    row_of(page, "ROSSI, Paolo").locator("a.more").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#row-menu")).to_be_visible()
    page.get_by_role("button", name="Stopped").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("ROSSI, Paolo: Stopped.")
    expect(page).to_have_url(re.compile(r"/today/\?status=open$"))


def test_no_search_stands_in_an_address(open_page: OpenPage) -> None:
    step("11:00", "Rossi^Paolo")
    step("12:00")
    page = open_page("Clerk", "/today/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("searchbox").fill("rossi")
    expect(page.locator(".lane tr[data-v]")).to_have_count(1)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_focused()
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("rossi")
    page.get_by_role("link", name="Print", exact=True).click()
    expect(page.get_by_text("“rossi”")).to_be_visible()
    page.get_by_role("button", name="With a column for initials").click()
    expect(page.get_by_text("“rossi”")).to_be_visible()
    page.get_by_role("button", name="Back to the board").click()
    expect(page.get_by_role("searchbox")).to_have_value("rossi")
    assert not [url for url in asked if "rossi" in url.lower()]


def test_slip_leads_back_to_where_one_was(open_page: OpenPage) -> None:
    step("11:00", "Rossi^Paolo")
    step("12:00")
    page = open_page("Clerk", "/today/?status=open")
    page.get_by_role("searchbox").fill("rossi")
    expect(page.locator("#board tr[data-v]")).to_have_count(1)
    row_of(page, "ROSSI, Paolo").locator("a.more").click()
    page.get_by_role("link", name="Print slip").click()
    page.get_by_role("link", name="Back", exact=True).click()
    expect(page).to_have_url(re.compile(r"/today/\?status=open$"))
    expect(page.get_by_role("searchbox")).to_have_value("rossi")
    expect(page.get_by_role("link", name="ROSSI, Paolo", exact=True)).to_be_focused()
