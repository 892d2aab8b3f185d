"""The board's pages: today by scanner, as a list or as times."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from worklist import board, clock
from worklist.actor import actor
from worklist.audit import looks
from worklist.models import StepStatus
from worklist.roles import needs
from worklist.scheduling import FINAL, steps
from worklist.views import frame, rows
from worklist.views.looks import DAY
from worklist.views.refresh import answer, filters_of
from worklist.views.timetable import timetable

SEE = "worklist.view_scheduledprocedurestep"
BOOK = "worklist.schedule_exam"
_DAY = dt.timedelta(days=1)


@needs()
def home(request: HttpRequest) -> HttpResponse:
    """The board for who may see it, else the first place this person may see."""
    for place in frame.NAVIGATION:
        if request.user.has_perm(place.permission):
            return redirect(place.url)
    return redirect("admin:index" if getattr(request.user, "is_staff", False) else "preferences")


# Nothing is written by any of them: a search is posted to stay out of the address.
LOOK = ("GET", "HEAD", "POST")


@require_http_methods(LOOK)
@needs(SEE)
def today(request: HttpRequest) -> HttpResponse:
    """A day of the board; only its changing part for a page that refreshes itself."""
    filters = filters_of(request)
    return answer(
        request,
        filters,
        page="board/today.html",
        part=f"board/_{filters.view}.html",
        shown=lambda: context(request, filters),
        facts=" ".join(sorted(request.user.get_all_permissions())),
    )


@require_safe
@needs()
def keys(request: HttpRequest) -> HttpResponse:
    """The shortcut keys."""
    return render(request, "board/keys.html")


def context(request: HttpRequest, filters: board.Filters) -> dict[str, Any]:
    """What the board's templates show."""
    can_book = request.user.has_perm(BOOK)
    shown = board.read(filters, with_gaps=can_book)
    details = {"day": filters.day.isoformat()}
    looks.seen_again(board.patients(shown), by=actor(request), label=DAY, details=details)
    made = {
        "board": shown,
        "filters": filters,
        "can_book": can_book,
        "previous": filters.query(day=filters.day - _DAY),
        "next": filters.query(day=filters.day + _DAY),
        "this_day": filters.query(day=clock.today()),
        "without_search": filters.query(),
        "without_filters": filters.query(modality="", station=None, status=""),
        "modalities": [
            (name, filters.query(modality=name), name == filters.modality)
            for name in shown.modalities
        ],
        "all_modalities": filters.query(modality=""),
        "as_list": filters.query(view="list"),
        "as_times": filters.query(view="times"),
        "statuses": StepStatus.choices,
        "forward": _forward(),
        "may_move": " ".join(filter(steps.may_move, StepStatus)),
        "may_cancel": " ".join(filter(steps.may_cancel, StepStatus)),
        "elsewhere_shown": board.ELSEWHERE_SHOWN,
        "elsewhere_slice": f":{board.ELSEWHERE_SHOWN}",
        "emergencies": [
            (exam, lane.scanner.name if lane.scanner else "")
            for lane in shown.lanes
            for exam in lane.exams
            if exam.is_emergency and exam.status not in FINAL
        ],
    }
    if filters.view == "list":
        made["lanes"] = [(lane, rows.rows(lane, can_book=can_book)) for lane in shown.lanes]
    else:
        made["timetable"] = timetable(shown, can_book=can_book)
    return made


def _forward() -> list[tuple[str, Any, str]]:
    """What a row's menu offers: a status, what it is called, and those from which it may be set."""
    sources = {to: [of for of in StepStatus if to in steps.forward(of)] for to in StepStatus}
    return [(to.value, to.label, " ".join(of)) for to, of in sources.items() if of]
