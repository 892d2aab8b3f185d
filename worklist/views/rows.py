"""The board's rows as HTML, and its other repeated parts.

A template takes too long for 500 rows, and nearly all of them are what they were a moment ago: each
is drawn once and kept under what it shows. Everything of the database goes through escape().
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from worklist import clock, names
from worklist.board import Exam, Lane
from worklist.models import StepStatus
from worklist.scheduling.slots import Span
from worklist.templatetags.clerk import born, person

_KEPT_ROWS = 8192


def address(name: str, pk: int | None = None) -> str:
    """The address of a page, "" when there is none of this name."""
    try:
        return reverse(name, args=[pk] if pk is not None else [])
    except NoReverseMatch:
        return ""


def rows(lane: Lane, *, can_book: bool) -> SafeString:
    """A lane's exams as table rows, in between the gaps that can be booked."""
    key = lane.scanner.pk if lane.scanner else 0
    gaps = list(lane.gaps) if can_book else []
    parts = []
    for exam in lane.exams:
        while gaps and gaps[0].start <= exam.begins and not exam.is_emergency:
            parts.append(_gap(gaps.pop(0), key))
        parts.append(row(exam, key))
    parts += [_gap(gap, key) for gap in gaps]
    return mark_safe("".join(parts))  # each part is escaped where it is made


def row(exam: Exam, lane: int) -> str:
    return _row(exam, lane, get_language() or "", clock.today())


@lru_cache(maxsize=_KEPT_ROWS)
def _row(exam: Exam, lane: int, language: str, today: dt.date) -> str:
    name = person(exam.name)
    page = address("exam", exam.pk)
    return (
        f"<tr {facts(exam, lane)}{_classes(exam)}>"
        f'<td class="time">{exam.start:%H:%M}'
        f'<th scope="row"><a href="{page}">{name}</a>'
        f" <i>{escape(exam.patient_id)}</i>{tags(exam)}"
        f"<td>{escape(born(exam.birth_date))} {escape(exam.sex)}"
        f"<td>{escape(exam.description)}"
        f"<td {status(exam.status)}"
        f'<td class="end">{more(exam)}\n'
    )


def more(exam: Exam) -> str:
    """The link that opens what can be done with an exam; without a script it leads to its page."""
    label = escape(_("Actions for %(name)s") % {"name": names.text(exam.name)})
    return f'<a class="more" href="{address("exam", exam.pk)}" aria-label="{label}">▸</a>'


def facts(exam: Exam, lane: int) -> str:
    """The attributes by which the page's script knows an exam, unique within a page."""
    return (
        f'id="e{exam.pk}-{lane}" data-v="{exam.version}"'
        f' data-p="{exam.patient}" data-s="{escape(exam.status)}"'
    )


def _classes(exam: Exam) -> str:
    if exam.is_emergency:
        return ' class="emergency"'
    return ' class="off"' if exam.status == StepStatus.CANCELED else ""


def tags(exam: Exam) -> str:
    """What makes an exam stand out, in words."""
    made = ""
    if exam.is_emergency:
        made += f' <b class="tag tag-bad">{escape(_("Emergency"))}</b>'
    if exam.is_unknown:
        made += f' <b class="tag tag-bad">{escape(_("Unknown patient"))}</b>'
    if exam.late:
        made += f' <b class="tag tag-warn late">{escape(_late(exam.late))}</b>'
    if exam.is_similar:
        made += f' <b class="tag tag-busy">{escape(_("Similar name"))}</b>'
    return made


def _late(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if hours:
        return _("Late %(hours)d h %(minutes)02d") % {"hours": hours, "minutes": rest}
    return _("Late %(minutes)d min") % {"minutes": rest}


def status(value: str) -> str:
    """The rest of an element that tells a status; the stylesheet puts a shape before the word."""
    label = StepStatus(value).label if value in StepStatus else value
    return f'class="status shaped status-{escape(value.lower())}">{escape(label)}'


def booking(gap: Span, station: int) -> str:
    """The address of the form with this gap filled in."""
    query = {
        "station": station,
        "day": gap.start.date().isoformat(),
        "time": f"{gap.start:%H:%M}",
    }
    form = address("exam-new")
    return escape(f"{form}?{urlencode(query)}") if form else ""


def end_of(gap: Span) -> str:
    """The end of a gap as people say it: a day's is 24:00."""
    return "24:00" if gap.end.date() > gap.start.date() else f"{gap.end:%H:%M}"


def _gap(gap: Span, station: int) -> str:
    return _gap_row(gap, station, get_language() or "")


@lru_cache(maxsize=1024)
def _gap_row(gap: Span, station: int, language: str) -> str:
    times = {"start": f"{gap.start:%H:%M}", "end": end_of(gap)}
    free = escape(_("free %(start)s–%(end)s") % times)
    link = ""
    if target := booking(gap, station):
        label = escape(_("Book %(start)s–%(end)s") % times)
        words = escape(_("Book this gap"))
        link = (
            f'<a class="button small" href="{target}" aria-label="{words}: {label}">+ {words}</a>'
        )
    return (
        f'<tr id="g{gap.start:%H%M}-{station}" class="gap">'
        f'<td class="time"><td colspan="3">— {free} —'
        f'<td colspan="2" class="end">{link}\n'
    )
