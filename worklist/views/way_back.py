"""Where a person came from to a form, to lead there again: from the board to its day and filters.

It stands in the form, not in its address: a search on the board may hold a patient's name.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme


def of(request: HttpRequest) -> str:
    """The page of ours that led to this form, "" when none did."""
    return given(request) or _led_by(request)


def given(request: HttpRequest) -> str:
    """What the form, or its address, says of it."""
    return _ours(request, request.POST.get("next") or request.GET.get("next") or "")


def to_board(address: str) -> str:
    """The address when it is the board's, else ""."""
    return address if urlsplit(address).path == reverse("today") else ""


def without_search(address: str) -> str:
    """The address without what was searched for."""
    parts = urlsplit(address)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name != "q"]
    return parts._replace(query=urlencode(kept)).geturl()


def _led_by(request: HttpRequest) -> str:
    led = urlsplit(_ours(request, request.headers.get("Referer", "")))
    if led.path in (request.path, ""):
        return ""
    return led._replace(scheme="", netloc="", fragment="").geturl()


def _ours(request: HttpRequest, address: str) -> str:
    return address if url_has_allowed_host_and_scheme(address, {request.get_host()}) else ""
