"""What is noted with an exam: who asked for it and why, who does it, what scanners are told."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from worklist import names
from worklist.actor import actor
from worklist.forms.exam import part_forms
from worklist.models import ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep
from worklist.roles import needs
from worklist.scheduling import StaleVersion, amend
from worklist.views import notices, record, stale
from worklist.views.exams import SEE, about
from worklist.views.moves import BOOK


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, BOOK)
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what is noted with an exam."""
    step = record.step_or_404(pk)
    made = part_forms(step, request.POST if request.method == "POST" else None)
    versions = request.POST.get("versions", "") or _versions_of(step)
    shown: dict[str, Any] = {}
    if request.method == "POST":
        shown = {"code": 422}
        # Each is asked, so that each tells what is wrong with it.
        valid = [form.is_valid() for form in made.values()]
        if all(valid):
            procedure = made[RequestedProcedure].instance
            procedure.request = made[ImagingServiceRequest].instance
            try:
                amend(
                    made[ScheduledProcedureStep].instance,
                    procedure,
                    by=actor(request),
                    versions=_seen(versions),
                )
            except StaleVersion as error:
                now = record.step_or_404(pk)
                sent, found = request.POST.copy(), []
                for each in (error, *error.also):
                    form = part_forms(now)[type(each.row)]
                    found.append((each, form.rebased(sent, each)))
                made, versions = part_forms(now, sent), _versions_of(now)
                shown = {"stale": stale.told_all(found), "code": 409}
            except ValidationError as error:
                shown = {"problems": error.messages, "code": 422}
            else:
                told = {
                    "exam": record.what(step),
                    "name": names.text(record.patient_of(step).name),
                }
                notices.done(request, _("%(exam)s of %(name)s is saved.") % told)
                return redirect("exam", pk=pk)
        # The forms have written into theirs what was typed.
        step = record.step_or_404(pk)
    data = {**about(step), "forms": list(made.values()), "versions": versions, **shown}
    return render(request, "exams/edit.html", data, status=shown.get("code", 200))


def _versions_of(step: ScheduledProcedureStep) -> str:
    procedure = step.requested_procedure
    return f"{step.version}-{procedure.version}-{procedure.request.version}"


def _seen(text: str) -> tuple[int, int, int]:
    """The versions that the form carries; 0, which no row has, for what it does not."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text[:40].split("-")]
    first, second, third = [*numbers, 0, 0, 0][:3]
    return first, second, third
