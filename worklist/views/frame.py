"""The frame around every page: what base.html shows besides the page itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from worklist.models import User
from worklist.models.people import themes


@dataclass(frozen=True)
class Place:
    """An entry of the main navigation, and what it takes to be shown."""

    url: str
    label: Any
    permission: str
    # How the names of further pages that belong to it begin.
    also: tuple[str, ...] = ()


NAVIGATION: tuple[Place, ...] = (
    Place("today", _("Today"), "worklist.view_scheduledprocedurestep"),
    Place("exam-new", _("Schedule"), "worklist.schedule_exam"),
    Place("walk-in", _("Walk-in"), "worklist.schedule_exam"),
    Place("patients", _("Patients"), "worklist.view_patient", also=("patient",)),
    Place(
        "setup-scanners",
        _("Scanners"),
        "worklist.manage_stations",
        also=("setup-scanner", "setup-hours", "setup-closed-day"),
    ),
    Place(
        "setup-procedures",
        _("Catalogue"),
        "worklist.manage_catalogue",
        also=("setup-procedure", "setup-import", "setup-order-set"),
    ),
    Place("queries", _("Queries"), "worklist.view_querylog", also=("query",)),
    Place("status", _("Status"), "worklist.view_querylog"),
    Place("audit", _("Audit trail"), "audit.view_auditevent"),
)


def frame(request: HttpRequest) -> dict[str, Any]:
    """The site's name, the navigation that this person may use, and how the person likes it."""
    user: User | AnonymousUser = getattr(request, "user", AnonymousUser())
    here = request.resolver_match.view_name if request.resolver_match else ""
    places = [
        {
            "url": reverse(place.url),
            "label": place.label,
            "is_here": here.startswith((place.url, *place.also)),
        }
        for place in NAVIGATION
        if user.has_perm(place.permission)
    ]
    return {
        "site_name": settings.SITE_NAME,
        "places": places,
        "theme": getattr(user, "theme", ""),
        "themes": themes(),
        "single_keys": getattr(user, "single_keys", True),
        "idle_seconds": settings.IDLE_SECONDS,
        "is_demo": settings.DEMO,
        "languages": settings.LANGUAGES,
    }
