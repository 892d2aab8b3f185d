"""The status of the broker: what runs, who asks, what went wrong, and what to do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dicomscp import health, health_words
from worklist.roles import needs

PERMISSION = "worklist.view_querylog"


@never_cache
@require_safe
@needs(PERMISSION)
def status(request: HttpRequest) -> HttpResponse:
    """Everything at one look; nothing of it is about a patient."""
    found = health.read()
    context = {
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
        "queries": found.queries,
        "refused": found.refused,
        "refused_calls": sum(caller.times for caller in found.refused),
        "support": health_words.support(found),
    }
    return render(request, "status/status.html", context)
