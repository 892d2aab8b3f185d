"""`manage.py echo`: a C-ECHO, to see whether a DICOM application answers."""

from __future__ import annotations

import ssl
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import translation

from dicomscp import connection_words, trial
from dicomscp.trial import Verdict
from dicomscp.wire import tls
from dicomscp.wire.tls import FileError, Files

# Seconds for each step: somebody waits, and there may be a slow line in between.
_WITHIN = 10.0
NOT_CHECKED = "Its certificate was not checked: --tls-ca is not given."


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
    parser.add_argument("--tls", action="store_true", help="call by TLS")
    parser.add_argument(
        "--tls-ca",
        type=Path,
        help="PEM file of the authorities that the peer's certificate, its name included, is "
        "checked by; without, it is not checked",
    )
    parser.add_argument("--tls-cert", type=Path, help="PEM file of our own certificate")
    parser.add_argument("--tls-key", type=Path, help="PEM file of its key")


def secure(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    """What to call by TLS with; None: without TLS. Raises CommandError."""
    files = Files(options["tls_cert"], options["tls_key"], options["tls_ca"])
    if not options["tls"]:
        if files != Files():
            raise CommandError("--tls-ca, --tls-cert and --tls-key go with --tls.")
        return None
    if (files.certificate is None) != (files.key is None):
        raise CommandError("--tls-cert and --tls-key go together.")
    try:
        return tls.client_context(files)
    except FileError as error:
        raise CommandError(f"{error.path}: {error}.") from None


class Command(BaseCommand):
    help = "Send a C-ECHO to a DICOM application; succeed only when it answers Success."
    # It asks another program: neither our tables nor our settings have to be in order.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_peer_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        called, host, port = options["ae_title"], options["host"], options["port"]
        secured = secure(options)
        made = trial.attempt(
            host, port, calling=options["calling"], called=called, within=_WITHIN, secure=secured
        )
        with translation.override("en"):
            told = connection_words.tell(made)
        if made.verdict is not Verdict.GOOD:
            failed = told.steps[made.done]
            raise CommandError(f"{called} at {host} port {port}: {failed.text} {told.advice}")
        for step in told.steps:
            self.stdout.write(step.text)
        if secured and not options["tls_ca"]:
            self.stdout.write(NOT_CHECKED)
        self.stdout.write(f"{called} at {host} port {port} answers.")
