"""`manage.py export_audit`: the audit trail as DICOM audit messages, one a line."""

from __future__ import annotations

import datetime as dt
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet
from django.utils import timezone

from worklist import audited
from worklist.audit import happenings
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor

_PER_BATCH = 500


def day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a day such as 2026-11-23") from None


class Command(BaseCommand):
    help = (
        "Write the audit trail as DICOM audit messages (PS3.15 A.5): XML, one message a line, the "
        "oldest first. The export is itself signed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=day, metavar="DAY", help="from this day on")
        parser.add_argument("--until", type=day, metavar="DAY", help="up to this day, which counts")
        parser.add_argument(
            "file",
            nargs="?",
            default="-",
            metavar="FILE",
            help="where to, readable by its owner alone; -, the default: standard output",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since, until, file = options["since"], options["until"], options["file"]
        if since and until and until < since:
            raise CommandError("--until lies before --since.")
        events = _events(since, until)
        details = {"since": since, "until": until, "file": file, "rows": events.count()}
        happenings.trail_used(
            "export",
            by=Actor("export_audit"),
            details={name: str(value) for name, value in details.items() if value is not None},
        )
        try:
            if file == "-":
                count = _write(events, sys.stdout.buffer)
            else:
                count = _write_file(events, Path(file))
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror or error}.") from None
        # Standard output may be the file.
        self.stderr.write(f"{count} messages written to {file}.")


def _events(since: dt.date | None, until: dt.date | None) -> QuerySet[AuditEvent]:
    """What is there now: the signature of this export is not part of what it holds."""
    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    found = AuditEvent.objects.filter(pk__lte=newest).order_by("at", "pk")
    if since:
        found = found.filter(at__gte=_midnight(since))
    if until:
        found = found.filter(at__lt=_midnight(until + dt.timedelta(days=1)))
    return found


def _midnight(of: dt.date) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(of, dt.time()))


def _write_file(events: QuerySet[AuditEvent], path: Path) -> int:
    """Write a file that has its name only once it is whole."""
    unfinished = path.with_name(f"{path.name}.part")
    with suppress(FileNotFoundError):
        unfinished.unlink()
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as target:
            count = _write(events, target)
            os.fsync(target.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return count


def _write(events: QuerySet[AuditEvent], target: BinaryIO) -> int:
    count = 0
    for _event, message in audited.in_xml(events.iterator(chunk_size=_PER_BATCH)):
        target.write(message + b"\n")
        count += 1
    target.flush()
    return count
