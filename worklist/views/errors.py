"""The pages of what went wrong, each with a next step and the request's number."""

from __future__ import annotations

import sys
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string

from worklist import roles
from worklist.actor import actor
from worklist.audit import happenings
from worklist.views import kept

# PostgreSQL's codes of what passes without us: a table or column that `migrate` is about to make, a
# transaction that was left alone, a server that is not yet the primary, or one that cannot write to
# its disk, and ends itself.
_PASSING = frozenset({"42P01", "42703", "25P03", "25006", "XX000"})
# Seconds after which the page asks again.
_AGAIN = 5


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400. What came of a session that could not be stored is no fault of the request."""
    cause: BaseException | None = exception
    while isinstance(cause, SessionInterrupted | UpdateError):
        cause = cause.__context__
    if _is_database_away(cause):
        return unavailable(request)
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
    if _is_database_away(sys.exc_info()[1]):
        return unavailable(request)
    context = {"request_id": getattr(request, "id", "")}
    return HttpResponse(render_to_string("errors/500.html", context), status=500)


def _is_database_away(error: BaseException | None) -> bool:
    """Whether it is not there, hangs, or does not have its tables yet."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    code = getattr(error.__cause__, "sqlstate", "") if isinstance(error, DatabaseError) else ""
    return code in _PASSING


def unavailable(request: HttpRequest) -> HttpResponse:
    """503: the database cannot be reached; the page tries again by itself.

    A form is sent again by who has typed it: it is not known how far the first time has come.
    """
    is_form = request.method == "POST"
    context: dict[str, Any] = {"request_id": getattr(request, "id", ""), "is_form": is_form}
    if is_form and kept.is_whole(request):
        context |= {"kept": kept.fields(request), "path": request.get_full_path()}
        context["is_once"] = "form_key" in request.POST
        context["csrf_token"] = get_token(request)
    response = HttpResponse(render_to_string("errors/503.html", context), status=503)
    response["Retry-After"] = str(_AGAIN)
    if not is_form:
        response["Refresh"] = str(_AGAIN)
    return response


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose token does not hold: what was typed comes back, to be sent again.

    Not for a form of another site, which nobody here has typed.
    """
    own = f"{request.scheme}://{request.get_host()}"
    if request.headers.get("Origin", "") != own:
        return render(request, "errors/403.html", {"right": ""}, status=403)
    context = {"path": request.get_full_path(), "kept": kept.fields(request)}
    return render(request, "account/go_on.html", context, status=403)
