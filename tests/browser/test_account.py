from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, OpenPage, person
from tests.browser.looks import faults, faults_everywhere
from worklist.audit.models import AuditEvent


def test_axe_finds_a_planted_fault(open_page: OpenPage) -> None:
    page = open_page(None, "/sign-in/")
    page.evaluate("() => document.querySelector('label').remove()")
    assert any(fault.startswith("label") for fault in faults(page))


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
@pytest.mark.parametrize("path", ["/sign-in/", "/preferences/", "/password/", "/nowhere/"])
def test_pages_of_the_account_have_no_faults(open_page: OpenPage, path: str, locale: str) -> None:
    page = open_page(None if path == "/sign-in/" else "Administrator", path, locale=locale)
    assert faults_everywhere(page) == []


def test_wrong_password_is_told_in_one_text(open_page: OpenPage) -> None:
    page = open_page(None, "/sign-in/")
    for name in (person("Clerk").username, "nobody"):
        page.fill("#id_username", name)
        page.fill("#id_password", "wrong")
        page.click("button.primary")
        expect(page.get_by_role("alert")).to_contain_text("do not match")
        assert faults(page) == []


def test_sign_in_is_signed(open_page: OpenPage) -> None:
    page = open_page(None, "/sign-in/")
    page.fill("#id_username", person("Administrator").username)
    page.fill("#id_password", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(lambda url: "/sign-in/" not in url)
    assert "Administrator" in page.get_by_role("banner").inner_text()
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor) == ("sign-in", "administrator")


def test_form_sent_after_the_session_ended_is_kept_through_the_sign_in(
    open_page: OpenPage,
) -> None:
    page = open_page("Administrator", "/preferences/")
    page.check("input[name=theme][value=dark]")
    page.context.clear_cookies(name="sessionid")
    page.click("form.card button.primary")
    expect(page.get_by_text("What you have typed is kept")).to_be_visible()
    page.fill("#id_username", "administrator")
    page.fill("#id_password", PASSWORD)
    page.click("button.primary")
    page.get_by_role("button", name="Send it now").click()
    page.wait_for_url("**/preferences/")
    assert person("Administrator").theme == "dark"
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_session_that_ends_keeps_the_page_and_asks_for_the_password_in_it(
    open_page: OpenPage, settings: object
) -> None:
    settings.IDLE_SECONDS = 2  # type: ignore[attr-defined]
    page = open_page("Administrator", "/preferences/")
    page.select_option("#id_language", "de")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("You were signed out", timeout=6000)
    settings.IDLE_SECONDS = 600  # type: ignore[attr-defined]
    page.context.clear_cookies(name="sessionid")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_be_hidden()
    page.click("form.card button.primary")
    page.wait_for_url("**/preferences/")
    assert person("Administrator").language == "de"
