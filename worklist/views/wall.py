"""The day on a screen that everybody sees: no names, no numbers of patients, no session.

Its link is the right to see it: it is made by an administrator and ends when that row is deleted.
Nobody has to stay signed in for it, so nobody's session lies open in front of it.
"""

from __future__ import annotations

from dataclasses import replace

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from worklist import board, clock
from worklist.models import WallScreen
from worklist.views.refresh import answer


@require_safe
@login_not_required
def wall(request: HttpRequest, key: str) -> HttpResponse:
    """Today's exams by scanner; the address may name a modality or a scanner."""
    get_object_or_404(WallScreen, key=key)
    asked = board.Filters.of(request.GET.dict())
    filters = replace(asked, day=clock.today(), status="", q="", view="list")

    def shown() -> dict[str, object]:
        return {
            "board": board.read(filters, with_gaps=False),
            "filters": filters,
            # Whoever is signed in on this computer: the page is nobody's.
            "user": AnonymousUser(),
            "places": (),
        }

    return answer(request, filters, page="board/wall.html", part="board/_wall.html", shown=shown)
