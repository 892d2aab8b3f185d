"""`manage.py find`: ask a running worklist SCP as a modality does, and print a table."""

from __future__ import annotations

import re
import unicodedata
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicomscp import scu
from dicomscp.management.commands.echo import NOT_CHECKED, add_peer_arguments, secure

HEADINGS = (
    "Start",
    "Modality",
    "Station",
    "Patient name",
    "Patient ID",
    "Description",
    "Accession",
    "Status",
)
STEP_KEYS = (
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "Modality",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepStatus",
)
KEYS = ("AccessionNumber", "PatientName", "PatientID")
ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")


class Command(BaseCommand):
    help = "Send a C-FIND to a Modality Worklist SCP and print its answers as a table."
    # It asks another program: neither our tables nor our settings have to be in order.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_peer_arguments(parser)
        parser.add_argument(
            "--date",
            default="today",
            help="start date: today (default), all, YYYY-MM-DD, or a DICOM date or range",
        )
        parser.add_argument("--modality", default="", help="such as CT")
        parser.add_argument("--station", default="", help="Scheduled Station AE Title")
        parser.add_argument("--name", default="", help="Patient's Name, such as 'Müller*'")
        parser.add_argument("--patient-id", default="")
        parser.add_argument("--accession", default="", help="Accession Number")

    def handle(self, *args: Any, **options: Any) -> None:
        matches = scu.find(
            options["host"],
            options["port"],
            identifier=request(options),
            calling=options["calling"],
            called=options["ae_title"],
            secure=secure(options),
        )
        try:
            rows = [row(match) for match in matches]
        except scu.CallError as error:
            raise CommandError(str(error)) from error
        for line in table((HEADINGS, *rows)) if rows else ():
            self.stdout.write(line)
        if options["tls"] and not options["tls_ca"]:
            self.stdout.write(NOT_CHECKED)
        self.stdout.write(f"{len(rows)} step{'' if len(rows) == 1 else 's'}")


def request(options: Mapping[str, Any]) -> Dataset:
    """The request's Identifier; what is not asked for by value is asked for as a return key."""
    values = {
        "ScheduledProcedureStepStartDate": date_key(options["date"]),
        "Modality": options["modality"],
        "ScheduledStationAETitle": options["station"],
        "PatientName": options["name"],
        "PatientID": options["patient_id"],
        "AccessionNumber": options["accession"],
    }
    step = Dataset()
    for keyword in STEP_KEYS:
        step.add(key(keyword, values.get(keyword, "")))
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword in KEYS:
        identifier.add(key(keyword, values.get(keyword, "")))
    identifier.ScheduledProcedureStepSequence = [step]
    return identifier


def key(keyword: str, value: str) -> DataElement:
    """A key as it was typed: it is for the SCP to judge, so nothing is checked here."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)


def date_key(wanted: str) -> str:
    if wanted == "all":
        return ""
    if wanted == "today":
        return timezone.localdate().strftime("%Y%m%d")
    return ISO_DATE.sub(r"\1\2\3", wanted)


def row(match: Dataset) -> tuple[str, ...]:
    steps = match.get("ScheduledProcedureStepSequence") or [Dataset()]
    step = steps[0]
    return (
        start(
            text(step, "ScheduledProcedureStepStartDate"),
            text(step, "ScheduledProcedureStepStartTime"),
        ),
        text(step, "Modality"),
        text(step, "ScheduledStationAETitle"),
        text(match, "PatientName"),
        text(match, "PatientID"),
        text(step, "ScheduledProcedureStepDescription"),
        text(match, "AccessionNumber"),
        text(step, "ScheduledProcedureStepStatus"),
    )


def text(dataset: Dataset, keyword: str) -> str:
    """The value for a terminal: several joined, control characters blank."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    several = value if isinstance(value, MultiValue) else (value,)
    joined = ", ".join(str(one) for one in several)
    return "".join(" " if unicodedata.category(one) == "Cc" else one for one in joined)


def start(date: str, time: str) -> str:
    """Date and time as people read them; what is no DICOM date or time stays as it came."""
    date = re.sub(r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3", date)
    time = re.sub(r"^(\d{2})(\d{2})(\d{2}(\.\d+)?)?$", r"\1:\2", time)
    return f"{date} {time}".strip()


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows in columns, two blanks apart."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        padded = (
            cell + " " * (room - width(cell)) for cell, room in zip(cells, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def width(cell: str) -> int:
    """How many columns of a terminal the text takes: ideographs take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in cell
    )
