"""`manage.py purge`: delete from the journal what is older than it is kept."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from dicomscp import journal


class Command(BaseCommand):
    help = "Delete associations and queries from the journal that are older than JOURNAL_DAYS."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=int, default=settings.JOURNAL_DAYS, help="default: %(default)s"
        )

    def handle(self, *args: Any, days: int, **options: Any) -> None:
        if days < 0:
            raise CommandError(f"{days} is no number of days.")
        associations, queries = journal.purge(days=days)
        self.stdout.write(
            f"Deleted {associations} associations and {queries} queries older than {days} days."
        )
