"""What the pages of an exam and of a patient share: the banner, and the list of exams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from worklist import names, values
from worklist.models import (
    Patient,
    PatientMerge,
    ScheduledProcedureStep,
    StepStation,
    StepStatus,
)
from worklist.models.versions import Versioned

_SIMILAR = 5


@dataclass(frozen=True)
class Banner:
    """Who this is about, and what one must know before doing anything."""

    patient: Patient
    allergies: str
    alerts: str
    similar: tuple[Patient, ...]
    merges: tuple[PatientMerge, ...]


@dataclass(frozen=True)
class Exam:
    """A step of the patient's list."""

    step: ScheduledProcedureStep
    scanner: str
    what: str

    @property
    def is_cancelled(self) -> bool:
        return self.step.status == StepStatus.CANCELED


def banner(patient: Patient) -> Banner:
    """Two statements."""
    merges = PatientMerge.objects.filter(survivor=patient, undone_at=None)
    return Banner(
        patient,
        ", ".join(values.split(patient.allergies)),
        ", ".join(values.split(patient.medical_alerts)),
        similar(patient),
        tuple(merges.select_related("merged")),
    )


def similar(patient: Patient) -> tuple[Patient, ...]:
    """Other patients whose names are easily taken for this one's, a few."""
    alphabetic, *_ = names.groups(patient.name)
    if patient.is_unknown or not (alphabetic.family and alphabetic.given):
        return ()
    begins = values.fold_name(f"{alphabetic.family}^{alphabetic.given[:2]}")
    swapped = values.fold_name(f"{alphabetic.given}^{alphabetic.family[:2]}")
    near = Patient.objects.filter(merged_into=None).filter(
        Q(name_folded__startswith=begins) | Q(name_folded__startswith=swapped)
    )
    key = names.similarity_key(patient.name)
    found = near.exclude(pk=patient.pk).order_by("pk")[: 10 * _SIMILAR]
    return tuple(each for each in found if names.similarity_key(each.name) == key)[:_SIMILAR]


def exams_of(patient: Patient) -> tuple[Exam, ...]:
    """All exams of a patient, the latest first: two statements."""
    steps = list(
        ScheduledProcedureStep.objects.filter(requested_procedure__request__patient=patient)
        .select_related("requested_procedure__request")
        .order_by("-start_date", "-start_time", "-pk")
    )
    scanners: dict[int, str] = {}
    rows = StepStation.objects.filter(step__requested_procedure__request__patient=patient)
    for row in rows.order_by("position").select_related("station"):
        scanners.setdefault(row.step_id, row.station.friendly_name)
    return tuple(Exam(step, scanners.get(step.pk, ""), what(step)) for step in steps)


def what(step: ScheduledProcedureStep) -> str:
    """What is done, as people call it."""
    return step.description or step.requested_procedure.description or step.modality


def open_exams(patient: Patient) -> dict[str, int]:
    """How many exams of a patient stand on worklists: to come, and under way."""
    steps = ScheduledProcedureStep.objects.filter(requested_procedure__request__patient=patient)
    counted: dict[str, int] = steps.aggregate(
        coming=Count("pk", filter=Q(status__in=("SCHEDULED", "ARRIVED", "READY"))),
        started=Count("pk", filter=Q(status="STARTED")),
    )
    return counted


def step_or_404(pk: int) -> ScheduledProcedureStep:
    """The step with all that it hangs on: one statement."""
    return get_object_or_404(
        ScheduledProcedureStep.objects.select_related(
            "requested_procedure__code", "requested_procedure__request__patient__merged_into"
        ),
        pk=pk,
    )


def patient_of(step: ScheduledProcedureStep) -> Patient:
    return step.requested_procedure.request.patient


def version_of(posted: Any) -> int:
    """The version that a form carries; 0, which no row has, when it carries none."""
    text = posted.get("version", "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def version_shown(request: HttpRequest, row: Versioned, *, is_told: bool = False) -> int | str:
    """The version that a form is shown with: the one with which it came, until it `is_told`.

    Whoever is asked back about something else has not seen what others have saved meanwhile.
    """
    return row.version if is_told else request.POST.get("version") or row.version


def way_back(request: HttpRequest, name: str, pk: int) -> str:
    """Where the person came from, else the page of this name."""
    wanted: str = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}):
        return wanted
    return reverse(name, args=[pk])


def layout(request: HttpRequest) -> dict[str, Any]:
    """Whether the form is shown in a dialog over the exam's page, and what it stands in."""
    is_dialog = "dialog-body" in request.headers.get("HX-Target", "")
    return {
        "is_dialog": is_dialog,
        "layout": "exams/dialog.html" if is_dialog else "base.html",
    }


def go(request: HttpRequest, address: str) -> HttpResponse:
    """Lead to this address, out of a dialog, too."""
    if layout(request)["is_dialog"]:
        return HttpResponse(headers={"HX-Redirect": address})
    return redirect(address)
