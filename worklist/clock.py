"""What time it is at the site: the wall clock by which steps are booked. Tests set it."""

from __future__ import annotations

import datetime as dt

from django.utils import timezone


def now() -> dt.datetime:
    """Now, on the site's wall clock: naive, to the second."""
    return timezone.localtime().replace(tzinfo=None, microsecond=0)


def today() -> dt.date:
    """Today at the site."""
    return now().date()
