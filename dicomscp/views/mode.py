"""Set-up mode, switched on and off."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dicomscp import access
from worklist.actor import actor
from worklist.roles import needs
from worklist.views import notices

PERMISSION = "worklist.manage_stations"


@require_POST
@needs(PERMISSION)
def switch(request: HttpRequest) -> HttpResponse:
    """Let every caller in for a day, or no longer."""
    if request.POST.get("mode") == "on":
        access.let_anybody_in(by=actor(request))
        notices.done(request, _("Set-up mode is on for 24 hours."))
    else:
        access.end_set_up_mode(by=actor(request))
        notices.done(request, _("Set-up mode is off."))
    return redirect("setup-scanners")
