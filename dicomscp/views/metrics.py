"""The metrics, for Prometheus: open without sign-in to the addresses of METRICS_ALLOW alone."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dicomscp import metrics
from worklist import actor

PERMISSION = "worklist.view_querylog"
# Who comes by way of a proxy comes from its address: that says nothing of who it is.
_BY_PROXY = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP")


@never_cache
@require_safe
@login_not_required
def told(request: HttpRequest) -> HttpResponse:
    """The metrics as text; 403 for who may not have them, 503 without a database."""
    if not (_is_allowed(request) or request.user.has_perm(PERMISSION)):
        words = "Not from this address: METRICS_ALLOW names those that may ask.\n"
        return HttpResponse(words, status=403, content_type="text/plain")
    try:
        found = metrics.text()
    except Error:
        return HttpResponse("database unavailable\n", status=503, content_type="text/plain")
    return HttpResponse(found, content_type=metrics.CONTENT_TYPE)


def _is_allowed(request: HttpRequest) -> bool:
    address = actor.address(request)
    if address is None or any(name in request.headers for name in _BY_PROXY):
        return False
    return any(ipaddress.ip_address(address) in network for network in settings.METRICS_ALLOW)
