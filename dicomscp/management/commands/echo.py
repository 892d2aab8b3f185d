"""`manage.py echo`: a C-ECHO, to see whether a DICOM application answers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from dicomscp import scu


def add_peer_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that say whom to call, and as whom."""
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port", type=int, default=settings.DICOM_PORT, help="default: %(default)s"
    )
    parser.add_argument(
        "--ae-title", default=settings.AE_TITLE, help="the called AE title; default: %(default)s"
    )
    parser.add_argument(
        "--calling", default="WORKLIST_SCU", help="our own AE title; default: %(default)s"
    )


class Command(BaseCommand):
    help = "Send a C-ECHO to a DICOM application; succeed only when it answers Success."
    # It asks another program: neither our tables nor our settings have to be in order.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_peer_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        called, host, port = options["ae_title"], options["host"], options["port"]
        try:
            scu.echo(host, port, calling=options["calling"], called=called)
        except scu.CallError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{called} at {host} port {port} answers.")
