"""One exam: what it is, how far it is, what happened to it; its status, and calling it off."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.http import require_http_methods, require_safe

from worklist import history, names
from worklist.actor import actor
from worklist.models import ScheduledProcedureStep, StepStatus
from worklist.models.orders import priorities
from worklist.roles import needs
from worklist.scheduling import StaleVersion, cancel, held, set_status, steps, undo
from worklist.scheduling.undo import Former
from worklist.views import looks, notices, record, stale

SEE = "worklist.view_scheduledprocedurestep"
_REASON_LENGTH = 200
# Kept in the trail as they stand here, and shown in the language of the screen.
_WHY_CANCEL = (
    gettext_noop("Patient did not come"),
    gettext_noop("Patient or ward cancelled"),
    undo.BY_MISTAKE,
    gettext_noop("Equipment"),
)


@require_safe
@needs(SEE)
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """The exam among the patient's exams. Seen pages are signed."""
    step = record.step_or_404(pk)
    looks.at_exam(request, step)
    return render(request, "exams/exam.html", context(request, step))


def context(request: HttpRequest, step: ScheduledProcedureStep) -> dict[str, Any]:
    """What the exam's page shows."""
    procedure = step.requested_procedure
    exams = record.exams_of(record.patient_of(step))
    ahead = steps.forward(step.status)
    before = steps.back(step.status)
    shown = about(step)
    lane = next((station.pk for station in shown["stations"]), 0)
    return {
        **shown,
        "board_url": f"{reverse('today')}?day={step.start_date:%Y-%m-%d}#e{step.pk}-{lane}",
        "banner": record.banner(record.patient_of(step)),
        "exams": [each for each in exams if not each.is_cancelled],
        "cancelled": [each for each in exams if each.is_cancelled],
        "history": history.of(step, procedure, procedure.request),
        "priority": dict(priorities()).get(procedure.priority, procedure.priority),
        "forward": [(status.value, status.label) for status in ahead],
        "back": before.label if before else "",
        "may_be_moved": steps.may_move(step.status),
        "may_be_cancelled": step.status in steps.BEFORE_START,
    }


def about(step: ScheduledProcedureStep) -> dict[str, Any]:
    """The exam itself, as every page about it names it."""
    procedure = step.requested_procedure
    return {
        "step": step,
        "what": record.what(step),
        "procedure": procedure,
        "order": procedure.request,
        "patient": record.patient_of(step),
        "stations": held.stations_of(step),
        "is_emergency": procedure.priority == held.URGENT,
    }


# --- status ---------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, "worklist.set_status")
def status(request: HttpRequest, pk: int) -> HttpResponse:
    """Say how far the exam is; a step back asks for a reason on a page of its own."""
    step = record.step_or_404(pk)
    shown: dict[str, Any] = {}
    if request.method == "POST":
        wanted = request.POST.get("status", "")
        try:
            if wanted not in StepStatus:
                raise ValidationError(_("Choose a status."))
            former = Former.of(step)
            saved = set_status(
                step,
                StepStatus(wanted),
                by=actor(request),
                version=record.version_of(request.POST),
                may_step_back=request.user.has_perm("worklist.step_back_status"),
                reason=request.POST.get("reason", "")[:_REASON_LENGTH],
            )
        except StaleVersion as error:
            shown = {"stale": stale.told(error, own={"status": wanted}), "code": 409}
            step = record.step_or_404(pk)
        except ValidationError as error:
            shown = {"problems": error.messages, "code": 422}
        else:
            told = {"name": names.text(record.patient_of(step).name), "status": _label(wanted)}
            notices.done(
                request,
                _("%(name)s: %(status)s.") % told,
                undo=undo.of("status", [(former, saved)]) if saved.status != step.status else None,
            )
            return redirect(record.way_back(request, "exam", pk))
    before = steps.back(step.status)
    data = {
        **about(step),
        "version": record.version_shown(request, step, is_told="stale" in shown),
        "banner": None,
        "forward": [(each.value, each.label) for each in steps.forward(step.status)],
        "back": (before.value, before.label) if before else None,
        "next": record.way_back(request, "exam", pk),
        **shown,
    }
    looks.at_exam(request, step)
    return render(request, "exams/status.html", data, status=shown.get("code", 200))


def _label(value: str) -> str:
    return str(dict(StepStatus.choices).get(value, value))


# --- calling off ----------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, "worklist.cancel_exam")
def cancel_exam(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an exam off the worklists, with a reason. The safe choice is to keep it."""
    step = record.step_or_404(pk)
    shown: dict[str, Any] = {}
    if request.method == "POST":
        try:
            reason = _reason(request)
            former = Former.of(step)
            saved = cancel(
                step, by=actor(request), version=record.version_of(request.POST), reason=reason
            )
        except StaleVersion as error:
            shown = {
                "stale": stale.told(error, own={"status": StepStatus.CANCELED.value}),
                "code": 409,
            }
            step = record.step_or_404(pk)
        except ValidationError as error:
            shown = {"problems": error.messages, "code": 422}
        else:
            told = {"name": names.text(record.patient_of(step).name), "exam": record.what(step)}
            notices.done(
                request,
                _("%(exam)s of %(name)s is cancelled.") % told,
                undo=undo.of("cancel", [(former, saved)]),
            )
            return record.go(request, record.way_back(request, "exam", pk))
    data = {
        **about(step),
        **record.layout(request),
        "version": record.version_shown(request, step, is_told="stale" in shown),
        "reasons": [(reason, history.said(reason)) for reason in _WHY_CANCEL],
        "chosen": request.POST.get("why", _WHY_CANCEL[0]),
        "other": request.POST.get("other", ""),
        "next": record.way_back(request, "exam", pk),
        "may_be_cancelled": step.status in steps.BEFORE_START,
        **shown,
    }
    looks.at_exam(request, step)
    return render(request, "exams/cancel.html", data, status=shown.get("code", 200))


def _reason(request: HttpRequest) -> str:
    """Why, in the person's own words or one of ours. Raises ValidationError when none is given."""
    own: str = request.POST.get("other", "").strip()[:_REASON_LENGTH]
    if own:
        return own
    why: str = request.POST.get("why", "")
    if why in _WHY_CANCEL:
        return why
    raise ValidationError(_("Say why the exam is cancelled."))
