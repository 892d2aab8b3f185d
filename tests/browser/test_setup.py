from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MONDAY, OpenPage
from tests.browser.looks import faults, faults_everywhere
from tests.cast import actor, book, patient, station
from worklist import catalogue
from worklist.catalogue import CodedText
from worklist.models import (
    ClosedDay,
    OpeningHours,
    OpeningTime,
    OrderSet,
    ProcedureType,
    Station,
)

PAGES = (
    "/setup/scanners/",
    "/setup/scanners/new/",
    "/setup/scanners/{scanner}/",
    "/setup/hours/",
    "/setup/hours/new/",
    "/setup/hours/{hours}/",
    "/setup/closed-days/",
    "/setup/closed-days/?past=1",
    "/setup/closed-days/{closed}/",
    "/setup/procedures/",
    "/setup/procedures/?q=nothing+like+it",
    "/setup/procedures/new/?copy={procedure}",
    "/setup/procedures/{procedure}/",
    "/setup/procedures/import/",
    "/setup/order-sets/",
    "/setup/order-sets/{order_set}/",
    "/audit/",
    "/audit/?patient={patient}",
)


def fill() -> dict[str, int]:
    """One of everything; the ids by name."""
    hours = OpeningHours(name="Weekdays")
    times = [OpeningTime(weekday=day, opens=dt.time(8), closes=dt.time(12, 30)) for day in range(5)]
    catalogue.save_opening_hours(hours, times, seen=None, by=actor)
    ct1 = station()
    ct1.opening_hours = hours
    catalogue.save_station(ct1, seen=None, by=actor)
    head = ProcedureType(code="CTHEAD", description="CT head", modality="CT", uses_contrast=True)
    catalogue.save_procedure_type(
        head,
        allowed_stations=[ct1],
        requested_code=CodedText("CTH", "99SITE", "CT head"),
        protocol_codes=[CodedText("P1", "99SITE", "Standard")],
        seen=None,
        by=actor,
    )
    trauma = OrderSet(code="TRAUMA", name="Trauma")
    catalogue.save_order_set(trauma, [head], seen=None, by=actor)
    closed = ClosedDay(day=MONDAY.date(), station=ct1, reason="Service")
    catalogue.save_closed_day(closed, seen=None, by=actor)
    anna = patient()
    book(anna, stations=[ct1], start_date=MONDAY.date())
    return {
        "scanner": ct1.pk,
        "hours": hours.pk,
        "closed": closed.pk,
        "procedure": head.pk,
        "order_set": trauma.pk,
        "patient": anna.pk,
    }


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_pages_of_the_setup_have_no_faults(open_page: OpenPage, locale: str) -> None:
    ids = fill()
    page = open_page("Administrator", "/setup/scanners/", locale=locale)
    for path in PAGES:
        page.goto(path.format(**ids))
        assert (path, faults_everywhere(page)) == (path, [])


def test_pages_without_a_row_have_no_faults(open_page: OpenPage) -> None:
    page = open_page("Administrator", "/setup/scanners/")
    for path in ("scanners", "hours", "closed-days", "procedures", "order-sets"):
        page.goto(f"/setup/{path}/")
        assert (path, faults(page)) == (path, [])


def test_scanner_is_set_up_with_the_keyboard_and_mistakes_lead_to_their_field(
    open_page: OpenPage,
) -> None:
    page = open_page("Administrator", "/setup/scanners/new/")
    page.get_by_label("Name", exact=True).fill("CT 1")
    page.get_by_label("AE title").fill("CT-RÖNTGEN")
    page.keyboard.press("Enter")
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("contains 'Ö'")
    assert faults(page) == []
    summary.get_by_role("link", name="AE title").click()
    field = page.get_by_label("AE title")
    expect(field).to_have_value("CT-RÖNTGEN")
    field.fill("CT01")
    field.press("Enter")
    expect(page.get_by_text("CT 1 is saved.")).to_be_visible()
    assert Station.objects.get().ae_title == "CT01"


def test_two_people_save_one_scanner_and_the_second_sees_both_values(open_page: OpenPage) -> None:
    ids = fill()
    path = f"/setup/scanners/{ids['scanner']}/"
    one, other = open_page("Administrator", path), open_page("Administrator", path)
    one.get_by_label("Location").fill("Room 1")
    one.get_by_role("button", name="Save").click()
    expect(one.get_by_text("is saved.")).to_be_visible()
    other.get_by_label("Location").fill("Room 2")
    other.get_by_role("button", name="Save").click()
    told = other.get_by_role("alert")
    expect(told).to_contain_text("administrator changed it")
    expect(told.get_by_role("row", name="Location")).to_contain_text("Room 1")
    expect(other.get_by_label("Location")).to_have_value("Room 2")
    assert faults(other) == []
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_text("is saved.")).to_be_visible()
    assert Station.objects.get().location == "Room 2"


def preview(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "exams.csv"
    file.write_text(
        "code;description;modality;minutes\n"
        "CTHEAD;CT head;CT;20\nMRKNEE;MR knee;MR;25\nBAD;;CT;x\n",
        "utf-8-sig",
    )
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Look at what it would do").click()


@pytest.mark.parametrize("script", [True, False])
def test_catalogue_is_uploaded_by_way_of_a_preview(
    open_page: OpenPage, tmp_path: Path, script: bool
) -> None:
    fill()
    page = open_page("Administrator", "/setup/procedures/import/", java_script_enabled=script)
    preview(page, tmp_path)
    expect(page.get_by_role("heading", name="What the file would do")).to_be_visible()
    expect(page.get_by_role("row", name="CTHEAD")).to_contain_text("30")
    expect(page.get_by_role("row", name="BAD")).to_contain_text("not a whole number")
    if script:
        assert faults_everywhere(page) == []
    assert ProcedureType.objects.get().minutes == 30
    page.get_by_role("button", name="Save new and changed rows").click()
    expect(page.get_by_text("2 procedures of the file are saved.")).to_be_visible()
    assert ProcedureType.objects.get(code="CTHEAD").minutes == 20
    assert ProcedureType.objects.filter(code="MRKNEE").exists()


def test_everything_is_set_up_with_javascript_off(open_page: OpenPage) -> None:
    ids = fill()
    page = open_page("Administrator", "/setup/hours/new/", java_script_enabled=False)
    page.fill("#id_name", "Mornings")
    page.get_by_label("Monday").fill("8-12")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("08:00–12:00")).to_be_visible()
    page.goto("/setup/closed-days/")
    page.get_by_role("button", name="Open again").click()
    expect(page.get_by_text("is a working day again")).to_be_visible()
    page.goto("/setup/closed-days/new/")
    page.get_by_label("Day").fill(MONDAY.date().isoformat())
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("1 exam is booked on 23 Nov 2026")).to_be_visible()
    page.get_by_label("Save all the same").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="All scanners")).to_be_visible()
    page.goto(f"/setup/order-sets/{ids['order_set']}/")
    page.get_by_label("Exam 1").select_option("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Choose at least one exam.")).to_be_visible()
    page.goto("/setup/procedures/")
    page.get_by_role("button", name="in use · CT head").click()
    expect(page.get_by_text("no longer offered for booking")).to_be_visible()


def test_trail_is_searched_by_a_patients_id_that_stays_out_of_the_address(
    open_page: OpenPage,
) -> None:
    fill()
    page = open_page("Auditor", "/audit/")
    page.get_by_label("Patient or exam ID").fill("P1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Everything about MÜLLER, Anna")).to_be_visible()
    assert "P1" not in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "MÜLLER, Anna · P1" in download.value.path().read_text("utf-8")
