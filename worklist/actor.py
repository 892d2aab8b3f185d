"""Who signs what a request writes."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest

from worklist.audit.trail import Actor


def actor(request: HttpRequest) -> Actor:
    """Who signs what this request writes."""
    return Actor(request.user.get_username(), address(request))


def address(request: HttpRequest) -> str | None:
    """The address that a request came from, where it has one."""
    try:
        # Behind a unix socket there is none.
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None
