"""What leaves the screen, each signed: the day's list and a slip on paper, the list as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from worklist import board, clock, code128, names, sheets
from worklist.actor import actor
from worklist.audit import looks, trail
from worklist.models import ScheduledProcedureStep, StepStatus
from worklist.roles import needs
from worklist.views import record
from worklist.views.board import LOOK, SEE
from worklist.views.looks import DAY
from worklist.views.refresh import filters_of


@require_http_methods(LOOK)
@needs(SEE)
def day(request: HttpRequest) -> HttpResponse:
    """The day's list for paper: the board's filters, a scanner a page."""
    filters = filters_of(request)
    shown = board.read(filters, with_gaps=False)
    _sign(request, "print", shown)
    lanes = [lane for lane in shown.lanes if lane.exams]
    context = {
        "filters": filters,
        "lanes": lanes,
        "words": _in_words(shown),
        "now": clock.now(),
        "initials": request.GET.get("initials") == "1",
        "back": filters.query(),
    }
    return _private(render(request, "board/print_day.html", context))


@require_safe
@needs(SEE)
def slip(request: HttpRequest, pk: int) -> HttpResponse:
    """One exam for paper, its accession number as a bar code."""
    step = get_object_or_404(
        ScheduledProcedureStep.objects.select_related("requested_procedure__request__patient"),
        pk=pk,
    )
    procedure = step.requested_procedure
    number = procedure.request.accession_number
    trail.note("print", step, by=actor(request))
    context = {
        "step": step,
        "procedure": procedure,
        "patient": procedure.request.patient,
        "number": number,
        "barcode": _barcode(number),
        "scanners": [station.friendly_name for station in step.stations.all()],
        "now": clock.now(),
        "back": record.way_back(request, "exam", pk),
    }
    return _private(render(request, "board/slip.html", context))


def _barcode(number: str) -> str:
    try:
        return mark_safe(
            code128.svg(number, label=_("Bar code of %(number)s") % {"number": number})
        )
    except ValueError:  # none, or letters that the code does not have: it stands there in print
        return ""


@require_http_methods(LOOK)
@needs(SEE, "worklist.export_exams")
def exams_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The day's list as CSV for spreadsheets, a row an exam."""
    filters = filters_of(request)
    shown = board.read(filters, with_gaps=False)
    _sign(request, "export", shown)
    response = StreamingHttpResponse(
        sheets.lines(_rows(shown)), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="exams-{filters.day:%Y-%m-%d}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _rows(shown: board.Board) -> Iterator[list[str]]:
    yield [
        _("Day"),
        _("Start"),
        _("End"),
        _("Scanner"),
        _("AE title"),
        _("Modality"),
        _("Patient ID"),
        _("Patient"),
        _("Date of birth"),
        _("Sex"),
        _("Exam"),
        _("Accession number"),
        _("Status"),
        _("Emergency"),
    ]
    for exam, scanners in board.exams(shown):
        yield [
            exam.day.isoformat(),
            f"{exam.start:%H:%M}",
            f"{exam.ends:%H:%M}",
            ", ".join(scanner.name for scanner in scanners),
            ", ".join(scanner.ae_title for scanner in scanners),
            exam.modality,
            exam.patient_id,
            names.text(exam.name),
            exam.birth_date.isoformat() if exam.birth_date else "",
            exam.sex,
            exam.description,
            exam.accession_number,
            str(StepStatus(exam.status).label) if exam.status in StepStatus else exam.status,
            _("yes") if exam.is_emergency else "",
        ]


def _sign(request: HttpRequest, action: str, shown: board.Board) -> None:
    filters = shown.filters
    details = {
        "day": filters.day.isoformat(),
        "modality": filters.modality,
        "station": filters.station,
        "status": filters.status,
        "search": filters.q,
        "rows": shown.shown,
    }
    patients = board.patients(shown)
    looks.seen(patients, by=actor(request), label=DAY, action=action, details=details)


def _in_words(shown: board.Board) -> list[str]:
    """The filters as people say them."""
    filters = shown.filters
    statuses = {"open": _("Open"), "all": _("All"), **dict(StepStatus.choices)}
    scanner = next((s.name for s in shown.scanners if s.pk == filters.station), "")
    told: list[Any] = [
        scanner,
        filters.modality,
        statuses.get(filters.status, _("All but cancelled")),
        f"“{filters.q}”" if filters.q else "",
    ]
    return [str(each) for each in told if each]


def _private(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
