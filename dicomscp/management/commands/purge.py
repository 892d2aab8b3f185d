"""`manage.py purge`: delete what is kept for a time only; never the trail."""

from __future__ import annotations

import datetime as dt
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from dicomscp import heartbeat, journal
from worklist import expiry, once, privacy
from worklist.audit.trail import Actor


@dataclass(frozen=True)
class Kept:
    """One kind of rows whose time may be over.

    `count` says how many that are; `forget` deletes them, a transaction at a time, and says after
    each how many that were.
    """

    what: str
    count: Callable[[], int]
    forget: Callable[[], Iterator[int]]
    done: str = "deleted"


def _kept(now: dt.datetime) -> Iterator[Kept]:
    """What is to be forgotten is a line here; what hangs on something else goes before it."""

    def ago(days: int) -> dt.datetime:
        return now - dt.timedelta(days=days)

    week, journaled = ago(7), ago(settings.JOURNAL_DAYS)
    yield Kept(
        "forms that were sent", lambda: once.old(week).count(), lambda: iter((once.forget(week),))
    )
    yield _sessions(now)
    yield Kept(
        "associations and queries of scanners",
        lambda: journal.count(journaled),
        lambda: journal.forget(journaled),
    )
    yield Kept(
        "heartbeats of runscp",
        lambda: heartbeat.old(journaled).count(),
        lambda: iter((heartbeat.forget(journaled),)),
    )
    over: expiry.Over | None = None
    if settings.ORDER_DAYS:
        over = expiry.Over(
            ago(settings.ORDER_DAYS),
            ago(settings.OPEN_ORDER_DAYS) if settings.OPEN_ORDER_DAYS else None,
        )
        yield _orders(over)
    if settings.PATIENT_DAYS:
        yield from _patients(timezone.localdate(ago(settings.PATIENT_DAYS)), over)


def _sessions(now: dt.datetime) -> Kept:
    """Sessions say themselves when they end."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    ended = store.get_model_class().objects.filter(expire_date__lt=now)

    def forget() -> Iterator[int]:
        count = ended.count()
        store.clear_expired()
        yield count

    return Kept("sessions that have ended", ended.count, forget)


def _orders(over: expiry.Over) -> Kept:
    return Kept(
        "orders that are over",
        lambda: expiry.orders_over(over).count(),
        lambda: expiry.forget_orders(over),
    )


def _patients(before: dt.date, over: expiry.Over | None) -> Iterator[Kept]:
    """Those on whom nothing hangs go; those of whom an order stays become pseudonyms."""
    yield Kept(
        "patients without orders",
        lambda: expiry.patients_without_orders(before, over).count(),
        lambda: expiry.forget_patients(before),
    )

    def anonymise() -> Iterator[int]:
        reason = f"no exam and no change for {settings.PATIENT_DAYS} days"
        for pk in privacy.inactive(before).values_list("pk", flat=True):
            yield int(privacy.anonymise(pk, before=before, by=Actor("purge"), reason=reason))

    def count() -> int:
        going = expiry.patients_without_orders(before, over).values("pk")
        return privacy.inactive(before).exclude(pk__in=going).count()

    yield Kept("patients with orders", count, anonymise, "anonymised")


def _check_days() -> None:
    """Raise CommandError for days that would have one kind of data tell of another that is gone."""
    for name in ("ORDER_DAYS", "PATIENT_DAYS"):
        days = getattr(settings, name)
        if 0 < days < settings.JOURNAL_DAYS:
            raise CommandError(
                f"{name} ({days}) is less than JOURNAL_DAYS ({settings.JOURNAL_DAYS}): the journal "
                "would tell of what is gone."
            )
    if settings.OPEN_ORDER_DAYS and not 0 < settings.ORDER_DAYS <= settings.OPEN_ORDER_DAYS:
        raise CommandError(
            f"OPEN_ORDER_DAYS ({settings.OPEN_ORDER_DAYS}) is less than ORDER_DAYS "
            f"({settings.ORDER_DAYS}), or this is not set: what was never closed would go before "
            "what was."
        )


def _rest(text: str) -> float:
    try:
        rest = float(text)
    except ValueError:
        rest = -1
    if not 0 <= rest <= 100:
        raise ArgumentTypeError("a number from 0 to 100")
    return rest


class Command(BaseCommand):
    help = (
        "Delete what is kept for a time only; to be run once a day. It may be stopped at any time "
        "and goes on when it is run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how many, delete nothing")
        parser.add_argument(
            "--rest",
            type=_rest,
            default=1.0,
            metavar="N",
            help="seconds left to others for each second of work (default 1; 0: none)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _check_days()
        for each in _kept(timezone.now()):
            if options["dry_run"]:
                self.stdout.write(f"{each.what}: {each.count()} would be {each.done} (dry run)")
            else:
                count = self._forget(each, rest=options["rest"])
                self.stdout.write(f"{each.what}: {count} {each.done}")

    def _forget(self, each: Kept, *, rest: float) -> int:
        # To a person alone: the count for it may take seconds.
        total = each.count() if sys.stderr.isatty() else None
        with tqdm(desc=each.what, total=total, unit="", disable=None, file=sys.stderr) as progress:
            done, began = 0, time.monotonic()
            for count in each.forget():
                done += count
                progress.update(count)
                time.sleep(rest * (time.monotonic() - began))
                began = time.monotonic()
        return done
