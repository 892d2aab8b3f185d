"""Closed days: holidays, maintenance; of one scanner or of all."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from worklist import catalogue, clock
from worklist.actor import actor
from worklist.catalogue import StaleError
from worklist.models import ClosedDay, ScheduledProcedureStep, Station, StepStation
from worklist.roles import needs
from worklist.scheduling import FINAL
from worklist.views import notices
from worklist.views.setup.editing import Page, SetupForm, edit, seen_version
from worklist.views.setup.scanners import PERMISSION


class ScannerChoice(forms.ModelChoiceField):
    """A scanner by the name that people use, its AE title beside it."""

    def label_from_instance(self, obj: Any) -> str:
        return scanner_label(obj)


def scanner_label(station: Station) -> str:
    """CT 1 (CT01)."""
    return f"{station.name} ({station.ae_title})" if station.name else station.ae_title


def booked_exams(day: dt.date, station: Station | None) -> int:
    """How many exams that are not over are booked on that day, on that scanner or on any."""
    if station is None:
        on_that_day = ScheduledProcedureStep.objects.filter(start_date=day)
        return on_that_day.exclude(status__in=FINAL).count()
    there = StepStation.objects.filter(station=station, step__start_date=day)
    return there.exclude(step__status__in=FINAL).count()


class ClosedDayForm(SetupForm):
    """Which day, which scanner, why."""

    class Meta:
        model = ClosedDay
        fields = ("day", "station", "reason")
        labels = {"day": gettext_lazy("Day"), "reason": gettext_lazy("Reason")}
        help_texts = {"reason": gettext_lazy("Shown to whoever wants to book on that day")}
        widgets = {"day": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")}

    station = ScannerChoice(
        Station.objects.order_by("name", "ae_title"),
        required=False,
        label=gettext_lazy("Scanner"),
        empty_label=gettext_lazy("All scanners"),
    )

    def warnings(self) -> list[Any]:
        day, station = self.cleaned_data["day"], self.cleaned_data["station"]
        count = booked_exams(day, station)
        if not count:
            return []
        told = ngettext(
            "%(count)d exam is booked on %(day)s. It stays booked: move it, or save all the same.",
            "%(count)d exams are booked on %(day)s. They stay booked: move them, or save all the "
            "same.",
            count,
        )
        return [told % {"count": count, "day": date_format(day)}]


@needs(PERMISSION)
def closed_days(request: HttpRequest) -> HttpResponse:
    """The closed days from today on, or those that have passed."""
    past = request.GET.get("past") == "1"
    rows = ClosedDay.objects.select_related("station")
    today = clock.today()
    rows = rows.filter(day__lt=today).order_by("-day") if past else rows.filter(day__gte=today)
    shown = list(rows[:400])
    days = {row.day for row in shown}
    all_of_day, of_station = ({}, {}) if past else _booked(days)
    listed = [
        {
            "closed": row,
            "exams": of_station.get((row.day, row.station_id), 0)
            if row.station_id
            else all_of_day.get(row.day, 0),
        }
        for row in shown
    ]
    return render(request, "setup/closed_days.html", {"rows": listed, "past": past})


def _booked(
    days: set[dt.date],
) -> tuple[dict[dt.date, int], dict[tuple[dt.date, int], int]]:
    """The exams that are booked on these days: of each day, and of each scanner on it."""
    steps = ScheduledProcedureStep.objects.filter(start_date__in=days).exclude(status__in=FINAL)
    of_day = Counter(steps.order_by().values_list("start_date", flat=True))
    at = StepStation.objects.filter(step__start_date__in=days).exclude(step__status__in=FINAL)
    of_station = Counter(at.order_by().values_list("step__start_date", "station_id"))
    return dict(of_day), dict(of_station)


@needs(PERMISSION)
def closed_day(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One closed day, or a new one."""
    row = get_object_or_404(ClosedDay, pk=pk) if pk else ClosedDay()
    form = ClosedDayForm(request.POST or None, instance=row)
    title = date_format(row.day) if pk else _("New closed day")
    return edit(
        request,
        form,
        lambda seen: catalogue.save_closed_day(form.instance, seen=seen, by=actor(request)),
        Page("setup/closed_day.html", "setup-closed-days", title),
    )


@require_POST
@needs(PERMISSION)
def closed_day_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Work on that day after all."""
    row = get_object_or_404(ClosedDay, pk=pk)
    day = date_format(row.day)
    try:
        catalogue.delete_closed_day(row, seen=seen_version(request), by=actor(request))
    except StaleError:
        notices.failed(
            request, _("Somebody else has changed this closed day. Look at it, then try again.")
        )
    else:
        notices.done(request, _("%(day)s is a working day again.") % {"day": day})
    return redirect("setup-closed-days")
