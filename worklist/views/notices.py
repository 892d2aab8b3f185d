"""What a page says after something was done, with the offer to undo it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest

_UNDO = "undo="


def done(request: HttpRequest, text: str, *, undo: str = "") -> None:
    """Say on the next page that this was done; `undo` is the token that takes it back."""
    messages.success(request, text, extra_tags=f"{_UNDO}{undo}" if undo else "")


def failed(request: HttpRequest, text: str) -> None:
    """Say on the next page what a person must know; it stays until it is closed."""
    messages.error(request, text)


def undo_token(extra_tags: str) -> str:
    """The token that a notice carries, "" when nothing can be undone."""
    return extra_tags.removeprefix(_UNDO) if extra_tags.startswith(_UNDO) else ""
