"""The administration runs under the policy of every page: nothing inline, no error of its scripts.

`open_page` fails a test for any complaint of the console.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MONDAY, OpenPage, person
from tests.browser.looks import faults
from tests.cast import book, code, patient, station
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import ProcedureType, ScheduledProcedureStep


def fill() -> ScheduledProcedureStep:
    return book(patient(), stations=[station()], codes=[code()], start_date=MONDAY.date())


MODELS = (
    "audit/auditevent",
    "auth/group",
    "worklist/closedday",
    "worklist/code",
    "worklist/imagingservicerequest",
    "worklist/openinghours",
    "worklist/orderset",
    "worklist/patient",
    "worklist/proceduretype",
    "worklist/requestedprocedure",
    "worklist/scheduledprocedurestep",
    "worklist/station",
    "worklist/user",
)

READ_ONLY = (
    "audit/auditevent",
    "worklist/imagingservicerequest",
    "worklist/patient",
    "worklist/requestedprocedure",
    "worklist/scheduledprocedurestep",
)


def test_lists_and_forms_of_every_model_keep_to_the_policy(open_page: OpenPage) -> None:
    fill()
    page = open_page("Administrator", "/admin/")
    for model in MODELS:
        page.goto(f"/admin/{model}/")
        expect(page.locator("#changelist")).to_be_visible()
        link = page.locator("#result_list tbody th a").first
        if link.count():
            link.click()
            page.wait_for_load_state()
            page.goto(page.url.replace("/change/", "/history/"))
        if model not in READ_ONLY:
            page.goto(f"/admin/{model}/add/")
            expect(page.locator("form").first).to_be_visible()


def test_row_is_found_by_autocomplete_added_in_a_popup_saved_and_deleted(
    open_page: OpenPage,
) -> None:
    fill()
    page = open_page("Administrator", "/admin/worklist/proceduretype/add/")
    page.fill("#id_code", "CTHEAD")
    page.fill("#id_description", "CT head")
    page.fill("#id_modality", "CT")
    page.locator(".field-default_station .select2-selection").click()
    page.locator(".select2-search__field").last.fill("CT1")
    page.get_by_role("option", name="CT1").click()
    with page.expect_popup() as opened:
        page.locator("#add_id_requested_procedure_code").click()
    popup = opened.value
    popup.fill("#id_value", "NEW1")
    popup.fill("#id_scheme", "99SITE")
    popup.fill("#id_meaning", "Made in a window of its own")
    popup.get_by_role("button", name="Save").click()
    expect(page.locator("#select2-id_requested_procedure_code-container")).to_contain_text("NEW1")
    page.get_by_text("Add another Protocol code").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".success")).to_contain_text("CT head")
    kind = ProcedureType.objects.get()
    assert str(kind.requested_procedure_code).startswith("NEW1")
    page.goto(f"/admin/worklist/proceduretype/{kind.pk}/delete/")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".success")).to_be_visible()
    assert not ProcedureType.objects.exists()


def test_list_is_filtered_and_rows_are_deleted_by_an_action(open_page: OpenPage) -> None:
    station("MR1", "MR 3 T")
    page = open_page("Administrator", "/admin/worklist/station/?modality=MR")
    page.locator("#searchbar").fill("mr1")
    page.keyboard.press("Enter")
    page.locator("#action-toggle").check()
    page.select_option("select[name=action]", "delete_selected")
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()
    expect(page.get_by_text("Are you sure")).to_be_visible()


def test_calendar_of_a_closed_day_is_opened_and_used(open_page: OpenPage) -> None:
    page = open_page("Administrator", "/admin/worklist/closedday/add/")
    page.get_by_role("link", name="Today").first.click()
    page.locator("#calendarlink0").click()
    expect(page.locator("#calendarbox0")).to_be_visible()
    page.locator("#calendarbox0").get_by_role("link", name="15", exact=True).click()
    page.fill("#id_reason", "Easter")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator(".success")).to_be_visible()


def test_old_form_is_told_who_changed_what_and_keeps_what_was_typed(open_page: OpenPage) -> None:
    where = station()
    page = open_page("Administrator", f"/admin/worklist/station/{where.pk}/change/")
    where.location = "Room 3"
    trail.save(where, by=Actor("otto"))
    page.fill("#id_location", "Room 9")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errornote + .errorlist, .errorlist.nonfield")).to_contain_text(
        "otto changed this meanwhile"
    )
    expect(page.locator("#id_location")).to_have_value("Room 9")
    assert accessible(page) == []
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".success")).to_be_visible()


def accessible(page: Page) -> list[str]:
    """What axe finds, less what stands in Django's own templates."""
    return [fault for fault in faults(page) if not fault.startswith(KNOWN)]


# The label of the search box is a picture; the two-box selector names its help; the empty box of an
# autocomplete is named by what is chosen in it; a table of rows starts with an empty heading. All
# four are Django's own mark-up.
KNOWN = (
    "label-title-only",
    "aria-prohibited-attr",
    "aria-input-field-name",
    "empty-table-header",
)


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/worklist/scheduledprocedurestep/",
        "/admin/worklist/scheduledprocedurestep/{step}/change/",
        "/admin/worklist/scheduledprocedurestep/{step}/history/",
        "/admin/worklist/patient/",
        "/admin/worklist/patient/{patient}/change/",
        "/admin/worklist/user/",
        "/admin/worklist/user/{user}/change/",
        "/admin/auth/group/add/",
    ],
)
def test_pages_are_accessible(open_page: OpenPage, path: str) -> None:
    step = fill()
    page = open_page("Administrator", "/admin/")
    keys = {
        "step": step.pk,
        "patient": step.requested_procedure.request.patient_id,
        "user": person("Administrator").pk,
    }
    page.goto(path.format(**keys))
    assert accessible(page) == []
