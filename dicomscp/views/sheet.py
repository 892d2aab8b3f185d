"""The connection sheet: on paper, what a service engineer enters at a scanner's console."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe
from pydicom.uid import UID

from dicomscp.server import TRANSFER_SYNTAXES
from worklist import clock
from worklist.models import Station
from worklist.models.catalogue import character_sets
from worklist.roles import needs

PERMISSION = "worklist.manage_stations"
# What listens on every address has none of its own, and nobody reaches us by what is ours alone.
_NO_NAMES = ("", "0.0.0.0", "::", "localhost", "127.0.0.1", "::1")


@require_safe
@needs(PERMISSION)
def sheet(request: HttpRequest, pk: int) -> HttpResponse:
    """What both sides are called and where they are; nothing of it is of a patient."""
    station = get_object_or_404(Station.objects.prefetch_related("titles"), pk=pk)
    host, is_guess = _host(request)
    data = {
        "station": station,
        "titles": [title.ae_title for title in station.titles.all()],
        "host": host,
        "is_guess": is_guess,
        "ours": settings.AE_TITLE.strip(),
        "is_called_checked": settings.DICOM_CHECK_CALLED_AE_TITLE,
        "port": settings.DICOM_PUBLIC_PORT,
        "tls_port": settings.DICOM_TLS_PORT,
        "tls_client": settings.DICOM_TLS_CLIENT,
        "character_set": dict(character_sets()).get(station.character_set, ""),
        "syntaxes": [(UID(each).name, str(each)) for each in TRANSFER_SYNTAXES],
        "now": clock.now(),
    }
    return render(request, "setup/sheet.html", data)


def _host(request: HttpRequest) -> tuple[str, bool]:
    """Where scanners reach us, and whether that is only where browsers do; "": not known."""
    for host in (settings.DICOM_PUBLIC_HOST, settings.DICOM_BIND):
        if host.strip() not in _NO_NAMES:
            return host.strip(), False
    host = request.get_host()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]")
    return (name, True) if name not in _NO_NAMES else ("", False)
