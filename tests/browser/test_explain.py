"""The explain pages in a real browser: no faults, the button that helps, copying for support."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp.models import Association, Query
from tests import network
from tests.asking import query
from tests.browser.conftest import MONDAY, OpenPage
from tests.browser.looks import faults, faults_everywhere
from tests.cast import station, step
from tests.test_heartbeat import beat
from worklist.models import ScheduledProcedureStep, Station

# A folder for pictures of the pages, to look at.
PICTURES = os.environ.get("EXPLAIN_PICTURES", "")


def fill() -> tuple[ScheduledProcedureStep, Query]:
    beat()
    station("CT1", "CT 1")
    station("MR1", "MR 1")
    shown = step(
        stations=["CT1"],
        PatientName="Rossi^Paolo",
        PatientID="P1008",
        PatientBirthDate=dt.date(1948, 9, 9),
        ScheduledProcedureStepStartDate=MONDAY.date(),
        ScheduledProcedureStepStartTime=dt.time(11),
        ScheduledProcedureStepDescription="CT head",
    )
    for number, modality in enumerate(("CT", "MR", "CT")):
        step(
            stations=["MR1"],
            Modality=modality,
            ScheduledProcedureStepStartDate=MONDAY.date(),
            ScheduledProcedureStepStartTime=dt.time(12 + number),
        )
    association = Association.objects.create(
        opened=timezone.now(),
        calling="CT1",
        called="WORKLIST",
        address="10.1.2.31",
        contexts="Modality Worklist Information Model - FIND: Implicit VR Little Endian",
        is_accepted=True,
        reason="known",
        ended="RELEASED",
    )
    request = query(
        {
            "Modality": "CT",
            "ScheduledProcedureStepStartDate": "20261123",
            "ScheduledStationAETitle": "CT-1",
        },
        PatientName="",
        PatientID="",
    )
    asked = Query.objects.create(
        association=association,
        at=timezone.now(),
        calling="CT1",
        address="10.1.2.31",
        identifier=network.encode(request, is_explicit=False),
        transfer_syntax=ImplicitVRLittleEndian,
        keys=len(request.keys),
        matches=0,
        sent=0,
        status=0,
        milliseconds=3,
    )
    return shown, asked


def picture(page: Page, name: str) -> None:
    if not PICTURES:
        return
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=Path(PICTURES) / f"{name}-{scheme}-{width}.png", full_page=True)


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_pages_have_no_faults(open_page: OpenPage, locale: str) -> None:
    shown, asked = fill()
    page = open_page("Administrator", "/explain/", locale=locale)
    at = Station.objects.get(ae_title="CT1").pk
    for name, path in {
        "choose": "/explain/",
        "one": f"/explain/?step={shown.pk}&station={at}",
        "again": f"/explain/?step={shown.pk}&query={asked.pk}&run=narrow",
        "query": f"/explain/?query={asked.pk}&all=1&run=same",
    }.items():
        page.goto(path)
        for details in page.locator("main details").all():
            details.evaluate("each => each.open = true")
        assert (path, faults_everywhere(page)) == (path, [])
        picture(page, name)


def test_the_board_and_the_exam_tell_what_will_show(open_page: OpenPage) -> None:
    shown, asked = fill()
    Query.objects.filter(pk=asked.pk).update(at=timezone.make_aware(MONDAY - dt.timedelta(hours=3)))
    page = open_page("Technologist", "/today/")
    line = page.locator("[data-asked]").first
    expect(line).to_contain_text("last asked 3 h ago")
    expect(line).to_contain_text("1 exam will not show")
    assert faults_everywhere(page) == []
    picture(page, "board")
    # A refresh of the board does not take it away.
    page.evaluate("document.querySelector('[data-asked]').replaceChildren()")
    page.evaluate("document.dispatchEvent(new CustomEvent('htmx:after:swap', {detail: {}}))")
    expect(line).to_contain_text("1 exam will not show")
    page.goto("/today/?view=times")
    expect(line).to_contain_text("1 exam will not show")
    page.goto(f"/exams/{shown.pk}/")
    light = page.locator(".lights")
    expect(light).to_contain_text("Not on CT 1: it asks for Scheduled Station AE Title CT-1")
    assert faults_everywhere(page) == []
    picture(page, "exam")
    light.locator("a").click()
    expect(page.locator("h1")).to_contain_text("Why does CT 1 not see it?")


def test_after_saving_the_notice_tells_whether_it_will_show(open_page: OpenPage) -> None:
    shown, _ = fill()
    page = open_page("Supervisor", f"/exams/{shown.pk}/move/")
    page.fill("#id_time", "15:00")
    page.select_option("#id_station", label="CT 1 (CT1)")
    page.click("main form button.primary")
    expect(page.locator(".notice .lights")).to_contain_text("Not on CT 1")


@pytest.mark.parametrize("view", ["list", "times"])
def test_the_menu_of_a_row_of_the_board_leads_there(open_page: OpenPage, view: str) -> None:
    fill()
    page = open_page("Technologist", f"/today/?view={view}")
    page.locator("a.more").first.click()
    expect(page.locator("#row-menu [data-name]")).to_contain_text("ROSSI, Paolo · P1008 · 9 Sep")
    assert faults(page) == []
    page.click("text=Why does the scanner not see it?")
    expect(page.locator("h1")).to_contain_text("Why does CT 1 not see it?")


def test_from_the_exam_to_the_button_that_helps_and_back(open_page: OpenPage) -> None:
    shown, _ = fill()
    page = open_page("Administrator", f"/exams/{shown.pk}/")
    page.click("text=Why does a scanner not see it?")
    expect(page.locator(".explain-short")).to_contain_text("CT-1")
    page.click("text=Treat CT-1 as a further AE title of CT 1")
    expect(page.locator(".explain-short")).to_contain_text("it would get this exam")
    assert [str(each) for each in Station.objects.get(ae_title="CT1").titles.all()] == ["CT-1"]
    page.click("text=Take the last change back")
    expect(page.locator(".explain-short")).to_contain_text("Treat CT-1")
    assert not Station.objects.get(ae_title="CT1").titles.exists()


def test_the_text_for_support_is_copied(open_page: OpenPage) -> None:
    shown, _ = fill()
    page = open_page(
        "Technologist",
        f"/explain/?step={shown.pk}",
        permissions=["clipboard-read", "clipboard-write"],
    )
    page.click("text=For support")
    page.click("button[data-copy]")
    expect(page.locator("#live")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "8 Dropped there?" in copied
    assert "Rossi" not in copied


def test_everything_works_without_a_script(open_page: OpenPage) -> None:
    shown, _ = fill()
    page = open_page("Administrator", f"/explain/?step={shown.pk}", java_script_enabled=False)
    page.select_option("#station", label="MR 1 (MR1)")
    page.click("text=Explain >> nth=-1")
    expect(page.locator("h1")).to_contain_text("MR 1")
