"""Undo: what a notice offers to take back, for half a minute and to who did it."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from worklist import once
from worklist.actor import actor
from worklist.roles import needs
from worklist.scheduling import StaleVersion, undo
from worklist.scheduling.conflicts import Conflict
from worklist.scheduling.undo import TooLate
from worklist.views import notices, stale
from worklist.views.exams import SEE
from worklist.views.moves import BOOK

# What taking back asks for: what doing it has asked for.
_RIGHTS = {
    "move": BOOK,
    "booking": BOOK,
    "cancel": "worklist.cancel_exam",
    "status": "worklist.set_status",
}


@require_POST
@needs(SEE)
def take_back(request: HttpRequest) -> HttpResponse:
    """Undo what a notice offered to undo, once."""
    here = request.POST.get("next", "")
    back = here if url_has_allowed_host_and_scheme(here, {request.get_host()}) else "home"
    count = 0
    overlaps: tuple[Conflict, ...] = ()
    try:
        token = undo.read(request.POST.get("undo", ""), owner=notices.owner(request))
        if not request.user.has_perm(_RIGHTS[token.kind]):
            raise PermissionDenied(_RIGHTS[token.kind])

        def work() -> str:
            nonlocal count, overlaps
            done, overlaps = undo.take_back(token, by=actor(request))
            count = len(done)
            if token.form:
                once.free(token.form)
            return ""

        outcome = once.carry_out(token.key, work)
    except TooLate:
        notices.failed(request, _("It is too late to undo this. Change the exam itself."))
    except StaleVersion as error:
        told = stale.told(error)
        notices.failed(request, _("This is not undone.") + " " + told.sentence)
    except ValidationError as error:
        notices.failed(request, " ".join(error.messages))
    else:
        notices.done(
            request, _("This was undone already.") if outcome.is_repeated else _undone(count)
        )
        for each in overlaps:
            notices.failed(request, each.message)
    return redirect(back)


def _undone(count: int) -> str:
    return ngettext("Undone.", "Undone: %(count)d exams.", count) % {"count": count}
