"""The pages of what went wrong, each with a next step and the request's number."""

from __future__ import annotations

import sys

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from worklist import roles
from worklist.actor import actor
from worklist.audit import happenings


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return render(request, "errors/400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403, with the right that is missing; that it was asked for is signed."""
    missing = str(exception) if exception else ""
    if request.user.is_authenticated:
        happenings.permission_denied(by=actor(request), path=request.path, permission=missing)
    context = {"right": roles.right(missing.rpartition(".")[2])}
    return render(request, "errors/403.html", context, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404."""
    return render(request, "errors/404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500. A database that is away is 503, which tells browsers and proxies to come again."""
    # What went wrong may be what the frame needs: these two pages ask no database.
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return unavailable(request)
    context = {"request_id": getattr(request, "id", "")}
    return HttpResponse(render_to_string("errors/500.html", context), status=500)


def unavailable(request: HttpRequest) -> HttpResponse:
    """503: the database cannot be reached; the page tries again by itself."""
    context = {"request_id": getattr(request, "id", "")}
    response = HttpResponse(render_to_string("errors/503.html", context), status=503)
    response["Retry-After"] = "10"
    response["Refresh"] = "10"
    return response


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose token does not hold: what was typed comes back, to be sent again.

    Not for a form of another site, which nobody here has typed.
    """
    own = f"{request.scheme}://{request.get_host()}"
    if request.headers.get("Origin", "") != own:
        return render(request, "errors/403.html", {"right": ""}, status=403)
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in ("csrfmiddlewaretoken", "password")
        for value in values
    ]
    context = {"path": request.get_full_path(), "kept": fields}
    return render(request, "account/go_on.html", context, status=403)
