"""Undo: what a notice offers to take back, for half a minute and to who did it."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from worklist import once
from worklist.actor import actor
from worklist.roles import needs
from worklist.scheduling import StaleVersion, undo
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.scheduling.undo import Token, TooLate
from worklist.views import looks, notices, record, stale
from worklist.views.exams import SEE
from worklist.views.moves import BOOK, OVERRIDE

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
    back = here if url_has_allowed_host_and_scheme(here, {request.get_host()}) else reverse("home")
    count = 0
    try:
        token = undo.read(request.POST.get("undo", ""), owner=notices.owner(request))
        if not request.user.has_perm(_RIGHTS[token.kind]):
            raise PermissionDenied(_RIGHTS[token.kind])

        def work() -> str:
            nonlocal count
            count = len(
                undo.take_back(
                    token,
                    by=actor(request),
                    accepted=request.POST.getlist("accept") if "anyway" in request.POST else (),
                    reason=request.POST.get("reason", "")[:200],
                    may_override=request.user.has_perm(OVERRIDE),
                )
            )
            if token.form:
                once.free(token.form)
            return ""

        outcome = once.carry_out(token.key, work)
    except TooLate:
        notices.failed(request, _("It is too late to undo this. Change the exam itself."))
    except StaleVersion as error:
        told = stale.told(error)
        notices.failed(request, _("This is not undone.") + " " + told.sentence)
    except ConflictsFound as error:
        return _asked_back(request, token, error.conflicts, back)
    except ValidationError as error:
        notices.failed(request, " ".join(error.messages))
    else:
        notices.done(
            request, _("This was undone already.") if outcome.is_repeated else _undone(count)
        )
    return redirect(back)


def _asked_back(
    request: HttpRequest, token: Token, conflicts: tuple[Conflict, ...], back: str
) -> HttpResponse:
    """Ask whether it is to be undone though a place was taken meanwhile."""
    steps = [record.step_or_404(former.pk) for former, _version in token.formers]
    looks.at_list(request, map(record.patient_of, steps), looks.UNDONE)
    needs_reason = any(each.needs_reason for each in conflicts)
    data = {
        "token": request.POST["undo"],
        "next": back,
        "exams": [(record.patient_of(step), step, record.what(step)) for step in steps],
        "conflicts": conflicts,
        "can_be_undone": all(each.level == "warning" for each in conflicts),
        "needs_reason": needs_reason,
        "asks_reason": "anyway" in request.POST and needs_reason,
    }
    return render(request, "exams/undo.html", data, status=422)


def _undone(count: int) -> str:
    return ngettext("Undone.", "Undone: %(count)d exams.", count) % {"count": count}
