"""`manage.py export_patient`: all that is held of one patient, as JSON."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import TextField
from django.db.models.functions import Cast

from dicomscp.models import Query
from worklist import privacy, scheduling
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import Patient


class Command(BaseCommand):
    help = (
        "Write all that is held of one patient as JSON: data, orders, exams, audit events, and "
        "which queries of scanners were sent them. The export is itself signed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("patient_id", metavar="PATIENT-ID")
        parser.add_argument("--issuer", help="who gave the ID, where several have given it")
        parser.add_argument("--reason", default="", help="why, for the audit trail")
        parser.add_argument(
            "file",
            nargs="?",
            default="-",
            metavar="FILE",
            help="where to: a new file, its owner's alone; -, the default: standard output",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        patient = _patient(options["patient_id"], options["issuer"])
        patients = privacy.family(scheduling.resolve(patient).pk)
        told = {**privacy.held(patients), "queries": _queries(privacy.steps_of(patients))}
        trail.note("export", patient, by=Actor("export_patient"), reason=options["reason"])
        text = json.dumps(told, indent=2, ensure_ascii=False, default=str) + "\n"
        file = options["file"]
        if file == "-":
            sys.stdout.write(text)
        else:
            try:
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise CommandError(f"{file} cannot be made: {error.strerror}.") from None
            with os.fdopen(descriptor, "w", encoding="utf-8") as target:
                target.write(text)
        # Standard output may be the file.
        counts = ", ".join(f"{len(rows)} {name.replace('_', ' ')}" for name, rows in told.items())
        self.stderr.write(f"{counts} written to {file}.")


def _patient(patient_id: str, issuer: str | None) -> Patient:
    found = list(Patient.objects.filter(patient_id=patient_id))
    if issuer is not None:
        found = [patient for patient in found if patient.issuer == issuer]
    if not found:
        raise CommandError("There is no patient with this ID.")
    if len(found) > 1:
        issuers = ", ".join(sorted(repr(patient.issuer) for patient in found))
        raise CommandError(f"Several have given this ID: add --issuer, one of {issuers}.")
    return found[0]


def _queries(steps: Sequence[int]) -> list[dict[str, Any]]:
    """The queries of the journal whose answers held one of these steps."""
    if not steps:
        return []
    # Both databases can be asked for a pattern in the text of a JSON list: [17,23] or [17, 23].
    pattern = rf"[\[ ,]({'|'.join(map(str, steps))})[\],]"
    sent = Query.objects.annotate(text=Cast("steps", TextField())).filter(text__regex=pattern)
    return [
        {
            "at": query.at.isoformat(),
            "calling": query.calling,
            "address": query.address,
            "steps": sorted(set(steps).intersection(query.steps)),
        }
        for query in sent.order_by("at", "pk")
    ]
