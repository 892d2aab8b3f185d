"""The status of the broker: what runs, who asks, what went wrong, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dicomscp import connection_words, health, health_words, trials
from dicomscp.connection_words import Came, Step, Told
from dicomscp.trials import Peer, Tried
from worklist import clock
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import Station
from worklist.roles import needs

PERMISSION = "worklist.view_querylog"
STATIONS = "worklist.manage_stations"


@never_cache
@require_safe
@needs(PERMISSION)
def status(request: HttpRequest) -> HttpResponse:
    """Everything at one look; nothing of it is about a patient."""
    return render(request, "status/status.html", _context())


def _context() -> dict[str, Any]:
    found = health.read()
    return {
        "lines": health_words.lines(found),
        "scanners": [
            {
                "station": station,
                "asked": asked,
                "ago": health_words.short(asked.ago),
                "usual": health_words.short(asked.usual),
            }
            for station, asked in found.stations
        ],
        "can_test": any(station.test_host for station, _asked in found.stations),
        "queries": found.queries,
        "refused": found.refused,
        "refused_calls": sum(caller.times for caller in found.refused),
        "support": health_words.support(found),
    }


# --- the test of all connections ------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A scanner that was tested; `told` is None when that took too long."""

    station: Station
    told: Told | None = None

    @property
    def step(self) -> Step | None:
        """The one that decided."""
        tried = [s for s in self.told.steps if s.came is not Came.NOT_TRIED] if self.told else []
        return tried[-1] if tried else None

    @property
    def is_bad(self) -> bool:
        return self.step is None or self.step.came is Came.BADLY


@never_cache
@require_POST
@needs(STATIONS, PERMISSION)
def test_all(request: HttpRequest) -> HttpResponse:
    """Call every scanner in use at its stored address: nothing of the request names one."""
    stored = Station.objects.filter(is_active=True, test_port__isnull=False)
    stations = list(stored.order_by("name", "ae_title"))
    peers = [Peer(each.test_host, each.test_port or 0, each.ae_title) for each in stations]
    tried = trials.attempt(peers, calling=settings.AE_TITLE.strip())
    _sign(request, stations, tried)
    rows = [
        Row(station, connection_words.tell(each.trial) if each.trial else None)
        for station, each in zip(stations, tried, strict=True)
    ]
    data: dict[str, Any] = {
        "rows": rows,
        "well": sum(not row.is_bad for row in rows),
        "at": clock.now(),
    }
    is_part = request.headers.get("HX-Request") == "true"
    template = "status/_trials.html" if is_part else "status/status.html"
    shown = data if is_part else _context() | data
    answer = render(request, template, shown, status=200 if rows else 422)
    patch_vary_headers(answer, ("HX-Request",))
    return answer


def _sign(request: HttpRequest, stations: list[Station], tried: list[Tried]) -> None:
    """An event for each that was called, as after a test of it alone."""
    by = actor(request)
    trail.sign(
        [
            trail.noted(
                "test",
                station,
                by=by,
                details={
                    "address": f"{station.test_host} {station.test_port}",
                    "result": str(each.trial.verdict) if each.trial else "unfinished",
                },
            )
            for station, each in zip(stations, tried, strict=True)
            if each.was_called
        ]
    )
