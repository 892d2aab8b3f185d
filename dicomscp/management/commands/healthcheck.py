"""`manage.py healthcheck`: one line and an exit status, for what watches the servers."""

from __future__ import annotations

import urllib.error
import urllib.request
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import translation

from dicomscp import connection_words, heartbeat, trial
from dicomscp.trial import Verdict
from worklist import database

# Seconds; who watches gives up after ten.
_WITHIN = 4.0
_CALLING = "HEALTHCHECK"
_WEB = "http://127.0.0.1:8000"


class UnwellError(Exception):
    """What is wrong, in a few words."""


class Command(BaseCommand):
    help = (
        "Succeed when the DICOM server of this machine answers, beats and has its database; with "
        "--web, when the web server does."
    )
    # It asks what runs: it is quick, and itself no reason to call that unwell.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        parser.add_argument(
            "--port", type=int, default=settings.DICOM_PORT, help="default: %(default)s"
        )
        parser.add_argument("--ae-title", default=settings.AE_TITLE, help="default: %(default)s")
        parser.add_argument(
            "--web",
            nargs="?",
            const=_WEB,
            metavar="URL",
            help=f"ask the web server instead; without an address, {_WEB}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, ae_title = options["host"], options["port"], options["ae_title"].strip()
        looks = (
            [lambda: _web(options["web"])]
            if options["web"]
            else [lambda: _answers(host, port, ae_title), lambda: _kept(port, ae_title)]
        )
        good, bad = [], []
        for look in looks:
            try:
                good.append(look())
            except UnwellError as error:
                bad.append(str(error))
        if bad:
            raise CommandError(f"unhealthy: {'; '.join(bad)}")
        self.stdout.write(f"healthy: {'; '.join(good)}")


def _answers(host: str, port: int, ae_title: str) -> str:
    made = trial.attempt(host, port, calling=_CALLING, called=ae_title, within=_WITHIN)
    if made.verdict is Verdict.GOOD:
        return f"{ae_title} at {host} port {port} answers C-ECHO"
    with translation.override("en"):
        failed = connection_words.tell(made).steps[made.done]
    raise UnwellError(f"{ae_title} at {host} port {port}: {failed.text}")


def _kept(port: int, ae_title: str) -> str:
    """What the database says, of itself and of the server's heart."""
    try:
        name = database.read().name
        missing = database.missing_migrations()
        if missing:
            raise UnwellError(f"{name} lacks {missing} migration(s): run manage.py migrate")
        beats = [
            process
            for process in heartbeat.processes()
            if (process.row.port, process.row.ae_title) == (port, ae_title)
        ]
    except Error as error:
        raise UnwellError(f"the database does not answer ({type(error).__name__})") from None
    if not beats:
        raise UnwellError(f"{name} answers, but has no heartbeat of it")
    age = round(beats[0].age.total_seconds())
    if not beats[0].is_alive:
        raise UnwellError(f"{name} answers, but its last heartbeat is {age} s old")
    return f"{name} answers; heartbeat {age} s ago"


def _web(url: str) -> str:
    # One of the names that it answers to; not by way of a proxy, which is not what is asked about.
    name = next((host for host in settings.ALLOWED_HOSTS if host[:1] not in "*."), "")
    request = urllib.request.Request(
        f"{url.rstrip('/')}/readyz", headers={"Host": name} if name else {}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_WITHIN):
            return f"{url} is ready"
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(200).decode("utf-8", "replace").strip().partition("\n")[0]
        told = said if error.headers.get_content_type() == "text/plain" else error.reason
        raise UnwellError(f"{url} answers {error.code}: {told}") from None
    except (OSError, ValueError) as error:
        raise UnwellError(f"{url} does not answer ({error})") from None
