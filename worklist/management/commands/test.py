"""`manage.py test`: pytest with the tests' settings. Nothing about any test belongs here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from django.core.management.base import BaseCommand

# Two processes a core: tests mostly wait for servers and browsers that they have started. Which
# of them takes which test is in tests/order.py.
PARALLEL = ("-n", str(2 * (os.cpu_count() or 1)), "--no-loadscope-reorder")
# A count of the caller's own, or a wish to talk to the terminal, which one of many cannot.
NOT_PARALLEL = ("-n", "--numprocesses", "-s", "--capture=no", "--pdb", "--trace")


class Command(BaseCommand):
    help = "Run the tests: [--db=sqlite|postgres], then pytest's own arguments."

    def run_from_argv(self, argv: list[str]) -> None:
        """Become pytest; what Django would take for itself (-v, --help, …) is not taken here."""
        parser = argparse.ArgumentParser(
            prog="manage.py test",
            description="Without arguments, run the whole suite, two processes a core.",
            epilog="All other arguments are pytest's: see python -m pytest --help.",
            allow_abbrev=False,
        )
        parser.add_argument(
            "--db",
            choices=["sqlite", "postgres"],
            default="",
            help="default: PostgreSQL where this machine has one, else SQLite",
        )
        options, arguments = parser.parse_known_args(argv[2:])
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["WORKLIST_TEST_DB"] = options.db
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *with_parallel(arguments)])


def with_parallel(arguments: Sequence[str]) -> list[str]:
    """Run in parallel, unless pytest's arguments speak against it or name tests."""
    for argument in arguments:
        names_tests = Path(argument.partition("::")[0]).exists()
        if names_tests or argument.startswith(NOT_PARALLEL):
            return list(arguments)
    return [*PARALLEL, *arguments]
