"""What a walk-in asks beside the patient: exam, scanner and start."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import clock
from worklist.forms.booking import urgencies
from worklist.forms.text import TimeOfDayField
from worklist.models import ProcedureType, Station
from worklist.models.people import sexes


def unknown_sexes() -> list[tuple[str, str]]:
    return [*sexes()[:2], ("O", _("Unknown"))]


def starts() -> list[tuple[str, str]]:
    return [("now", _("Now")), ("at", _("At"))]


# A time of today that is longer past is tomorrow's.
_LONG_AGO = dt.timedelta(hours=12)


class WalkInForm(forms.Form):
    """Exam, scanner and start, and the sex of somebody who is unknown."""

    unknown_sex = forms.ChoiceField(
        label=gettext_lazy("Sex"),
        choices=unknown_sexes,
        initial="O",
        required=False,
        widget=forms.RadioSelect,
    )
    urgency = forms.ChoiceField(
        label=gettext_lazy("Urgency"),
        choices=urgencies,
        initial="ROUTINE",
        widget=forms.RadioSelect,
    )
    exam = forms.ModelChoiceField(
        ProcedureType.objects.filter(is_active=True).prefetch_related("allowed_stations"),
        label=gettext_lazy("Exam"),
        error_messages={"required": gettext_lazy("Choose the exam.")},
    )
    station = forms.ModelChoiceField(
        Station.objects.filter(is_active=True),
        label=gettext_lazy("Scanner"),
        error_messages={"required": gettext_lazy("Choose the scanner.")},
    )
    start = forms.ChoiceField(
        label=gettext_lazy("Start"),
        choices=starts,
        initial="now",
        widget=forms.RadioSelect,
    )
    time = TimeOfDayField(label=gettext_lazy("Time"), required=False)

    # Where a link of the summary of errors leads to.
    ANCHORS = {"exam": "id_exam_query", "station": "id_station"}

    def clean(self) -> None:
        data = self.cleaned_data
        if data.get("start") == "at" and "time" in data and data["time"] is None:
            self.add_error("time", _("Enter the time, or choose “Now”."))

    @property
    def moment(self) -> dt.datetime:
        """When it is to start, to the minute; who types a time means it."""
        now = clock.now().replace(second=0, microsecond=0)
        time: Any = self.cleaned_data["time"]
        if time is None:
            return now
        moment = dt.datetime.combine(now.date(), time)
        # Shortly before midnight, 00:10 is tomorrow's.
        return moment + dt.timedelta(days=1) if now - moment > _LONG_AGO else moment

    @property
    def is_now(self) -> bool:
        """Whether the patient is here."""
        return bool(self.cleaned_data["start"] == "now" and self.cleaned_data["time"] is None)
