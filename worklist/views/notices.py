"""What a page says after something was done, with the offer to undo it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest

from worklist.scheduling import undo as taking_back
from worklist.scheduling.undo import Token

_UNDO = "undo="


def done(request: HttpRequest, text: str, *, undo: Token | None = None) -> None:
    """Say on the next page that this was done; `undo` is what takes it back."""
    tags = f"{_UNDO}{taking_back.sign(undo, owner=owner(request))}" if undo else ""
    messages.success(request, text, extra_tags=tags)


def failed(request: HttpRequest, text: str) -> None:
    """Say on the next page what a person must know; it stays until it is closed."""
    messages.error(request, text)


def undo_token(extra_tags: str) -> str:
    """The token that a notice carries, "" when nothing can be undone."""
    return extra_tags.removeprefix(_UNDO) if extra_tags.startswith(_UNDO) else ""


def owner(request: HttpRequest) -> str:
    """For whom an offer to undo is made: this person in this session."""
    return f"{request.user.pk} {request.session.session_key}"
