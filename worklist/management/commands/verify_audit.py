"""`manage.py verify_audit`: whether the audit trail is as it was written."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from worklist.audit import seals

_ANCHOR = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")
# A trail that was marked with a key that is not there any more has as many faults as events.
_MOST_TOLD = 20


def anchor(text: str) -> tuple[int, str]:
    found = _ANCHOR.fullmatch(text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is not a seal such as 17:0f3a… (64 hexadecimal digits)")
    return int(found[1]), found[2]


class Command(BaseCommand):
    help = (
        "Check that no event of the audit trail was changed, taken out or put in, and seal those "
        "that are not sealed yet. Keep the last seal that it names somewhere else: with --anchor, "
        "the next check finds a trail that was cut off at its end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--anchor",
            type=anchor,
            action="append",
            default=[],
            metavar="NUMBER:DIGEST",
            help="a seal that an earlier check has named; may be given several times",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._verify(options["anchor"])
        except Error as error:
            first_line = str(error).strip().splitlines()[0]
            raise CommandError(f"The audit trail cannot be read: {first_line}") from None

    def _verify(self, anchors: Sequence[tuple[int, str]]) -> None:
        report = seals.verify(anchors)
        for fault in report.faults[:_MOST_TOLD]:
            self.stderr.write(fault)
        if len(report.faults) > _MOST_TOLD:
            self.stderr.write(f"and {len(report.faults) - _MOST_TOLD} more")
        if report.faults:
            raise CommandError(
                f"The audit trail is not as it was written: {len(report.faults)} fault(s) in "
                f"{report.events} events."
            )
        sealed = seals.seal()
        last = seals.last()
        self.stdout.write(
            f"{report.events} events, all as they were written; {sealed} of them newly sealed."
        )
        if last:
            self.stdout.write(f"Last seal: {last}")
