"""Parts of other doors' pages: whether exams will show on scanners, and when those asked last."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from dicomscp import readiness as lights_of
from dicomscp import silence
from dicomscp.readiness import Light, State
from dicomscp.silence import Asked
from worklist import clock
from worklist.models import FINAL, ScheduledProcedureStep, Station
from worklist.roles import needs
from worklist.scheduling import undo
from worklist.views import notices

SEE = "worklist.view_scheduledprocedurestep"
# A notice tells of one change, which is of a few exams.
_MOST_STEPS = 20


@dataclass(frozen=True)
class Lane:
    """A scanner's lane of the board: when it asked last, and which of its exams it will not show.

    `first` is one of those exams.
    """

    station: Station
    asked: Asked
    blocked: int
    first: int | None

    @property
    def is_odd(self) -> bool:
        """Whether somebody should look: it is silent, or may ask and never did."""
        return self.asked.is_silent or (self.asked.last is None and self.station.is_allowed)


@require_safe
@needs(SEE)
def exam(request: HttpRequest, pk: int) -> HttpResponse:
    """Whether one exam will show on each of its scanners."""
    get_object_or_404(ScheduledProcedureStep, pk=pk)
    return _lights(request, [pk])


@require_safe
@needs(SEE)
def notice(request: HttpRequest) -> HttpResponse:
    """The same of the exams that a notice tells of: its token to undo names them."""
    try:
        token = undo.read(request.GET.get("undo", ""), owner=notices.owner(request))
    except undo.TooLate:
        return _lights(request, [])
    return _lights(request, [former.pk for former, _version in token.formers[:_MOST_STEPS]])


def _lights(request: HttpRequest, steps: list[int]) -> HttpResponse:
    found = lights_of.of_own(steps)
    lights: list[Light] = [light for step in steps for light in found.get(step, ())]
    return render(request, "readiness/_lights.html", {"lights": lights})


@require_safe
@needs(SEE)
def lanes(request: HttpRequest) -> HttpResponse:
    """For the head of each lane of one day's board: what its script puts there."""
    try:
        day = dt.date.fromisoformat(request.GET.get("day", ""))
    except ValueError:
        day = clock.today()
    stations = list(Station.objects.filter(is_active=True).order_by("name", "ae_title"))
    asked = silence.of(stations)
    steps = ScheduledProcedureStep.objects.filter(start_date=day).exclude(status__in=FINAL)
    blocked: dict[int, list[int]] = defaultdict(list)
    for several in lights_of.of_own(list(steps.values_list("pk", flat=True))).values():
        for light in several:
            # Of one that never asked there is nothing to be told but that.
            if light.state is State.BLOCKED and not light.is_guess:
                blocked[light.station.pk].append(light.step)
    shown = [
        Lane(each, asked[each.pk], len(blocked[each.pk]), next(iter(blocked[each.pk]), None))
        for each in stations
    ]
    return render(
        request, "readiness/_lanes.html", {"lanes": shown, "is_today": day == clock.today()}
    )
