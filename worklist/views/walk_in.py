"""Walk-ins: an exam that is put on a scanner's list within seconds, whatever speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from worklist import clock, lookup, names, once
from worklist.actor import actor
from worklist.forms.booking import fitting_stations
from worklist.forms.walk_in import WalkInForm
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
)
from worklist.roles import needs
from worklist.scheduling import booking, slots, undo, walk_ins
from worklist.scheduling.booking import EMERGENCY, PlannedExam, Visit
from worklist.views import notices
from worklist.views.booking import board, sent_before
from worklist.views.who import Problem, is_key

_PARTS = {"who": "booking/walk_in_who.html", "scanners": "booking/walk_in_scanners.html"}


@dataclass(frozen=True)
class Scanner:
    """A scanner that could take the walk-in, and when it is free ("" now)."""

    station: Station
    free: str


@needs("worklist.schedule_exam", "worklist.view_patient")
def walk_in(request: HttpRequest) -> HttpResponse:
    """The form of four fields, its parts, and what it does."""
    data = request.POST.copy() if request.method == "POST" else request.GET.copy()
    chosen = data.pop("choose_patient", [""])[-1]
    if chosen:
        data["patient"] = chosen if is_key(chosen) else ""
        data["unknown"] = ""
    part = _PARTS.get(request.GET.get("part", ""))
    act = data.get("act", "") if request.method == "POST" else ""
    found = None
    patient = _patient(data.get("patient", ""))
    query = data.get("patient_query", "").strip()
    if act == "find-patient" or (act == "default" and query and not patient):
        found = lookup.find_patients(query)
    context: dict[str, Any] = {
        "data": data,
        "patient": patient,
        "found_patient": lookup.with_visits([patient])[0] if patient else None,
        "found_patients": found,
        "is_unknown": bool(data.get("unknown")) and patient is None,
    }
    if request.method == "POST" and act in ("save", "default") and found is None and not part:
        return _save(request, context)
    form = WalkInForm(initial={"sex": "O", "start": "now", **data.dict()})
    context |= {"form": form, "scanners": _scanners(data.get("exam", "")), "problems": []}
    context["form_key"] = data.get("form_key") or once.new_key()
    context["station"] = _chosen(context["scanners"], data.get("station", ""))
    return render(request, part or "booking/walk_in.html", context)


def _patient(key: str) -> Patient | None:
    patients = Patient.objects.select_related("merged_into")
    found = patients.filter(pk=key).first() if is_key(key) else None
    return found and (found.merged_into or found)


def _scanners(exam: str) -> list[Scanner]:
    """The scanners for this exam, those that are free first; without one, all."""
    stations = list(Station.objects.filter(is_active=True).order_by("name", "ae_title"))
    kinds = ProcedureType.objects.prefetch_related("allowed_stations")
    kind = kinds.filter(pk=exam).first() if is_key(exam) else None
    if kind is not None:
        stations = fitting_stations(kind, stations)
    now = clock.now().replace(second=0)
    free = slots.first_gaps(stations, now, kind.minutes if kind else slots.USUAL_MINUTES)
    stations.sort(key=lambda station: free[station.pk] > now)
    return [
        Scanner(station, "" if free[station.pk] == now else f"{free[station.pk]:%H:%M}")
        for station in stations
    ]


def _chosen(scanners: list[Scanner], wanted: str) -> str:
    """The scanner that is wanted, when it is one of these, else the first that is free."""
    keys = [str(scanner.station.pk) for scanner in scanners]
    return wanted if wanted in keys or not keys else keys[0]


def _save(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    key = once.key_of(request.POST)
    if response := sent_before(request, key):
        return response
    form = WalkInForm(request.POST)
    patient = context["patient"]
    problems = []
    if patient is None and not context["is_unknown"]:
        problems.append(
            Problem(
                _("Choose the patient, or tick *Unknown patient*."),
                _("Patient"),
                "id_patient_query",
            )
        )
    form.is_valid()
    booked: list[ScheduledProcedureStep] = []

    def work() -> str:
        data = form.cleaned_data
        start = form.moment
        who = patient or walk_ins.unknown_patient(data["sex"], at=clock.now())
        assert isinstance(who, Patient)
        exam = PlannedExam(data["exam"], data["station"], start, data["exam"].minutes)
        visit = Visit(request=ImagingServiceRequest(patient=who), exams=(exam,), priority=EMERGENCY)
        booked.extend(booking.book(visit, by=actor(request)))
        return board(start.date())

    if form.is_valid() and not problems:
        try:
            outcome = once.carry_out(key, work)
        except ValidationError as error:
            problems += [Problem(text) for text in error.messages]
        else:
            if booked:
                said = _told(booked[0], form.cleaned_data["station"])
                notices.done(request, said, undo=undo.of_booking(booked, form=key))
            return redirect(outcome.address)
    for field in form:
        anchor = "id_station" if field.name == "station" else field.id_for_label
        problems += [Problem(str(error), str(field.label), anchor) for error in field.errors]
    context |= {
        "form": form,
        "scanners": _scanners(request.POST.get("exam", "")),
        "station": request.POST.get("station", ""),
        "problems": problems,
        "form_key": request.POST.get("form_key") or once.new_key(),
    }
    return render(request, "booking/walk_in.html", context, status=422)


def _told(step: ScheduledProcedureStep, station: Station) -> str:
    """What was booked, and the offer to move what it runs into."""
    patient = step.requested_procedure.request.patient
    said = _("%(patient)s (%(id)s): %(exam)s is on the list of %(scanner)s at %(time)s.") % {
        "patient": names.text(patient.name),
        "id": patient.patient_id,
        "exam": step.description,
        "scanner": station.friendly_name,
        "time": f"{step.start_time:%H:%M}",
    }
    pushed = walk_ins.pushed_by(step, station)
    try:
        move = reverse("bulk-move")
    except NoReverseMatch:
        return said
    if pushed is None:
        return said
    query = {
        "station": station.pk,
        "day": f"{pushed.start:%Y-%m-%d}",
        "after": f"{pushed.start:%H:%M}",
        "minutes": pushed.minutes,
    }
    offer = ngettext(
        "Move the following %(count)d exam by %(minutes)d min",
        "Move the following %(count)d exams by %(minutes)d min",
        pushed.count,
    ) % {"count": pushed.count, "minutes": pushed.minutes}
    return format_html('{} <a href="{}?{}">{}</a>', said, move, urlencode(query), offer)
