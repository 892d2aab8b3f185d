"""`manage.py demo`: parse the arguments and hand over to `worklist.demo`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from worklist import demo


class Command(BaseCommand):
    help = "Run everything on this machine with demo data, until Ctrl-C."
    # The demo has a database of its own; the one that the settings name is not touched.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="start, ask once, stop: a smoke test"
        )
        parser.add_argument("--reset", action="store_true", help="forget the demo's data first")
        parser.add_argument(
            "--force",
            action="store_true",
            help="put the demo data into the database of DATABASE_URL",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(demo.run(check=options["check"], reset=options["reset"], force=options["force"]))
