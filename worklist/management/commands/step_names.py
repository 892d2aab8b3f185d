"""`manage.py step_names`: whether scanners find each exam by its patient's name."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, transaction

from worklist import naming


class Command(BaseCommand):
    help = (
        "Write anew the names by which scanners find exams, where they are not the patients'. The "
        "database keeps them by itself: there is need of this only after its triggers were off."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit status 1 if any is another"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            count = naming.differing(DEFAULT_DB_ALIAS)
            if count:
                raise CommandError(f"{count} exams would be found by another name.")
            self.stdout.write("Each exam is found by its patient's name.")
            return
        with transaction.atomic():
            naming.put_up(DEFAULT_DB_ALIAS)
            count = naming.mend(DEFAULT_DB_ALIAS)
        self.stdout.write(f"{count} exams are found by another name than before.")
