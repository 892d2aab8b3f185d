from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from dicomscp.models import Association
from dicomscp.server import WorklistScp
from tests.browser.conftest import OpenPage
from tests.browser.looks import faults_everywhere
from tests.browser.words import Words
from tests.test_add_scanner import HERE, asks, ct, echo, refused
from worklist.models import Station


@pytest.fixture(autouse=True)
def known(settings: Any) -> None:
    settings.DICOM_ACCESS = "known"


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind=HERE, port=0)
    scp.start()
    yield scp
    scp.stop()


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_a_scanner_is_added_by_keyboard_while_it_calls(
    open_page: OpenPage, scp: WorklistScp, locale: str
) -> None:
    words = Words(locale)
    page = open_page("Administrator", "/setup/scanners/", locale=locale)
    page.get_by_role("link", name=words("Add a scanner")).first.click()
    assert faults_everywhere(page) == []
    page.locator("#id_name").focus()
    page.keyboard.type("CT 1")
    page.keyboard.press("Tab")
    page.keyboard.press("C")
    page.keyboard.press("Tab")
    page.keyboard.type("CT_01")
    page.keyboard.press("Enter")
    page.wait_for_url("**/listen/**")
    expect(page.get_by_text(words("Nobody has called yet."))).to_be_visible()
    assert refused(scp.port, "CT-01")
    call = page.locator("#heard article")
    expect(call).to_contain_text("CT-01")
    expect(page.locator("#live")).to_contain_text("CT-01")
    assert faults_everywhere(page) == []
    # What has the focus keeps it when the next call comes.
    button = call.locator("button[value=title]")
    button.focus()
    echo(scp.port, "CT-01")
    expect(call).to_have_count(2)
    expect(call.last.locator("button[value=title]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[data-notice]")).to_contain_text("CT-01")
    assert Station.objects.get().ae_title == "CT-01"
    echo(scp.port, "CT-01")
    expect(call.first.locator("button[value=address]")).to_be_visible()
    expect(call).to_have_count(3)
    page.locator("#heard-stop").click()
    expect(page.locator("#heard-again")).to_be_visible()
    assert faults_everywhere(page) == []
    page.locator("a.button.primary").click()
    page.wait_for_url("**/added/")
    assert faults_everywhere(page) == []
    page.goto(page.url.replace("/added/", "/sheet/"))
    assert faults_everywhere(page) == []
    page.emulate_media(media="print")
    expect(page.locator("header.top")).to_be_hidden()
    expect(page.locator(".connection-sheet")).to_be_visible()


def test_calls_are_heard_without_javascript(open_page: OpenPage) -> None:
    made = ct()
    path = f"/setup/scanners/{made.pk}/listen/"
    page = open_page("Administrator", path, java_script_enabled=False)
    call = Association.objects.create(
        opened=timezone.now(), calling="CT_01", address=HERE, is_accepted=True, reason="known"
    )
    asks(call, PatientID="P1")
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("#heard article")).to_contain_text("2 exams sent")
    page.get_by_role("button", name=f"Answer it from {HERE} only").click()
    assert Station.objects.get().networks == HERE
    expect(page.locator("#heard article")).to_have_count(1)


def test_mistakes_of_the_first_step_are_told_at_their_fields(open_page: OpenPage) -> None:
    ct()
    page = open_page("Administrator", "/setup/scanners/add/")
    page.get_by_label("Name", exact=True).fill("CT 2")
    page.get_by_label("AE title").fill("CT_01")
    page.get_by_role("button", name="Save, and listen").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("link", name="AE title").click()
    expect(page.get_by_label("AE title")).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_have_value("CT 2")
    assert faults_everywhere(page) == []
