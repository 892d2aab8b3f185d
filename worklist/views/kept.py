"""What a form says, kept on a page from which it can be sent again."""

from __future__ import annotations

from django.http import HttpRequest

Fields = list[tuple[str, str]]


def fields(request: HttpRequest) -> Fields:
    """The fields of the form that was sent; never a password, whichever name it goes by."""
    return [
        (name, value)
        for name, values in request.POST.lists()
        if name != "csrfmiddlewaretoken" and not _is_secret(name)
        for value in values
    ]


def is_whole(request: HttpRequest) -> bool:
    """Whether those are all that it said: no password was left out, and no file came along."""
    return not request.FILES and not any(_is_secret(name) for name in request.POST)


def _is_secret(name: str) -> bool:
    return "password" in name
