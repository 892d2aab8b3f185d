"""A page whose changing part is asked for again and again: 304 while there is nothing new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language

from worklist import board, clock

# The search of a page that refreshes itself, percent-encoded.
_SEARCH_HEADER = "X-Search"


def filters_of(request: HttpRequest) -> board.Filters:
    """The filters of the address, and the search that came in the form or beside the request."""
    search = request.POST.get("q") or unquote(request.headers.get(_SEARCH_HEADER, ""))
    return board.Filters.of(request.GET.dict(), search=search)


def answer(
    request: HttpRequest,
    filters: board.Filters,
    *,
    page: str,
    part: str,
    shown: Callable[[], Mapping[str, object]],
    facts: str = "",
) -> HttpResponse:
    """The page, or only its changing part for a page that refreshes itself.

    A refresh that has the newest state already is answered 304 before anything is read, unless it
    searches: a search looks at all days. `facts` are what else the part depends on.
    """
    is_part = request.headers.get("HX-Request") == "true"
    tag = "" if filters.q else board.etag(filters, part, get_language() or "", facts)
    if is_part and tag and request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    else:
        context = {"now": clock.now(), **shown(), "etag": tag}
        response = render(request, part if is_part else page, context)
    if tag:
        response["ETag"] = tag
    # The refreshing page keeps the site's time, not that of the computer that it is shown on.
    response["X-Site-Time"] = f"{clock.now():%H:%M:%S}"
    # Names may be on this page: nothing of it stays on the disk of a shared computer.
    response["Cache-Control"] = "no-store"
    return response
