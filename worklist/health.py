"""Whether this process lives, and whether it can serve: asked by probes and by the demo."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from worklist import database


@never_cache
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """200 whenever it is answered: another process would be no better off."""
    return _said("ok")


@never_cache
@login_not_required
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and has its tables, 503 and the reason when not."""
    try:
        missing = database.missing_migrations()
    except Error:
        return _said("database unavailable", status=503)
    if missing:
        return _said(f"migrations missing: {missing}; run manage.py migrate", status=503)
    return _said("ok")


def _said(words: str, *, status: int = 200) -> HttpResponse:
    return HttpResponse(f"{words}\n", status=status, content_type="text/plain")
