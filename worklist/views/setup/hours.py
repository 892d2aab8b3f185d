"""Opening hours: a week of stretches, typed as people write them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import catalogue
from worklist.actor import actor
from worklist.models import OpeningHours, OpeningTime
from worklist.roles import needs
from worklist.views.setup.editing import Page, SetupForm, edit
from worklist.views.setup.scanners import PERMISSION

Stretch = tuple[dt.time, dt.time]
# 8-12, 08:00–12:30, 8.30 to 12, 8h30 bis 12.
_STRETCH = re.compile(
    r"(\d{1,2})(?:[:.h](\d{2}))?\s*(?:[-–—]|to|bis)\s*(\d{1,2})(?:[:.h](\d{2}))?", re.ASCII
)
_BETWEEN = re.compile(r"[,;+]|\band\b|\bund\b")


def read_stretches(text: str) -> tuple[Stretch, ...]:
    """The open stretches of a day: "7:30-12, 13-17". Empty: closed. Raises ValidationError."""
    stretches = []
    for part in filter(None, (part.strip() for part in _BETWEEN.split(text.lower()))):
        found = _STRETCH.fullmatch(part)
        if not found:
            raise ValidationError(
                _("“%(text)s” is not a stretch of time: write 8:00–12:00, 13:00–17:00."),
                params={"text": part},
            )
        opens_at, closes_at = _time(*found.groups()[:2]), _time(*found.groups()[2:])
        if opens_at is None or closes_at is None:
            raise ValidationError(_("“%(text)s” is not a time of the day."), params={"text": part})
        if closes_at <= opens_at:
            raise ValidationError(
                _("“%(text)s” closes before it opens. Write a night as two days."),
                params={"text": part},
            )
        stretches.append((opens_at, closes_at))
    stretches.sort()
    for (_opens, closes), (opens, _closes) in pairwise(stretches):
        if opens < closes:
            raise ValidationError(_("Two stretches overlap."))
    return tuple(stretches)


def _time(hour: str, minute: str | None) -> dt.time | None:
    if (int(hour), int(minute or 0)) == (24, 0):
        return dt.time(23, 59)  # a day of the site ends there
    try:
        return dt.time(int(hour), int(minute or 0))
    except ValueError:
        return None


def spell_stretches(times: Iterable[OpeningTime]) -> list[str]:
    """The stretches of a day; with commas between as `read_stretches` takes them."""
    return [f"{time.opens:%H:%M}–{time.closes:%H:%M}" for time in times]


class StretchesField(forms.CharField):
    """One day of the week."""

    def clean(self, value: Any) -> Any:
        return read_stretches(super().clean(value))


class HoursForm(SetupForm):
    """A name and seven days."""

    class Meta:
        model = OpeningHours
        fields = ("name",)
        labels = {"name": gettext_lazy("Name")}

    list_labels = {"times": gettext_lazy("Opening times")}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        stored = list(self.instance.times.all()) if self.instance.pk else []
        for weekday, label in WEEKDAYS.items():
            mine = [time for time in stored if time.weekday == weekday]
            self.fields[f"day{weekday}"] = StretchesField(
                required=False,
                label=label,
                max_length=100,
                initial=", ".join(spell_stretches(mine)),
            )

    def days(self) -> list[Any]:
        return [self[f"day{weekday}"] for weekday in WEEKDAYS]

    def times(self) -> list[OpeningTime]:
        """The rows that the seven days stand for."""
        return [
            OpeningTime(weekday=weekday, opens=opens, closes=closes)
            for weekday in WEEKDAYS
            for opens, closes in self.cleaned_data[f"day{weekday}"]
        ]


@needs(PERMISSION)
def hours_list(request: HttpRequest) -> HttpResponse:
    """All weeks, each with the scanners that keep to it."""
    weeks = [
        {
            "hours": hours,
            "days": [
                {
                    "label": label,
                    "stretches": spell_stretches(
                        t for t in hours.times.all() if t.weekday == weekday
                    ),
                }
                for weekday, label in WEEKDAYS.items()
            ],
            "stations": list(hours.stations.all()),
        }
        for hours in OpeningHours.objects.prefetch_related("times", "stations")
    ]
    return render(request, "setup/hours.html", {"weeks": weeks})


@needs(PERMISSION)
def hours(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One week of opening times, or a new one."""
    row = get_object_or_404(OpeningHours, pk=pk) if pk else OpeningHours()
    form = HoursForm(request.POST or None, instance=row)
    return edit(
        request,
        form,
        lambda seen: catalogue.save_opening_hours(
            form.instance, form.times(), seen=seen, by=actor(request)
        ),
        Page("setup/hours_form.html", "setup-hours", row.name if pk else _("New opening hours")),
        stations=list(row.stations.all()) if pk else [],
    )
