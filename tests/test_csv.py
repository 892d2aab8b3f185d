from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from tests import cast
from tests.test_roles import signed_in
from worklist import checks, clock
from worklist.audit.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2024, 7, 5, 10, 42))


def download(client: Client, *, search: str = "", **query: str) -> bytes:
    address = f"/export/exams.csv?{urlencode(query)}"
    response: Any = client.post(address, {"q": search}) if search else client.get(address)
    assert response.streaming
    assert response["Content-Disposition"] == 'attachment; filename="exams-2024-07-05.csv"'
    return b"".join(response.streaming_content)


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def test_csv_has_one_row_an_exam_and_the_mark_of_utf_8() -> None:
    cast.step(
        stations=("CT1", "MR1"),
        PatientID="P77",
        PatientName=cast.YAMADA,
        PatientBirthDate=dt.date(1979, 4, 12),
        AccessionNumber="A1",
    )
    content = download(signed_in("Clerk"))
    assert content.startswith(b"\xef\xbb\xbf")
    (row,) = table(content)
    assert row["Patient"] == "YAMADA, Tarou · 山田 太郎 · やまだ たろう"
    assert row["AE title"] == "CT1, MR1"
    assert (row["Day"], row["Start"], row["End"]) == ("2024-07-05", "09:00", "09:30")
    assert row["Date of birth"] == "1979-04-12"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_that_a_spreadsheet_would_calculate_is_quoted(start: str) -> None:
    text = f"{start}1+1;x"
    cast.step(PatientID=text, RequestedProcedureDescription=text, PatientName=text)
    (row,) = table(download(signed_in("Clerk")))
    assert row["Patient ID"] == row["Exam"] == f"'{text}"
    # A name stands in capitals, so only its start matters here.
    assert row["Patient"].startswith("'") or row["Patient"][0].isalnum()


def test_filters_of_the_board_are_those_of_the_file() -> None:
    cast.step(PatientName="Rossi^Paolo")
    cast.step(stations=("MR1",), Modality="MR")
    client = signed_in("Clerk")
    assert [row["AE title"] for row in table(download(client, modality="MR"))] == ["MR1"]
    assert [row["Patient"] for row in table(download(client, search="rossi"))] == ["ROSSI, Paolo"]


def test_download_asks_for_its_own_right_and_is_signed() -> None:
    cast.step()
    assert signed_in("Technologist").get("/export/exams.csv").status_code == 403
    download(signed_in("Clerk"), status="open")
    event = AuditEvent.objects.get(action="export")
    assert event.actor == "clerk"
    assert (event.after["rows"], event.after["status"]) == (1, "open")


@pytest.mark.parametrize(
    ("separator", "language", "start"),
    [
        ("", "en", "Day,Start,"),
        ("", "de", "Tag;"),
        (";", "en", "Day;Start;"),
        (",", "de", "Tag,"),
        ("\t", "en", "Day\tStart\t"),
    ],
)
def test_separator_is_the_sites_or_the_languages(
    settings: Any, separator: str, language: str, start: str
) -> None:
    settings.CSV_SEPARATOR = separator
    client = signed_in("Clerk")
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    assert download(client).decode("utf-8-sig").startswith(start)
    client = signed_in("Administrator")
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    for path in ("/setup/procedures.csv", "/audit/events.csv"):
        first = client.get(path).getvalue().decode("utf-8-sig").partition("\n")[0]
        assert (separator or (";" if language == "de" else ",")) in first, path


@pytest.mark.parametrize(("separator", "faults"), [("", 0), (";", 0), ("\t", 0), ("|", 1)])
def test_separator_is_one_that_the_import_knows(settings: Any, separator: str, faults: int) -> None:
    settings.CSV_SEPARATOR = separator
    assert len(checks.csv_settings(None)) == faults


def test_printed_lists_and_slips_are_signed() -> None:
    step = cast.step(AccessionNumber="A261122008")
    client = signed_in("Clerk")
    page = client.get("/print/day/?initials=1").content.decode()
    assert "Printed by clerk, 5 Jul 2024 10:42" in page
    assert "Initials" in page
    slip = client.get(f"/exams/{step.pk}/slip/").content.decode()
    assert 'aria-label="Bar code of A261122008"' in slip
    events = AuditEvent.objects.filter(action="print").order_by("pk")
    assert [event.object_id for event in events] == ["", str(step.pk)]
    assert events[0].after["rows"] == 1


def test_number_that_is_no_bar_code_stands_in_print() -> None:
    step = cast.step(AccessionNumber="Ä1")
    slip = signed_in("Clerk").get(f"/exams/{step.pk}/slip/").content.decode()
    assert "<svg" not in slip
    assert "Ä1" in slip
