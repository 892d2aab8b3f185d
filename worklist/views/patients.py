"""Patients: finding them, one patient's page, amending, and merging two that are one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from worklist import history, lookup
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import Patient, ScheduledProcedureStep
from worklist.roles import holders, needs
from worklist.scheduling import StaleVersion, merge, patients, resolve, unmerge
from worklist.views import looks, notices, record, stale
from worklist.views.exams import SEE as SEE_EXAMS
from worklist.views.patient_forms import PatientForm

SEE = "worklist.view_patient"
CHANGE = "worklist.change_patient"
MERGE = "worklist.merge_patients"
_RESULTS = 50
# What the patient's page shows beside the banner, where it is known.
_FACTS = (
    "other_ids",
    "other_names",
    "weight",
    "size",
    "pregnancy_status",
    "telephone_numbers",
    "comments",
)
_SHORTEST = 2
_ALIKE = 5
# Searches that a session keeps, by the keys that stand in addresses.
_SEARCHES, _KEPT = "patient_searches", 20


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE)
def search(request: HttpRequest) -> HttpResponse:
    """Patients by name, ID or date of birth, or those who are still to be identified.

    What is searched for is sent by POST, and kept in the session: no address names a patient, and
    the browser's "back" leads to what was found.
    """
    if request.method == "POST":
        return _searched(request)
    text = _asked(request)
    unknown = "unknown" in request.GET
    found = _found(text, unknown=unknown)
    looks.at_list(request, found[:_RESULTS], looks.FOUND)
    data = {
        "q": text,
        "unknown": unknown,
        "patients": found[:_RESULTS],
        "more": len(found) > _RESULTS,
        "limit": _RESULTS,
        "asked": len(text) >= _SHORTEST or unknown,
        "identified_by": _identified_by(request) if unknown else "",
    }
    return render(request, "patients/search.html", data)


def _searched(request: HttpRequest) -> HttpResponse:
    """Keep what is searched for, and lead to what is found."""
    text = request.POST.get("q", "").strip()[:200]
    key = secrets.token_urlsafe(6)
    kept = list(request.session.get(_SEARCHES, {}).items())
    request.session[_SEARCHES] = dict([*kept[1 - _KEPT :], (key, text)])
    return redirect(f"{request.path}?{urlencode({'search': key})}")


def _asked(request: HttpRequest) -> str:
    """What was searched for; "" when the address is another's, or too old."""
    kept: dict[str, str] = request.session.get(_SEARCHES, {})
    return kept.get(request.GET.get("search", ""), "")


def _found(text: str, *, unknown: bool = False) -> list[Patient]:
    """The patients who are meant, as everywhere; one more than are shown."""
    if unknown:
        standing = Patient.objects.filter(merged_into=None, is_unknown=True)
        return list(standing.order_by("-pk")[: _RESULTS + 1])
    return [each.patient for each in lookup.find_patients(text, limit=_RESULTS + 1)]


@require_safe
@needs(SEE, SEE_EXAMS)
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """A patient's page. Seen pages are signed."""
    patient = _patient(pk)
    looks.at(request, patient)
    exams = record.exams_of(patient)
    newest = patients.newest_merge(patient)
    data = {
        "patient": patient,
        "banner": record.banner(patient),
        "exams": [each for each in exams if not each.is_cancelled],
        "cancelled": [each for each in exams if each.is_cancelled],
        "history": history.of(patient, *patient.merges.all()),
        "merge": newest,
        "identified_by": _identified_by(request) if patient.is_unknown else "",
        "has_facts": any(getattr(patient, column) for column in _FACTS),
    }
    return render(request, "patients/patient.html", data)


def _identified_by(request: HttpRequest) -> str:
    """Who can say who an unknown patient is, for who cannot."""
    return "" if request.user.has_perm(MERGE) else holders("merge_patients")


def _patient(pk: int) -> Patient:
    return get_object_or_404(Patient.objects.select_related("merged_into"), pk=pk)


# --- amending -------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, CHANGE)
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a patient; the page says what scanners will show afterwards."""
    patient = _patient(pk)
    version = record.version_shown(request, patient)
    shown: dict[str, Any] = {}
    form = PatientForm(request.POST if request.method == "POST" else None, instance=patient)
    if request.method == "POST":
        shown = {"code": 422}
        if form.is_valid():
            try:
                patients.amend(
                    form.instance, version=record.version_of(request.POST), by=actor(request)
                )
            except StaleVersion as error:
                now, sent = _patient(pk), request.POST.copy()
                own = PatientForm(instance=now).rebased(sent, error)
                form, version = PatientForm(sent, instance=now), now.version
                shown = {"stale": stale.told(error, own=own), "code": 409}
            except ValidationError as error:
                shown = {"problems": error.messages, "code": 422}
            except IntegrityError:
                told = _("Somebody gave this patient ID to another patient a moment ago.")
                shown = {"problems": [told], "code": 422}
            else:
                notices.done(request, _("%(name)s is saved.") % {"name": _named(form.instance)})
                return redirect("patient", pk=pk)
        # The form has written into its row what was typed.
        patient = _patient(pk)
    data = {
        "patient": patient,
        "form": form,
        "version": version,
        "open": record.open_exams(patient),
        **shown,
    }
    looks.at(request, patient)
    return render(request, "patients/edit.html", data, status=shown.get("code", 200))


def _named(patient: Patient) -> str:
    return str(patient)


# --- merging --------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, MERGE)
def merge_patients(request: HttpRequest, pk: int) -> HttpResponse:
    """Find the other patient; see both side by side, choose who stays, type that one's ID."""
    patient = _patient(pk)
    if request.method == "POST" and "q" in request.POST:
        return _searched(request)
    text = _asked(request)
    other_pk = request.POST.get("with") or request.GET.get("with", "")
    other = None
    if other_pk.isdecimal() and other_pk != str(pk):
        other = get_object_or_404(Patient, pk=int(other_pk))
    if patient.merged_into_id:
        return redirect("patient", pk=pk)
    shown: dict[str, Any] = {}
    survivors: list[Patient] = []
    if other is not None and other.merged_into_id:
        survivors = [each for each in [resolve(other)] if each != patient]
        shown = {"problems": [_merged_already(other, patient)], "code": 409}
        other = None
    elif request.method == "POST" and other is not None:
        try:
            survivor, merged = _chosen(request, patient, other)
            done = merge(
                survivor,
                merged,
                by=actor(request),
                reason=request.POST.get("reason", "")[:200],
                versions=_versions(request, survivor, merged),
            )
        except StaleVersion as error:
            both: list[stale.Told] = [(each, {}) for each in (error, *error.also)]
            shown = {"stale": stale.told_all(both), "code": 409}
            patient, other = _patient(pk), _patient(other.pk)
        except ValidationError as error:
            shown = {"problems": error.messages, "code": 422}
        else:
            told = {"merged": _named(done.merged), "survivor": _named(done.survivor)}
            said = _("%(merged)s is now %(survivor)s.") % told
            address = reverse("patient-unmerge", args=[done.survivor_id])
            back = format_html('{} <a href="{}">{}</a>', said, address, _("Undo…"))
            notices.done(request, back)
            return redirect("patient", pk=done.survivor_id)
    others = survivors or [each for each in _found(text) if each != patient][:_RESULTS]
    similar = _alike(patient) if other is None and not others else []
    looks.at(request, patient, *([other] if other else []))
    looks.at_list(request, [*others, *similar], looks.FOUND)
    data = {
        "patient": patient,
        "q": text,
        "others": others,
        "similar": similar,
        "sides": [
            {
                **_side(each, beside),
                "version": _version_shown(request, each, is_told="stale" in shown),
            }
            for each, beside in ((patient, other), (other, patient))
        ]
        if other
        else [],
        "other": other,
        "survivor": request.POST.get("survivor", ""),
        **shown,
    }
    return render(request, "patients/merge.html", data, status=shown.get("code", 200))


def _merged_already(other: Patient, patient: Patient) -> str:
    survivor = resolve(other)
    told = {"merged": _named(other), "survivor": _named(survivor)}
    if survivor == patient:
        return _("%(merged)s was merged into this patient already.") % told
    return _("%(merged)s was merged into %(survivor)s: choose that one.") % told


def _alike(patient: Patient) -> list[Patient]:
    """Who may be the same person: a similar name, or born the same day."""
    found = list(record.similar(patient))
    if patient.birth_date:
        born = Patient.objects.filter(birth_date=patient.birth_date, merged_into=None)
        found += born.exclude(pk__in=[patient.pk, *(each.pk for each in found)])[:_ALIKE]
    return found


def _chosen(request: HttpRequest, patient: Patient, other: Patient) -> tuple[Patient, Patient]:
    """Who stays and who goes. Raises ValidationError unless the survivor's ID was typed."""
    by_key = {str(each.pk): each for each in (patient, other)}
    survivor = by_key.pop(request.POST.get("survivor", ""), None)
    if survivor is None:
        raise ValidationError(_("Choose which of the two stays."))
    if request.POST.get("confirm", "").strip() != survivor.patient_id:
        raise ValidationError(
            _("Type the patient ID of the one who stays, %(id)s, to confirm.")
            % {"id": survivor.patient_id}
        )
    (merged,) = by_key.values()
    return survivor, merged


def _versions(request: HttpRequest, survivor: Patient, merged: Patient) -> tuple[int, int]:
    survivors, mergeds = (
        record.version_of({"version": request.POST.get(f"version_{each.pk}", "")})
        for each in (survivor, merged)
    )
    return survivors, mergeds


def _version_shown(request: HttpRequest, patient: Patient, *, is_told: bool) -> int | str:
    came = request.POST.get(f"version_{patient.pk}")
    return patient.version if is_told else came or patient.version


@dataclass(frozen=True)
class Fact:
    """What is noted of a patient, beside another."""

    label: str
    value: str
    differs: bool


# What both columns show, whatever it says; the rest is shown where the two differ.
_ALWAYS = ("birth_date", "sex", "patient_id", "issuer", "allergies", "medical_alerts")


def _facts(patient: Patient, beside: Patient) -> Iterable[Fact]:
    mine, others = (trail.snapshot(each, lists=False) for each in (patient, beside))
    for column in (*_ALWAYS, *(name for name in mine if name not in _ALWAYS)):
        differs = mine[column] != others[column]
        if (differs or column in _ALWAYS) and column not in ("name", "merged_into"):
            told = history.told("worklist.patient", column, None, mine[column])
            yield Fact(told.label, told.after, differs)


def _side(patient: Patient, beside: Patient) -> dict[str, Any]:
    """One column of the two."""
    steps = ScheduledProcedureStep.objects.filter(requested_procedure__request__patient=patient)
    return {
        "patient": patient,
        "facts": list(_facts(patient, beside)),
        "orders": patient.requests.count(),
        "exams": steps.count(),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, MERGE)
def unmerge_patients(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the newest merge of this patient back."""
    patient = _patient(pk)
    newest = patients.newest_merge(patient)
    if newest is None:
        return redirect("patient", pk=pk)
    shown: dict[str, Any] = {}
    if request.method == "POST":
        try:
            if request.POST.get("merge") != str(newest.pk):
                raise ValidationError(_("Another merge came later. Look again."))
            unmerge(newest, by=actor(request), reason=request.POST.get("reason", "")[:200])
        except ValidationError as error:
            shown = {"problems": error.messages, "code": 422}
        else:
            told = {"merged": _named(newest.merged), "survivor": _named(newest.survivor)}
            notices.done(request, _("%(merged)s and %(survivor)s are two patients again.") % told)
            return redirect("patient", pk=pk)
    data = {
        "patient": patient,
        "merge": newest,
        "who": history.full_names([newest.actor]).get(newest.actor, newest.actor),
        "can_be_undone": patients.can_be_undone(newest),
        "moved": len(newest.request_ids),
        **shown,
    }
    looks.at(request, newest.survivor, newest.merged)
    return render(request, "patients/unmerge.html", data, status=shown.get("code", 200))
