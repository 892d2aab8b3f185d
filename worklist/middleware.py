"""What stands before every page: whence a request comes, its number, its language, who is away."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers

GetResponse = Callable[[HttpRequest], HttpResponse]

# The board's refreshes and other requests that no person has made.
BACKGROUND_HEADER = "X-Background"
# A session is written when its last sign of life is older than this, in seconds.
_SEEN_EVERY = 30


class ProxyMiddleware:
    """Behind PROXIES proxies, a request's address is that which the outermost of them saw.

    Each adds the address of who asks it to X-Forwarded-For, at the end. What stands further ahead
    is what a browser said of itself, and is not believed.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        named = request.headers.get("X-Forwarded-For", "").split(",")
        if 0 < settings.PROXIES <= len(named):
            with suppress(ValueError):
                seen = ipaddress.ip_address(named[-settings.PROXIES].strip())
                request.META["REMOTE_ADDR"] = str(seen)
        return self.get_response(request)


class RequestIdMiddleware:
    """Gives each request a short number that an error page shows and the log holds."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        digits = secrets.token_hex(3).upper()
        request.id = f"{digits[:4]}-{digits[4:]}"
        response = self.get_response(request)
        response["X-Request-ID"] = request.id
        return response


class LanguageMiddleware:
    """The language of the screens: the person's, else the browser's, else the site's."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        chosen = getattr(request.user, "language", "") or request.session.get("language", "")
        language = chosen or translation.get_language_from_request(request)
        with translation.override(language):
            request.LANGUAGE_CODE = translation.get_language()
            response = self.get_response(request)
        patch_vary_headers(response, ("Accept-Language",))
        response.headers.setdefault("Content-Language", language)
        return response


class IdleMiddleware:
    """Signs out who has not been seen for IDLE_SECONDS; a page that refreshes itself is no one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        if request.user.is_authenticated:
            now = int(time.time())
            seen = request.session.setdefault("seen", now)
            if now - seen > settings.IDLE_SECONDS:
                request.is_idle = True  # the signature says so
                logout(request)
            elif BACKGROUND_HEADER not in request.headers and now - seen >= _SEEN_EVERY:
                request.session["seen"] = now
        return self.get_response(request)


class PrivateMiddleware:
    """What a signed-in person sees is kept nowhere: not by a browser's "back", not on its disk."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_somebody = request.user.is_authenticated
        response = self.get_response(request)
        if is_somebody:
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    def process_view(self, request: HttpRequest, *view: Any) -> None:
        """Refuse what no person types, and what PostgreSQL cannot hold."""
        for values in (request.GET, request.POST):
            if any("\0" in text for _, texts in values.lists() for text in texts):
                raise BadRequest("a null character")
