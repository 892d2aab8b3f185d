"""The catalogue from a CSV file, by way of a preview, and into one."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from tests.cast import actor, station
from tests.test_setup import admin, kind, last, today
from worklist import catalogue
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.catalogue import CodedText, sheet
from worklist.models import (
    ProcedureType,
    Station,
)

pytestmark = pytest.mark.django_db
__all__ = ["admin", "today"]  # fixtures


# --- CSV ------------------------------------------------------------------------------------------


def upload(client: Client, text: str | bytes) -> Any:
    content = text if isinstance(text, bytes) else text.encode()
    return client.post(
        reverse("setup-import"), {"file": SimpleUploadedFile("c.csv", content, "text/csv")}
    )


def confirm(client: Client, preview: Any) -> Any:
    data = {"confirm": "1", "content": preview.context["text"]}
    return client.post(reverse("setup-import"), data | {"digest": preview.context["digest"]})


def kinds_of(response: Any) -> list[tuple[int, str]]:
    return [(line.number, line.kind) for line in response.context["plan"].lines]


def full_catalogue() -> None:
    ct1 = station()
    trail.save(Station(ae_title="A,B", name="odd"), by=actor)
    odd = [*Station.objects.filter(ae_title="A,B")]
    rows: list[tuple[str, dict[str, Any], list[Station], list[CodedText]]] = [
        ("PLAIN", {}, [], []),
        (
            "FULL",
            {
                "minutes": 45,
                "default_station": ct1,
                "uses_contrast": True,
                "asks_pregnancy": True,
                "preparation": 'Nothing to eat;\r\nbring "all" papers, please',
                "is_active": False,
            },
            [ct1, *odd],
            [CodedText("P|1", "99SITE", "a|b"), CodedText("P2", "99SITE", "with; semicolon")],
        ),
        ("FORMULA", {"description": "=1+1", "preparation": "-2 h"}, odd, []),
        ("QUOTED", {"description": "'=not a formula", "preparation": "'quoted'"}, [], []),
    ]
    for short, more, allowed, protocols in rows:
        row = ProcedureType(**{"code": short, "description": short, "modality": "CT", **more})
        catalogue.save_procedure_type(
            row,
            allowed_stations=allowed,
            requested_code=protocols[0] if protocols else None,
            protocol_codes=protocols,
            seen=None,
            by=actor,
        )


@pytest.mark.parametrize("language", ["en", "de"])
def test_what_was_downloaded_comes_back_as_the_same(admin: Client, language: str) -> None:
    full_catalogue()
    header = {"Accept-Language": language}
    content = admin.get(reverse("setup-procedures-csv"), headers=header).getvalue()
    assert content.startswith(b"\xef\xbb\xbfcode" + (b";" if language == "de" else b","))
    response = upload(admin, content)
    assert [line.kind for line in response.context["plan"].lines] == ["same"] * 4, [
        line.changes or line.reasons for line in response.context["plan"].lines
    ]


def test_downloaded_cell_never_starts_a_formula(admin: Client) -> None:
    full_catalogue()
    content = admin.get(reverse("setup-procedures-csv")).getvalue().decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
    assert "'=1+1" in cells
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert last().action == "export"


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_every_usual_make_are_read(
    admin: Client, delimiter: str, mark: bytes, end: str
) -> None:
    rows = [("code", "description", "modality"), ("CTH", "CT Schädel", "CT")]
    text = end.join(delimiter.join(row) for row in rows)
    response = upload(admin, mark + text.encode())
    (line,) = response.context["plan"].lines
    assert (line.number, line.kind) == (2, "new")
    assert line.entry.description == "CT Schädel"


def test_preview_says_what_each_line_would_do_and_changes_nothing(admin: Client) -> None:
    kind("SAME", minutes=15)
    kind("OLD", minutes=15, description="CT old")
    text = (
        "code,description,modality,minutes\n"
        "SAME,CT head,CT,15\n"
        '\nOLD,"CT\nnew",CT,20\n'
        "OLD,CT newer,CT,20\n"
        "NEW,CT neck,CT,10\n"
        "BAD,,CT,many\n"
        "NEW,CT neck,CT,10\n"
    )
    text = text.replace('"CT\nnew"', "CT new")
    events = AuditEvent.objects.count()
    response = upload(admin, text)
    assert kinds_of(response) == [
        (2, "same"),
        (4, "changed"),
        (5, "wrong"),
        (6, "new"),
        (7, "wrong"),
        (8, "wrong"),
    ]
    changed = response.context["changed"][0].changes
    assert [(one.column, one.before, one.after) for one in changed] == [
        ("description", "CT old", "CT new"),
        ("minutes", "15", "20"),
    ]
    page = response.content.decode()
    assert "“many” is not a whole number" in page
    assert "stands on line 4 already" in page
    assert AuditEvent.objects.count() == events
    assert confirm(admin, response).status_code == 302
    assert ProcedureType.objects.get(code="OLD").description == "CT new"
    assert ProcedureType.objects.get(code="NEW").minutes == 10
    assert ProcedureType.objects.count() == 3


def test_line_numbers_count_lines_of_cells_that_have_several(admin: Client) -> None:
    text = 'code,description,modality,preparation\nA,a,CT,"one\ntwo"\nB,b,CT,\n'
    assert kinds_of(upload(admin, text)) == [(2, "new"), (4, "new")]


def test_columns_that_are_left_out_stay_as_they_are(admin: Client) -> None:
    full_catalogue()
    response = upload(admin, "code;description;modality\nFULL;FULL;MR\n")
    (line,) = response.context["changed"]
    assert [change.column for change in line.changes] == ["modality"]
    confirm(admin, response)
    row = ProcedureType.objects.get(code="FULL")
    assert (row.modality, row.minutes, row.uses_contrast) == ("MR", 45, True)
    assert len(trail.ordered(row, "protocol_codes")) == 2


def test_what_is_confirmed_is_what_was_seen(admin: Client) -> None:
    head = kind(minutes=15)
    preview = upload(admin, "code,description,modality,minutes\nCTHEAD,CT head,CT,20\n")
    head.minutes = 17
    trail.save(head, by=actor)
    response = confirm(admin, preview)
    assert response.status_code == 422
    assert "has changed since you looked" in response.content.decode()
    assert ProcedureType.objects.get().minutes == 17
    forged = {"confirm": "1", "content": preview.context["text"].replace("20", "25")}
    forged["digest"] = response.context["digest"]
    assert admin.post(reverse("setup-import"), forged).status_code == 422
    assert confirm(admin, response).status_code == 302
    assert ProcedureType.objects.get().minutes == 20


def test_file_is_taken_over_whole_or_not_at_all(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = upload(admin, "code,description,modality\nA,a,CT\nB,b,CT\n")
    save = catalogue.save_procedure_type

    def second_fails(row: ProcedureType, **more: Any) -> ProcedureType:
        if row.code == "B":
            raise ValidationError("taken by somebody else")
        return save(row, **more)

    monkeypatch.setattr(sheet, "save_procedure_type", second_fails)
    response = confirm(admin, preview)
    assert response.status_code == 422
    assert "taken by somebody else" in response.content.decode()
    assert not ProcedureType.objects.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "lacks these columns"),
        (b"code;description\n", "lacks these columns: modality"),
        (b"code;description;modality;colour\n", "not known: colour"),
        (b"code;code;description;modality\n", "a column twice"),
        (b"code;description;modality\n", "no row below"),
        ("code;description;modality\nA;Sch\xe4del;CT\n".encode("latin-1"), "not UTF-8"),
        (b'code;description;modality\nA;"open;CT\n', "is not CSV"),
        (b"x" * (sheet.MAX_BYTES + 1), "larger than 1 MB"),
    ],
)
def test_file_that_cannot_be_read_is_told_why(admin: Client, content: bytes, why: str) -> None:
    response = upload(admin, content)
    assert response.status_code == 422
    assert why in response.content.decode()


@pytest.mark.parametrize(
    ("column", "cell", "why"),
    [
        ("default_scanner", "NOWHERE", "no scanner with the AE title"),
        ("allowed_scanners", "CT1,NOWHERE", "no scanner with the AE title"),
        ("minutes", "0", "minutes:"),
        ("minutes", "1500", "minutes:"),
        ("contrast", "maybe", "neither yes nor no"),
        ("protocol_codes", "P1", "write value|scheme|meaning"),
        ("protocol_codes", "P1|99SITE|" + "x" * 65, "protocol_codes:"),
        ("preparation", "a\\b", "backslash"),
        ("modality", "XX", "none of the modalities"),
    ],
)
def test_wrong_cell_is_told_with_its_reason(
    admin: Client, column: str, cell: str, why: str
) -> None:
    station()
    cells = {"code": "A", "description": "a", "modality": "CT", column: cell}
    response = upload(admin, f"{';'.join(cells)}\n{';'.join(cells.values())}\n")
    (line,) = response.context["wrong"]
    assert why in " ".join(line.reasons)
