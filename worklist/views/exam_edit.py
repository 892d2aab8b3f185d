"""What is noted with an exam: who asked for it and why, who does it, what scanners are told."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from worklist import names
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep
from worklist.models.orders import priorities
from worklist.names import NameGroup
from worklist.roles import needs
from worklist.scheduling import StaleVersion, amend
from worklist.views import notices, record, stale
from worklist.views.exams import SEE, about
from worklist.views.moves import BOOK


class NameField(forms.CharField):
    """A physician as people write it, "Smith, John"; kept as it is when nobody touches it."""

    def prepare_value(self, value: Any) -> Any:
        """A stored name as it is shown; what was typed stays."""
        return _written(value) if isinstance(value, str) and "^" in value else value

    def clean(self, value: Any) -> str:
        text: str = super().clean(value) or ""
        for sign in "^=\\":
            if sign in text:
                raise ValidationError(
                    _("Remove '%(sign)s': it separates the parts of a name in DICOM.")
                    % {"sign": sign}
                )
        family, _comma, given = (part.strip() for part in text.partition(","))
        return str(NameGroup(family, given))


def _written(name: str) -> str:
    group = names.groups(name)[0]
    given = " ".join(filter(None, (group.prefix, group.given, group.middle, group.suffix)))
    return ", ".join(filter(None, (group.family, given)))


class _PartForm(forms.ModelForm):
    """One of the three rows; a name that nobody touched keeps its parts and other scripts."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name, field in self.fields.items():
            stored = getattr(self.instance, name)
            if isinstance(field, NameField) and self[name].data == _written(stored):
                cleaned[name] = stored
        return cleaned


class StepForm(_PartForm):
    performing_physician = NameField(
        label=gettext_lazy("Performing physician"), required=False, max_length=64
    )

    class Meta:
        model = ScheduledProcedureStep
        fields = ("performing_physician", "comments")
        labels = {"comments": gettext_lazy("Comments for the scanner")}


class ProcedureForm(_PartForm):
    priority = forms.ChoiceField(label=gettext_lazy("Priority"), required=False)

    class Meta:
        model = RequestedProcedure
        fields = ("priority", "reason", "transport")
        labels = {
            "reason": gettext_lazy("Reason for the exam"),
            "transport": gettext_lazy("Transport"),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known = dict(priorities())
        held = self.instance.priority
        field: Any = self.fields["priority"]
        field.choices = [("", "–"), *({held: held} | known if held else known).items()]


class OrderForm(_PartForm):
    requesting_physician = NameField(
        label=gettext_lazy("Requesting physician"), required=False, max_length=64
    )
    referring_physician = NameField(
        label=gettext_lazy("Referring physician"), required=False, max_length=64
    )

    class Meta:
        model = ImagingServiceRequest
        fields = (
            "requesting_physician",
            "referring_physician",
            "patient_location",
            "admission_id",
            "placer_order_number",
        )
        labels = {
            "patient_location": gettext_lazy("Ward or place"),
            "admission_id": gettext_lazy("Admission number"),
            "placer_order_number": gettext_lazy("Order number"),
        }


_Forms = dict[type[models.Model], forms.ModelForm]


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, BOOK)
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what is noted with an exam."""
    step = record.step_or_404(pk)
    made = _forms(step, request.POST if request.method == "POST" else None)
    versions = _versions_of(step)
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
                    versions=_seen(request.POST.get("versions", "")),
                )
            except StaleVersion as error:
                form = made[type(error.row)]
                held = trail.snapshot(form.instance, lists=False)
                own = {name: held[name] for name in form.fields}
                step = record.step_or_404(pk)
                made = _forms(step, _rebased(request, error, own, step))
                versions = _versions_of(step)
                shown = {"stale": stale.told(error, own=own), "code": 409}
            except ValidationError as error:
                shown = {"problems": error.messages, "code": 422}
            else:
                told = {
                    "exam": record.what(step),
                    "name": names.text(record.patient_of(step).name),
                }
                notices.done(request, _("%(exam)s of %(name)s is saved.") % told)
                return redirect("exam", pk=pk)
    data = {
        **about(step),
        "forms": list(made.values()),
        "versions": versions,
        **shown,
    }
    return render(request, "exams/edit.html", data, status=shown.get("code", 200))


def _forms(step: ScheduledProcedureStep, data: Any) -> _Forms:
    procedure = step.requested_procedure
    return {
        RequestedProcedure: ProcedureForm(data, instance=procedure, prefix="procedure"),
        ScheduledProcedureStep: StepForm(data, instance=step, prefix="step"),
        ImagingServiceRequest: OrderForm(data, instance=procedure.request, prefix="order"),
    }


def _versions_of(step: ScheduledProcedureStep) -> str:
    procedure = step.requested_procedure
    return f"{step.version}-{procedure.version}-{procedure.request.version}"


def _seen(text: str) -> tuple[int, int, int]:
    """The versions that the form carries; 0, which no row has, for what it does not."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text[:40].split("-")]
    first, second, third = [*numbers, 0, 0, 0][:3]
    return first, second, third


def _rebased(
    request: HttpRequest, error: StaleVersion, own: dict[str, Any], step: ScheduledProcedureStep
) -> Any:
    """The form as it was sent, but what this person did not touch is what the other has saved."""
    data = request.POST.copy()
    fresh = _forms(step, None)[type(error.row)]
    for change in error.changes:
        if change.column in fresh.fields and own.get(change.column) == change.before:
            value = fresh[change.column].value()
            data[fresh.add_prefix(change.column)] = "" if value is None else str(value)
    return data
