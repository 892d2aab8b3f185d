from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomscp.server import WorklistScp
from dicomscp.views import data_set as views
from tests import network
from tests.asking import keys
from tests.cast import YAMADA, actor, code, station, step
from tests.strategies import Key, Query
from tests.test_acceptance import scp
from tests.test_roles import signed_in
from worklist import attributes
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import ScheduledProcedureStep

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["scp"]


def everything() -> Query:
    """A request for every attribute of the table; of a sequence, for the whole of it."""
    wanted = [Key(attribute.tag, attribute.vr, ()) for attribute in attributes.TABLE]
    return Query(tuple(sorted(wanted, key=lambda key: key.tag)))


def found(scp: WorklistScp, query: Query, *, caller: str = "CT1") -> list[Dataset]:
    with network.association(scp.port, ExplicitVRLittleEndian, ae_title=caller) as assoc:
        reply = network.ask(assoc, query)
    assert reply.final.Status == 0
    return [identifier for _, identifier in reply.pendings]


def elements(dataset: Dataset, depth: int = 0) -> Iterator[tuple[int, str, str, str]]:
    """Depth, tag, VR and text of what came over the network, in its order."""
    for element in dataset:
        tag = f"({element.tag.group:04X},{element.tag.element:04X})"
        if element.VR == "SQ":
            yield depth, tag, "SQ", ""
            for item in element.value:
                yield from elements(item, depth + 1)
        else:
            value = element.value
            several = value if isinstance(value, pydicom.multival.MultiValue) else [value]
            text = "\\".join("" if each is None else str(each) for each in several)
            yield depth, tag, element.VR, text


def rows(page: str) -> list[tuple[int, str, str, str]]:
    """The same, as the page shows it."""
    pattern = (
        r'<tr data-depth="(\d+)"><td><code>(.*?)</code></td><th.*?</th><td>(..)</td>'
        r"<td>(?:<bdi>(.*?)</bdi>)?</td>"
    )
    return [
        (int(depth), tag, vr, html.unescape(value))
        for depth, tag, vr, value in re.findall(pattern, page, re.S)
    ]


def booked(**more: Any) -> ScheduledProcedureStep:
    return step(
        codes=[code()],
        PatientName=YAMADA,
        Allergies="Iodine\\Latex",
        PregnancyStatus=4,
        ReferringPhysicianName="Müller^Anna",
        RequestedProcedureDescription="CT Thorax",
        **more,
    )


@pytest.mark.parametrize("stored", ["", "ISO_IR 192", "GB18030", "\\ISO 2022 IR 87"])
def test_view_is_what_a_scanner_receives_attribute_by_attribute(
    scp: WorklistScp, stored: str
) -> None:
    ct1 = station()
    ct1.character_set = stored
    trail.save(ct1, by=actor)
    shown = booked()
    (received,) = found(scp, everything())
    page = signed_in("Clerk").get(f"/exams/{shown.pk}/dicom/").content.decode()
    assert rows(page) == list(elements(received))
    assert "lists now: yes." in page


def test_types_are_those_of_the_table() -> None:
    shown = booked()
    seen = views._seen(shown.pk, views.plan.everything())
    dataset = views.response.identifier(views.plan.everything(), seen.item)
    told = {line.keyword: line.returned for line in views.lines(dataset)}
    assert (told["PatientName"], told["AccessionNumber"], told["StudyDate"]) == ("1", "2", "3")
    assert told["SpecificCharacterSet"] == "1C"


def test_exam_that_is_off_the_lists_says_so() -> None:
    shown = booked(ScheduledProcedureStepStatus="COMPLETED")
    part = signed_in("Clerk").get(f"/exams/{shown.pk}/dicom/", headers={"HX-Request": "true"})
    page = part.content.decode()
    assert "lists now: no" in page
    assert "<html" not in page
    assert part["Vary"].count("HX-Request") == 1


def test_downloads_are_a_worklist_file_and_dicom_json_and_are_signed() -> None:
    shown = booked()
    clerk = signed_in("Clerk")
    answer = clerk.get(f"/exams/{shown.pk}/dicom.wl")
    dataset = pydicom.dcmread(BytesIO(answer.content))
    assert str(dataset.PatientName) == YAMADA
    assert answer["Content-Disposition"] == f'attachment; filename="exam-{shown.pk}.wl"'
    event = AuditEvent.objects.first()
    assert event is not None
    assert event.action == "export"
    found = json.loads(clerk.get(f"/exams/{shown.pk}/dicom.json").content)
    assert found["00100010"]["Value"][0]["Ideographic"] == "山田^太郎"
    assert signed_in("Technologist").get(f"/exams/{shown.pk}/dicom.wl").status_code == 403


# --- a station's own character set ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "name", "expected"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东", "GB18030"),
        ("ISO_IR 100", "Müller^Anna", "ISO_IR 100"),
        ("ISO_IR 100", "Łukasz^Jan", "ISO_IR 192"),
        ("ISO_IR 6", "Müller^Anna", "ISO_IR 192"),
        ("\\ISO 2022 IR 87", YAMADA, ["", "ISO 2022 IR 87"]),
        ("", "Müller^Anna", "ISO_IR 192"),
    ],
)
def test_station_is_answered_in_its_own_set_where_every_character_fits(
    scp: WorklistScp, stored: str, name: str, expected: Any
) -> None:
    ct1 = station()
    ct1.character_set = stored
    trail.save(ct1, by=actor)
    step(PatientName=name)
    (received,) = found(scp, Query(keys({"PatientName": ""})))
    assert received.SpecificCharacterSet == expected
    assert str(received.PatientName) == name


def test_station_that_is_not_known_is_answered_in_the_set_of_its_request(scp: WorklistScp) -> None:
    step(PatientName="Müller^Anna")
    query = Query(keys({"SpecificCharacterSet": "ISO_IR 100", "PatientName": ""}))
    (received,) = found(scp, query, caller="EVIL")
    assert received.SpecificCharacterSet == "ISO_IR 100"
