"""`manage.py import_wl PATH…`: a site's worklist files become rows."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from itertools import chain, islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import models
from tqdm import tqdm

from dicomscp import wl_files, wl_import, wl_reading
from dicomscp.wl_import import Importer, Report
from worklist.audit.trail import Actor
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
)

_MODELS: tuple[type[models.Model], ...] = (
    Patient,
    ImagingServiceRequest,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    Code,
)


class Command(BaseCommand):
    help = (
        "Import worklist files: DICOM data sets and DICOM JSON, as wlmscpfs and Orthanc keep them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "paths",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="a file, or a folder to search for *.wl, *.dcm and *.json",
        )
        parser.add_argument("--dry-run", action="store_true", help="say the same, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry_run = options["dry_run"]
        importer = Importer(by=Actor("import_wl"), is_dry_run=is_dry_run)
        # From the last to the first: what a later file says holds.
        files = list(wl_files.find(options["paths"]))[::-1]
        progress = tqdm(files, desc="import", unit="file", disable=None, file=sys.stderr)
        data_sets = chain.from_iterable(list(wl_reading.read(path))[::-1] for path in progress)
        while batch := list(islice(data_sets, wl_import.BATCH)):
            importer.add(batch)
        self._tell(importer.report, files=len(files), is_dry_run=is_dry_run)
        if importer.report.bad:
            sys.exit(1)

    def _tell(self, report: Report, *, files: int, is_dry_run: bool) -> None:
        for name, reason in reversed(report.bad):
            self.stdout.write(f"{name}: {reason}")
        if report.notes:
            self.stdout.write("Went in, and not all of it is kept:")
            for name, note in reversed(report.notes):
                self.stdout.write(f"  {name}: {note}")
        if report.not_held:
            self.stdout.write("In the files, not kept:")
            for attribute, count in sorted(report.not_held.items()):
                self.stdout.write(f"  {count:>7}  {attribute}")
        for model in _MODELS:
            created = len(report.created.get(model, ()))
            changed = len(report.changed.get(model, ()))
            name = str(model._meta.verbose_name_plural)
            line = f"{name}: {created} new, {changed} changed"
            if model is ScheduledProcedureStep and report.moved_on:
                line += f", {len(report.moved_on)} keep the status that they have moved on to"
            self.stdout.write(line)
        would = " (dry run: nothing was written)" if is_dry_run else ""
        self.stdout.write(
            f"{report.data_sets} data sets in {files} files: "
            f"{report.data_sets - len(report.bad)} went in with {len(report.steps)} steps, "
            f"{len(report.bad)} did not{would}."
        )
