"""`manage.py export_wl DIR`: every step becomes a worklist file that wlmscpfs can serve."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from dicomscp import find, plan, response, wl_files
from dicomscp.matching import AnyItem, Between
from worklist import attributes
from worklist.character_set import DEFAULT
from worklist.models import ScheduledProcedureStep

_START_DATE = attributes.find(wl_files.STEPS.keyword, "ScheduledProcedureStepStartDate")


class Command(BaseCommand):
    help = "Export every step to a folder as worklist files (Part 10), which wlmscpfs can serve."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="made when it is not there")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        written: set[Path] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / wl_files.LOCKFILE).touch()
            # wlmscpfs leaves out files in which an attribute of type 1C stands empty.
            everything = plan.everything_known()
            steps = ScheduledProcedureStep.objects.order_by()
            days = steps.order_by("start_date").values_list("start_date", flat=True).distinct()
            with tqdm(
                total=steps.count(), desc="export", unit="file", disable=None, file=sys.stderr
            ) as progress:
                for day in list(days):
                    # A day at a time: a site's whole history need not fit in memory.
                    on_day = AnyItem(wl_files.STEPS, (Between(_START_DATE, day, day),))
                    for item in find.rows(everything, scope=(on_day,)):
                        dataset = response.identifier(everything, item, character_set=DEFAULT)
                        written.add(wl_files.write(folder, dataset))
                        progress.update()
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error
        others = len(set(folder.glob("*.wl")) - written)
        if others:
            self.stdout.write(f"{others} other .wl files were in the folder; they were left there.")
        self.stdout.write(f"{len(written)} steps written to {folder}.")
