"""What Django and axes tell of signing in and out, signed: who failed, who is locked, who left.

Signals, since there are several ways out and in: the pages, the administration, the idle clock.
"""

from __future__ import annotations

from typing import Any

from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth.signals import user_logged_out, user_login_failed
from django.http import HttpRequest

from worklist.actor import actor, address
from worklist.audit import happenings
from worklist.audit.trail import Actor


def connect() -> None:
    """Listen; axes, which counts the failures, has been listening for longer."""
    user_login_failed.connect(_failed, dispatch_uid="worklist.sign_ins")
    user_locked_out.connect(_locked, dispatch_uid="worklist.sign_ins")
    user_logged_out.connect(_left, dispatch_uid="worklist.sign_ins")


def _failed(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **options: Any
) -> None:
    if request is None:
        return
    happenings.sign_in_failed(
        by=_claimed(request, credentials.get("username")),
        is_locked=getattr(request, "axes_locked_out", False),
    )


def _locked(sender: Any, request: HttpRequest, username: str, **options: Any) -> None:
    # Each try while it is locked locks it anew.
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    happenings.locked_out(by=_claimed(request, username), minutes=minutes)


def _left(sender: Any, request: HttpRequest, user: Any, **options: Any) -> None:
    if user is not None:
        reason = "idle" if getattr(request, "is_idle", False) else ""
        happenings.signed_out(by=actor(request), reason=reason)


def _claimed(request: HttpRequest, username: object) -> Actor:
    """Who it was claimed to be; nobody has shown it."""
    return Actor(str(username or ""), address(request))
