"""`manage.py purge`: delete what is kept for a time only; never patients or the trail."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from dicomscp import heartbeat, journal
from worklist import once, privacy


@dataclass(frozen=True)
class Kept:
    """One kind of rows, and how long they stay; `forget` deletes those before, answers how many."""

    what: str
    days: int
    forget: Callable[[dt.datetime], int]


def _forget_sessions(before: dt.datetime) -> int:
    """Sessions say themselves when they end."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    model = store.get_model_class()
    ended = model.objects.filter(expire_date__lt=before).count()
    store.clear_expired()
    return int(ended)


def _kept() -> Iterator[Kept]:
    """What is to be forgotten is a line here."""
    yield Kept("forms that were sent", 7, once.forget)
    yield Kept("sessions that have ended", 0, _forget_sessions)
    yield Kept("associations and queries of scanners", settings.JOURNAL_DAYS, journal.forget)
    yield Kept("heartbeats of runscp", settings.JOURNAL_DAYS, heartbeat.forget)
    if settings.ORDER_DAYS:
        yield Kept("orders that are over", settings.ORDER_DAYS, privacy.forget_orders)


class Command(BaseCommand):
    help = "Delete what is kept for a time only; to be run once a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how many, delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if 0 < settings.ORDER_DAYS < settings.JOURNAL_DAYS:
            raise CommandError(
                f"ORDER_DAYS ({settings.ORDER_DAYS}) is less than JOURNAL_DAYS "
                f"({settings.JOURNAL_DAYS}): the journal would tell of orders that are gone."
            )
        now = timezone.now()
        for each in _kept():
            before = now - dt.timedelta(days=each.days)
            if options["dry_run"]:
                with transaction.atomic():
                    count = each.forget(before)
                    transaction.set_rollback(True)
                self.stdout.write(f"{each.what}: {count} would be deleted (dry run)")
            else:
                self.stdout.write(f"{each.what}: {each.forget(before)} deleted")
