"""`manage.py purge`: delete what is kept for a time only; never orders, patients or the trail."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from dicomscp import heartbeat, journal
from worklist import once


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


# What is to be forgotten is a line here.
KEPT = (
    Kept("forms that were sent", 7, once.forget),
    Kept("sessions that have ended", 0, _forget_sessions),
    Kept("associations and queries of scanners", settings.JOURNAL_DAYS, journal.forget),
    Kept("heartbeats of runscp", settings.JOURNAL_DAYS, heartbeat.forget),
)


class Command(BaseCommand):
    help = "Delete what is kept for a time only; to be run once a day."

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        for each in KEPT:
            count = each.forget(now - dt.timedelta(days=each.days))
            self.stdout.write(f"{each.what}: {count} deleted")
