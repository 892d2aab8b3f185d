"""An exam moves: free times are proposed, what speaks against a time is asked about."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from django.views.decorators.http import require_http_methods

from worklist import clock, history, names
from worklist.actor import actor
from worklist.forms.text import TimeOfDayField
from worklist.models import ScheduledProcedureStep, Station
from worklist.roles import needs
from worklist.scheduling import StaleVersion, held, reschedule, slots, steps, undo
from worklist.scheduling.conflicts import ConflictsFound
from worklist.scheduling.undo import Former
from worklist.views import looks, notices, record, stale
from worklist.views.exams import SEE, about

BOOK = "worklist.schedule_exam"
OVERRIDE = "worklist.override_conflict"
_OFFERED = 6
# Kept in the trail as they stand here, and shown in the language of the screen.
WHY_MOVE = (
    gettext_noop("Emergency came in"),
    gettext_noop("Patient asked for it"),
    gettext_noop("Ward asked for it"),
    gettext_noop("Running late"),
    gettext_noop("Equipment"),
)


class MoveForm(forms.Form):
    """Where to and when. The reason is one of ours or the person's own words."""

    station = forms.ModelChoiceField(
        Station.objects.none(), label=gettext_lazy("Scanner"), empty_label=None
    )
    day = forms.DateField(
        label=gettext_lazy("Day"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    time = TimeOfDayField(label=gettext_lazy("Time"))
    reason = forms.CharField(label=gettext_lazy("Why?"), max_length=200, required=False)

    def __init__(self, step: ScheduledProcedureStep, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field: Any = self.fields["station"]
        kind = held.of(step).kind
        allowed = kind.allowed_stations.all() if kind else Station.objects.none()
        fitting = allowed if allowed else Station.objects.filter(modality=step.modality)
        own = [each.pk for each in held.stations_of(step)]
        field.queryset = (fitting.filter(is_active=True) | fitting.filter(pk__in=own)).distinct()
        field.label_from_instance = lambda each: f"{each.friendly_name} ({each.ae_title})"
        self.fields["reason"].widget.attrs["list"] = "why-move"
        # What is wrong comes before it.
        self.fields["time"].widget.attrs["autofocus"] = not self.is_bound

    @property
    def start(self) -> dt.datetime:
        return dt.datetime.combine(self.cleaned_data["day"], self.cleaned_data["time"])


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, BOOK)
def move(request: HttpRequest, pk: int) -> HttpResponse:
    """Move an exam: a free time fills the form, what speaks against a time is asked about."""
    step = record.step_or_404(pk)
    shown: dict[str, Any] = {}
    if request.method != "POST":
        form = MoveForm(step, initial=_initial(request, step))
    elif "look" in request.POST or "slot" in request.POST:
        # Only to see free times, or to take one: what is typed stays, nothing is checked or moved.
        form = MoveForm(step, initial=_looked(request))
    else:
        form = MoveForm(step, request.POST)
        if form.is_valid():
            moved = _try(request, step, form)
            if isinstance(moved, HttpResponse):
                return moved
            shown = moved
            step = record.step_or_404(pk)
        else:
            shown = {"code": 422}
    found = shown.get("conflicts", ())
    data = {
        **about(step),
        **record.layout(request),
        "version": record.version_shown(request, step, is_told="stale" in shown),
        "form": form,
        "why": [history.said(reason) for reason in WHY_MOVE],
        "next": record.way_back(request, "exam", pk),
        "may_be_moved": steps.may_move(step.status),
        "can_move_anyway": all(each.level == "warning" for each in found),
        "needs_reason": any(each.needs_reason for each in found),
        **_free(step, form),
        **shown,
    }
    looks.at_exam(request, step)
    return render(request, "exams/move.html", data, status=shown.get("code", 200))


def _try(
    request: HttpRequest, step: ScheduledProcedureStep, form: MoveForm
) -> HttpResponse | dict[str, Any]:
    """Move the exam; else what the page says why it was not moved."""
    chosen: Station = form.cleaned_data["station"]
    reason: str = form.cleaned_data["reason"]
    anyway = "anyway" in request.POST
    former = Former.of(step)
    try:
        saved = reschedule(
            step,
            form.start,
            stations=None if held.stations_of(step)[:1] == [chosen] else [chosen],
            by=actor(request),
            version=record.version_of(request.POST),
            accepted=request.POST.getlist("accept") if anyway else (),
            reason=reason,
            may_override=request.user.has_perm(OVERRIDE),
        )
    except StaleVersion as error:
        own = {
            "start_date": form.cleaned_data["day"].isoformat(),
            "start_time": form.cleaned_data["time"].isoformat(),
            "stations": [str(chosen)],
        }
        return {"stale": stale.told(error, own=own), "code": 409}
    except ConflictsFound as error:
        if anyway and not reason and any(each.needs_reason for each in error.conflicts):
            form.add_error("reason", _("Say why it is moved all the same."))
        return {"conflicts": error.conflicts, "code": 422}
    except ValidationError as error:
        return {"problems": error.messages, "code": 422}
    return _moved(request, step, former, saved)


def _looked(request: HttpRequest) -> dict[str, Any]:
    """The form as it was sent; the button of a free time says day and time itself."""
    typed = {name: request.POST.get(name, "") for name in ("station", "day", "time", "reason")}
    day, _t, time = request.POST.get("slot", "").partition("T")
    if time:
        typed["day"], typed["time"] = day, time
    if request.POST.get("look") == "next":
        try:
            shown = dt.date.fromisoformat(typed["day"])
        except ValueError:
            shown = clock.today()
        typed["day"] = (shown + dt.timedelta(days=1)).isoformat()
    return typed


def _initial(request: HttpRequest, step: ScheduledProcedureStep) -> dict[str, Any]:
    """What the exam is, but for what the address asks for: a scanner, a day, a time."""
    stations = held.stations_of(step)
    asked = {name: request.GET[name] for name in ("station", "day", "time") if name in request.GET}
    return {
        "station": stations[0].pk if stations else None,
        "day": step.start_date,
        "time": step.start_time,
        **asked,
    }


def _moved(
    request: HttpRequest,
    step: ScheduledProcedureStep,
    former: Former,
    saved: ScheduledProcedureStep,
) -> HttpResponse:
    if saved.version == step.version:
        notices.done(request, _("Nothing was changed."))
    else:
        told = {
            "exam": record.what(step),
            "name": names.text(record.patient_of(step).name),
            "when": _when(saved),
            "scanner": ", ".join(each.friendly_name for each in held.stations_of(saved)),
        }
        notices.done(
            request,
            _("%(exam)s of %(name)s is now at %(when)s, %(scanner)s.") % told,
            undo=undo.of("move", [(former, saved)]),
        )
    return record.go(request, record.way_back(request, "exam", step.pk))


def _when(step: ScheduledProcedureStep) -> str:
    day = history.word("worklist.scheduledprocedurestep", "start_date", step.start_date.isoformat())
    return f"{day} {step.start_time:%H:%M}"


def _free(step: ScheduledProcedureStep, form: MoveForm) -> dict[str, Any]:
    """The next free starts on the chosen scanner, from the chosen day on."""
    wanted, typed = form["station"].value(), form["day"].value()
    try:
        day = dt.date.fromisoformat(str(typed))
    except ValueError:
        day = clock.today()
    field: Any = form.fields["station"]
    station = field.queryset.filter(pk=wanted).first() if str(wanted).isdecimal() else None
    if station is None:
        return {"free": []}
    # Where no hours are set, a day begins in the morning.
    opens = dt.time() if station.opening_hours_id else slots.MORNING
    after = max(clock.now(), dt.datetime.combine(day, opens))
    minutes = held.minutes_of(step, held.of(step).kind)
    found = slots.next_free(station, after, minutes, _OFFERED, ignoring=[step.pk])
    return {"free": found, "free_on": station}
