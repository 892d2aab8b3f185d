"""`manage.py anonymise`: patients of whom nothing has happened for long become pseudonyms."""

from __future__ import annotations

import datetime as dt
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from worklist import clock, privacy
from worklist.audit.trail import Actor

_ACTOR = Actor("anonymise")


class Command(BaseCommand):
    help = (
        "Put a pseudonym in the place of each patient who has had no exam, and whose data nobody "
        "has changed, for so many days. It cannot be taken back. What the audit trail was told "
        "stays there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, required=True, metavar="N")
        parser.add_argument("--dry-run", action="store_true", help="say how many, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        days: int = options["days"]
        if days < settings.JOURNAL_DAYS:
            raise CommandError(
                f"--days {days} is less than JOURNAL_DAYS ({settings.JOURNAL_DAYS}): what scanners "
                "have asked would still name them."
            )
        before = clock.today() - dt.timedelta(days=days)
        found = list(privacy.inactive(before).values_list("pk", flat=True))
        if options["dry_run"]:
            self.stdout.write(
                f"{len(found)} patients without exam or change since {before} (dry run)"
            )
            return
        reason = f"no exam and no change for {days} days"
        progress = tqdm(found, desc="anonymise", unit="patient", disable=None, file=sys.stderr)
        count = sum(
            privacy.anonymise(pk, before=before, by=_ACTOR, reason=reason) for pk in progress
        )
        self.stdout.write(f"{count} patients without exam or change since {before} anonymised")
