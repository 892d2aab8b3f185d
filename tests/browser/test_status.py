from __future__ import annotations

import datetime as dt
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from dicomscp.models import Query
from tests.browser.conftest import OpenPage
from tests.browser.looks import faults_everywhere
from tests.cast import station
from tests.test_heartbeat import beat
from tests.test_status import HOUR, MINUTE, asked, refused
from tests.test_trial import HERE, free_port, scanner

# A folder for pictures of the page, to look at.
PICTURES = os.environ.get("STATUS_PICTURES", "")


def picture(page: Page, name: str) -> None:
    if not PICTURES:
        return
    for scheme, width in itertools.product(("light", "dark"), (1280, 390)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=Path(PICTURES) / f"{name}-{scheme}-{width}.png", full_page=True)


def fill() -> None:
    """A server with one that died, three scanners of which one is silent, strangers, failures."""
    now = timezone.now()
    soon = [
        {"setting": "DICOM_TLS_CERT", "subject": "CN=worklist", "ends": f"{now + 220 * HOUR}"},
        {"setting": "DICOM_TLS_CA", "subject": "CN=Hospital", "ends": f"{now + 9000 * HOUR}"},
    ]
    behind = {"state": "behind", "behind": 80.0}
    beat(host="scp1", tls_port=2762, associations=2, certificates=soon, replica=behind)
    beat(host="scp2", port=104, at=now - 5 * MINUTE)
    for title, name in (("CT01", "CT 1"), ("MR01", "MR 1, upstairs"), ("US01", "US 1")):
        made = station(title, name=name)
        made.test_host, made.test_port = "10.1.2.31", 104
        made.save()
    for number in range(10):
        asked("CT01", ago=(1 + 10 * number) * MINUTE)
        asked("MR01", ago=3 * HOUR + 10 * number * MINUTE)
    asked("CT01", status=0xA700, milliseconds=61)
    for _ in range(5):
        refused("CT-01")
    refused("US01", reason="address")


@pytest.fixture
def by_the_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The site's clock is that of the rows."""
    from worklist import clock

    def set_clock() -> None:
        now = timezone.localtime().replace(tzinfo=None, microsecond=0)
        monkeypatch.setattr(clock, "now", lambda: now)

    return set_clock


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
@pytest.mark.parametrize("role", ["Administrator", "Technologist"])
def test_the_page_has_no_faults(
    open_page: OpenPage, by_the_clock: Callable[[], None], role: str, locale: str
) -> None:
    page = open_page(role, "/today/", locale=locale)
    by_the_clock()
    page.goto("/status/")
    assert faults_everywhere(page) == []
    fill()
    page.reload()
    assert faults_everywhere(page) == []
    page.locator("summary").last.click()
    assert faults_everywhere(page) == []
    picture(page, f"status-{role}-{locale}")


def test_what_is_wrong_leads_to_what_to_do(
    open_page: OpenPage, by_the_clock: Callable[[], None], settings: Any
) -> None:
    settings.DICOM_ACCESS = "known"
    page = open_page("Administrator", "/today/")
    by_the_clock()
    fill()
    page.goto("/status/")
    page.get_by_role("link", name="Status").click()
    expect(page.locator(".state-bad").first).to_contain_text("WORKLIST on port 104 is not running")
    expect(page.get_by_role("row", name="MR 1, upstairs")).to_contain_text("silent")
    page.get_by_role("link", name="Show those that failed").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.go_back()
    page.get_by_role("link", name="Add as scanner: CT-01 at 10.1.2.31").click()
    expect(page.get_by_label("AE title")).to_have_value("CT-01")


def test_the_text_for_support_is_copied(open_page: OpenPage) -> None:
    asked(ago=dt.timedelta(minutes=1))
    page = open_page("Administrator", "/status/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_text("For support", exact=True).click()
    page.get_by_role("button", name="Copy for support").click()
    expect(page.get_by_role("button", name="Copied.")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert "Queries of 24 h: 1; failed 0" in copied
    assert Query.objects.count() == 1


def at(title: str, name: str, port: int) -> None:
    made = station(title, name=name)
    made.test_host, made.test_port = HERE, port
    made.save()


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_all_connections_are_tested_on_the_page(open_page: OpenPage, locale: str) -> None:
    with scanner() as port:
        at("CT01", "CT 1", port)
        at("MR01", "MR 1, upstairs", free_port())
        page = open_page("Administrator", "/status/", locale=locale)
        page.locator("form[action='/status/test/'] button").click()
        told = page.locator("#trials section")
        expect(told).to_be_focused()
        expect(told.locator("tbody tr.trial-well")).to_contain_text("CT 1")
        expect(told.locator("tbody tr.trial-badly")).to_contain_text("MR 1, upstairs")
        assert page.url.endswith("/status/")
        assert faults_everywhere(page) == []
        picture(page, f"trials-{locale}")


def test_all_connections_are_tested_without_javascript(open_page: OpenPage) -> None:
    at("CT01", "CT 1", free_port())
    page = open_page("Administrator", "/status/", java_script_enabled=False)
    page.get_by_role("button", name="Test all").click()
    expect(page.locator("#trials")).to_contain_text("0 of 1 connection works.")
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("#trials")).to_be_empty()


def test_where_the_clipboard_is_not_given_the_text_is_marked(open_page: OpenPage) -> None:
    page = open_page("Administrator", "/status/")
    page.evaluate("() => Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_text("For support", exact=True).click()
    page.get_by_role("button", name="Copy for support").click()
    expect(page.locator("#live")).to_have_text("The text is selected: copy it with Ctrl+C.")
    assert "Queries of 24 h: 0" in page.evaluate("() => String(getSelection())")
