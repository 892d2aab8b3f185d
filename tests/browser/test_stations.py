from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp.models import Association, Query
from tests import network
from tests.asking import query
from tests.browser.conftest import MONDAY, OpenPage
from tests.browser.looks import faults, faults_everywhere
from tests.cast import YAMADA, station, step
from worklist.models import Station


def fill() -> dict[str, int]:
    """Two scanners with exams, one of which an old console cannot show; queries and strangers."""
    for name, hour, stations in (
        ("Müller^Anna", 8, ["CT1"]),
        (YAMADA, 9, ["CT1"]),
        ("Rossi^Paolo", 11, ["CT2"]),
        ("Doe^Jane", 12, []),
    ):
        made = step(
            PatientName=name,
            ScheduledProcedureStepStartDate=MONDAY.date(),
            ScheduledProcedureStepStartTime=dt.time(hour),
            ScheduledProcedureStepDescription="CT Thorax",
            PatientBirthDate=dt.date(1979, 4, 12),
            stations=stations,
        )
    at = timezone.make_aware(MONDAY)
    for calling, reason, is_accepted in (("CT-3", "stranger", False), ("CT1", "known", True)):
        said = Association.objects.create(
            opened=at,
            closed=at,
            calling=calling,
            called="WORKLIST",
            address="10.1.2.31",
            implementation_uid="1.2.276.0.7230010.3.0.3.6.7",
            implementation_version="OFFIS_DCMTK_367",
            contexts="Modality Worklist Information Model - FIND: Implicit VR Little Endian",
            is_accepted=is_accepted,
            reason=reason,
            ended="RELEASED" if is_accepted else "REJECTED",
        )
    asked = {}
    requests: tuple[tuple[Any, dict[str, Any]], ...] = (
        (query({"Modality": "CT"}), {"matches": 4, "sent": 4, "steps": [made.pk]}),
        (query(PatientName="Müller*"), {"matches": 0, "sent": 0}),
        (query(PatientID="P1"), {"status": 0xA900, "comment": "Patient ID: not a number"}),
    )
    for number, (request, more) in enumerate(requests):
        usual = {
            "at": at - dt.timedelta(minutes=number),
            "calling": "CT1",
            "address": "10.1.2.31",
            "identifier": network.encode(request, is_explicit=False),
            "transfer_syntax": ImplicitVRLittleEndian,
            "keys": 3,
            "sent": 0,
            "status": 0,
            "milliseconds": 4,
        }
        asked[number] = Query.objects.create(**{**usual, **more, "association": said})
    return {"scanner": station().pk, "query": asked[0].pk, "failed": asked[2].pk}


PAGES = (
    "/setup/scanners/",
    "/setup/scanners/{scanner}/",
    "/setup/scanners/{scanner}/list/",
    "/setup/scanners/{scanner}/list/?of=last",
    "/queries/",
    "/queries/?empty=on&day=",
    "/queries/?station={scanner}&day=2020-01-01",
    "/queries/{query}/",
    "/queries/{failed}/",
)


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_pages_of_stations_have_no_faults(open_page: OpenPage, locale: str, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    ids = fill()
    page = open_page("Administrator", "/setup/scanners/", locale=locale)
    for path in PAGES:
        page.goto(path.format(**ids))
        assert (path, faults_everywhere(page)) == (path, [])


def test_what_a_scanner_gets_follows_the_choices_before_they_are_saved(open_page: OpenPage) -> None:
    ids = fill()
    page = open_page("Administrator", f"/setup/scanners/{ids['scanner']}/list/")
    now = page.locator("#now")
    expect(now).to_contain_text("4 of 4 exams of today")
    page.get_by_label("its own exams", exact=True).check()
    expect(now).to_contain_text("2 of 4 exams of today")
    expect(now).not_to_contain_text("ROSSI")
    page.get_by_label("Hours back").fill("2")
    expect(now).to_contain_text("1 of 4 exams of today")
    page.get_by_label("Character set").select_option("ISO_IR 100")
    expect(now).to_contain_text("sent in Unicode")
    page.get_by_label("Send names in Latin letters only").check()
    expect(now).not_to_contain_text("sent in Unicode")
    page.get_by_label("Hours back").fill("")
    expect(now).to_contain_text("2 of 4 exams of today")
    assert faults(page) == []
    assert Station.objects.get(pk=ids["scanner"]).sees == "ALL"
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("is saved.")).to_be_visible()
    stored = Station.objects.get(pk=ids["scanner"])
    assert (stored.sees, stored.alphabetic_only, stored.hours_before) == ("OWN", True, None)


def test_what_a_scanner_sees_is_set_without_javascript(open_page: OpenPage) -> None:
    ids = fill()
    path = f"/setup/scanners/{ids['scanner']}/list/"
    page = open_page("Administrator", path, java_script_enabled=False)
    expect(page.locator("#now")).to_contain_text("4 of 4 exams of today")
    page.get_by_label("its own exams", exact=True).check()
    page.get_by_role("button", name="Save").click()
    page.goto(path)
    expect(page.locator("#now")).to_contain_text("2 of 4 exams of today")


def test_a_stranger_becomes_a_scanner_with_one_click(open_page: OpenPage, settings: Any) -> None:
    settings.DICOM_ACCESS = "known"
    fill()
    page = open_page("Administrator", "/setup/scanners/")
    page.get_by_role("link", name="Add as scanner: CT-3 at 10.1.2.31").click()
    expect(page.get_by_label("AE title")).to_have_value("CT-3")
    expect(page.get_by_label("Address", exact=True)).to_have_value("10.1.2.31")
    page.get_by_label("Name", exact=True).fill("CT 3")
    page.get_by_role("button", name="Save, and listen").click()
    page.wait_for_url("**/listen/**")
    assert Station.objects.get(ae_title="CT-3").networks == "10.1.2.31"
    page.goto("/setup/scanners/")
    expect(page.get_by_text("Asked but are not set up")).to_have_count(0)
