"""`manage.py copies`: whether scanners find each exam by what it is."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, transaction

from worklist import copies


class Command(BaseCommand):
    help = (
        "Write anew what the database keeps twice so that scanners find exams quickly, where one "
        "differs from the other. The database keeps it by itself: there is need of this only after "
        "its triggers were off."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit status 1 if any differs"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            count = copies.differing(DEFAULT_DB_ALIAS)
            if count:
                raise CommandError(f"{count} rows differ from what they copy.")
            self.stdout.write("All copies are as what they copy.")
            return
        with transaction.atomic():
            copies.put_up(DEFAULT_DB_ALIAS)
            count = copies.mend(DEFAULT_DB_ALIAS)
        self.stdout.write(f"{count} rows were written anew.")
