"""`manage.py conformance`: write CONFORMANCE.md, or check that it is up to date."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from dicomscp import conformance


class Command(BaseCommand):
    help = "Write CONFORMANCE.md from the table of attributes and the statuses."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail when the file lags behind"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(settings.BASE_DIR) / "CONFORMANCE.md"
        statement = conformance.statement()
        written = path.read_text("utf-8") if path.exists() else ""
        if options["check"]:
            if written != statement:
                raise CommandError(f"{path.name} lags behind: run manage.py conformance")
            self.stdout.write(f"{path.name} is up to date.")
            return
        if written == statement:
            self.stdout.write(f"{path.name} was up to date.")
            return
        path.write_text(statement, "utf-8")
        self.stdout.write(f"{path.name} is written.")
