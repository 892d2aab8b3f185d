"""`manage.py send_audit`: the audit trail to a syslog collector over TLS, as it grows."""

from __future__ import annotations

import signal
import threading
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from worklist import delivery
from worklist.delivery import Sender

# Seconds: between two looks at the trail, and after a failure, twice as many each time.
_EVERY = 1.0
_AT_MOST = 60.0
# Until somebody who writes is asked once more whether it is done.
_SOON = 0.05


class Command(BaseCommand):
    help = (
        "Send the audit trail to AUDIT_SYSLOG_HOST as DICOM audit messages (syslog over TLS), from "
        "where it was left, until SIGTERM or SIGINT."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="send what is there, then end; 1 if that fails"
        )

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        if not settings.AUDIT_SYSLOG_HOST:
            raise CommandError("AUDIT_SYSLOG_HOST is not set: there is nobody to send to.")
        try:
            collector = delivery.collector()
        except OSError as error:
            raise CommandError(
                f"The files of AUDIT_SYSLOG_CA, _CERT or _KEY cannot be used: {_words(error)}."
            ) from None
        sender = Sender(collector)
        if once:
            self._send_all(sender)
            return
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        self.stdout.write(f"Sending the audit trail to {collector}")
        self.stdout.flush()
        self._send_until(stopped, sender)
        self.stdout.write("Sending stopped")

    def _send_all(self, sender: Sender) -> None:
        count = 0
        try:
            while (sent := sender.send_some()) or sender.waits_for_writers:
                count += sent
                if not sent:
                    time.sleep(_SOON)
        except (OSError, Error) as error:
            raise CommandError(f"After {count} messages: {_words(error)}.") from None
        self.stdout.write(f"{count} messages sent.")

    def _send_until(self, stopped: threading.Event, sender: Sender) -> None:
        pause, failed = _EVERY, ""
        while not stopped.is_set():
            try:
                sent = sender.send_some()
            except (OSError, Error) as error:
                # The same words once: an outage of a weekend fills no log.
                if (words := _words(error)) != failed:
                    self.stderr.write(f"Nothing was sent, and it is tried again: {words}")
                failed, pause = words, min(pause * 2, _AT_MOST)
                with suppress(Error):
                    connection.close()
            else:
                if failed:
                    self.stderr.write("Sending goes on.")
                failed, pause = "", 0.0 if sent else _EVERY
            stopped.wait(pause)


def _words(error: Exception) -> str:
    """What went wrong; a database's own text may quote a row."""
    if isinstance(error, Error):
        return f"the database cannot be used ({type(error).__name__})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
