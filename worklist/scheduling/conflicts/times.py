"""What speaks against a booking at this time: the scanner is closed, or it has passed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from worklist import clock
from worklist.models import Station
from worklist.scheduling.conflicts.findings import Conflict, Level, Proposal
from worklist.scheduling.slots import Span, StationDay

# Minutes after which a start has passed.
_GRACE = 15


def hours(proposal: Proposal, days: Mapping[tuple[int, dt.date], StationDay]) -> Iterator[Conflict]:
    span = proposal.span
    day = days[proposal.station.pk, span.start.date()]
    over = days.get((proposal.station.pk, span.end.date()), day)
    open_spans = _joined([*day.open, *(over.open if over is not day else ())])
    if any(stretch.covers(span) for stretch in open_spans):
        return
    shut = over if day.open and over.closed else day
    may_be = proposal.may_override or (proposal.is_emergency and not proposal.is_moved)
    level: Level = "warning" if may_be else "error"
    yield Conflict("closed", level, _closed(proposal.station, shut))


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Stretches of which one begins as the other ends, at midnight say, are one."""
    joined = list(spans[:1])
    for _before, span in pairwise(spans):
        if joined[-1].end == span.start:
            joined[-1] = replace(joined[-1], end=span.end)
        else:
            joined.append(span)
    return joined


def _closed(station: Station, day: StationDay) -> str:
    told = {
        "scanner": station.friendly_name,
        "day": date_format(day.day),
        "days": _weekdays()[day.day.weekday()],
        "hours": ", ".join(str(span) for span in day.open),
    }
    if day.closed and day.closed.reason:
        told["reason"] = day.closed.reason
        return _("%(scanner)s is closed on %(day)s: %(reason)s.") % told
    if day.closed:
        return _("%(scanner)s is closed on %(day)s.") % told
    if not day.open:
        # Translators: %(days)s is the name of a weekday, as in "Sundays".
        return _("%(scanner)s is closed on %(days)s.") % told
    return _("%(scanner)s is open %(hours)s on %(days)s.") % told


def _weekdays() -> tuple[str, ...]:
    return (
        pgettext("closed on …", "Mondays"),
        pgettext("closed on …", "Tuesdays"),
        pgettext("closed on …", "Wednesdays"),
        pgettext("closed on …", "Thursdays"),
        pgettext("closed on …", "Fridays"),
        pgettext("closed on …", "Saturdays"),
        pgettext("closed on …", "Sundays"),
    )


def past(proposal: Proposal) -> Iterator[Conflict]:
    if proposal.is_at_new_time and proposal.start < clock.now() - dt.timedelta(minutes=_GRACE):
        told = {"time": f"{proposal.start:%H:%M}", "date": date_format(proposal.start.date())}
        is_today = proposal.start.date() == clock.today()
        said = _("%(time)s has passed.") if is_today else _("%(date)s, %(time)s has passed.")
        yield Conflict("past", "warning", said % told)
