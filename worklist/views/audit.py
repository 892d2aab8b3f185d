"""The audit trail for those who audit: searched, read in words, downloaded. Nothing is changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.db.models.functions import Upper
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import changes, names, sheets
from worklist.actor import actor
from worklist.audit import happenings, looks, trail
from worklist.audit.messages import LOOKS
from worklist.audit.models import AuditEvent, actions
from worklist.models import Patient, ScheduledProcedureStep
from worklist.roles import needs

PERMISSION = "audit.view_auditevent"
_PER_PAGE = 50
_PER_BATCH = 500


def subjects() -> dict[str, str]:
    """What is signed for, by the label of its model, in people's words."""
    return {
        "worklist.patient": _("Patient"),
        "worklist.imagingservicerequest": _("Order"),
        "worklist.requestedprocedure": _("Procedure of an order"),
        "worklist.scheduledprocedurestep": _("Exam"),
        "worklist.patientmerge": _("Merge of patients"),
        "worklist.station": _("Scanner"),
        "worklist.openinghours": _("Opening hours"),
        "worklist.closedday": _("Closed day"),
        "worklist.proceduretype": _("Catalogue"),
        "worklist.orderset": _("Order set"),
        "worklist.code": _("Code"),
        "worklist.user": _("Account"),
        "worklist.wallscreen": _("Wall screen"),
        "auth.group": _("Role"),
        "dicomscp.setupmode": _("Set-up mode"),
    }


def _with_all(choices: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [("", _("All")), *choices]


class AuditForm(forms.Form):
    """What to look for. What would name a patient is typed into `identifier`, and never kept."""

    who = forms.CharField(required=False, max_length=150, label=gettext_lazy("Who"))
    action = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Action"),
        choices=lambda: _with_all(actions()),
    )
    model = forms.ChoiceField(
        required=False,
        label=gettext_lazy("What"),
        choices=lambda: _with_all(list(subjects().items())),
    )
    start = forms.DateField(
        required=False,
        label=gettext_lazy("From"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    end = forms.DateField(
        required=False,
        label=gettext_lazy("To"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    identifier = forms.CharField(
        required=False,
        max_length=64,
        label=gettext_lazy("Patient or exam ID"),
        help_text=gettext_lazy("Patient ID, accession number or step ID"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    # Numbers of rows, which other pages link to; an identifier is looked up and becomes one.
    patient = forms.IntegerField(required=False, widget=forms.HiddenInput)
    step = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("start") and data.get("end") and data["end"] < data["start"]:
            self.add_error("end", _("It lies before the first day."))
        identifier = data.get("identifier", "").strip()
        if identifier and not self._found(identifier, data):
            self.add_error("identifier", _("No patient or exam has this ID: check it."))
        return data

    def _found(self, identifier: str, data: dict[str, Any]) -> bool:
        data["patient"] = data["step"] = None
        exam = Q(step_id=identifier) | Q(requested_procedure__request__accession_number=identifier)
        if found := Patient.objects.filter(patient_id=identifier).first():
            data["patient"] = found.pk
        elif step := ScheduledProcedureStep.objects.filter(exam).first():
            data["step"] = step.pk
        return bool(found or data["step"])

    def query(self) -> str:
        """What was chosen, as a query string that names nobody."""
        chosen = QueryDict(mutable=True)
        for name, value in self.cleaned_data.items():
            if value not in ("", None) and name != "identifier":
                chosen[name] = str(value)
        return chosen.urlencode()


@needs(PERMISSION)
def audit(request: HttpRequest) -> HttpResponse:
    """Look for events. The search is sent by POST: an ID that is typed stays out of addresses."""
    form = AuditForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        return render(request, "audit/audit.html", {"form": form}, status=422)
    if request.method == "POST":
        return redirect(f"{reverse('audit')}?{form.query()}")
    chosen = form.cleaned_data
    about = _about(request, chosen)
    events = list(_after(_events(chosen), request.GET.get("before", ""))[: _PER_PAGE + 1])
    shown = changes.tell(events[:_PER_PAGE])
    if "before" not in request.GET:
        # After the events are read: a search does not find itself.
        happenings.trail_used("view", by=actor(request), details=_searched(chosen))
    context = {
        "form": form,
        "told": [_row(told) for told in shown],
        "older": events[_PER_PAGE - 1].pk if len(events) > _PER_PAGE else None,
        "is_later_page": "before" in request.GET,
        "about": about,
        "query": form.query(),
    }
    return render(request, "audit/audit.html", context)


@needs(PERMISSION)
def audit_csv(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Download all that the search finds, which is itself an event."""
    form = AuditForm(request.GET)
    if not form.is_valid():
        return render(request, "audit/audit.html", {"form": form}, status=422)
    events = _events(form.cleaned_data)
    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    # Its own event is not part of what it holds.
    events = events.filter(pk__lte=newest)
    details = {**_searched(form.cleaned_data), "rows": events.count()}
    happenings.trail_used("export", by=actor(request), details=details)
    response = StreamingHttpResponse(
        sheets.lines(_rows(events)), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = 'attachment; filename="audit.csv"'
    return response


def _rows(events: QuerySet[AuditEvent]) -> Iterator[list[str]]:
    yield ["at", "who", "address", "action", "outcome", "what", "id", "label", "reason", "changes"]
    # One statement for all of them would take the database longer than a page may wait.
    rest = events
    while batch := list(rest[:_PER_BATCH]):
        rest = _after(events, str(batch[-1].pk))
        for told in changes.tell(batch):
            event = told.event
            yield [
                timezone.localtime(event.at).isoformat(timespec="seconds"),
                event.actor,
                event.address or "",
                str(event.get_action_display()),
                str(event.outcome),
                event.model,
                event.object_id,
                _subject(event)["label"],
                event.reason,
                "; ".join(f"{c.label}: {c.before} → {c.after}" for c in told.changes),
            ]


def _searched(chosen: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in chosen.items() if value}


def _events(chosen: dict[str, Any]) -> QuerySet[AuditEvent]:
    """The events of a search, the newest first."""
    found = AuditEvent.objects.all()
    if chosen["who"]:
        # LIKE tells capital from small letters on both databases.
        found = found.alias(name=Upper("actor")).filter(
            name__contains=chosen["who"].strip().upper()
        )
    for column in ("action", "model"):
        if chosen[column]:
            found = found.filter(**{column: chosen[column]})
    if chosen["start"]:
        found = found.filter(at__gte=_midnight(chosen["start"]))
    if chosen["end"]:
        found = found.filter(at__lt=_midnight(chosen["end"] + dt.timedelta(days=1)))
    if chosen["patient"]:
        found = found.filter(_of_patient(chosen["patient"]))
    if chosen["step"]:
        found = found.filter(_of_step(chosen["step"]))
    return found


def _midnight(day: dt.date) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


def _after(events: QuerySet[AuditEvent], before: str) -> QuerySet[AuditEvent]:
    """Those behind the last one of the page before: nothing is counted, nothing is passed over."""
    last = AuditEvent.objects.filter(pk=before).first() if before.isdecimal() else None
    if last is None:
        return events
    return events.filter(Q(at__lt=last.at) | Q(at=last.at, pk__lt=last.pk))


def _of_patient(pk: int) -> Q:
    """Everything about a patient: the row, its orders, procedures, exams, and lists with it."""
    steps = ScheduledProcedureStep.objects.filter(requested_procedure__request__patient=pk)
    return _of_rows("worklist.patient", [pk]) | _of_steps(steps) | looks.of_patient(pk)


def _of_step(pk: int) -> Q:
    return _of_steps(ScheduledProcedureStep.objects.filter(pk=pk))


def _of_steps(steps: QuerySet[ScheduledProcedureStep]) -> Q:
    paths = {
        "worklist.imagingservicerequest": "requested_procedure__request",
        "worklist.requestedprocedure": "requested_procedure",
        "worklist.scheduledprocedurestep": "pk",
    }
    found = Q(pk__in=[])
    for model, path in paths.items():
        found |= _of_rows(model, steps.order_by().values_list(path, flat=True).distinct())
    return found


def _of_rows(model: str, keys: Iterable[int]) -> Q:
    return Q(model=model, object_id__in=[str(key) for key in keys])


def _about(request: HttpRequest, chosen: dict[str, Any]) -> Patient | ScheduledProcedureStep | None:
    """The patient or exam that the search is about; to look at a patient's trail is signed."""
    if chosen["step"]:
        return (
            ScheduledProcedureStep.objects.select_related("requested_procedure__request__patient")
            .filter(pk=chosen["step"])
            .first()
        )
    patient = Patient.objects.filter(pk=chosen["patient"]).first() if chosen["patient"] else None
    if patient and "before" not in request.GET:
        trail.note("view", patient, by=actor(request))
    return patient


def _row(told: changes.Told) -> dict[str, Any]:
    event = told.event
    failed = {"sign-in": _("Sign-in failed"), "query": _("Worklist query failed")}
    return {
        "told": told,
        "subject": _subject(event),
        # To be locked out or kept out is told by the action itself.
        "failed": failed.get(event.action, "") if event.outcome else "",
    }


def _subject(event: AuditEvent) -> dict[str, str]:
    label = event.object_label
    if event.model == "worklist.patient" and "^" in label:
        # As the trail kept it once.
        label = names.text(label)
    elif label and event.action in LOOKS and not event.model:
        label = _(label)
    return {"kind": subjects().get(event.model, event.model), "label": label}
