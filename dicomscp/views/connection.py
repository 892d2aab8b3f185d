"""A scanner's connection is tested, and its certificates are trusted."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dicomscp import certificates, connection_words, trial
from worklist import catalogue, clock
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import Station
from worklist.roles import needs
from worklist.views import notices

PERMISSION = "worklist.manage_stations"


@require_POST
@needs(PERMISSION)
def try_connection(request: HttpRequest, pk: int) -> HttpResponse:
    """Call a scanner at its stored address, and at no other: nothing of the request names one."""
    station = get_object_or_404(Station, pk=pk)
    data: dict[str, object] = {"station": station}
    if station.test_port is not None:
        made = trial.attempt(
            station.test_host,
            station.test_port,
            calling=settings.AE_TITLE.strip(),
            called=station.ae_title,
        )
        at = f"{station.test_host} {station.test_port}"
        details = {"address": at, "result": str(made.verdict)}
        trail.note("test", station, by=actor(request), details=details)
        data |= {"told": connection_words.tell(made), "at": clock.now()}
    is_part = request.headers.get("HX-Request") == "true"
    template = "setup/_connection.html" if is_part else "setup/connection.html"
    answer = render(request, template, data, status=200 if "told" in data else 422)
    patch_vary_headers(answer, ("HX-Request",))
    return answer


@require_POST
@needs(PERMISSION)
def certificate(request: HttpRequest, pk: int) -> HttpResponse:
    """Trust a certificate that the scanner has shown, or one no longer."""
    station = get_object_or_404(Station, pk=pk)
    trusted, distrusted = request.POST.get("trust", ""), request.POST.get("distrust", "")
    if trusted in {one.fingerprint for one in certificates.seen(station)}:
        catalogue.trust_certificate(station, trusted, by=actor(request))
        notices.done(request, _("The certificate is trusted."))
    elif distrusted in station.certificates.split():
        catalogue.distrust_certificate(station, distrusted, by=actor(request))
        notices.done(request, _("The certificate is not trusted any longer."))
    else:
        told = _("This certificate is not known any longer: nothing was changed.")
        notices.failed(request, told)
    return redirect("setup-scanner", pk=pk)
