from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from dicomscp.models import Association
from tests.browser.conftest import OpenPage
from tests.browser.looks import faults, faults_everywhere
from tests.cast import actor, station
from tests.test_trial import HERE, free_port, scanner
from worklist import catalogue
from worklist.models import Station


def ct1(port: int) -> Station:
    made = station()
    made.test_host, made.test_port = HERE, port
    return catalogue.save_station(made, seen=None, by=actor)


@pytest.mark.parametrize(
    ("locale", "test", "location", "works", "does_not", "refuses"),
    [
        (
            "en-GB",
            "Test connection",
            "Location",
            "The connection works.",
            "The connection does not work.",
            "refuses connections to port",
        ),
        (
            "de-DE",
            "Verbindung testen",
            "Ort",
            "Die Verbindung steht.",
            "Die Verbindung kommt nicht zustande.",
            "lehnt Verbindungen zu Port",
        ),
    ],
)
def test_a_connection_is_tested_on_the_page(
    open_page: OpenPage,
    locale: str,
    test: str,
    location: str,
    works: str,
    does_not: str,
    refuses: str,
) -> None:
    with scanner() as port:
        path = f"/setup/scanners/{ct1(port).pk}/"
        page = open_page("Administrator", path, locale=locale)
        page.get_by_label(location, exact=True).fill("not saved yet")
        page.get_by_role("button", name=test).click()
        told = page.locator("#connection").get_by_role("status")
        expect(told).to_contain_text(works)
        expect(told).to_be_focused()
        assert faults(page) == []
        # What was typed is still there, and the test can be made again.
        expect(page.get_by_label(location, exact=True)).to_have_value("not saved yet")
    page.get_by_role("button", name=test).click()
    expect(told).to_contain_text(does_not)
    expect(told).to_contain_text(refuses)
    assert faults_everywhere(page) == []


def test_a_connection_is_tested_without_javascript(open_page: OpenPage) -> None:
    path = f"/setup/scanners/{ct1(free_port()).pk}/"
    page = open_page("Administrator", path, java_script_enabled=False)
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#connection")).to_contain_text("The connection does not work.")
    page.get_by_role("link", name="Back to the scanner").click()
    assert page.url.endswith(path)


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_certificates_are_trusted_on_the_page(
    open_page: OpenPage, settings: Any, locale: str
) -> None:
    settings.DICOM_TLS_PORT = 2762
    made = ct1(free_port())
    path = f"/setup/scanners/{made.pk}/"
    page = open_page("Administrator", path, locale=locale)
    assert faults_everywhere(page) == []
    for number, subject in enumerate(("CN=ct1, O=Hospital", "CN=ct1-2027, O=Hospital")):
        Association.objects.create(
            opened=timezone.now(),
            calling="CT1",
            address="10.1.2.31",
            is_accepted=True,
            reason="known",
            certificate=f"{number + 10:02x}" * 32,
            certificate_subject=subject,
        )
    page.reload()
    page.locator("button[name=trust]").first.click()
    expect(page.locator("button[name=distrust]")).to_have_count(1)
    expect(page.locator("button[name=trust]")).to_have_count(1)
    assert Station.objects.get().certificates
    page.reload()
    assert faults_everywhere(page) == []
